/* Tests of conf_texts. */
#include "fixture.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "conf_texts.h"

static int
parse(const char *text, struct conf_texts *ret_texts)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	int r;

	assert_non_null(json);
	r = conf_texts_from_json(json, ret_texts);
	json_decref(json);
	return r;
}

static void
assert_refused(const char *text)
{
	struct conf_texts texts = {0};

	if (parse(text, &texts) != -EINVAL)
		fail_msg("not refused: %s", text);
	assert_null(texts.items);
}

static void
test_a_list_is_read_and_printed(void **state)
{
	struct conf_texts texts;
	json_t *json;
	char *text;

	(void)state;
	assert_int_equal(parse("[\"/a*\", \"b\"]", &texts), 0);
	assert_int_equal(texts.n, 2);
	assert_string_equal(texts.items[0], "/a*");
	assert_string_equal(texts.items[1], "b");
	json = conf_texts_to_json(&texts);
	text = json_dumps(json, JSON_COMPACT);
	assert_string_equal(text, "[\"/a*\",\"b\"]");
	free(text);
	json_decref(json);
	conf_texts_done(&texts);
	assert_null(texts.items);
}

static void
test_an_empty_list_is_a_list(void **state)
{
	struct conf_texts texts;

	(void)state;
	assert_int_equal(parse("[]", &texts), 0);
	assert_int_equal(texts.n, 0);
	conf_texts_done(&texts);
}

static void
test_what_no_header_field_could_hold_is_refused(void **state)
{
	(void)state;
	assert_refused("\"a\"");
	assert_refused("{}");
	assert_refused("[1]");
	assert_refused("[\"\"]");
	assert_refused("[\"a\", \"b c\"]");
	assert_refused("[\"a,b\"]");
	assert_refused("[\"a\\r\\nb\"]");
	assert_refused("[\"a\\u0000\"]");
	assert_refused("[\"\xc3\xbc\"]");
	assert_refused("[\"\\u007f\"]");
}

static void
assert_message(const char *text, const char *expected)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	struct mg_error error;

	assert_non_null(json);
	assert_int_equal(conf_texts_check(json, &error), -EINVAL);
	assert_string_equal(error.text, expected);
	json_decref(json);
}

static void
test_each_fault_of_a_text_has_a_message_of_its_own(void **state)
{
	static const char visible[] = "allowed are visible ASCII characters but the comma";
	char text[512], message[256];

	(void)state;
	assert_message("1", "found 1, allowed are texts");
	assert_message("[\"a\"]", "found [\"a\"], allowed are texts");
	assert_message("\"\"", "found a text of 0 bytes, allowed are 1 to 260");
	snprintf(text, sizeof(text), "\"%0261d\"", 0);
	assert_message(text, "found a text of 261 bytes, allowed are 1 to 260");
	snprintf(message, sizeof(message), "found \"a b\", %s", visible);
	assert_message("\"a b\"", message);
	snprintf(message, sizeof(message), "found \"a\\u0000\", %s", visible);
	assert_message("\"a\\u0000\"", message);
}

static void
test_a_text_has_260_bytes_at_most(void **state)
{
	struct conf_texts texts;
	char json[512];

	(void)state;
	snprintf(json, sizeof(json), "[\"%0260d\"]", 0);
	assert_int_equal(parse(json, &texts), 0);
	assert_int_equal(strlen(texts.items[0]), 260);
	conf_texts_done(&texts);
	snprintf(json, sizeof(json), "[\"%0261d\"]", 0);
	assert_refused(json);
}

static void
test_copies_are_equal_and_of_their_own(void **state)
{
	struct conf_texts texts, copy, other;

	(void)state;
	assert_int_equal(parse("[\"a\", \"b\"]", &texts), 0);
	assert_int_equal(conf_texts_copy(&texts, &copy), 0);
	assert_true(conf_texts_equal(&texts, &copy));
	conf_texts_done(&texts);
	assert_string_equal(copy.items[1], "b");
	assert_int_equal(parse("[\"a\"]", &other), 0);
	assert_false(conf_texts_equal(&copy, &other));
	assert_false(conf_texts_equal(&other, &copy));
	conf_texts_done(&other);
	assert_int_equal(parse("[\"a\", \"c\"]", &other), 0);
	assert_false(conf_texts_equal(&copy, &other));
	conf_texts_done(&other);
	conf_texts_done(&copy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_list_is_read_and_printed),
		cmocka_unit_test(test_an_empty_list_is_a_list),
		cmocka_unit_test(test_what_no_header_field_could_hold_is_refused),
		cmocka_unit_test(test_each_fault_of_a_text_has_a_message_of_its_own),
		cmocka_unit_test(test_a_text_has_260_bytes_at_most),
		cmocka_unit_test(test_copies_are_equal_and_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
