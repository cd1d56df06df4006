/*
 * fuzz_proxy_header: what is said of the beginning of some bytes agrees with what is said of more of
 * them; a line that is waited on can be finished; addresses that were read are the same once they
 * are written and read again.
 *
 * Links: proxy_header.c proxy_line.c addr.c error.c
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_header.h"

#define LINE_MAX_BYTES 107
#define EACH_MAX 300 /* up to here each beginning is read, behind it one of STEP */
#define STEP 61

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of its own size. */
static ssize_t
parse(const uint8_t *data, size_t size, struct proxy_header *ret_header)
{
	uint8_t *bytes = malloc(size > 0 ? size : 1);
	struct mg_error error = {""};
	ssize_t r;

	memcpy(bytes, data, size);
	r = proxy_header_parse(bytes, size, ret_header, &error);
	free(bytes);
	if (r < 0 && (r != -EBADMSG || error.text[0] == '\0'))
		abort();
	if (r > (ssize_t)size || r > PROXY_HEADER_MAX || (r == 0 && size >= PROXY_HEADER_MAX))
		abort();
	return r;
}

static void
check_beginnings(const uint8_t *data, size_t size, ssize_t whole, const struct proxy_header *wanted)
{
	struct proxy_header header;
	size_t n = 0;
	ssize_t r, before = 0;

	while (n < size) {
		r = parse(data, n, &header);
		if (before != 0 && r != before)
			abort();
		if (whole >= 0 && r != ((ssize_t)n < whole || whole == 0 ? 0 : whole))
			abort();
		if (r > 0 && memcmp(&header, wanted, sizeof(header)) != 0)
			abort();
		before = r;
		n += n < EACH_MAX ? 1 : STEP;
	}
	if (before != 0 && whole != before)
		abort();
}

/* Adds the first letter that is not refused, until a header is here. */
static void
finish_line(const uint8_t *data, size_t size)
{
	static const char letters[] = "\r\n 0:.PROXYTCP4UNKNOWN";
	uint8_t line[LINE_MAX_BYTES];
	struct proxy_header header;
	ssize_t r = 0;

	if (size > sizeof(line))
		abort();
	memcpy(line, data, size);
	while (r == 0) {
		const char *letter = letters;

		if (size == sizeof(line))
			abort();
		do {
			if (*letter == '\0')
				abort();
			line[size] = (uint8_t)*letter++;
			r = parse(line, size + 1, &header);
		} while (r < 0);
		size++;
	}
}

/* What a reader makes of what is written of this. */
static struct proxy_header
told(const struct proxy_header *header)
{
	if (header->source.family == ADDR_NONE || header->source.family == ADDR_UNIX)
		return (struct proxy_header){0};
	return *header;
}

static void
check_put(const struct proxy_header *header)
{
	struct proxy_header wanted = told(header), again;

	for (unsigned version = 1; version <= 2; version++) {
		uint8_t buf[PROXY_HEADER_PUT_MAX];
		size_t length = proxy_header_put(buf, version, header);

		if (parse(buf, length, &again) != (ssize_t)length)
			abort();
		if (memcmp(&again, &wanted, sizeof(again)) != 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header header = {0};
	ssize_t r = parse(data, size, &header);

	check_beginnings(data, size, r, &header);
	if (r > 0)
		check_put(&header);
	if (r == 0 && size > 0 && data[0] == 'P')
		finish_line(data, size);
	return 0;
}
