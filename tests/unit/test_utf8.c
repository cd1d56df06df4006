/* Tests of utf8. */
#include "fixture.h"

#include <stdbool.h>
#include <string.h>

#include "utf8.h"

/* Whole, and valid to the end. */
static bool
is_text(const char *bytes, size_t length)
{
	uint8_t state = UTF8_START;

	return utf8_check(&state, bytes, length) && state == UTF8_START;
}

static void
assert_text(const char *text)
{
	assert_true(is_text(text, strlen(text)));
}

/* Refused at the byte that is wrong, without waiting for more. */
static void
assert_wrong(const char *bytes, size_t length)
{
	uint8_t state = UTF8_START;

	assert_true(utf8_check(&state, bytes, length - 1));
	assert_false(utf8_check(&state, bytes + length - 1, 1));
}

static void
test_nothing_is_text(void **state)
{
	(void)state;
	assert_text("");
}

static void
test_ascii_is_text_at_any_length_and_place(void **state)
{
	char bytes[64];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	for (size_t start = 0; start < 9; start++)
		for (size_t length = 0; length < 40; length++)
			assert_true(is_text(bytes + start, length));
}

static void
test_first_and_last_character_of_each_length(void **state)
{
	(void)state;
	assert_true(is_text("\x00", 1));
	assert_text("\x7f");
	assert_text("\xc2\x80");
	assert_text("\xdf\xbf");
	assert_text("\xe0\xa0\x80");
	assert_text("\xef\xbf\xbf");
	assert_text("\xf0\x90\x80\x80");
	assert_text("\xf4\x8f\xbf\xbf");
}

static void
test_characters_around_the_surrogates(void **state)
{
	(void)state;
	assert_text("\xed\x9f\xbf");
	assert_text("\xee\x80\x80");
	assert_wrong("\xed\xa0", 2);
	assert_wrong("\xed\xbf", 2);
}

static void
test_overlong_forms_are_wrong_at_once(void **state)
{
	(void)state;
	assert_wrong("\xc0", 1);
	assert_wrong("\xc1", 1);
	assert_wrong("\xe0\x9f", 2);
	assert_wrong("\xf0\x8f", 2);
}

static void
test_above_10ffff_is_wrong_at_once(void **state)
{
	(void)state;
	assert_wrong("\xf4\x90", 2);
	for (int first = 0xf5; first <= 0xff; first++)
		assert_wrong((const char[]){(char)first}, 1);
}

static void
test_a_continuation_without_a_start_is_wrong(void **state)
{
	(void)state;
	for (int first = 0x80; first <= 0xbf; first++)
		assert_wrong((const char[]){(char)first}, 1);
	assert_wrong("aaaaaaaaaaaaaaaa\xbf", 17);
}

static void
test_a_start_without_its_continuation_is_wrong(void **state)
{
	(void)state;
	assert_wrong("\xc2\x41", 2);
	assert_wrong("\xc2\xc2", 2);
	assert_wrong("\xe1\x80\x7f", 3);
	assert_wrong("\xf1\x80\x80\xc0", 4);
}

static void
test_an_end_within_a_character_shows_in_the_state(void **state)
{
	static const char *const cut[] = {"\xc2", "\xe1", "\xe1\x80", "\xf1", "\xf1\x80\x80"};

	(void)state;
	for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
		uint8_t at = UTF8_START;

		assert_true(utf8_check(&at, cut[i], strlen(cut[i])));
		assert_int_not_equal(at, UTF8_START);
	}
}

static void
test_any_cut_into_pieces_gives_the_same(void **state)
{
	static const char text[] = "Gr\xc3\xbc\xc3\x9f"
				   "e, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x8c\x8d! and more";
	size_t length = sizeof(text) - 1;

	(void)state;
	for (size_t a = 0; a <= length; a++)
		for (size_t b = a; b <= length; b++) {
			uint8_t at = UTF8_START;

			assert_true(utf8_check(&at, text, a));
			assert_true(utf8_check(&at, text + a, b - a));
			assert_true(utf8_check(&at, text + b, length - b));
			assert_int_equal(at, UTF8_START);
		}
}

static size_t
encode(uint32_t c, char *bytes)
{
	if (c < 0x80) {
		bytes[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		bytes[0] = (char)(0xc0 | c >> 6);
		bytes[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		bytes[0] = (char)(0xe0 | c >> 12);
		bytes[1] = (char)(0x80 | (c >> 6 & 0x3f));
		bytes[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	bytes[0] = (char)(0xf0 | c >> 18);
	bytes[1] = (char)(0x80 | (c >> 12 & 0x3f));
	bytes[2] = (char)(0x80 | (c >> 6 & 0x3f));
	bytes[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static void
test_every_character_is_text_and_no_surrogate_is(void **state)
{
	char bytes[4];

	(void)state;
	for (uint32_t c = 0; c <= 0x10ffff; c++)
		if (is_text(bytes, encode(c, bytes)) == (c >= 0xd800 && c <= 0xdfff))
			fail_msg("U+%X", c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_text),
		cmocka_unit_test(test_ascii_is_text_at_any_length_and_place),
		cmocka_unit_test(test_first_and_last_character_of_each_length),
		cmocka_unit_test(test_characters_around_the_surrogates),
		cmocka_unit_test(test_overlong_forms_are_wrong_at_once),
		cmocka_unit_test(test_above_10ffff_is_wrong_at_once),
		cmocka_unit_test(test_a_continuation_without_a_start_is_wrong),
		cmocka_unit_test(test_a_start_without_its_continuation_is_wrong),
		cmocka_unit_test(test_an_end_within_a_character_shows_in_the_state),
		cmocka_unit_test(test_any_cut_into_pieces_gives_the_same),
		cmocka_unit_test(test_every_character_is_text_and_no_surrogate_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
