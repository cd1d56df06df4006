/*
 * Tests of ws_frame: frames, control frames, close codes. The numbers in the names are sections of RFC 6455 whose requirements are
 * tested; those about the connection around the frames are in tests/run/test_websocket*.py.
 */
#include "fixture_ws.h"

/* Masking. */

static void
test_5_1_a_server_refuses_a_frame_that_is_not_masked(void **state)
{
	(void)state;
	put_frame_of(FIN | WS_TEXT, "Hello", 5, false);
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_1_a_client_refuses_a_frame_that_is_masked(void **state)
{
	(void)state;
	put_frame(FIN | WS_TEXT, "Hello");
	assert_fails(&CLIENT, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_1_an_empty_frame_must_be_masked_too(void **state)
{
	(void)state;
	put_frame_of(FIN | WS_BINARY, "", 0, false);
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_3_the_example_of_the_rfc_is_unmasked(void **state)
{
	(void)state;
	put("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
	assert_data(WS_TEXT, true, true, "Hello");
}

static void
test_5_3_masking_is_right_at_any_length_place_and_turn(void **state)
{
	uint8_t bytes[80], mask[WS_MASK_BYTES];

	(void)state;
	for (size_t start = 0; start < 8; start++)
		for (size_t a = 0; a < 20; a++)
			for (size_t b = 0; b < 40; b++) {
				memset(bytes, 0, sizeof(bytes));
				memcpy(mask, MASK, sizeof(mask));
				ws_mask(bytes + start, a, mask);
				ws_mask(bytes + start + a, b, mask);
				for (size_t i = 0; i < sizeof(bytes); i++)
					assert_int_equal(bytes[i], i < start || i >= start + a + b
									   ? 0
									   : MASK[(i - start) % 4]);
			}
}

/* The head of a frame. */

static void
test_5_2_reserved_bits_are_refused(void **state)
{
	(void)state;
	for (uint8_t bit = 0x10; bit <= 0x40; bit <<= 1) {
		set_up(NULL);
		put_frame(FIN | bit | WS_TEXT, "x");
		assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
		set_up(NULL);
		put_frame(FIN | bit | WS_PING, "x");
		assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
	}
}

static void
test_5_2_reserved_opcodes_are_refused(void **state)
{
	(void)state;
	for (uint8_t opcode = 0; opcode <= 0xf; opcode++) {
		if (opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG))
			continue;
		set_up(NULL);
		put_frame(FIN | opcode, "");
		assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
	}
}

static void
test_5_2_a_wrong_head_is_refused_before_its_payload_comes(void **state)
{
	(void)state;
	put("\x83\x80", 2);
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_2_lengths_around_the_three_forms(void **state)
{
	static const size_t lengths[] = {0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537};
	static char payload[LONG];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		put_frame_of(FIN | WS_BINARY, payload, lengths[i], true);
		assert_data_of(&SERVER, WS_BINARY, true, true, payload, lengths[i]);
		put_frame_of(FIN | WS_TEXT, payload, lengths[i], false);
		assert_data_of(&CLIENT, WS_TEXT, true, true, payload, lengths[i]);
	}
}

static void
test_5_2_a_length_in_more_bytes_than_it_needs_is_refused(void **state)
{
	static const char *const heads[] = {"\x82\xfe\x00\x7d", "\x82\xfe\x00\x00"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		set_up(NULL);
		put(heads[i], 4);
		put(MASK, 4);
		assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
	}
	set_up(NULL);
	put("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", 10);
	put(MASK, 4);
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_2_the_highest_bit_of_a_length_must_be_0(void **state)
{
	(void)state;
	put("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", 10);
	put(MASK, 4);
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_2_empty_messages_are_messages(void **state)
{
	(void)state;
	put_frame(FIN | WS_TEXT, "");
	put_frame(FIN | WS_BINARY, "");
	assert_data(WS_TEXT, true, true, "");
	assert_data(WS_BINARY, true, true, "");
	assert_more();
}

/* Control frames. */

static void
test_5_5_a_control_frame_has_125_bytes_at_most(void **state)
{
	char payload[127];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	put_frame_of(FIN | WS_PING, payload, 125, true);
	assert_int_equal(next_event(&SERVER).length, 125);
	put_frame_of(FIN | WS_PING, payload, 126, true);
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_5_a_control_frame_must_not_be_fragmented(void **state)
{
	(void)state;
	for (uint8_t opcode = WS_CLOSE; opcode <= WS_PONG; opcode++) {
		set_up(NULL);
		put_frame(opcode, "");
		assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
	}
}

static void
test_5_5_1_a_close_frame_has_a_code_and_a_reason(void **state)
{
	(void)state;
	put_frame(FIN | WS_CLOSE, "\x03\xe8"
				  "good bye \xe2\x98\x95");
	assert_close(WS_CODE_NORMAL, "good bye \xe2\x98\x95");
}

static void
test_5_5_1_a_close_frame_may_be_empty_or_without_a_reason(void **state)
{
	(void)state;
	put_frame(FIN | WS_CLOSE, "");
	assert_close(WS_CODE_NONE, "");
	put_frame(FIN | WS_CLOSE, "\x03\xe9");
	assert_close(WS_CODE_GOING_AWAY, "");
}

static void
test_5_5_1_half_a_code_is_refused(void **state)
{
	(void)state;
	put_frame(FIN | WS_CLOSE, "\x03");
	assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
}

static void
test_5_5_1_a_reason_must_be_utf8(void **state)
{
	(void)state;
	put_frame(FIN | WS_CLOSE, "\x03\xe8"
				  "bye \xff");
	assert_fails(&SERVER, WS_CODE_BAD_TEXT);
	set_up(NULL);
	put_frame(FIN | WS_CLOSE, "\x03\xe8"
				  "cut \xe2\x98");
	assert_fails(&SERVER, WS_CODE_BAD_TEXT);
}

static void
test_5_5_1_a_reason_may_have_123_bytes(void **state)
{
	uint8_t payload[WS_CONTROL_MAX];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	payload[0] = 0x03;
	payload[1] = 0xe8;
	put_frame_of(FIN | WS_CLOSE, payload, sizeof(payload), true);
	assert_int_equal(next_event(&SERVER).length, 123);
}

static void
test_5_5_2_and_5_5_3_pings_and_pongs_have_any_payload(void **state)
{
	(void)state;
	put_frame(FIN | WS_PING, "");
	put_frame(FIN | WS_PING, "\xff\xfe");
	put_frame(FIN | WS_PONG, "\xff");
	assert_control(WS_EVENT_PING, "");
	assert_control(WS_EVENT_PING, "\xff\xfe");
	assert_control(WS_EVENT_PONG, "\xff");
}

/* Closing. */

static void
test_7_4_codes_that_a_close_frame_may_have(void **state)
{
	(void)state;
	for (unsigned code = 0; code <= UINT16_MAX; code++) {
		bool valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
			     (code >= 3000 && code <= 4999);

		assert_int_equal(ws_code_is_valid((uint16_t)code), valid);
	}
}

static void
test_7_4_1_codes_that_must_not_be_sent_are_refused(void **state)
{
	static const uint16_t codes[] = {0, 999, 1004, 1005, 1006, 1015, 1100, 2999, 5000, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		const uint8_t payload[] = {(uint8_t)(codes[i] >> 8), (uint8_t)codes[i]};

		set_up(NULL);
		put_frame_of(FIN | WS_CLOSE, payload, 2, true);
		assert_fails(&SERVER, WS_CODE_PROTOCOL_ERROR);
	}
}

static void
test_7_4_2_codes_of_libraries_and_applications_are_taken(void **state)
{
	(void)state;
	put_frame(FIN | WS_CLOSE, "\x0b\xb8");
	assert_close(3000, "");
	put_frame(FIN | WS_CLOSE, "\x13\x87");
	assert_close(4999, "");
}

static void
test_7_1_6_a_reason_that_is_too_long_is_cut_between_characters(void **state)
{
	uint8_t payload[WS_CONTROL_MAX];
	char reason[256];

	(void)state;
	memset(reason, 'x', sizeof(reason));
	reason[255] = '\0';
	assert_int_equal(ws_close_put(payload, 1001, reason), 125);
	memcpy(reason + 121, "\xe2\x98\x95", 3);
	assert_int_equal(ws_close_put(payload, 1001, reason), 123);
	memset(reason, 'x', 255);
	memcpy(reason + 120, "\xe2\x98\x95", 3);
	assert_int_equal(ws_close_put(payload, 1001, reason), 125);
}

static void
test_7_1_5_what_is_put_is_what_is_read(void **state)
{
	uint8_t payload[WS_CONTROL_MAX];
	size_t length = ws_close_put(payload, 1008, "because");

	(void)state;
	assert_int_equal(length, 9);
	put_frame_of(FIN | WS_CLOSE, payload, length, true);
	assert_close(1008, "because");
	assert_int_equal(ws_close_put(payload, WS_CODE_NONE, "not sent"), 0);
}

static void
test_5_7_the_heads_of_the_rfcs_examples_are_written(void **state)
{
	uint8_t head[WS_HEAD_MAX];

	(void)state;
	assert_int_equal(ws_frame_put_head(head, WS_TEXT, true, 5, NULL), 2);
	assert_memory_equal(head, "\x81\x05", 2);
	assert_int_equal(ws_frame_put_head(head, WS_TEXT, true, 5, MASK), 6);
	assert_memory_equal(head, "\x81\x85\x37\xfa\x21\x3d", 6);
	assert_int_equal(ws_frame_put_head(head, WS_TEXT, false, 3, NULL), 2);
	assert_memory_equal(head, "\x01\x03", 2);
	assert_int_equal(ws_frame_put_head(head, WS_CONTINUATION, true, 2, NULL), 2);
	assert_memory_equal(head, "\x80\x02", 2);
	assert_int_equal(ws_frame_put_head(head, WS_BINARY, true, 256, NULL), 4);
	assert_memory_equal(head, "\x82\x7e\x01\x00", 4);
	assert_int_equal(ws_frame_put_head(head, WS_BINARY, true, 65536, NULL), 10);
	assert_memory_equal(head, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
}

static void
test_5_7_the_examples_of_the_rfc_are_read(void **state)
{
	static char payload[65536];

	(void)state;
	put("\x81\x05\x48\x65\x6c\x6c\x6f", 7);
	assert_data_of(&CLIENT, WS_TEXT, true, true, "Hello", 5);
	put("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
	assert_data(WS_TEXT, true, true, "Hello");
	put("\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", 9);
	assert_data_of(&CLIENT, WS_TEXT, true, false, "Hel", 3);
	assert_data_of(&CLIENT, WS_TEXT, false, true, "lo", 2);
	put("\x89\x05\x48\x65\x6c\x6c\x6f", 7);
	assert_int_equal(next_event(&CLIENT).type, WS_EVENT_PING);
	put("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
	assert_control(WS_EVENT_PONG, "Hello");
	put("\x82\x7e\x01\x00", 4);
	put(payload, 256);
	assert_data_of(&CLIENT, WS_BINARY, true, true, payload, 256);
	put("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
	put(payload, 65536);
	assert_data_of(&CLIENT, WS_BINARY, true, true, payload, 65536);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_5_1_a_server_refuses_a_frame_that_is_not_masked),
		TEST(test_5_1_a_client_refuses_a_frame_that_is_masked),
		TEST(test_5_1_an_empty_frame_must_be_masked_too),
		TEST(test_5_3_the_example_of_the_rfc_is_unmasked),
		TEST(test_5_3_masking_is_right_at_any_length_place_and_turn),
		TEST(test_5_2_reserved_bits_are_refused),
		TEST(test_5_2_reserved_opcodes_are_refused),
		TEST(test_5_2_a_wrong_head_is_refused_before_its_payload_comes),
		TEST(test_5_2_lengths_around_the_three_forms),
		TEST(test_5_2_a_length_in_more_bytes_than_it_needs_is_refused),
		TEST(test_5_2_the_highest_bit_of_a_length_must_be_0),
		TEST(test_5_2_empty_messages_are_messages),
		TEST(test_5_5_a_control_frame_has_125_bytes_at_most),
		TEST(test_5_5_a_control_frame_must_not_be_fragmented),
		TEST(test_5_5_1_a_close_frame_has_a_code_and_a_reason),
		TEST(test_5_5_1_a_close_frame_may_be_empty_or_without_a_reason),
		TEST(test_5_5_1_half_a_code_is_refused),
		TEST(test_5_5_1_a_reason_must_be_utf8),
		TEST(test_5_5_1_a_reason_may_have_123_bytes),
		TEST(test_5_5_2_and_5_5_3_pings_and_pongs_have_any_payload),
		TEST(test_7_4_codes_that_a_close_frame_may_have),
		TEST(test_7_4_1_codes_that_must_not_be_sent_are_refused),
		TEST(test_7_4_2_codes_of_libraries_and_applications_are_taken),
		TEST(test_7_1_6_a_reason_that_is_too_long_is_cut_between_characters),
		TEST(test_7_1_5_what_is_put_is_what_is_read),
		TEST(test_5_7_the_heads_of_the_rfcs_examples_are_written),
		TEST(test_5_7_the_examples_of_the_rfc_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
