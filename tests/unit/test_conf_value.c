/* conf_value and conf_field: every type of the table, at its limits, there and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf.h"
#include "conf_field.h"
#include "conf_value.h"

/* Room for the field of any type. */
union field {
	uint64_t number;
	unsigned word;
	char *string;
	struct conf_cidrs cidrs;
	struct conf_sysctls sysctls;
};

static const struct conf_key UINT_KEY = {.type = CONF_TYPE_UINT, .min = 3, .max = 9, .unit = "x"};
static const struct conf_key UINT_OFF_KEY = {
	.type = CONF_TYPE_UINT, .min = 3, .max = 9, .unit = "0|x"};
static const struct conf_key AUTO_KEY = {.type = CONF_TYPE_AUTO, .min = 1, .max = 9, .unit = ""};
static const struct conf_key DURATION_KEY = {
	.type = CONF_TYPE_DURATION, .min = 100000, .max = 60000000, .unit = ""};
static const struct conf_key DURATION_OFF_KEY = {
	.type = CONF_TYPE_DURATION, .min = 100000, .max = 60000000, .unit = "0|"};
static const struct conf_key SIZE_KEY = {
	.type = CONF_TYPE_SIZE, .min = 1024, .max = 1048576, .unit = "bytes"};
static const struct conf_key MODE_KEY = {.type = CONF_TYPE_MODE, .min = 0, .max = 0770, .unit = ""};
static const struct conf_key WORD_KEY = {
	.type = CONF_TYPE_WORD, .words = "hold|echo|hub", .unit = ""};
static const struct conf_key STRING_KEY = {
	.type = CONF_TYPE_STRING, .min = 1, .max = 4, .unit = "bytes"};
static const struct conf_key PATH_KEY = {
	.type = CONF_TYPE_PATH, .min = 0, .max = 5, .unit = "bytes"};
static const struct conf_key ADDRESS_KEY = {
	.type = CONF_TYPE_ADDRESS, .min = 0, .max = 120, .unit = "bytes"};
static const struct conf_key CIDRS_KEY = {
	.type = CONF_TYPE_CIDRS, .min = 1, .max = 2, .unit = "ranges"};
static const struct conf_key SYSCTLS_KEY = {
	.type = CONF_TYPE_SYSCTLS, .min = 0, .max = 2, .unit = "settings"};

static json_t *
make_json(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	if (!json)
		fail_msg("%s: %s", text, error.text);
	return json;
}

/* The key takes this text of JSON, and has that one for the value. */
static void
assert_value(const struct conf_key *key, const char *text, const char *canonical)
{
	json_t *json = make_json(text), *back, *expected = make_json(canonical);
	struct mg_error error = {""};
	union field field = {0};

	if (conf_value_parse(key, json, &field, &error) < 0)
		fail_msg("%s: %s", text, error.text);
	back = conf_field_to_json(key, &field);
	if (!json_equal(back, expected))
		fail_msg("%s: is %s", text, json_dumps(back, JSON_ENCODE_ANY));
	conf_field_done(key, &field);
	json_decref(json);
	json_decref(back);
	json_decref(expected);
}

static void
assert_error(const struct conf_key *key, const char *text, const char *message)
{
	json_t *json = make_json(text);
	struct mg_error error = {""};
	union field field = {0}, untouched = {0};

	assert_int_equal(conf_value_parse(key, json, &field, &error), -EINVAL);
	assert_string_equal(error.text, message);
	assert_memory_equal(&field, &untouched, sizeof(field));
	json_decref(json);
}

static void
test_uint_limits(void **state)
{
	(void)state;
	assert_error(&UINT_KEY, "2", "found 2, allowed are 3 to 9");
	assert_value(&UINT_KEY, "3", "3");
	assert_value(&UINT_KEY, "9", "9");
	assert_error(&UINT_KEY, "10", "found 10, allowed are 3 to 9");
	assert_error(&UINT_KEY, "0", "found 0, allowed are 3 to 9");
	assert_error(&UINT_KEY, "-5", "found -5, allowed are 3 to 9");
	assert_error(
		&UINT_KEY, "9223372036854775807", "found 9223372036854775807, allowed are 3 to 9");
	assert_error(&UINT_KEY, "1e300", "found 1e300, allowed are 3 to 9");
}

static void
test_uint_zero_is_off(void **state)
{
	(void)state;
	assert_value(&UINT_OFF_KEY, "0", "0");
	assert_error(&UINT_OFF_KEY, "2", "found 2, allowed are 0 and 3 to 9");
}

