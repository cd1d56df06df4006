/* Formats for people, numbers from people, and what may reach a terminal. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl_term.h"
#include "ctl_text.h"

#define SHOWS(format, value, expected) assert_string_equal(format(value).text, expected)

static void
count_has_commas(void **state)
{
	(void)state;
	SHOWS(ctl_term_count, 0, "0");
	SHOWS(ctl_term_count, 999, "999");
	SHOWS(ctl_term_count, 1000, "1,000");
	SHOWS(ctl_term_count, 999999, "999,999");
	SHOWS(ctl_term_count, 1000000, "1,000,000");
	SHOWS(ctl_term_count, 1e15, "1,000,000,000,000,000");
	SHOWS(ctl_term_count, 2e15, "2e+15");
	SHOWS(ctl_term_count, -5, "-5");
	SHOWS(ctl_term_count, 1.7e308, "1.7e+308");
}

static void
id_has_no_commas(void **state)
{
	(void)state;
	SHOWS(ctl_term_id, 0, "0");
	SHOWS(ctl_term_id, 9007199254740991.0, "9007199254740991");
	SHOWS(ctl_term_id, 1.7e308, "1.7e+308");
	SHOWS(ctl_term_id, -1.7e308, "-1.7e+308");
}

static void
bytes_have_three_digits_and_a_unit(void **state)
{
	(void)state;
	SHOWS(ctl_term_bytes, 0, "0 B");
	SHOWS(ctl_term_bytes, 1023, "1023 B");
	SHOWS(ctl_term_bytes, 1024, "1.00 KiB");
	SHOWS(ctl_term_bytes, 1025, "1.00 KiB");
	SHOWS(ctl_term_bytes, 9.99 * 1024, "9.99 KiB");
	SHOWS(ctl_term_bytes, 9.996 * 1024, "10.0 KiB");
	SHOWS(ctl_term_bytes, 99.96 * 1024, "100 KiB");
	SHOWS(ctl_term_bytes, 1023.4 * 1024, "1023 KiB");
	SHOWS(ctl_term_bytes, 1023.6 * 1024, "1.00 MiB");
	SHOWS(ctl_term_bytes, 1024.0 * 1024, "1.00 MiB");
	SHOWS(ctl_term_bytes, 5.0 * 1024 * 1024 * 1024, "5.00 GiB");
	SHOWS(ctl_term_bytes, ldexp(1, 60), "1.00 EiB");
	SHOWS(ctl_term_bytes, ldexp(1, 80), "1048576 EiB");
	SHOWS(ctl_term_bytes, 1.7e308, "1.47e+290 EiB");
	SHOWS(ctl_term_bytes, -1, "-1 B");
}

static void
duration_has_two_units_at_most(void **state)
{
	(void)state;
	SHOWS(ctl_term_duration, 0, "0s");
	SHOWS(ctl_term_duration, -1, "0s");
	SHOWS(ctl_term_duration, 0.00012, "120us");
	SHOWS(ctl_term_duration, 0.0009996, "1ms");
	SHOWS(ctl_term_duration, 0.25, "250ms");
	SHOWS(ctl_term_duration, 0.9996, "1.0s");
	SHOWS(ctl_term_duration, 1.25, "1.2s");
	SHOWS(ctl_term_duration, 9.94, "9.9s");
	SHOWS(ctl_term_duration, 10, "10s");
	SHOWS(ctl_term_duration, 59.99, "59s");
	SHOWS(ctl_term_duration, 60, "1m");
	SHOWS(ctl_term_duration, 61, "1m1s");
	SHOWS(ctl_term_duration, 3599, "59m59s");
	SHOWS(ctl_term_duration, 3600, "1h");
	SHOWS(ctl_term_duration, 11530, "3h12m");
	SHOWS(ctl_term_duration, 86399, "23h59m");
	SHOWS(ctl_term_duration, 86400, "1d");
	SHOWS(ctl_term_duration, 86400 * 2 + 4 * 3600, "2d4h");
	SHOWS(ctl_term_duration, 86400 * 100.0 - 1, "99d23h");
	SHOWS(ctl_term_duration, 86400 * 100.0, "100d");
	SHOWS(ctl_term_duration, 1.7e308, "1.97e+303d");
}

static void
rate_has_a_decimal_when_it_is_small(void **state)
{
	(void)state;
	SHOWS(ctl_term_rate, 0, "0");
	SHOWS(ctl_term_rate, 0.01, "<0.1");
	SHOWS(ctl_term_rate, 0.06, "0.1");
	SHOWS(ctl_term_rate, 9.94, "9.9");
	SHOWS(ctl_term_rate, 9.96, "10");
	SHOWS(ctl_term_rate, 1234.5, "1,234");
}

static void
percent_is_rounded_down(void **state)
{
	(void)state;
	assert_string_equal(ctl_term_percent(0, 10).text, "0%");
	assert_string_equal(ctl_term_percent(1, 1000).text, "<1%");
	assert_string_equal(ctl_term_percent(1, 100).text, "1%");
	assert_string_equal(ctl_term_percent(99999, 100000).text, "99%");
	assert_string_equal(ctl_term_percent(5, 5).text, "100%");
	assert_string_equal(ctl_term_percent(15, 10).text, "150%");
	assert_string_equal(ctl_term_percent(5, 0).text, "-");
	assert_string_equal(ctl_term_percent(NAN, 5).text, "-");
}

static void
what_is_not_told_is_a_dash(void **state)
{
	(void)state;
	SHOWS(ctl_term_count, NAN, "-");
	SHOWS(ctl_term_id, NAN, "-");
	SHOWS(ctl_term_bytes, NAN, "-");
	SHOWS(ctl_term_duration, NAN, "-");
	SHOWS(ctl_term_rate, NAN, "-");
}

static void
durations_are_read_with_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t usec;
	} good[] = {{"1", 1000000}, {"0.5", 500000}, {"250ms", 250000}, {"2s", 2000000},
		{"1.5m", 90000000}, {"1h", 3600000000}, {".5", 500000}};
	uint64_t usec;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(ctl_term_parse_duration(good[i].text, 1, 3600000000, &usec), 0);
		assert_int_equal(usec, good[i].usec);
	}
}

static void
what_is_no_duration_is_refused(void **state)
{
	static const char *const bad[] = {"", "s", "x", "1x", "-1", "+1", " 1", "1 ", "1..2", ".",
		"1.2.3", "nan", "inf", "0x10", "1e3", "1sm", "111111111111111111111"};
	uint64_t usec = 7;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(ctl_term_parse_duration(bad[i], 0, UINT64_MAX, &usec), -EINVAL);
	assert_int_equal(usec, 7);
}

static void
durations_have_limits(void **state)
{
	uint64_t usec = 7;

	(void)state;
	assert_int_equal(ctl_term_parse_duration("99ms", 100000, 1000000, &usec), -ERANGE);
	assert_int_equal(ctl_term_parse_duration("1.000001", 100000, 1000000, &usec), -ERANGE);
	assert_int_equal(usec, 7);
	assert_int_equal(ctl_term_parse_duration("100ms", 100000, 1000000, &usec), 0);
	assert_int_equal(ctl_term_parse_duration("1", 100000, 1000000, &usec), 0);
}

static void
numbers_have_limits(void **state)
{
	uint64_t number = 7;

	(void)state;
	assert_int_equal(ctl_term_parse_number("101", 100, &number), -ERANGE);
	assert_int_equal(
		ctl_term_parse_number("99999999999999999999", UINT64_MAX, &number), -ERANGE);
	assert_int_equal(ctl_term_parse_number("", 100, &number), -EINVAL);
	assert_int_equal(ctl_term_parse_number("-1", 100, &number), -EINVAL);
	assert_int_equal(ctl_term_parse_number("1x", 100, &number), -EINVAL);
	assert_int_equal(number, 7);
	assert_int_equal(ctl_term_parse_number("100", 100, &number), 0);
	assert_int_equal(number, 100);
	assert_int_equal(ctl_term_parse_number("007", 100, &number), 0);
	assert_int_equal(number, 7);
}

static void
assert_escaped(const char *text, const char *expected)
{
	char *escaped = ctl_term_escape(text);

	assert_string_equal(escaped, expected);
	free(escaped);
}

static void
printable_text_stays(void **state)
{
	(void)state;
	assert_escaped("", "");
	assert_escaped("a b~", "a b~");
	assert_escaped("caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80",
		"caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80");
}

static void
control_characters_become_visible(void **state)
{
	(void)state;
	assert_escaped("\x1b[31m\x07\r\n\t", "\\u001b[31m\\u0007\\u000d\\u000a\\u0009");
	assert_escaped("\x7f", "\\u007f");
	assert_escaped("\xc2\x9b", "\\u009b");
	assert_escaped("\xe2\x80\xae", "\\u202e");
	assert_escaped("\xf3\xa0\x80\x81", "\\udb40\\udc01");
}

static void
bytes_that_are_not_utf8_become_visible(void **state)
{
	(void)state;
	assert_escaped("\xff", "\\xff");
	assert_escaped("\xc0\x80", "\\xc0\\x80");
	assert_escaped("\xc3", "\\xc3");
	assert_escaped("\xe4\xb8", "\\xe4\\xb8");
	assert_escaped("\xed\xa0\x80", "\\xed\\xa0\\x80");
	assert_escaped("\xe0\x80\x80", "\\xe0\\x80\\x80");
	assert_escaped("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	assert_escaped("\x80z", "\\x80z");
}

static void
only_ascii_is_printed_where_the_locale_has_no_more(void **state)
{
	(void)state;
	assert_non_null(setlocale(LC_CTYPE, "C"));
	assert_escaped("caf\xc3\xa9", "caf\\u00e9");
	assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
}

static void
width_is_counted_in_columns(void **state)
{
	(void)state;
	assert_int_equal(ctl_term_width("abc"), 3);
	assert_int_equal(ctl_term_width("\xc3\xa9"), 1);
	assert_int_equal(ctl_term_width("\xe4\xb8\xad"), 2);
	assert_int_equal(ctl_term_width("\x1b"), 6);
}

/* What `draw` puts on a screen of that size. */
static char *
drawn(void (*draw)(struct ctl_text *text), unsigned width, unsigned height, bool color)
{
	char *output = NULL;
	size_t size;
	struct ctl_text text = {.width = width, .height = height, .color = color};

	text.out = open_memstream(&output, &size);
	assert_non_null(text.out);
	draw(&text);
	fclose(text.out);
	return output;
}

