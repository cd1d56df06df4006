/* utf8: see utf8.h. */
#include "utf8.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* What must come next. Beside the number of bytes there are four first bytes after which not every
 * second one will do: they would give overlong forms, surrogates, or more than U+10FFFF. */
enum utf8_state {
	UTF8_LAST = UTF8_START + 1, /* one more byte */
	UTF8_LAST_TWO,
	UTF8_LAST_THREE,
	UTF8_AFTER_E0,
	UTF8_AFTER_ED,
	UTF8_AFTER_F0,
	UTF8_AFTER_F4,
	UTF8_STATES,
};

/* From `low` to `high` is right, and then comes `next`. */
static const struct utf8_rule {
	uint8_t low, high, next;
} UTF8_RULES[UTF8_STATES] = {
	[UTF8_LAST] = {0x80, 0xbf, UTF8_START},
	[UTF8_LAST_TWO] = {0x80, 0xbf, UTF8_LAST},
	[UTF8_LAST_THREE] = {0x80, 0xbf, UTF8_LAST_TWO},
	[UTF8_AFTER_E0] = {0xa0, 0xbf, UTF8_LAST},
	[UTF8_AFTER_ED] = {0x80, 0x9f, UTF8_LAST},
	[UTF8_AFTER_F0] = {0x90, 0xbf, UTF8_LAST_TWO},
	[UTF8_AFTER_F4] = {0x80, 0x8f, UTF8_LAST_TWO},
};

/* The state after the first byte of a character that has several; UTF8_START: there is none such. */
static uint8_t
utf8_begin(uint8_t byte)
{
	switch (byte) {
	case 0xc2 ... 0xdf:
		return UTF8_LAST;
	case 0xe0:
		return UTF8_AFTER_E0;
	case 0xed:
		return UTF8_AFTER_ED;
	case 0xe1 ... 0xec:
	case 0xee ... 0xef:
		return UTF8_LAST_TWO;
	case 0xf0:
		return UTF8_AFTER_F0;
	case 0xf1 ... 0xf3:
		return UTF8_LAST_THREE;
	case 0xf4:
		return UTF8_AFTER_F4;
	default:
		return UTF8_START;
	}
}

/* How many bytes from the start are ASCII, or a few less: most text is. */
static size_t
utf8_skip_ascii(const uint8_t *bytes, size_t length)
{
	size_t at = 0;
	uint64_t word;

	for (; length - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, bytes + at, sizeof(word));
		if (word & HIGH_BITS)
			break;
	}
	return at;
}

bool
utf8_check(uint8_t *state, const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint8_t now = *state;

	for (size_t i = 0; i < length; i++) {
		if (now != UTF8_START) {
			const struct utf8_rule *rule = &UTF8_RULES[now];

			if (bytes[i] < rule->low || bytes[i] > rule->high)
				return false;
			now = rule->next;
			continue;
		}
		i += utf8_skip_ascii(bytes + i, length - i);
		if (i == length)
			break;
		if (bytes[i] >= 0x80) {
			now = utf8_begin(bytes[i]);
			if (now == UTF8_START)
				return false;
		}
	}
	*state = now;
	return true;
}

bool
utf8_is_state(uint8_t state)
{
	return state < UTF8_STATES;
}