static void
test_uint_is_a_whole_number(void **state)
{
	static const char *const texts[] = {"3.5", "\"3\"", "true", "null", "[3]", "{}"};

	(void)state;
	assert_value(&UINT_KEY, "3.0", "3");
	assert_value(&UINT_KEY, "0.5e1", "5");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char message[128];

		snprintf(message, sizeof(message),
			"found %s, allowed are 3 to 9, written as a whole number without quotes",
			texts[i]);
		assert_error(&UINT_KEY, texts[i], message);
	}
}

static void
test_auto(void **state)
{
	(void)state;
	assert_value(&AUTO_KEY, "\"auto\"", "\"auto\"");
	assert_value(&AUTO_KEY, "1", "1");
	assert_error(&AUTO_KEY, "0", "found 0, allowed are \"auto\" and 1 to 9");
	assert_error(&AUTO_KEY, "10", "found 10, allowed are \"auto\" and 1 to 9");
	assert_error(&AUTO_KEY, "\"Auto\"", "found \"Auto\", allowed are \"auto\" and 1 to 9");
}

static void
test_duration_limits_as_text(void **state)
{
	(void)state;
	assert_error(&DURATION_KEY, "\"99999us\"", "found \"99999us\", allowed are 100ms to 1m");
	assert_value(&DURATION_KEY, "\"100ms\"", "\"100ms\"");
	assert_value(&DURATION_KEY, "\"60s\"", "\"1m\"");
	assert_error(&DURATION_KEY, "\"1m1us\"", "found \"1m1us\", allowed are 100ms to 1m");
	assert_error(&DURATION_KEY, "\"99999999999999999999d\"",
		"found \"99999999999999999999d\", allowed are 100ms to 1m");
}

static void
test_duration_limits_as_seconds(void **state)
{
	(void)state;
	assert_error(&DURATION_KEY, "0.099999", "found 0.099999, allowed are 100ms to 1m");
	assert_value(&DURATION_KEY, "0.1", "\"100ms\"");
	assert_value(&DURATION_KEY, "1", "\"1s\"");
	assert_value(&DURATION_KEY, "1.5", "\"1s500ms\"");
	assert_value(&DURATION_KEY, "0.3", "\"300ms\"");
	assert_value(&DURATION_KEY, "60", "\"1m\"");
	assert_error(&DURATION_KEY, "60.000001", "found 60.000001, allowed are 100ms to 1m");
	assert_error(&DURATION_KEY, "-1", "found -1, allowed are 100ms to 1m");
	assert_error(&DURATION_KEY, "1e300", "found 1e300, allowed are 100ms to 1m");
}

static void
test_duration_zero(void **state)
{
	(void)state;
	assert_error(&DURATION_KEY, "0", "found 0, allowed are 100ms to 1m");
	assert_error(&DURATION_KEY, "\"0s\"", "found \"0s\", allowed are 100ms to 1m");
	assert_value(&DURATION_OFF_KEY, "0", "\"0s\"");
	assert_value(&DURATION_OFF_KEY, "0.0", "\"0s\"");
	assert_value(&DURATION_OFF_KEY, "\"0m\"", "\"0s\"");
}

static void
test_duration_too_little_is_not_off(void **state)
{
	(void)state;
	assert_error(&DURATION_OFF_KEY, "1e-9", "found 1e-9, allowed are 0 and 100ms to 1m");
	assert_error(&DURATION_OFF_KEY, "\"1us\"", "found \"1us\", allowed are 0 and 100ms to 1m");
}

static void
test_duration_of_other_form(void **state)
{
	(void)state;
	assert_error(&DURATION_KEY, "\"10\"",
		"found \"10\", allowed are 100ms to 1m, written as text with the units d, h, m, s, "
		"ms and us (\"1h30m\") or as a number of seconds");
	assert_error(&DURATION_KEY, "true",
		"found true, allowed are 100ms to 1m, written as text with the units d, h, m, s, "
		"ms and us (\"1h30m\") or as a number of seconds");
}

static void
test_size_limits(void **state)
{
	(void)state;
	assert_error(&SIZE_KEY, "1023", "found 1023, allowed are 1KiB to 1MiB");
	assert_error(&SIZE_KEY, "\"1023B\"", "found \"1023B\", allowed are 1KiB to 1MiB");
	assert_value(&SIZE_KEY, "1024", "\"1KiB\"");
	assert_value(&SIZE_KEY, "\"1024B\"", "\"1KiB\"");
	assert_value(&SIZE_KEY, "1025", "\"1025B\"");
	assert_value(&SIZE_KEY, "\"1MiB\"", "\"1MiB\"");
	assert_error(&SIZE_KEY, "1048577", "found 1048577, allowed are 1KiB to 1MiB");
	assert_error(&SIZE_KEY, "\"2MiB\"", "found \"2MiB\", allowed are 1KiB to 1MiB");
}

