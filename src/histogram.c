/* histogram: see histogram.h. */
#include "histogram.h"

#include <assert.h>

#define SUB_BUCKETS (UINT64_C(1) << HISTOGRAM_SUB_BITS)

static unsigned
histogram_index(uint64_t value)
{
	unsigned shift;

	if (value < SUB_BUCKETS)
		return (unsigned)value;
	/* The shift that leaves HISTOGRAM_SUB_BITS + 1 bits, the highest of which is set. */
	shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t
histogram_bucket_end(unsigned index)
{
	unsigned shift = index >> HISTOGRAM_SUB_BITS;
	uint64_t start;

	if (shift == 0)
		return index;
	shift--;
	start = (uint64_t)(index - (shift << HISTOGRAM_SUB_BITS)) << shift;
	return start + ((UINT64_C(1) << shift) - 1);
}

void
histogram_record(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->buckets[histogram_index(value)]++;
}

void
histogram_merge(struct histogram *histogram, const struct histogram *other)
{
	if (other->count == 0)
		return;
	histogram->count += other->count;
	histogram->sum += other->sum;
	if (other->max > histogram->max)
		histogram->max = other->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		histogram->buckets[i] += other->buckets[i];
}

uint64_t
histogram_quantile(const struct histogram *histogram, double fraction)
{
	double rank = fraction * (double)histogram->count;
	uint64_t seen = 0, wanted = (uint64_t)rank;

	assert(fraction >= 0 && fraction <= 1);
	if (histogram->count == 0)
		return 0;
	if ((double)wanted < rank || wanted == 0)
		wanted++;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen >= wanted) {
			uint64_t end = histogram_bucket_end(i);

			return end < histogram->max ? end : histogram->max;
		}
	}
	return histogram->max;
}

double
histogram_mean(const struct histogram *histogram)
{
	return histogram->count ? (double)histogram->sum / (double)histogram->count : 0;
}
