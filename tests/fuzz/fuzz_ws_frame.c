/*
 * fuzz_ws_frame: whatever the bytes and however they are cut, the reader takes them all or refuses
 * them; the same bytes in one piece give the same messages; what it takes keeps to its rules. And
 * whatever the reader that another process left, it is found unsound, or reads on without harm.
 *
 * The first byte says how the rest is cut and who reads it. For the last of these the rest begins with
 * the reader.
 *
 * Links: ws_frame.c utf8.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ws_frame.h"

#define MESSAGE_MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What became of the bytes. */
struct story {
	uint64_t hash; /* of the payload of messages */
	uint64_t message_bytes;
	unsigned n_messages, n_controls, error;
};

static void
use_data(struct story *story, const struct ws_event *event)
{
	const uint8_t *bytes = event->data;

	if (event->first && story->message_bytes > 0)
		abort();
	for (size_t i = 0; i < event->length; i++)
		story->hash = (story->hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	story->message_bytes += event->length;
	if (story->message_bytes > MESSAGE_MAX)
		abort();
	if (!event->last)
		return;
	story->message_bytes = 0;
	story->n_messages++;
	story->hash = story->hash * 31 + event->opcode;
}

static void
use_event(struct story *story, const struct ws_event *event)
{
	switch (event->type) {
	case WS_EVENT_MORE:
		break;
	case WS_EVENT_DATA:
		if (event->length == 0 && !event->last)
			abort();
		use_data(story, event);
		break;
	case WS_EVENT_CLOSE:
		if (event->code != WS_CODE_NONE && !ws_code_is_valid(event->code))
			abort();
		/* fall through */
	case WS_EVENT_PING:
	case WS_EVENT_PONG:
		if (event->length > WS_CONTROL_MAX)
			abort();
		story->n_controls++;
		break;
	case WS_EVENT_ERROR:
		if (!ws_code_is_valid(event->code))
			abort();
		story->error = event->code;
		break;
	}
}

/* The reader is kept as bytes from piece to piece, as it is between two processes. */
static void
read_piece(uint8_t *kept, const struct ws_rules *rules, const uint8_t *data, size_t size,
	struct story *story)
{
	uint8_t *bytes = malloc(size > 0 ? size : 1);
	struct ws_reader reader;
	struct ws_event event;
	size_t at = 0;

	memcpy(bytes, data, size);
	memcpy(&reader, kept, sizeof(reader));
	do {
		at += ws_reader_next(&reader, rules, bytes + at, size - at, &event);
		if (at > size)
			abort();
		use_event(story, &event);
	} while (event.type != WS_EVENT_MORE && event.type != WS_EVENT_ERROR);
	if (event.type == WS_EVENT_MORE && at != size)
		abort();
	memcpy(kept, &reader, sizeof(reader));
	free(bytes);
}

static struct story
read_all(const struct ws_rules *rules, const uint8_t *data, size_t size, size_t step)
{
	uint8_t kept[sizeof(struct ws_reader)] = {0};
	struct story story = {0};

	for (size_t at = 0; at < size && !story.error; at += step)
		read_piece(kept, rules, data + at, size - at < step ? size - at : step, &story);
	return story;
}

/* As read_piece(), of which only the harm that it does is looked at: a sanitizer sees it. */
static void
read_on(const struct ws_rules *rules, const uint8_t *data, size_t size)
{
	struct ws_reader *reader = malloc(sizeof(*reader));
	uint8_t *bytes = malloc(size);
	struct ws_event event;
	size_t at = 0;

	memcpy(reader, data, sizeof(*reader));
	memcpy(bytes, data + sizeof(*reader), size - sizeof(*reader));
	size -= sizeof(*reader);
	if (ws_reader_is_sound(reader))
		do {
			at += ws_reader_next(reader, rules, bytes + at, size - at, &event);
			if (at > size || event.length > size + WS_CONTROL_MAX)
				abort();
		} while (event.type != WS_EVENT_MORE && event.type != WS_EVENT_ERROR);
	free(bytes);
	free(reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ws_rules rules = {.message_max = MESSAGE_MAX};
	struct story whole, pieces;

	if (size < 2)
		return 0;
	rules.masked = data[0] & 1;
	whole = read_all(&rules, data + 1, size - 1, size - 1);
	pieces = read_all(&rules, data + 1, size - 1, 1 + (data[0] >> 1));
	if (whole.error != pieces.error || whole.n_messages != pieces.n_messages ||
		whole.n_controls != pieces.n_controls)
		abort();
	/* A wrong text is told up to the piece that is wrong. */
	if (!whole.error && whole.hash != pieces.hash)
		abort();
	if (size > 1 + sizeof(struct ws_reader))
		read_on(&rules, data + 1, size - 1);
	return 0;
}