static void
assert_drawn(
	void (*draw)(struct ctl_text *text), unsigned width, unsigned height, const char *expected)
{
	char *output = drawn(draw, width, height, false);

	assert_string_equal(output, expected);
	free(output);
}

static void
draw_three_lines(struct ctl_text *text)
{
	ctl_text_put(text, CTL_BOLD, "abc");
	ctl_text_pad(text, 6);
	ctl_text_put(text, CTL_PLAIN, "\xe4\xb8\xad.");
	ctl_text_end_line(text);
	ctl_text_put(text, CTL_PLAIN, "d");
	ctl_text_end_line(text);
	ctl_text_put(text, CTL_PLAIN, "e");
	ctl_text_end_line(text);
}

static void
lines_are_cut_at_the_width(void **state)
{
	(void)state;
	assert_drawn(draw_three_lines, 0, 0, "abc   \xe4\xb8\xad.\nd\ne\n");
	assert_drawn(draw_three_lines, 9, 0, "abc   \xe4\xb8\xad.\nd\ne\n");
	assert_drawn(draw_three_lines, 8, 0, "abc   \xe4\xb8\xad\nd\ne\n");
	assert_drawn(draw_three_lines, 7, 0, "abc   \nd\ne\n");
	assert_drawn(draw_three_lines, 1, 0, "a\nd\ne\n");
}

