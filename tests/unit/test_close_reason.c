/* close_reason: every row is complete, and names are fit for metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "close_reason.h"

static void
test_rows_have_name_and_text(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *info = close_reason_info(i);

		assert_non_null(info->name);
		assert_non_null(info->text);
		assert_true(strlen(info->name) > 0);
		assert_true(strlen(info->text) > 0);
	}
}

static void
test_texts_are_sentences(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < CLOSE_REASON_COUNT; i++) {
		const char *text = close_reason_info(i)->text;

		assert_int_equal(text[strlen(text) - 1], '.');
		assert_null(strchr(text, '\n'));
	}
}

static void
test_each_has_advice_in_sentences(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
		const char *advice = close_reason_info(i)->advice;

		assert_true(strlen(advice) > 20);
		assert_int_equal(advice[strlen(advice) - 1], '.');
		assert_null(strchr(advice, '\n'));
	}
}

static void
test_names_are_snake_case(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < CLOSE_REASON_COUNT; i++) {
		const char *name = close_reason_info(i)->name;
		size_t length = strlen(name);

		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"), length);
		assert_true(name[0] >= 'a' && name[0] <= 'z');
		assert_int_not_equal(name[length - 1], '_');
		assert_null(strstr(name, "__"));
	}
}

static void
test_names_are_unique(void **state)
{
	unsigned i, j;

	(void)state;
	for (i = 0; i < CLOSE_REASON_COUNT; i++)
		for (j = i + 1; j < CLOSE_REASON_COUNT; j++)
			assert_string_not_equal(
				close_reason_info(i)->name, close_reason_info(j)->name);
}

static void
test_rows_are_in_order_of_the_enum(void **state)
{
	(void)state;
	assert_string_equal(close_reason_info(CLOSE_CLIENT_CLOSED)->name, "client_closed");
	assert_string_equal(close_reason_info(CLOSE_KILLED)->name, "killed");
	assert_string_equal(close_reason_info(CLOSE_REFUSED_WORKERS)->name, "refused_workers");
}

static void
test_classes_have_names(void **state)
{
	(void)state;
	assert_string_equal(close_class_name(CLOSE_CLASS_NORMAL), "normal");
	assert_string_equal(close_class_name(CLOSE_CLASS_ERROR), "error");
	assert_string_equal(close_class_name(CLOSE_CLASS_REFUSED), "refused");
}

static void
test_refused_is_the_class_of_refused_names(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *info = close_reason_info(i);
		int is_refused = strncmp(info->name, "refused_", strlen("refused_")) == 0;

		assert_int_equal(info->class == CLOSE_CLASS_REFUSED, is_refused);
	}
}

/* RFC 6455 section 7.4.1: 1005, 1006 and 1015 are never sent; 1004 has no meaning. */
static void
test_websocket_codes_may_be_sent(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *info = close_reason_info(i);
		unsigned code = info->websocket_code;

		if (info->class == CLOSE_CLASS_REFUSED)
			assert_int_equal(code, 0);
		if (code == 0)
			continue;
		assert_in_range(code, 1000, 1014);
		assert_int_not_equal(code, 1004);
		assert_int_not_equal(code, 1005);
		assert_int_not_equal(code, 1006);
	}
}

static void
test_reasons_fit_a_byte_beside_none(void **state)
{
	(void)state;
	assert_true(CLOSE_REASON_COUNT <= CLOSE_NONE);
	assert_int_equal((uint8_t)CLOSE_NONE, CLOSE_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_have_name_and_text),
		cmocka_unit_test(test_texts_are_sentences),
		cmocka_unit_test(test_each_has_advice_in_sentences),
		cmocka_unit_test(test_names_are_snake_case),
		cmocka_unit_test(test_names_are_unique),
		cmocka_unit_test(test_rows_are_in_order_of_the_enum),
		cmocka_unit_test(test_classes_have_names),
		cmocka_unit_test(test_refused_is_the_class_of_refused_names),
		cmocka_unit_test(test_websocket_codes_may_be_sent),
		cmocka_unit_test(test_reasons_fit_a_byte_beside_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
