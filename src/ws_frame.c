/* ws_frame: see ws_frame.h. The numbers are sections of RFC 6455. */
#include "ws_frame.h"

#include <string.h>

#include "utf8.h"

#define HEAD_MIN 2
#define FIN 0x80
#define RESERVED 0x70
#define OPCODE 0x0f
#define CONTROL 0x08 /* the bit of an opcode */
#define MASKED 0x80
#define LENGTH 0x7f
#define LENGTH_16 126
#define LENGTH_64 127

void
ws_mask(uint8_t *data, size_t length, uint8_t mask[static WS_MASK_BYTES])
{
	uint8_t turned[WS_MASK_BYTES];
	uint64_t words, word;
	uint32_t once;
	size_t at = 0;

	memcpy(&once, mask, sizeof(once));
	words = (uint64_t)once << 32 | once;
	for (; length - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, data + at, sizeof(word));
		word ^= words;
		memcpy(data + at, &word, sizeof(word));
	}
	for (; at < length; at++)
		data[at] ^= mask[at % WS_MASK_BYTES];
	for (size_t i = 0; i < WS_MASK_BYTES; i++)
		turned[i] = mask[(length + i) % WS_MASK_BYTES];
	memcpy(mask, turned, WS_MASK_BYTES);
}

static uint64_t
ws_get_number(const uint8_t *bytes, size_t n)
{
	uint64_t number = 0;

	for (size_t i = 0; i < n; i++)
		number = number << 8 | bytes[i];
	return number;
}

static void
ws_put_number(uint8_t *bytes, size_t n, uint64_t number)
{
	for (; n > 0; number >>= 8)
		bytes[--n] = (uint8_t)number;
}

/* Bytes of the extended payload length. */
static size_t
ws_extended_bytes(uint8_t second)
{
	switch (second & LENGTH) {
	case LENGTH_16:
		return 2;
	case LENGTH_64:
		return 8;
	default:
		return 0;
	}
}

/* How long the head is, as far as its first two bytes tell. */
static size_t
ws_head_wanted(const struct ws_reader *reader)
{
	if (reader->head_length < HEAD_MIN)
		return HEAD_MIN;
	return HEAD_MIN + ws_extended_bytes(reader->head[1]) +
	       (reader->head[1] & MASKED ? WS_MASK_BYTES : 0);
}

static enum ws_opcode
ws_reader_opcode(const struct ws_reader *reader)
{
	return reader->head[0] & OPCODE;
}

static bool
ws_reader_is_last(const struct ws_reader *reader)
{
	return reader->head[0] & FIN;
}

/* What the first two bytes of a head allow to be judged, so that a wrong one is not waited for: all
 * but whether it is masked. */
static bool
ws_head_is_legal(const struct ws_reader *reader)
{
	enum ws_opcode opcode = ws_reader_opcode(reader);

	if (reader->head[0] & RESERVED) /* 5.2: no extension was agreed on */
		return false;
	switch (opcode) {
	case WS_CONTINUATION: /* 5.4 */
		return reader->message != 0;
	case WS_TEXT:
	case WS_BINARY:
		return reader->message == 0;
	case WS_CLOSE: /* 5.5 */
	case WS_PING:
	case WS_PONG:
		return ws_reader_is_last(reader) && (reader->head[1] & LENGTH) <= WS_CONTROL_MAX;
	}
	return false; /* 5.2: reserved */
}

/* The payload length, UINT64_MAX if it is not written in the fewest bytes (5.2) or is too large. */
static uint64_t
ws_head_payload(const struct ws_reader *reader)
{
	size_t extended = ws_extended_bytes(reader->head[1]);
	uint64_t length = ws_get_number(reader->head + HEAD_MIN, extended);

	switch (extended) {
	case 2:
		return length < LENGTH_16 ? UINT64_MAX : length;
	case 8:
		return length <= UINT16_MAX || length > INT64_MAX ? UINT64_MAX : length;
	default:
		return reader->head[1] & LENGTH;
	}
}

