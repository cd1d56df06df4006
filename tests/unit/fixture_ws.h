/*
 * fixture_ws: a WebSocket reader, bytes on their way to it, and what must come of them. Static
 * functions only; nothing to link but ws_frame.
 */
#ifndef MILLGATE_TESTS_FIXTURE_WS_H
#define MILLGATE_TESTS_FIXTURE_WS_H

#include "fixture.h"

#include <stdbool.h>
#include <string.h>

#include "ws_frame.h"

#define FIN 0x80
#define LONG (1 << 17)

static const struct ws_rules SERVER = {.message_max = 1 << 20, .masked = true};
static const struct ws_rules CLIENT = {.message_max = 1 << 20, .masked = false};
static const uint8_t MASK[WS_MASK_BYTES] = {0x37, 0xfa, 0x21, 0x3d};

/* Bytes on their way to the reader. */
static struct {
	uint8_t bytes[2 * LONG];
	size_t length;
} wire;

static struct ws_reader reader;

static inline int
set_up(void **state)
{
	(void)state;
	wire.length = 0;
	memset(&reader, 0, sizeof(reader));
	return 0;
}

static inline void
put(const void *bytes, size_t length)
{
	memcpy(wire.bytes + wire.length, bytes, length);
	wire.length += length;
}

static inline void
put_frame_of(uint8_t first, const void *payload, size_t length, bool masked)
{
	uint8_t head[WS_HEAD_MAX], mask[WS_MASK_BYTES];

	memcpy(mask, MASK, sizeof(mask));
	put(head, ws_frame_put_head(head, first & 0x0f, first & FIN, length, masked ? mask : NULL));
	wire.bytes[wire.length -
		   (length > UINT16_MAX   ? 10
			   : length > 125 ? 4
					  : 2) -
		   (masked ? WS_MASK_BYTES : 0)] = first;
	put(payload, length);
	if (masked)
		ws_mask(wire.bytes + wire.length - length, length, mask);
}

/* From a client. */
static inline void
put_frame(uint8_t first, const char *payload)
{
	put_frame_of(first, payload, strlen(payload), true);
}

static inline struct ws_event
next_event(const struct ws_rules *rules)
{
	static uint8_t read[sizeof(wire.bytes)];
	struct ws_event event;
	size_t n;

	memcpy(read, wire.bytes, wire.length);
	n = ws_reader_next(&reader, rules, read, wire.length, &event);
	assert_true(n <= wire.length);
	wire.length -= n;
	memmove(wire.bytes, wire.bytes + n, wire.length);
	return event;
}

static inline void
assert_more(void)
{
	assert_int_equal(next_event(&SERVER).type, WS_EVENT_MORE);
	assert_int_equal(wire.length, 0);
}

static inline void
assert_fails(const struct ws_rules *rules, uint16_t code)
{
	struct ws_event event = next_event(rules);

	assert_int_equal(event.type, WS_EVENT_ERROR);
	assert_int_equal(event.code, code);
}

static inline void
assert_data_of(const struct ws_rules *rules, enum ws_opcode opcode, bool first, bool last,
	const char *payload, size_t length)
{
	struct ws_event event = next_event(rules);

	assert_int_equal(event.type, WS_EVENT_DATA);
	assert_int_equal(event.opcode, opcode);
	assert_int_equal(event.first, first);
	assert_int_equal(event.last, last);
	assert_int_equal(event.length, length);
	if (length > 0)
		assert_memory_equal(event.data, payload, length);
}

static inline void
assert_data(enum ws_opcode opcode, bool first, bool last, const char *payload)
{
	assert_data_of(&SERVER, opcode, first, last, payload, strlen(payload));
}

static inline void
assert_control(enum ws_event_type type, const char *payload)
{
	struct ws_event event = next_event(&SERVER);

	assert_int_equal(event.type, type);
	assert_int_equal(event.length, strlen(payload));
	if (event.length > 0)
		assert_memory_equal(event.data, payload, event.length);
}

static inline void
assert_close(uint16_t code, const char *reason)
{
	struct ws_event event = next_event(&SERVER);

	assert_int_equal(event.type, WS_EVENT_CLOSE);
	assert_int_equal(event.code, code);
	assert_int_equal(event.length, strlen(reason));
	if (event.length > 0)
		assert_memory_equal(event.data, reason, event.length);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

#endif
