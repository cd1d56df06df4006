/* conf_unit: see conf_unit.h. */
#include "conf_unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct conf_unit {
	const char *name;
	uint64_t factor;
};

/* Both from the largest to the smallest. */
static const struct conf_unit DURATION_UNITS[] = {
	{"d", UINT64_C(86400000000)},
	{"h", UINT64_C(3600000000)},
	{"m", UINT64_C(60000000)},
	{"s", UINT64_C(1000000)},
	{"ms", UINT64_C(1000)},
	{"us", UINT64_C(1)},
};
static const struct conf_unit SIZE_UNITS[] = {
	{"TiB", UINT64_C(1) << 40},
	{"GiB", UINT64_C(1) << 30},
	{"MiB", UINT64_C(1) << 20},
	{"KiB", UINT64_C(1) << 10},
	{"B", UINT64_C(1)},
};
#define N_DURATION_UNITS (sizeof(DURATION_UNITS) / sizeof(DURATION_UNITS[0]))
#define N_SIZE_UNITS (sizeof(SIZE_UNITS) / sizeof(SIZE_UNITS[0]))

int
conf_unit_take_number(const char **text, uint64_t *ret_number)
{
	const char *p = *text;
	uint64_t number = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(number, 10, &number) ||
			__builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			return -ERANGE;
	*text = p;
	*ret_number = number;
	return 0;
}

/* Reads a unit at *text, up to the next digit, and moves it behind; NULL if it is none of these. */
static const struct conf_unit *
conf_unit_take_unit(const char **text, const struct conf_unit *units, size_t n)
{
	size_t length = strcspn(*text, "0123456789");

	for (size_t i = 0; i < n; i++)
		if (strlen(units[i].name) == length && memcmp(units[i].name, *text, length) == 0) {
			*text += length;
			return &units[i];
		}
	return NULL;
}

int
conf_unit_parse_duration(const char *text, uint64_t *ret_usec)
{
	const struct conf_unit *units = DURATION_UNITS, *unit;
	const struct conf_unit *end = DURATION_UNITS + N_DURATION_UNITS;
	uint64_t sum = 0, number;
	int r;

	do {
		r = conf_unit_take_number(&text, &number);
		if (r < 0)
			return r;
		unit = conf_unit_take_unit(&text, units, (size_t)(end - units));
		if (!unit)
			return -EINVAL;
		if (__builtin_mul_overflow(number, unit->factor, &number) ||
			__builtin_add_overflow(sum, number, &sum))
			return -ERANGE;
		units = unit + 1;
	} while (*text != '\0');
	*ret_usec = sum;
	return 0;
}

int
conf_unit_parse_size(const char *text, uint64_t *ret_bytes)
{
	const struct conf_unit *unit;
	uint64_t number;
	int r;

	r = conf_unit_take_number(&text, &number);
	if (r < 0)
		return r;
	unit = conf_unit_take_unit(&text, SIZE_UNITS, N_SIZE_UNITS);
	if (!unit || *text != '\0')
		return -EINVAL;
	if (__builtin_mul_overflow(number, unit->factor, &number))
		return -ERANGE;
	*ret_bytes = number;
	return 0;
}

int
conf_unit_parse_mode(const char *text, uint64_t *ret_mode)
{
	uint64_t mode = 0;

	if (strlen(text) == 4 && *text == '0')
		text++;
	if (strlen(text) != 3 || strspn(text, "01234567") != 3)
		return -EINVAL;
	for (; *text != '\0'; text++)
		mode = mode * 8 + (uint64_t)(*text - '0');
	*ret_mode = mode;
	return 0;
}

const char *
conf_unit_format_duration(uint64_t usec, char buf[static CONF_UNIT_TEXT_MAX])
{
	size_t length = 0;

	if (usec == 0)
		return strcpy(buf, "0s");
	for (size_t i = 0; i < N_DURATION_UNITS; i++) {
		const struct conf_unit *unit = &DURATION_UNITS[i];

		if (usec < unit->factor)
			continue;
		length += (size_t)snprintf(buf + length, CONF_UNIT_TEXT_MAX - length,
			"%" PRIu64 "%s", usec / unit->factor, unit->name);
		usec %= unit->factor;
	}
	return buf;
}

const char *
conf_unit_format_size(uint64_t bytes, char buf[static CONF_UNIT_TEXT_MAX])
{
	const struct conf_unit *unit = SIZE_UNITS;

	if (bytes == 0)
		return strcpy(buf, "0B");
	while (bytes % unit->factor != 0)
		unit++;
	snprintf(buf, CONF_UNIT_TEXT_MAX, "%" PRIu64 "%s", bytes / unit->factor, unit->name);
	return buf;
}

const char *
conf_unit_format_mode(uint64_t mode, char buf[static CONF_UNIT_TEXT_MAX])
{
	snprintf(buf, CONF_UNIT_TEXT_MAX, "%04" PRIo64, mode);
	return buf;
}