static void
test_size_of_other_form(void **state)
{
	(void)state;
	assert_error(&SIZE_KEY, "\"64K\"",
		"found \"64K\", allowed are 1KiB to 1MiB, written as text with one of the units B, "
		"KiB, MiB, GiB and TiB (\"64KiB\") or as a number of bytes");
}

static void
test_mode(void **state)
{
	(void)state;
	assert_value(&MODE_KEY, "\"0660\"", "\"0660\"");
	assert_value(&MODE_KEY, "\"660\"", "\"0660\"");
	assert_value(&MODE_KEY, "\"0770\"", "\"0770\"");
	assert_error(&MODE_KEY, "\"0771\"",
		"found \"0771\", allowed are \"0000\" to \"0770\" (octal, in quotes)");
	assert_error(
		&MODE_KEY, "660", "found 660, allowed are \"0000\" to \"0770\" (octal, in quotes)");
}

static void
test_word(void **state)
{
	(void)state;
	assert_value(&WORD_KEY, "\"hold\"", "\"hold\"");
	assert_value(&WORD_KEY, "\"echo\"", "\"echo\"");
	assert_value(&WORD_KEY, "\"hub\"", "\"hub\"");
	assert_error(
		&WORD_KEY, "\"hol\"", "found \"hol\", allowed are \"hold\", \"echo\" and \"hub\"");
	assert_error(&WORD_KEY, "\"hold|echo\"",
		"found \"hold|echo\", allowed are \"hold\", \"echo\" and \"hub\"");
	assert_error(&WORD_KEY, "\"\"", "found \"\", allowed are \"hold\", \"echo\" and \"hub\"");
	assert_error(&WORD_KEY, "0", "found 0, allowed are \"hold\", \"echo\" and \"hub\"");
}

static void
test_string_length_is_in_bytes(void **state)
{
	(void)state;
	assert_error(&STRING_KEY, "\"\"",
		"found \"\", allowed are texts of 1 to 4 bytes without NUL characters");
	assert_value(&STRING_KEY, "\"a\"", "\"a\"");
	assert_value(&STRING_KEY, "\"\\u00e4\\u00e4\"", "\"\\u00e4\\u00e4\"");
	assert_value(&STRING_KEY, "\"\\n\\\\\\\"x\"", "\"\\n\\\\\\\"x\"");
	assert_error(&STRING_KEY, "\"\\u00e4\\u00e4a\"",
		"found \"\u00e4\u00e4a\", allowed are texts of 1 to 4 bytes without NUL characters");
}

static void
test_nul_is_an_error_in_every_text(void **state)
{
	(void)state;
	assert_error(&STRING_KEY, "\"a\\u0000\"",
		"found \"a\\u0000\", allowed are texts of 1 to 4 bytes without NUL characters");
	assert_error(&WORD_KEY, "\"hold\\u0000\"",
		"found \"hold\\u0000\", allowed are \"hold\", \"echo\" and \"hub\"");
	assert_error(&MODE_KEY, "\"660\\u0000\"",
		"found \"660\\u0000\", allowed are \"0000\" to \"0770\" (octal, in quotes)");
	assert_error(&PATH_KEY, "\"/\\u0000\"",
		"found \"/\\u0000\", allowed are absolute paths of at most 5 bytes, and \"\" for "
		"none");
}

static void
test_path(void **state)
{
	(void)state;
	assert_value(&PATH_KEY, "\"\"", "\"\"");
	assert_value(&PATH_KEY, "\"/\"", "\"/\"");
	assert_value(&PATH_KEY, "\"/1234\"", "\"/1234\"");
	assert_error(&PATH_KEY, "\"/12345\"",
		"found \"/12345\", allowed are absolute paths of at most 5 bytes, and \"\" for "
		"none");
	assert_error(&PATH_KEY, "\"run\"",
		"found \"run\", allowed are absolute paths of at most 5 bytes, and \"\" for none");
}

static void
test_address(void **state)
{
	(void)state;
	assert_value(&ADDRESS_KEY, "\"\"", "\"\"");
	assert_value(&ADDRESS_KEY, "\"127.0.0.1:7000\"", "\"127.0.0.1:7000\"");
	assert_value(&ADDRESS_KEY, "\"unix:/run/x\"", "\"unix:/run/x\"");
	assert_error(&ADDRESS_KEY, "\"127.0.0.1:0\"", "found port \"0\", allowed are 1 to 65535");
}