static void
rows_are_cut_at_the_height(void **state)
{
	(void)state;
	assert_drawn(draw_three_lines, 1, 4, "a\nd\ne\n");
	assert_drawn(draw_three_lines, 1, 3, "a\nd\ne");
	assert_drawn(draw_three_lines, 1, 2, "a\nd");
	assert_drawn(draw_three_lines, 1, 1, "a");
}

static void
styles_are_sequences_only_with_colour(void **state)
{
	char *output = drawn(draw_three_lines, 3, 1, true);

	(void)state;
	assert_string_equal(output, "\033[0;1mabc\033[0m");
	free(output);
}

static void
draw_bars(struct ctl_text *text)
{
	static const double fractions[] = {0, 0.001, 0.5, 0.999, 1, 2, -1, NAN};
	size_t i;

	for (i = 0; i < sizeof(fractions) / sizeof(*fractions); i++)
		ctl_text_bar(text, fractions[i], 6);
}

static void
bars_are_full_only_when_it_is_full(void **state)
{
	(void)state;
	assert_drawn(draw_bars, 0, 0, "[....][#...][##..][###.][####][####][....][....]");
}

static void
draw_table_in_two_parts(struct ctl_text *text)
{
	static const struct ctl_column columns[] = {{"NAME", false}, {"N", true}, {"WHY", false}};
	struct ctl_table table;

	ctl_table_init(&table, columns, 3);
	ctl_table_add(&table, CTL_PLAIN, "a");
	ctl_table_add(&table, CTL_PLAIN, "1");
	ctl_table_add(&table, CTL_PLAIN, "%s", "");
	ctl_table_add(&table, CTL_PLAIN, "longer");
	ctl_table_add(&table, CTL_PLAIN, "100");
	ctl_table_add(&table, CTL_PLAIN, "x");
	ctl_table_print(&table, text);
	ctl_table_add(&table, CTL_PLAIN, "b");
	ctl_table_add(&table, CTL_PLAIN, "20");
	ctl_table_add(&table, CTL_PLAIN, "y\n");
	ctl_table_print(&table, text);
	ctl_table_done(&table);
}

