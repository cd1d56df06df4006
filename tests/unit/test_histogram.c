/* test_histogram: buckets, quantiles, and how far they may be off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "histogram.h"

static struct histogram *
new_histogram(void)
{
	struct histogram *histogram = calloc(1, sizeof(*histogram));

	assert_non_null(histogram);
	return histogram;
}

static void
empty_gives_zero(void **state)
{
	struct histogram *histogram = new_histogram();

	(void)state;
	assert_int_equal(histogram_quantile(histogram, 0), 0);
	assert_int_equal(histogram_quantile(histogram, 0.5), 0);
	assert_int_equal(histogram_quantile(histogram, 1), 0);
	assert_true(histogram_mean(histogram) == 0);
	free(histogram);
}

static void
one_value_is_every_quantile(void **state)
{
	struct histogram *histogram = new_histogram();

	(void)state;
	histogram_record(histogram, 123456789);
	assert_int_equal(histogram_quantile(histogram, 0), 123456789);
	assert_int_equal(histogram_quantile(histogram, 0.5), 123456789);
	assert_int_equal(histogram_quantile(histogram, 1), 123456789);
	assert_true(histogram_mean(histogram) == 123456789);
	free(histogram);
}

static void
zero_is_a_value(void **state)
{
	struct histogram *histogram = new_histogram();

	(void)state;
	histogram_record(histogram, 0);
	assert_int_equal(histogram->count, 1);
	assert_int_equal(histogram_quantile(histogram, 1), 0);
	free(histogram);
}

static void
small_values_are_exact(void **state)
{
	struct histogram *histogram = new_histogram();

	(void)state;
	for (uint64_t value = 1; value <= 100; value++)
		histogram_record(histogram, value);
	assert_int_equal(histogram_quantile(histogram, 0.01), 1);
	assert_int_equal(histogram_quantile(histogram, 0.5), 50);
	assert_int_equal(histogram_quantile(histogram, 0.99), 99);
	assert_int_equal(histogram_quantile(histogram, 1), 100);
	assert_true(histogram_mean(histogram) == 50.5);
	free(histogram);
}

/* A rank between two values is the upper one's. */
static void
rank_is_rounded_up(void **state)
{
	struct histogram *histogram = new_histogram();

	(void)state;
	histogram_record(histogram, 10);
	histogram_record(histogram, 20);
	histogram_record(histogram, 30);
	assert_int_equal(histogram_quantile(histogram, 0), 10);
	assert_int_equal(histogram_quantile(histogram, 0.33), 10);
	assert_int_equal(histogram_quantile(histogram, 0.34), 20);
	assert_int_equal(histogram_quantile(histogram, 0.67), 30);
	free(histogram);
}

/* What the median of `value` and a larger one says that `value` is. */
static uint64_t
seen_as(uint64_t value)
{
	struct histogram *histogram = new_histogram();
	uint64_t seen;

	histogram_record(histogram, value);
	histogram_record(histogram, UINT64_MAX);
	seen = histogram_quantile(histogram, 0.5);
	free(histogram);
	return seen;
}

static void
values_are_rounded_up_by_less_than_a_128th(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t power = UINT64_C(1) << bit;
		const uint64_t values[] = {power - 1, power, power + 1, power + power / 3};

		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			uint64_t seen = seen_as(values[i]);

			assert_true(seen >= values[i]);
			assert_true(seen - values[i] <= values[i] / 128);
		}
	}
}

static void
first_buckets_at_their_limits(void **state)
{
	(void)state;
	assert_int_equal(seen_as(127), 127);
	assert_int_equal(seen_as(128), 128);
	assert_int_equal(seen_as(255), 255);
	assert_int_equal(seen_as(256), 257);
	assert_int_equal(seen_as(257), 257);
	assert_int_equal(seen_as(258), 259);
}

static void
largest_value_has_a_bucket(void **state)
{
	struct histogram *histogram = new_histogram();

	(void)state;
	histogram_record(histogram, UINT64_MAX);
	assert_int_equal(histogram->buckets[HISTOGRAM_BUCKETS - 1], 1);
	assert_true(histogram_quantile(histogram, 1) == UINT64_MAX);
	free(histogram);
}

static void
quantile_never_exceeds_the_largest_value(void **state)
{
	struct histogram *histogram = new_histogram();

	(void)state;
	histogram_record(histogram, 1000000);
	histogram_record(histogram, 1000001);
	assert_int_equal(histogram_quantile(histogram, 0.5), 1000001);
	assert_int_equal(histogram_quantile(histogram, 1), 1000001);
	free(histogram);
}

static void
merge_is_as_if_all_were_recorded_in_one(void **state)
{
	struct histogram *a = new_histogram(), *b = new_histogram(), *all = new_histogram();

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		histogram_record(i % 3 ? a : b, i * i * 7919);
		histogram_record(all, i * i * 7919);
	}
	histogram_merge(a, b);
	assert_memory_equal(a, all, sizeof(*a));
	free(a);
	free(b);
	free(all);
}

static void
merge_of_an_empty_one_changes_nothing(void **state)
{
	struct histogram *a = new_histogram(), *before = new_histogram(), *empty = new_histogram();

	(void)state;
	histogram_record(a, 42);
	memcpy(before, a, sizeof(*a));
	histogram_merge(a, empty);
	assert_memory_equal(a, before, sizeof(*a));
	histogram_merge(empty, a);
	assert_memory_equal(a, empty, sizeof(*a));
	free(a);
	free(before);
	free(empty);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_gives_zero),
		cmocka_unit_test(one_value_is_every_quantile),
		cmocka_unit_test(zero_is_a_value),
		cmocka_unit_test(small_values_are_exact),
		cmocka_unit_test(rank_is_rounded_up),
		cmocka_unit_test(values_are_rounded_up_by_less_than_a_128th),
		cmocka_unit_test(first_buckets_at_their_limits),
		cmocka_unit_test(largest_value_has_a_bucket),
		cmocka_unit_test(quantile_never_exceeds_the_largest_value),
		cmocka_unit_test(merge_is_as_if_all_were_recorded_in_one),
		cmocka_unit_test(merge_of_an_empty_one_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
