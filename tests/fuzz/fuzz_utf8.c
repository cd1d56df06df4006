/*
 * fuzz_utf8: text in two pieces is judged as a slow decoder judges it whole, and text that is wrong
 * is found to be so no later than with its last byte.
 *
 * Links: utf8.c
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The length of the character at the front, 0: there is none. By arithmetic, not by tables. */
static size_t
decode(const uint8_t *data, size_t size)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = data[0] < 0x80 ? 1 : data[0] < 0xc0 ? 0 : data[0] < 0xe0 ? 2 : 3;
	uint32_t c;

	if (data[0] >= 0xf0)
		length = data[0] < 0xf8 ? 4 : 0;
	if (length == 0 || length > size)
		return 0;
	c = length == 1 ? data[0] : data[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((data[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (data[i] & 0x3f);
	}
	return c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : length;
}

static bool
is_text(const uint8_t *data, size_t size)
{
	for (size_t length; size > 0; data += length, size -= length) {
		length = decode(data, size);
		if (length == 0)
			return false;
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t state = UTF8_START;
	size_t cut;
	bool good;

	if (size == 0)
		return 0;
	cut = data[0] % size;
	data++;
	size--;
	good = utf8_check(&state, data, cut) && utf8_check(&state, data + cut, size - cut);
	if ((good && state == UTF8_START) != is_text(data, size))
		abort();
	return 0;
}