static void
tables_are_aligned_over_their_parts(void **state)
{
	(void)state;
	assert_drawn(draw_table_in_two_parts, 0, 0,
		"NAME      N  WHY\n"
		"a         1\n"
		"longer  100  x\n"
		"b        20  y\\u000a\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(count_has_commas),
		cmocka_unit_test(id_has_no_commas),
		cmocka_unit_test(bytes_have_three_digits_and_a_unit),
		cmocka_unit_test(duration_has_two_units_at_most),
		cmocka_unit_test(rate_has_a_decimal_when_it_is_small),
		cmocka_unit_test(percent_is_rounded_down),
		cmocka_unit_test(what_is_not_told_is_a_dash),
		cmocka_unit_test(durations_are_read_with_units),
		cmocka_unit_test(what_is_no_duration_is_refused),
		cmocka_unit_test(durations_have_limits),
		cmocka_unit_test(numbers_have_limits),
		cmocka_unit_test(printable_text_stays),
		cmocka_unit_test(control_characters_become_visible),
		cmocka_unit_test(bytes_that_are_not_utf8_become_visible),
		cmocka_unit_test(only_ascii_is_printed_where_the_locale_has_no_more),
		cmocka_unit_test(width_is_counted_in_columns),
		cmocka_unit_test(lines_are_cut_at_the_width),
		cmocka_unit_test(rows_are_cut_at_the_height),
		cmocka_unit_test(styles_are_sequences_only_with_colour),
		cmocka_unit_test(bars_are_full_only_when_it_is_full),
		cmocka_unit_test(tables_are_aligned_over_their_parts),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
