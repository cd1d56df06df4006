/* control: what is no message is refused, at every limit; what is one is read as it was sent. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "close_reason.h"
#include "control.h"
#include "fixture.h"

#define HEADER_BYTES sizeof(struct control_header)

/* Room for one record too many, so that "too long" can be told from "cut". */
union message {
	struct control_header header;
	uint64_t align;
	char bytes[2 * CONTROL_MESSAGE_MAX];
};

static union message buffer;

/* A message with all its records zero; returns its length. */
static size_t
make_message(unsigned type, unsigned count)
{
	memset(&buffer, 0, sizeof(buffer));
	buffer.header.type = (uint8_t)type;
	buffer.header.count = (uint16_t)count;
	if (type >= CONTROL_TYPE_COUNT)
		return HEADER_BYTES;
	return HEADER_BYTES + count * control_record_bytes(type);
}

static void *
record_at(unsigned i)
{
	return buffer.bytes + HEADER_BYTES + i * control_record_bytes(buffer.header.type);
}

static int
decode(size_t length)
{
	struct control_message message;

	return control_decode(&buffer, length, &message);
}

static void
assert_good(size_t length)
{
	assert_int_equal(decode(length), 0);
}

static void
assert_refused(size_t length)
{
	assert_int_equal(decode(length), -EBADMSG);
}

static bool
has_records(unsigned type)
{
	return control_record_bytes(type) > 0;
}

static void
test_records_of_each_message(void **state)
{
	(void)state;
	assert_int_equal(control_record_bytes(CONTROL_HANDOVER), sizeof(struct control_handover));
	assert_int_equal(control_record_bytes(CONTROL_QUERY), sizeof(struct control_place));
	assert_int_equal(control_record_bytes(CONTROL_CLOSED), sizeof(struct control_closed));
	assert_int_equal(control_record_bytes(CONTROL_DETAILS), sizeof(struct control_details));
	assert_int_equal(control_record_bytes(CONTROL_PEERS), sizeof(struct control_peer));
	assert_int_equal(control_record_bytes(CONTROL_STOP), 0);
}

static void
test_records_stay_aligned(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++)
		assert_int_equal(control_record_bytes(type) % 8, 0);
	assert_int_equal(HEADER_BYTES % 8, 0);
}

static void
test_a_full_batch_of_connections_fits(void **state)
{
	(void)state;
	assert_int_equal(control_records_max(CONTROL_HANDOVER, 253), 253);
}

static void
test_records_max_is_the_most_that_fits(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++) {
		size_t each = control_record_bytes(type);
		unsigned max;

		if (each == 0)
			continue;
		max = control_records_max(type, UINT16_MAX);
		assert_true(HEADER_BYTES + max * each <= CONTROL_MESSAGE_MAX);
		assert_true(HEADER_BYTES + (max + 1) * each > CONTROL_MESSAGE_MAX);
	}
}

static void
test_records_max_obeys_the_caller(void **state)
{
	unsigned fit = control_records_max(CONTROL_CLOSED, UINT16_MAX);

	(void)state;
	assert_int_equal(control_records_max(CONTROL_CLOSED, 0), 0);
	assert_int_equal(control_records_max(CONTROL_CLOSED, fit - 1), fit - 1);
	assert_int_equal(control_records_max(CONTROL_CLOSED, fit), fit);
	assert_int_equal(control_records_max(CONTROL_CLOSED, fit + 1), fit);
}

static void
ask_records_of_a_type_without(void)
{
	(void)control_records_max(CONTROL_STOP, 1);
}

static void
ask_bytes_of_no_type(void)
{
	(void)control_record_bytes(CONTROL_TYPE_COUNT);
}

static void
test_questions_about_no_records_are_our_bug(void **state)
{
	(void)state;
	assert_aborts(ask_records_of_a_type_without);
	assert_aborts(ask_bytes_of_no_type);
}

static void
test_decode_each_type_without_records(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++)
		assert_good(make_message(type, 0));
}

static void
test_decode_each_type_with_records(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++) {
		if (!has_records(type))
			continue;
		assert_good(make_message(type, 1));
		assert_good(make_message(type, 2));
		assert_good(make_message(type, control_records_max(type, UINT16_MAX)));
	}
}

static void
test_decode_gives_back_what_was_sent(void **state)
{
	const struct control_header header = {
		.type = CONTROL_PEERS,
		.flags = CONTROL_FLAG_LAST,
		.count = 1,
		.job = 77,
		.value = UINT64_MAX,
		.value2 = 5,
	};
	const struct control_peer peer = {.id = 1234567890123, .peer = make_addr("192.0.2.7")};
	struct control_message message;

	(void)state;
	memcpy(buffer.bytes, &header, sizeof(header));
	memcpy(buffer.bytes + sizeof(header), &peer, sizeof(peer));
	assert_int_equal(control_decode(&buffer, sizeof(header) + sizeof(peer), &message), 0);
	assert_memory_equal(&message.header, &header, sizeof(header));
	assert_ptr_equal(message.records, buffer.bytes + sizeof(header));
	assert_memory_equal(message.records, &peer, sizeof(peer));
}

static void
test_decode_refuses_what_is_shorter_than_a_header(void **state)
{
	(void)state;
	(void)make_message(CONTROL_STOP, 0);
	assert_refused(0);
	assert_refused(1);
	assert_refused(HEADER_BYTES - 1);
	assert_good(HEADER_BYTES);
}

static void
test_decode_refuses_a_length_that_is_not_the_records(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++) {
		size_t length = make_message(type, has_records(type) ? 2 : 0);

		assert_refused(length - 1);
		assert_good(length);
		assert_refused(length + 1);
		assert_refused(length + 8);
	}
}

