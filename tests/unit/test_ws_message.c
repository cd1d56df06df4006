/*
 * Tests of ws_frame: messages, their fragments, their text, any cut into pieces. The numbers in the names are sections of RFC 6455 whose requirements are
 * tested; those about the connection around the frames are in tests/run/test_websocket*.py.
 */
#include "fixture_ws.h"

/* Fragments. */

static void
test_5_4_fragments_are_one_message(void **state)
{
	(void)state;
	put_frame(WS_TEXT, "Hel");
	put_frame(WS_CONTINUATION, "l");
	put_frame(FIN | WS_CONTINUATION, "o");
	assert_data(WS_TEXT, true, false, "Hel");
	assert_data(WS_TEXT, false, false, "l");
	assert_data(WS_TEXT, false, true, "o");
	assert_true(ws_reader_is_idle(&reader));
}

static void
test_5_4_control_frames_come_between_fragments(void **state)
{
	(void)state;
	put_frame(WS_BINARY, "a");
	put_frame(FIN | WS_PING, "are you there?");
	put_frame(WS_CONTINUATION, "b");
	put_frame(FIN | WS_PONG, "");
	put_frame(FIN | WS_CONTINUATION, "c");
	assert_data(WS_BINARY, true, false, "a");
	assert_control(WS_EVENT_PING, "are you there?");
	assert_data(WS_BINARY, false, false, "b");
	assert_control(WS_EVENT_PONG, "");
	assert_data(WS_BINARY, false, true, "c");
}

