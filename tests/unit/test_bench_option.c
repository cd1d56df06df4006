/* bench_option_row: what each option takes, at the ends of its range and one step beyond. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench_describe.h"
#include "bench_option_row.h"
#include "fixture.h"

static const struct bench_option_row *
find_row(const char *name)
{
	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++)
		if (BENCH_OPTION_ROWS[i].name && strcmp(BENCH_OPTION_ROWS[i].name, name) == 0)
			return &BENCH_OPTION_ROWS[i];
	fail_msg("no option %s", name);
	return NULL;
}

static struct bench_options
set_good(const char *name, const char *text)
{
	struct bench_options options = {0};
	struct mg_error error = {0};

	if (bench_option_set(find_row(name), text, &options, &error) < 0)
		fail_msg("%s", error.text);
	return options;
}

static void
assert_bad(const char *name, const char *text, const char *message)
{
	struct bench_options options = {0};
	struct mg_error error = {0};

	assert_int_equal(bench_option_set(find_row(name), text, &options, &error), -EINVAL);
	if (!strstr(error.text, message))
		fail_msg("\"%s\" lacks \"%s\"", error.text, message);
}

static bool
has_range(const struct bench_option_row *row)
{
	return row->type == BENCH_OPTION_COUNT || row->type == BENCH_OPTION_NUMBER ||
	       row->type == BENCH_OPTION_DURATION || row->type == BENCH_OPTION_SIZE;
}

/* A number of the option's own unit, exactly. */
static void
format(const struct bench_option_row *row, uint64_t value, char text[static 64])
{
	snprintf(text, 64, "%" PRIu64 "%s", value,
		row->type == BENCH_OPTION_DURATION ? "us"
		: row->type == BENCH_OPTION_SIZE   ? "B"
						   : "");
}

static void
each_range_has_its_ends_and_no_more(void **state)
{
	struct bench_options options = {0};
	struct mg_error error;
	char text[64];

	(void)state;
	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++) {
		const struct bench_option_row *row = &BENCH_OPTION_ROWS[i];

		if (!row->name || !has_range(row))
			continue;
		format(row, row->min, text);
		assert_int_equal(bench_option_set(row, text, &options, &error), 0);
		format(row, row->max, text);
		assert_int_equal(bench_option_set(row, text, &options, &error), 0);
		format(row, row->max + 1, text);
		assert_int_equal(bench_option_set(row, text, &options, &error), -EINVAL);
		if (row->min == 0)
			continue;
		format(row, row->min - 1, text);
		assert_int_equal(bench_option_set(row, text, &options, &error), -EINVAL);
	}
}

static void
each_default_can_be_given(void **state)
{
	struct bench_options options = {0};
	struct mg_error error;

	(void)state;
	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++) {
		const struct bench_option_row *row = &BENCH_OPTION_ROWS[i];

		if (row->name && *row->default_text != '\0')
			assert_int_equal(
				bench_option_set(row, row->default_text, &options, &error), 0);
	}
	assert_int_equal(options.connections, 1000);
	assert_int_equal(options.duration_usec, 10000000);
	assert_true(options.churn_fraction == 1);
}

static void
values_go_where_they_belong(void **state)
{
	(void)state;
	assert_int_equal(set_good("connections", "1.5M").connections, 1500000);
	assert_true(set_good("rate", "0.5").rate == 0.5);
	assert_int_equal(set_good("duration", "1m30s").duration_usec, 90000000);
	assert_int_equal(set_good("duration", "0.25").duration_usec, 250000);
	assert_int_equal(set_good("size", "64KiB").size_bytes, 65536);
	assert_int_equal(set_good("size", "64").size_bytes, 64);
	assert_int_equal(set_good("workload", "storm").workload, BENCH_WORKLOAD_STORM);
	assert_int_equal(set_good("backoff", "1s:2s").backoff_max_usec, 2000000);
	assert_true(set_good("source", "10.0.0.0/8").has_source);
	assert_string_equal(set_good("csv", "x").csv_path, "x");
	assert_true(set_good("reset", NULL).reset);
	assert_int_equal(set_good("pid", "1").pid, 1);
}

static void
what_is_wrong_is_told_what_is_allowed(void **state)
{
	(void)state;
	assert_bad("connections", "0", "--connections: found \"0\", allowed are 1 to 16000000: ");
	assert_bad("connections", "1.5", "allowed are");
	assert_bad("connections", "many", "allowed are");
	assert_bad("connections", "", "allowed are");
	assert_bad("rate", "-1", "allowed are 0 to 100000000");
	assert_bad("rate", "nan", "allowed are");
	assert_bad("backoff", "2s:1s", "--backoff: found \"2s:1s\": wait");
	assert_bad("backoff", "0:1s", "--backoff");
	assert_bad("backoff", "1s", "--backoff");
	assert_bad("workload", "sleep", "idle, receive");
	assert_bad("source", "here", "--source");
	assert_bad("pid", "4194305", "--pid");
}

static void
tables_are_described(void **state)
{
	static const char *const names[] = {"options", "counters", "hints"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char *text;
		size_t length;
		FILE *out = open_memstream(&text, &length);
		const struct reference reference = {.out = out, .form = REFERENCE_TEXT};

		assert_int_equal(bench_describe(names[i], &reference), 0);
		assert_int_equal(bench_describe("more", &reference), -ENOENT);
		fclose(out);
		assert_true(length > 500);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_range_has_its_ends_and_no_more),
		cmocka_unit_test(each_default_can_be_given),
		cmocka_unit_test(values_go_where_they_belong),
		cmocka_unit_test(what_is_wrong_is_told_what_is_allowed),
		cmocka_unit_test(tables_are_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
