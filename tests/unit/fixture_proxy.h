/*
 * fixture_proxy: what the tests of proxy_header and proxy_line need. Static functions only; nothing
 * to link but proxy_header.
 */
#ifndef MILLGATE_TESTS_FIXTURE_PROXY_H
#define MILLGATE_TESTS_FIXTURE_PROXY_H

#include "fixture.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define IPV6_LONG "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

struct bytes {
	uint8_t at[PROXY_HEADER_MAX + 64];
	size_t length;
};

static inline void
put(struct bytes *bytes, const void *data, size_t n)
{
	assert_true(n <= sizeof(bytes->at) - bytes->length);
	memcpy(bytes->at + bytes->length, data, n);
	bytes->length += n;
}

static inline void
put_zeros(struct bytes *bytes, size_t n)
{
	assert_true(n <= sizeof(bytes->at) - bytes->length);
	memset(bytes->at + bytes->length, 0, n);
	bytes->length += n;
}

static inline void
put_head(struct bytes *bytes, uint8_t command, uint8_t family, size_t length)
{
	const uint8_t head[] = {command, family, (uint8_t)(length >> 8), (uint8_t)length};

	put(bytes, SIGNATURE, 12);
	put(bytes, head, sizeof(head));
}

/* In memory of its own size, so that a sanitizer sees what is read beyond it. */
static inline ssize_t
parse(const void *data, size_t length, struct proxy_header *ret_header)
{
	uint8_t *copy = malloc(length + 1);
	struct mg_error error = {""};
	ssize_t r;

	assert_non_null(copy);
	memcpy(copy + 1, data, length);
	r = proxy_header_parse(copy + 1, length, ret_header, &error);
	free(copy);
	if (r < 0) {
		assert_int_equal(r, -EBADMSG);
		assert_true(error.text[0] != '\0');
	}
	return r;
}

static inline void
assert_header(const struct proxy_header *header, const char *source, const char *destination)
{
	char buf[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(&header->source, buf), source);
	assert_string_equal(addr_format(&header->destination, buf), destination);
}

/* It is a header, alone and with a payload behind it, and none of its beginnings is one. */
static inline void
assert_good_bytes(const void *data, size_t length, const char *source, const char *destination)
{
	const struct proxy_header nothing = {.source = {.family = 0xee}};
	struct proxy_header header = nothing;
	struct bytes more = {.length = 0};

	for (size_t n = 0; n < length; n++) {
		if (parse(data, n, &header) != 0)
			fail_msg("%.*s: the first %zu bytes are not waited on", (int)length,
				(const char *)data, n);
		assert_memory_equal(&header, &nothing, sizeof(header));
	}
	assert_int_equal(parse(data, length, &header), length);
	assert_header(&header, source, destination);
	put(&more, data, length);
	put(&more, "\0\r\nPROXY \x03", 10);
	memset(&header, 0xee, sizeof(header));
	assert_int_equal(parse(more.at, more.length, &header), length);
	assert_header(&header, source, destination);
}

/* The last byte is the first one that is wrong. */
static inline void
assert_bad_bytes(const void *data, size_t length)
{
	struct proxy_header header;

	if (parse(data, length - 1, &header) != 0)
		fail_msg("%.*s: refused too early", (int)length, (const char *)data);
	if (parse(data, length, &header) != -EBADMSG)
		fail_msg("%.*s: not refused", (int)length, (const char *)data);
}

/* Whatever is not refused can be finished: at random, byte by byte, until a header is here. */

static inline bool
walk_one(struct bytes *bytes, const char *letters, size_t n_letters, uint32_t *random)
{
	struct proxy_header header;
	ssize_t r;

	for (size_t tries = 0; tries < n_letters * 30; tries++) {
		bytes->at[bytes->length] = (uint8_t)letters[next_random(random) % n_letters];
		r = parse(bytes->at, bytes->length + 1, &header);
		if (r < 0)
			continue;
		bytes->length++;
		assert_true(r == 0 || r == (ssize_t)bytes->length);
		return r == 0;
	}
	fail_msg("nothing can follow: %.*s", (int)bytes->length, (const char *)bytes->at);
	return false;
}

#endif
