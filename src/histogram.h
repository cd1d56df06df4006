/*
 * histogram: how often values occurred, in buckets that are fine for small and coarse for large
 * values: linear in steps of 1 up to 128, then 128 buckets for each doubling (log-linear). So a
 * quantile is at most 1/128 above the true one, for any uint64_t, in fixed memory.
 *
 * Process: both. Pure: libc only. Zeroed memory is an empty histogram.
 */
#ifndef MILLGATE_HISTOGRAM_H
#define MILLGATE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t sum; /* wraps */
	uint64_t max; /* exact */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t value);

/* Adds what `other` holds. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The smallest value that at least `fraction` (0 to 1) of all values do not exceed, rounded up to
 * the end of its bucket but never above the largest value. 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

/* 0 when empty. */
double histogram_mean(const struct histogram *histogram);

#endif