static void
test_5_4_a_continuation_of_nothing_is_refused(void **state)
{
	(void)state;
	put_frame(FIN | WS_CONTINUATION, "x");
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_4_a_continuation_after_the_last_fragment_is_refused(void **state)
{
	(void)state;
	put_frame(WS_TEXT, "a");
	put_frame(FIN | WS_CONTINUATION, "b");
	put_frame(WS_CONTINUATION, "c");
	assert_data(WS_TEXT, true, false, "a");
	assert_data(WS_TEXT, false, true, "b");
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_4_a_message_within_a_message_is_refused(void **state)
{
	(void)state;
	for (uint8_t opcode = WS_TEXT; opcode <= WS_BINARY; opcode++) {
		set_up(NULL);
		put_frame(WS_TEXT, "a");
		put_frame(FIN | opcode, "b");
		assert_data(WS_TEXT, true, false, "a");
		assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
	}
}

static void
test_5_4_empty_fragments_are_only_told_if_they_end_a_message(void **state)
{
	(void)state;
	put_frame(WS_TEXT, "");
	put_frame(WS_CONTINUATION, "");
	put_frame(WS_CONTINUATION, "a");
	put_frame(FIN | WS_CONTINUATION, "");
	assert_data(WS_TEXT, true, false, "a");
	assert_data(WS_TEXT, false, true, "");
	put_frame(WS_TEXT, "");
	put_frame(FIN | WS_CONTINUATION, "");
	assert_data(WS_TEXT, true, true, "");
	assert_more();
}

static void
test_5_4_the_limit_is_for_a_message_whatever_its_fragments(void **state)
{
	const struct ws_rules rules = {.message_max = 10, .masked = true};

	(void)state;
	put_frame(WS_BINARY, "123456");
	put_frame(FIN | WS_CONTINUATION, "7890");
	assert_data_of(&rules, WS_BINARY, true, false, "123456", 6);
	assert_data_of(&rules, WS_BINARY, false, true, "7890", 4);
	put_frame(WS_BINARY, "123456");
	put_frame(FIN | WS_CONTINUATION, "78901");
	assert_data_of(&rules, WS_BINARY, true, false, "123456", 6);
	assert_fails(&rules, WS_CODE_TOO_BIG);
}

static void
test_7_4_1_a_message_at_the_limit_and_one_byte_to_each_side(void **state)
{
	const struct ws_rules rules = {.message_max = 126, .masked = true};
	char payload[128];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	for (size_t length = 125; length <= 126; length++) {
		put_frame_of(FIN | WS_TEXT, payload, length, true);
		assert_data_of(&rules, WS_TEXT, true, true, payload, length);
	}
	put_frame_of(FIN | WS_TEXT, payload, 127, true);
	assert_fails(&rules, WS_CODE_TOO_BIG);
}

static void
test_7_4_1_the_largest_length_there_is_does_not_overflow_the_limit(void **state)
{
	const struct ws_rules rules = {.message_max = UINT64_MAX, .masked = true};

	(void)state;
	put_frame(WS_BINARY, "a");
	put("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
	put(MASK, 4);
	assert_data_of(&rules, WS_BINARY, true, false, "a", 1);
	assert_int_equal(next_event(&rules).type, WS_EVENT_MORE);
	set_up(NULL);
	put_frame(WS_BINARY, "a");
	put("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
	put(MASK, 4);
	assert_data(WS_BINARY, true, false, "a");
	assert_fails(&SERVER, WS_CODE_TOO_BIG);
}

/* Data frames. */

static void
test_5_6_text_must_be_utf8_and_binary_need_not(void **state)
{
	(void)state;
	put_frame(FIN | WS_BINARY, "\xff\xfe");
	assert_data(WS_BINARY, true, true, "\xff\xfe");
	put_frame(FIN | WS_TEXT, "\xc3\xbc");
	assert_data(WS_TEXT, true, true, "\xc3\xbc");
	put_frame(FIN | WS_TEXT, "ab\xff");
	assert_fails(&SERVER, WS_CODE_BAD_TEXT);
}

static void
test_5_6_a_character_may_be_cut_by_fragments(void **state)
{
	(void)state;
	put_frame(WS_TEXT, "\xf0\x9f");
	put_frame(WS_CONTINUATION, "\x8c");
	put_frame(FIN | WS_CONTINUATION, "\x8d");
	assert_data(WS_TEXT, true, false, "\xf0\x9f");
	assert_data(WS_TEXT, false, false, "\x8c");
	assert_data(WS_TEXT, false, true, "\x8d");
}

static void
test_8_1_text_that_ends_within_a_character_is_refused(void **state)
{
	(void)state;
	put_frame(FIN | WS_TEXT, "\xe2\x98");
	assert_fails(&SERVER, WS_CODE_BAD_TEXT);
	set_up(NULL);
	put_frame(WS_TEXT, "\xe2\x98");
	put_frame(FIN | WS_CONTINUATION, "");
	assert_data(WS_TEXT, true, false, "\xe2\x98");
	assert_fails(&SERVER, WS_CODE_BAD_TEXT);
}

static void
test_8_1_wrong_text_is_refused_before_its_frame_is_whole(void **state)
{
	(void)state;
	put("\x81\xfe\x40\x00\x00\x00\x00\x00\xff", 9);
	assert_fails(&SERVER, WS_CODE_BAD_TEXT);
}

static void
test_8_1_the_next_message_begins_anew(void **state)
{
	(void)state;
	put_frame(FIN | WS_TEXT, "\xc3\xbc");
	put_frame(FIN | WS_BINARY, "\xc3");
	put_frame(FIN | WS_TEXT, "\xc3\xbc");
	assert_data(WS_TEXT, true, true, "\xc3\xbc");
	assert_data(WS_BINARY, true, true, "\xc3");
	assert_data(WS_TEXT, true, true, "\xc3\xbc");
}

/* Pieces. */

static void
test_any_cut_into_pieces_gives_the_same_messages(void **state)
{
	uint8_t bytes[256];
	char seen[32];
	size_t length;

	(void)state;
	put_frame(WS_TEXT, "\xc3\xa4"
			   "bc");
	put_frame(FIN | WS_PING, "ping");
	put_frame(FIN | WS_CONTINUATION, "def");
	put_frame(FIN | WS_BINARY, "binary");
	length = wire.length;
	memcpy(bytes, wire.bytes, length);
	for (size_t cut = 0; cut <= length; cut++) {
		struct ws_event event;
		size_t n_seen = 0;
		unsigned n_pings = 0, n_messages = 0;

		set_up(NULL);
		for (int piece = 0; piece < 2; piece++) {
			wire.length = piece ? length - cut : cut;
			memcpy(wire.bytes, bytes + (piece ? cut : 0), wire.length);
			while ((event = next_event(&SERVER)).type != WS_EVENT_MORE) {
				n_pings += event.type == WS_EVENT_PING;
				if (event.type != WS_EVENT_DATA)
					continue;
				memcpy(seen + n_seen, event.data, event.length);
				n_seen += event.length;
				n_messages += event.last;
			}
			assert_int_equal(wire.length, 0);
		}
		assert_int_equal(n_pings, 1);
		assert_int_equal(n_messages, 2);
		assert_int_equal(n_seen, 13);
		assert_memory_equal(seen,
			"\xc3\xa4"
			"bcdefbinary",
			13);
	}
}

static void
test_a_reader_is_idle_only_between_messages(void **state)
{
	(void)state;
	assert_true(ws_reader_is_idle(&reader));
	put("\x81", 1);
	assert_more();
	assert_false(ws_reader_is_idle(&reader));
	put("\x81\x00\x00\x00\x00", 5);
	assert_more();
	assert_false(ws_reader_is_idle(&reader));
	put("x", 1);
	assert_data(WS_TEXT, true, true, "x");
	assert_true(ws_reader_is_idle(&reader));
	put_frame(WS_TEXT, "x");
	assert_data(WS_TEXT, true, false, "x");
	assert_false(ws_reader_is_idle(&reader));
}

static void
test_a_copied_reader_goes_on(void **state)
{
	struct ws_reader copy;

	(void)state;
	put("\x81\x84\x37\xfa\x21\x3d\x7f\x9f", 8);
	assert_data(WS_TEXT, true, false, "He");
	memcpy(&copy, &reader, sizeof(copy));
	memset(&reader, 0xee, sizeof(reader));
	memcpy(&reader, &copy, sizeof(copy));
	put("\x4d\x51", 2);
	assert_data(WS_TEXT, false, true, "ll");
}

static void
test_a_reader_from_elsewhere_is_looked_at(void **state)
{
	struct ws_reader bad;

	(void)state;
	assert_true(ws_reader_is_sound(&reader));
	put_frame(WS_TEXT, "\xc3");
	put("\x89\xfd\x01\x02\x03\x04"
	    "abc",
		9);
	assert_data(WS_TEXT, true, false, "\xc3");
	assert_more();
	assert_true(ws_reader_is_sound(&reader));
#define ASSERT_UNSOUND(change)                          \
	do {                                            \
		bad = reader;                           \
		bad.change;                             \
		assert_false(ws_reader_is_sound(&bad)); \
	} while (0)
	ASSERT_UNSOUND(version = 1);
	ASSERT_UNSOUND(head_length = WS_HEAD_MAX + 1);
	ASSERT_UNSOUND(message = 3);
	ASSERT_UNSOUND(utf8 = 200);
	ASSERT_UNSOUND(control_length = WS_CONTROL_MAX + 1);
	ASSERT_UNSOUND(left_bytes = WS_CONTROL_MAX - 2);
	set_up(NULL);
	put("\x81\xfe\x01", 3);
	assert_more();
	assert_true(ws_reader_is_sound(&reader));
	ASSERT_UNSOUND(head[0] = FIN | WS_PING);
	ASSERT_UNSOUND(head[0] = FIN | WS_CONTINUATION);
	ASSERT_UNSOUND(head[0] = FIN | 0x40 | WS_TEXT);
	ASSERT_UNSOUND(head_length = 8);
	ASSERT_UNSOUND(control_length = 1);
	put("\x00\x37\xfa\x21\x3d\x7f", 6);
	assert_data(WS_TEXT, true, false, "H");
	assert_true(ws_reader_is_sound(&reader));
	ASSERT_UNSOUND(left_bytes = 257);
	ASSERT_UNSOUND(message = 0);
	ASSERT_UNSOUND(control_length = 1);
#undef ASSERT_UNSOUND
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_5_4_fragments_are_one_message),
		TEST(test_5_4_control_frames_come_between_fragments),
		TEST(test_5_4_a_continuation_of_nothing_is_refused),
		TEST(test_5_4_a_continuation_after_the_last_fragment_is_refused),
		TEST(test_5_4_a_message_within_a_message_is_refused),
		TEST(test_5_4_empty_fragments_are_only_told_if_they_end_a_message),
		TEST(test_5_4_the_limit_is_for_a_message_whatever_its_fragments),
		TEST(test_7_4_1_a_message_at_the_limit_and_one_byte_to_each_side),
		TEST(test_7_4_1_the_largest_length_there_is_does_not_overflow_the_limit),
		TEST(test_5_6_text_must_be_utf8_and_binary_need_not),
		TEST(test_5_6_a_character_may_be_cut_by_fragments),
		TEST(test_8_1_text_that_ends_within_a_character_is_refused),
		TEST(test_8_1_wrong_text_is_refused_before_its_frame_is_whole),
		TEST(test_8_1_the_next_message_begins_anew),
		TEST(test_any_cut_into_pieces_gives_the_same_messages),
		TEST(test_a_reader_is_idle_only_between_messages),
		TEST(test_a_copied_reader_goes_on),
		TEST(test_a_reader_from_elsewhere_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