/* A whole head is here. Returns 0, or the code of what is wrong. */
static uint16_t
ws_reader_begin_frame(struct ws_reader *reader, const struct ws_rules *rules)
{
	enum ws_opcode opcode = ws_reader_opcode(reader);
	uint64_t length = ws_head_payload(reader);

	if (length == UINT64_MAX)
		return WS_CODE_PROTOCOL_ERROR;
	if (!(opcode & CONTROL)) {
		if (length > rules->message_max ||
			reader->message_bytes > rules->message_max - length)
			return WS_CODE_TOO_BIG;
		reader->message_bytes += length;
		if (opcode != WS_CONTINUATION)
			reader->message = (uint8_t)opcode;
	}
	if (rules->masked)
		memcpy(reader->mask, reader->head + reader->head_length - WS_MASK_BYTES,
			WS_MASK_BYTES);
	reader->left_bytes = length;
	reader->in_payload = true;
	return 0;
}

/* Reads what is missing of the head. Returns 0, or the code of what is wrong. */
static uint16_t
ws_reader_take_head(struct ws_reader *reader, const struct ws_rules *rules, const uint8_t *data,
	size_t length, size_t *ret_taken)
{
	size_t taken = 0;

	while (reader->head_length < ws_head_wanted(reader)) {
		if (taken == length) {
			*ret_taken = taken;
			return 0;
		}
		reader->head[reader->head_length++] = data[taken++];
		if (reader->head_length != HEAD_MIN)
			continue;
		if (rules->masked != ((reader->head[1] & MASKED) != 0) || /* 5.1 */
			!ws_head_is_legal(reader))
			return WS_CODE_PROTOCOL_ERROR;
	}
	*ret_taken = taken;
	return ws_reader_begin_frame(reader, rules);
}

static void
ws_reader_end_frame(struct ws_reader *reader)
{
	reader->in_payload = false;
	reader->head_length = 0;
}

static void
ws_event_fail(struct ws_event *event, uint16_t code)
{
	*event = (struct ws_event){.type = WS_EVENT_ERROR, .code = code};
}

/* A close frame is here whole: 5.5.1, 7.1.5, 7.1.6, 7.4. */
static void
ws_event_close(struct ws_event *event)
{
	const uint8_t *payload = event->data;
	uint8_t utf8 = UTF8_START;

	event->type = WS_EVENT_CLOSE;
	event->code = WS_CODE_NONE;
	if (event->length == 0)
		return;
	if (event->length >= 2)
		event->code = (uint16_t)ws_get_number(payload, 2);
	if (event->length < 2 || !ws_code_is_valid(event->code)) {
		ws_event_fail(event, WS_CODE_PROTOCOL_ERROR);
		return;
	}
	event->data = payload + 2;
	event->length -= 2;
	if (!utf8_check(&utf8, event->data, event->length) || utf8 != UTF8_START)
		ws_event_fail(event, WS_CODE_BAD_TEXT);
}

/* Some payload of a control frame; an event once it is there whole. */
static void
ws_reader_take_control(
	struct ws_reader *reader, const uint8_t *data, size_t length, struct ws_event *event)
{
	if (length > 0)
		memcpy(reader->control + reader->control_length, data, length);
	reader->control_length += (uint8_t)length;
	if (reader->left_bytes > 0)
		return;
	event->data = reader->control;
	event->length = reader->control_length;
	reader->control_length = 0;
	if (ws_reader_opcode(reader) == WS_CLOSE)
		ws_event_close(event);
	else
		event->type = ws_reader_opcode(reader) == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG;
	ws_reader_end_frame(reader);
}

/* Some payload of a message. Parts of no bytes are told only if they end it. */
static void
ws_reader_take_message(
	struct ws_reader *reader, const uint8_t *data, size_t length, struct ws_event *event)
{
	bool last = reader->left_bytes == 0 && ws_reader_is_last(reader);

	if (reader->message == WS_TEXT && (!utf8_check(&reader->utf8, data, length) ||
						  (last && reader->utf8 != UTF8_START))) {
		ws_event_fail(event, WS_CODE_BAD_TEXT); /* 8.1 */
		return;
	}
	if (length > 0 || last) {
		*event = (struct ws_event){
			.type = WS_EVENT_DATA,
			.opcode = reader->message,
			.first = !reader->begun,
			.last = last,
			.data = data,
			.length = length,
		};
		reader->begun = true;
	}
	if (last) {
		reader->message = 0;
		reader->message_bytes = 0;
		reader->begun = false;
	}
	if (reader->left_bytes == 0)
		ws_reader_end_frame(reader);
}

