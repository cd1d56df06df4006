/*
 * fuzz_ws_handshake: whatever comes instead of a handshake, its end is found in any pieces, and it
 * is judged and answered; what is taken apart lies within it.
 *
 * The first byte says how the rest is cut.
 *
 * Links: ws_handshake.c http_head.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ws_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_be_within(const struct http_text *text, const char *data, size_t size)
{
	if (text->at < data || text->length > size ||
		(size_t)(text->at - data) > size - text->length)
		abort();
}

static void
use_fields(const struct http_head *head, const char *data, size_t size)
{
	struct http_text fields = head->fields, element;
	struct http_field field;

	while (http_head_next(&fields, &field)) {
		must_be_within(&field.name, data, size);
		must_be_within(&field.value, data, size);
		while (http_text_next(&field.value, &element))
			must_be_within(&element, data, size);
	}
}

static void
use_head(const char *data, size_t size)
{
	static const char *const patterns[] = {"/chat", "*.example.com", "v1"};
	const struct ws_texts texts = {patterns, 3};
	const struct ws_policy open = {.health_path = ""}, closed = {.health_path = "/healthz",
								   .paths = texts,
								   .hosts = texts,
								   .origins = texts,
								   .subprotocols = texts};
	struct ws_handshake handshake;
	char answer[WS_ANSWER_MAX];
	struct http_head head;

	if (http_head_parse(data, size, &head) == 0) {
		must_be_within(&head.method, data, size);
		must_be_within(&head.target, data, size);
		must_be_within(&head.path, data, size);
		use_fields(&head, data, size);
	}
	ws_handshake_judge(&open, data, size, &handshake);
	if (ws_handshake_answer(&handshake, answer) != strlen(answer))
		abort();
	ws_handshake_judge(&closed, data, size, &handshake);
	if (ws_handshake_answer(&handshake, answer) != strlen(answer))
		abort();
}

/* The end of the head by pieces of `step` bytes; 0: there is none, below 0: it is refused. */
static long
find_end(const char *data, size_t size, size_t step)
{
	uint8_t state = 0;

	for (size_t at = 0; at < size; at += step) {
		long n = http_head_find_end(&state, data + at, size - at < step ? size - at : step);

		if (n != 0)
			return n < 0 ? n : (long)at + n;
	}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	long end;

	if (size < 2)
		return 0;
	text = malloc(size - 1); /* of exactly its length: reading beyond is found */
	memcpy(text, data + 1, size - 1);
	end = find_end(text, size - 1, size - 1);
	if (end != find_end(text, size - 1, 1 + data[0]))
		abort();
	use_head(text, size - 1);
	if (end > 0)
		use_head(text, (size_t)end);
	free(text);
	return 0;
}