static void
test_ranges(void **state)
{
	(void)state;
	assert_error(&CIDRS_KEY, "[]", "found [], allowed are lists of at most 2 address ranges");
	assert_value(&CIDRS_KEY, "[\"10.0.0.0/8\"]", "[\"10.0.0.0/8\"]");
	assert_value(&CIDRS_KEY, "[\"::1\", \"192.0.2.1\"]", "[\"::1/128\", \"192.0.2.1/32\"]");
	assert_error(&CIDRS_KEY, "[\"::1\", \"::2\", \"::3\"]",
		"found [\"::1\",\"::2\",\"::3\"], allowed are lists of at most 2 address ranges");
	assert_error(&CIDRS_KEY, "\"10.0.0.0/8\"",
		"found \"10.0.0.0/8\", allowed are lists of at most 2 address ranges");
	assert_error(&CIDRS_KEY, "[\"10.0.0.0/8\", 5]",
		"found 5, allowed are ranges such as \"10.0.0.0/8\"");
	assert_error(&CIDRS_KEY, "[\"10.0.0.1/8\"]",
		"found \"10.0.0.1/8\" with bits set behind the prefix, allowed is \"10.0.0.0/8\"");
}

static void
test_sysctls(void **state)
{
	static const char too_many[] = "{\"a.b\":1,\"a.c\":2,\"a.d\":3}";
	static const char numbers[] = "allowed are whole numbers from 0, and texts of 1 to 8 of "
				      "them such as \"4096 87380 6291456\"";
	char message[256];

	(void)state;
	assert_value(&SYSCTLS_KEY, "{}", "{}");
	assert_value(&SYSCTLS_KEY, "{\"a.b\": 0, \"a.c\": \" 1\\t2 \"}",
		"{\"a.b\": 0, \"a.c\": \"1 2\"}");
	assert_value(
		&SYSCTLS_KEY, "{\"a.b\": 9223372036854775807}", "{\"a.b\": 9223372036854775807}");
	assert_value(&SYSCTLS_KEY, "{\"a.b\": \"7\", \"a.c\": 1e3}", "{\"a.b\": 7, \"a.c\": 1000}");
	snprintf(message, sizeof(message),
		"found %s, allowed are objects of at most 2 kernel settings, such as "
		"{\"net.core.somaxconn\": 4096}",
		too_many);
	assert_error(&SYSCTLS_KEY, too_many, message);
	snprintf(message, sizeof(message), "found -1, %s", numbers);
	assert_error(&SYSCTLS_KEY, "{\"a.b\": -1}", message);
	snprintf(message, sizeof(message), "found \"x\", %s", numbers);
	assert_error(&SYSCTLS_KEY, "{\"a.c\": 1, \"a.b\": \"x\"}", message);
	assert_error(&SYSCTLS_KEY, "{\"a\": 1}",
		"is no name of a kernel setting, such as net.core.somaxconn");
}

static void
test_default_json(void **state)
{
	struct conf_key key = {.type = CONF_TYPE_UINT, .default_text = "42"};
	json_t *json = conf_value_default_json(&key);

	(void)state;
	assert_int_equal(json_integer_value(json), 42);
	json_decref(json);
	key.type = CONF_TYPE_AUTO;
	json = conf_value_default_json(&key);
	assert_int_equal(json_integer_value(json), 42);
	json_decref(json);
	key.default_text = "auto";
	json = conf_value_default_json(&key);
	assert_string_equal(json_string_value(json), "auto");
	json_decref(json);
	key.type = CONF_TYPE_CIDRS;
	json = conf_value_default_json(&key);
	assert_int_equal(json_array_size(json), 0);
	json_decref(json);
	key.type = CONF_TYPE_SYSCTLS;
	json = conf_value_default_json(&key);
	assert_true(json_is_object(json));
	json_decref(json);
}

static void
test_show_fits_exactly(void **state)
{
	char text[CONF_VALUE_SHOW_MAX + 1] = "", buf[CONF_VALUE_SHOW_MAX];
	json_t *json;

	(void)state;
	/* With its quotes, as many bytes as there are. */
	memset(text, 'x', CONF_VALUE_SHOW_MAX - 3);
	json = json_string(text);
	assert_int_equal(strlen(conf_value_show(json, buf)), CONF_VALUE_SHOW_MAX - 1);
	assert_int_equal(buf[CONF_VALUE_SHOW_MAX - 2], '"');
	json_decref(json);
	text[CONF_VALUE_SHOW_MAX - 3] = 'x';
	json = json_string(text);
	assert_int_equal(strlen(conf_value_show(json, buf)), CONF_VALUE_SHOW_MAX - 1);
	assert_string_equal(buf + CONF_VALUE_SHOW_MAX - 5, "x...");
	json_decref(json);
}