/* Reads of the payload what is there. */
static size_t
ws_reader_take_payload(struct ws_reader *reader, const struct ws_rules *rules, uint8_t *data,
	size_t length, struct ws_event *event)
{
	size_t taken = length < reader->left_bytes ? length : (size_t)reader->left_bytes;

	reader->left_bytes -= taken;
	if (rules->masked)
		ws_mask(data, taken, reader->mask);
	if (ws_reader_opcode(reader) & CONTROL)
		ws_reader_take_control(reader, data, taken, event);
	else
		ws_reader_take_message(reader, data, taken, event);
	return taken;
}

size_t
ws_reader_next(struct ws_reader *reader, const struct ws_rules *rules, uint8_t *data, size_t length,
	struct ws_event *ret_event)
{
	size_t at = 0, taken = 0;
	uint16_t wrong;

	*ret_event = (struct ws_event){.type = WS_EVENT_MORE};
	while (ret_event->type == WS_EVENT_MORE && (at < length || reader->in_payload)) {
		if (!reader->in_payload) {
			wrong = ws_reader_take_head(reader, rules, data + at, length - at, &taken);
			if (wrong) {
				ws_event_fail(ret_event, wrong);
				return length;
			}
			at += taken;
		}
		if (!reader->in_payload || (reader->left_bytes > 0 && at == length))
			break;
		at += ws_reader_take_payload(reader, rules, data + at, length - at, ret_event);
	}
	return at;
}

bool
ws_reader_is_idle(const struct ws_reader *reader)
{
	return !reader->in_payload && reader->head_length == 0 && reader->message == 0;
}

/* Within a head: one that was judged, as far as it is here, and not all of it. */
static bool
ws_reader_head_is_sound(const struct ws_reader *reader)
{
	return reader->control_length == 0 && reader->head_length < ws_head_wanted(reader) &&
	       (reader->head_length < HEAD_MIN || ws_head_is_legal(reader));
}

/* Within a payload: a control frame fits into its place, and other payload is of some message. */
static bool
ws_reader_payload_is_sound(const struct ws_reader *reader)
{
	if (ws_reader_opcode(reader) & CONTROL)
		return reader->control_length <= WS_CONTROL_MAX &&
		       reader->left_bytes <= (uint64_t)WS_CONTROL_MAX - reader->control_length;
	return reader->control_length == 0 && reader->message != 0 &&
	       reader->left_bytes <= reader->message_bytes;
}

bool
ws_reader_is_sound(const struct ws_reader *reader)
{
	if (reader->version != 0 || reader->head_length > WS_HEAD_MAX ||
		!utf8_is_state(reader->utf8))
		return false;
	if (reader->message != 0 && reader->message != WS_TEXT && reader->message != WS_BINARY)
		return false;
	return reader->in_payload ? ws_reader_payload_is_sound(reader)
				  : ws_reader_head_is_sound(reader);
}

size_t
ws_frame_put_head(uint8_t ret_head[static WS_HEAD_MAX], enum ws_opcode opcode, bool last,
	uint64_t length, const uint8_t *mask)
{
	uint8_t second = mask ? MASKED : 0;
	size_t extended;

	if (length < LENGTH_16)
		second |= (uint8_t)length;
	else
		second |= length <= UINT16_MAX ? LENGTH_16 : LENGTH_64;
	extended = ws_extended_bytes(second);
	ret_head[0] = (uint8_t)((last ? FIN : 0) | opcode);
	ret_head[1] = second;
	ws_put_number(ret_head + HEAD_MIN, extended, length);
	if (!mask)
		return HEAD_MIN + extended;
	memcpy(ret_head + HEAD_MIN + extended, mask, WS_MASK_BYTES);
	return HEAD_MIN + extended + WS_MASK_BYTES;
}

size_t
ws_close_put(uint8_t ret_payload[static WS_CONTROL_MAX], uint16_t code, const char *reason)
{
	size_t length = strlen(reason);

	if (code == WS_CODE_NONE)
		return 0;
	ws_put_number(ret_payload, 2, code);
	if (length > WS_CONTROL_MAX - 2) {
		length = WS_CONTROL_MAX - 2;
		while (length > 0 && (reason[length] & 0xc0) == 0x80)
			length--;
	}
	memcpy(ret_payload + 2, reason, length);
	return 2 + length;
}

bool
ws_code_is_valid(uint16_t code)
{
	switch (code) {
	case 1000 ... 1003:
	case 1007 ... 1014:
	case 3000 ... 4999:
		return true;
	default:
		return false;
	}
}
