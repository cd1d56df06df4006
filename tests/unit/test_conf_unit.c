/* conf_unit: durations, sizes and modes, there and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf_unit.h"

static void
assert_duration(const char *text, uint64_t usec)
{
	uint64_t parsed = 1;

	if (conf_unit_parse_duration(text, &parsed) < 0)
		fail_msg("%s is not a duration", text);
	assert_int_equal(parsed, usec);
}

static void
assert_duration_error(const char *text, int error)
{
	uint64_t parsed = 12345;

	assert_int_equal(conf_unit_parse_duration(text, &parsed), error);
	assert_int_equal(parsed, 12345);
}

static void
assert_duration_text(uint64_t usec, const char *text)
{
	char buf[CONF_UNIT_TEXT_MAX];

	assert_string_equal(conf_unit_format_duration(usec, buf), text);
	assert_duration(buf, usec);
}

static void
test_duration_units(void **state)
{
	(void)state;
	assert_duration("7us", 7);
	assert_duration("7ms", 7000);
	assert_duration("7s", 7000000);
	assert_duration("7m", 420000000);
	assert_duration("7h", UINT64_C(25200000000));
	assert_duration("7d", UINT64_C(604800000000));
}

static void
test_duration_zero(void **state)
{
	(void)state;
	assert_duration("0s", 0);
	assert_duration("0d0us", 0);
}

static void
test_duration_units_add_up(void **state)
{
	(void)state;
	assert_duration("1h30m", UINT64_C(5400000000));
	assert_duration("1d2h3m4s5ms6us", UINT64_C(93784005006));
	assert_duration("5m6ms", 300006000);
	assert_duration("090s", 90000000);
}

static void
test_duration_of_other_form(void **state)
{
	static const char *const texts[] = {"", "s", "10", "10S", "10 s", " 10s", "10s ", "-1s",
		"+1s", "1.5s", "1e3s", "10sec", "10min", "1h30", "h1", "10s\n", "0x10s"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_duration_error(texts[i], -EINVAL);
}

static void
test_duration_units_in_order_and_once(void **state)
{
	(void)state;
	assert_duration_error("30m1h", -EINVAL);
	assert_duration_error("1m1m", -EINVAL);
	assert_duration_error("1us1ms", -EINVAL);
}

static void
test_duration_overflow(void **state)
{
	(void)state;
	assert_duration("18446744073709551615us", UINT64_MAX);
	assert_duration_error("18446744073709551616us", -ERANGE);
	assert_duration_error("18446744073709551615ms", -ERANGE);
	assert_duration_error("18446744073709551ms616us", -ERANGE);
	assert_duration_error("184467440737095516150s", -ERANGE);
}

static void
test_duration_canonical(void **state)
{
	(void)state;
	assert_duration_text(0, "0s");
	assert_duration_text(1, "1us");
	assert_duration_text(999, "999us");
	assert_duration_text(1000, "1ms");
	assert_duration_text(1001, "1ms1us");
	assert_duration_text(250000, "250ms");
	assert_duration_text(1500000, "1s500ms");
	assert_duration_text(59999999, "59s999ms999us");
	assert_duration_text(90000000, "1m30s");
	assert_duration_text(600000000, "10m");
	assert_duration_text(UINT64_C(3600000000), "1h");
	assert_duration_text(UINT64_C(86399000000), "23h59m59s");
	assert_duration_text(UINT64_C(31536000000000), "365d");
	assert_duration_text(UINT64_MAX, "213503982d8h1m49s551ms615us");
}

static void
assert_size(const char *text, uint64_t bytes)
{
	uint64_t parsed = 1;

	if (conf_unit_parse_size(text, &parsed) < 0)
		fail_msg("%s is not a size", text);
	assert_int_equal(parsed, bytes);
}

static void
assert_size_error(const char *text, int error)
{
	uint64_t parsed = 12345;

	assert_int_equal(conf_unit_parse_size(text, &parsed), error);
	assert_int_equal(parsed, 12345);
}

static void
assert_size_text(uint64_t bytes, const char *text)
{
	char buf[CONF_UNIT_TEXT_MAX];

	assert_string_equal(conf_unit_format_size(bytes, buf), text);
	assert_size(buf, bytes);
}

static void
test_size_units(void **state)
{
	(void)state;
	assert_size("0B", 0);
	assert_size("1B", 1);
	assert_size("64KiB", 65536);
	assert_size("3MiB", 3145728);
	assert_size("1GiB", UINT64_C(1) << 30);
	assert_size("1TiB", UINT64_C(1) << 40);
}

static void
test_size_of_other_form(void **state)
{
	static const char *const texts[] = {"", "B", "64", "64K", "64M", "64KB", "64kib", "64Kib",
		"64 KiB", " 64KiB", "64KiB ", "1MiB1KiB", "1.5MiB", "-1B", "1PiB", "64KiBB"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_size_error(texts[i], -EINVAL);
}

static void
test_size_overflow(void **state)
{
	(void)state;
	assert_size("18446744073709551615B", UINT64_MAX);
	assert_size_error("18446744073709551616B", -ERANGE);
	assert_size("16777215TiB", UINT64_C(16777215) << 40);
	assert_size_error("16777216TiB", -ERANGE);
}

static void
test_size_canonical(void **state)
{
	(void)state;
	assert_size_text(0, "0B");
	assert_size_text(1, "1B");
	assert_size_text(1000, "1000B");
	assert_size_text(1023, "1023B");
	assert_size_text(1024, "1KiB");
	assert_size_text(1025, "1025B");
	assert_size_text(262144, "256KiB");
	assert_size_text(1536 * 1024, "1536KiB");
	assert_size_text(UINT64_C(1) << 40, "1TiB");
	assert_size_text(UINT64_C(1) << 50, "1024TiB");
	assert_size_text(UINT64_MAX, "18446744073709551615B");
}

static void
test_mode(void **state)
{
	char buf[CONF_UNIT_TEXT_MAX];
	uint64_t mode;

	(void)state;
	assert_int_equal(conf_unit_parse_mode("0660", &mode), 0);
	assert_int_equal(mode, 0660);
	assert_string_equal(conf_unit_format_mode(mode, buf), "0660");
	assert_int_equal(conf_unit_parse_mode("777", &mode), 0);
	assert_int_equal(mode, 0777);
	assert_int_equal(conf_unit_parse_mode("000", &mode), 0);
	assert_int_equal(mode, 0);
	assert_string_equal(conf_unit_format_mode(mode, buf), "0000");
}

static void
test_mode_of_other_form(void **state)
{
	static const char *const texts[] = {
		"", "0", "66", "66000", "00660", "1777", "888", "0668", "rwx", " 660", "-660"};
	uint64_t mode;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(conf_unit_parse_mode(texts[i], &mode), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_duration_units),
		cmocka_unit_test(test_duration_zero),
		cmocka_unit_test(test_duration_units_add_up),
		cmocka_unit_test(test_duration_of_other_form),
		cmocka_unit_test(test_duration_units_in_order_and_once),
		cmocka_unit_test(test_duration_overflow),
		cmocka_unit_test(test_duration_canonical),
		cmocka_unit_test(test_size_units),
		cmocka_unit_test(test_size_of_other_form),
		cmocka_unit_test(test_size_overflow),
		cmocka_unit_test(test_size_canonical),
		cmocka_unit_test(test_mode),
		cmocka_unit_test(test_mode_of_other_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