static void
test_show_cuts_between_characters(void **state)
{
	char text[2 * CONF_VALUE_SHOW_MAX + 2], buf[CONF_VALUE_SHOW_MAX];
	size_t shift;

	(void)state;
	for (shift = 0; shift < 2; shift++) {
		json_t *json, *whole;

		text[0] = '\0';
		strcat(text, shift ? "x" : "");
		for (size_t i = 0; i < CONF_VALUE_SHOW_MAX; i++)
			strcat(text, "\u00e4");
		json = json_string(text);
		conf_value_show(json, buf);
		/* jansson takes valid UTF-8 only. */
		whole = json_string(buf);
		assert_non_null(whole);
		json_decref(whole);
		json_decref(json);
	}
}

static void
test_show_of_huge_values_is_short(void **state)
{
	json_t *json = json_array();
	char buf[CONF_VALUE_SHOW_MAX];

	(void)state;
	for (int i = 0; i < 10000; i++)
		json_array_append_new(json, json_integer(i));
	assert_int_equal(strncmp(conf_value_show(json, buf), "[0,1,2,3,", 9), 0);
	assert_string_equal(buf + strlen(buf) - 3, "...");
	json_decref(json);
}

/* Fields made of `a` and `b` differ; a copy of the one over the other does not. */
static void
assert_copies(const struct conf_key *key, const char *a, const char *b)
{
	json_t *json_a = make_json(a), *json_b = make_json(b);
	union field from = {0}, to = {0};

	assert_int_equal(conf_value_parse(key, json_a, &from, NULL), 0);
	assert_int_equal(conf_value_parse(key, json_b, &to, NULL), 0);
	assert_false(conf_field_equal(key, &from, &to));
	assert_int_equal(conf_field_copy(key, &to, &from), 0);
	assert_true(conf_field_equal(key, &from, &to));
	conf_field_done(key, &from);
	conf_field_done(key, &from); /* and once more does no harm */
	conf_field_done(key, &to);
	json_decref(json_a);
	json_decref(json_b);
}

static void
test_equal_and_copy(void **state)
{
	(void)state;
	assert_copies(&UINT_KEY, "3", "4");
	assert_copies(&DURATION_KEY, "1", "2");
	assert_copies(&WORD_KEY, "\"hub\"", "\"hold\"");
	assert_copies(&STRING_KEY, "\"a\"", "\"b\"");
	assert_copies(&PATH_KEY, "\"/a\"", "\"\"");
	assert_copies(&CIDRS_KEY, "[\"::1\"]", "[\"::2\"]");
	assert_copies(&CIDRS_KEY, "[\"::1\"]", "[\"::1\", \"::2\"]");
	assert_copies(&SYSCTLS_KEY, "{\"a.b\": 1}", "{\"a.b\": 2}");
	assert_copies(&SYSCTLS_KEY, "{\"a.b\": 1}", "{\"a.b\": \"1 0\"}");
	assert_copies(&SYSCTLS_KEY, "{}", "{\"a.b\": 1, \"a.c\": 1}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uint_limits),
		cmocka_unit_test(test_uint_zero_is_off),
		cmocka_unit_test(test_uint_is_a_whole_number),
		cmocka_unit_test(test_auto),
		cmocka_unit_test(test_duration_limits_as_text),
		cmocka_unit_test(test_duration_limits_as_seconds),
		cmocka_unit_test(test_duration_zero),
		cmocka_unit_test(test_duration_too_little_is_not_off),
		cmocka_unit_test(test_duration_of_other_form),
		cmocka_unit_test(test_size_limits),
		cmocka_unit_test(test_size_of_other_form),
		cmocka_unit_test(test_mode),
		cmocka_unit_test(test_word),
		cmocka_unit_test(test_string_length_is_in_bytes),
		cmocka_unit_test(test_nul_is_an_error_in_every_text),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_sysctls),
		cmocka_unit_test(test_default_json),
		cmocka_unit_test(test_show_fits_exactly),
		cmocka_unit_test(test_show_cuts_between_characters),
		cmocka_unit_test(test_show_of_huge_values_is_short),
		cmocka_unit_test(test_equal_and_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