static void
test_decode_refuses_a_count_that_is_not_the_length(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++) {
		size_t length;

		if (!has_records(type))
			continue;
		length = make_message(type, 2);
		buffer.header.count = 1;
		assert_refused(length);
		buffer.header.count = 3;
		assert_refused(length);
		buffer.header.count = UINT16_MAX;
		assert_refused(length);
	}
}

static void
test_decode_refuses_records_where_none_belong(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++) {
		size_t length;

		if (has_records(type))
			continue;
		length = make_message(type, 0);
		buffer.header.count = 1;
		assert_refused(length);
		buffer.header.count = UINT16_MAX;
		assert_refused(length);
	}
}

static void
test_decode_refuses_more_than_a_message(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_TYPE_COUNT; type++)
		if (has_records(type))
			assert_refused(
				make_message(type, control_records_max(type, UINT16_MAX) + 1));
}

static void
test_decode_refuses_unknown_types(void **state)
{
	(void)state;
	assert_good(make_message(CONTROL_TYPE_COUNT - 1, 0));
	assert_refused(make_message(CONTROL_TYPE_COUNT, 0));
	assert_refused(make_message(UINT8_MAX, 0));
}

static int
decode_with_cidr(unsigned family, unsigned prefix)
{
	size_t length = make_message(CONTROL_QUERY, 0);

	buffer.header.cidr.family = (uint8_t)family;
	buffer.header.cidr.prefix = (uint8_t)prefix;
	return decode(length);
}

static void
test_decode_checks_the_range_of_addresses(void **state)
{
	(void)state;
	assert_int_equal(decode_with_cidr(ADDR_NONE, 0), 0);
	assert_int_equal(decode_with_cidr(ADDR_NONE, 1), -EBADMSG);
	assert_int_equal(decode_with_cidr(ADDR_IPV4, 0), 0);
	assert_int_equal(decode_with_cidr(ADDR_IPV4, 32), 0);
	assert_int_equal(decode_with_cidr(ADDR_IPV4, 33), -EBADMSG);
	assert_int_equal(decode_with_cidr(ADDR_IPV6, 128), 0);
	assert_int_equal(decode_with_cidr(ADDR_IPV6, 129), -EBADMSG);
	assert_int_equal(decode_with_cidr(ADDR_UNIX, 0), -EBADMSG);
	assert_int_equal(decode_with_cidr(UINT8_MAX, 0), -EBADMSG);
}

static void
test_decode_checks_the_reason_of_every_close(void **state)
{
	size_t length = make_message(CONTROL_CLOSED, 3);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct control_closed *closed = record_at(i);

		closed->reason = CLOSE_REASON_COUNT - 1;
		assert_good(length);
		closed->reason = CLOSE_REASON_COUNT;
		assert_refused(length);
		closed->reason = CLOSE_NONE;
		assert_refused(length);
		closed->reason = 0;
	}
}

static void
test_decode_checks_the_family_of_every_peer(void **state)
{
	size_t length = make_message(CONTROL_PEERS, 3);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct control_peer *peer = record_at(i);

		peer->peer.family = ADDR_UNIX;
		assert_good(length);
		peer->peer.family = ADDR_UNIX + 1;
		assert_refused(length);
		peer->peer.family = ADDR_NONE;
	}
}

static void
test_decode_checks_the_family_in_all_details(void **state)
{
	size_t length = make_message(CONTROL_DETAILS, 3);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct control_details *details = record_at(i);

		details->peer.family = ADDR_UNIX;
		assert_good(length);
		details->peer.family = ADDR_UNIX + 1;
		assert_refused(length);
		details->peer.family = ADDR_NONE;
	}
}

static void
test_decode_writes_nothing_when_it_refuses(void **state)
{
	struct control_message message, before;

	(void)state;
	memset(&message, 0x5a, sizeof(message));
	memcpy(&before, &message, sizeof(before));
	assert_int_equal(
		control_decode(&buffer, make_message(CONTROL_TYPE_COUNT, 0), &message), -EBADMSG);
	assert_memory_equal(&message, &before, sizeof(before));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_of_each_message),
		cmocka_unit_test(test_records_stay_aligned),
		cmocka_unit_test(test_a_full_batch_of_connections_fits),
		cmocka_unit_test(test_records_max_is_the_most_that_fits),
		cmocka_unit_test(test_records_max_obeys_the_caller),
		cmocka_unit_test(test_questions_about_no_records_are_our_bug),
		cmocka_unit_test(test_decode_each_type_without_records),
		cmocka_unit_test(test_decode_each_type_with_records),
		cmocka_unit_test(test_decode_gives_back_what_was_sent),
		cmocka_unit_test(test_decode_refuses_what_is_shorter_than_a_header),
		cmocka_unit_test(test_decode_refuses_a_length_that_is_not_the_records),
		cmocka_unit_test(test_decode_refuses_a_count_that_is_not_the_length),
		cmocka_unit_test(test_decode_refuses_records_where_none_belong),
		cmocka_unit_test(test_decode_refuses_more_than_a_message),
		cmocka_unit_test(test_decode_refuses_unknown_types),
		cmocka_unit_test(test_decode_checks_the_range_of_addresses),
		cmocka_unit_test(test_decode_checks_the_reason_of_every_close),
		cmocka_unit_test(test_decode_checks_the_family_of_every_peer),
		cmocka_unit_test(test_decode_checks_the_family_in_all_details),
		cmocka_unit_test(test_decode_writes_nothing_when_it_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
