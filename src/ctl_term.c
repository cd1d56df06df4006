/* ctl_term: see ctl_term.h. */
#include "ctl_term.h"

#include <errno.h>
#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

#define COUNT_MAX 1e15

static const struct ctl_number UNKNOWN = {"-"};

static struct ctl_number
number_format(const char *format, double value)
{
	struct ctl_number number;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(number.text, sizeof(number.text), format, value);
#pragma GCC diagnostic pop
	return number;
}

struct ctl_number
ctl_term_count(double n)
{
	struct ctl_number digits, number;
	size_t i, length, out = 0;

	if (isnan(n))
		return UNKNOWN;
	if (n < 0 || n > COUNT_MAX)
		return number_format("%.4g", n);
	digits = number_format("%.0f", n);
	length = strlen(digits.text);
	for (i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			number.text[out++] = ',';
		number.text[out++] = digits.text[i];
	}
	number.text[out] = '\0';
	return number;
}

struct ctl_number
ctl_term_id(double n)
{
	if (isnan(n))
		return UNKNOWN;
	return number_format(fabs(n) > 1e17 ? "%.4g" : "%.0f", n);
}

static const char *
three_digits(double value)
{
	if (value < 9.995)
		return "%.2f";
	return value < 99.95 ? "%.1f" : "%.0f";
}

struct ctl_number
ctl_term_bytes(double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct ctl_number number;
	size_t unit = 0;

	if (isnan(bytes))
		return UNKNOWN;
	/* 1023.6 would be shown as 1024 of a unit. */
	while (bytes >= (unit ? 1023.5 : 1024) && unit + 1 < sizeof(units) / sizeof(*units)) {
		bytes /= 1024;
		unit++;
	}
	number = bytes > COUNT_MAX ? number_format("%.3g", bytes)
				   : number_format(unit ? three_digits(bytes) : "%.0f", bytes);
	strncat(number.text, " ", sizeof(number.text) - strlen(number.text) - 1);
	strncat(number.text, units[unit], sizeof(number.text) - strlen(number.text) - 1);
	return number;
}

/* "3h12m", and "3h" when there are no minutes. */
static struct ctl_number
two_units(double value, double per, const char *unit, const char *lower_unit)
{
	struct ctl_number number;
	double whole = floor(value / per), rest = floor(value - whole * per);

	if (rest > 0)
		snprintf(number.text, sizeof(number.text), "%.0f%s%.0f%s", whole, unit, rest,
			lower_unit);
	else
		snprintf(number.text, sizeof(number.text), "%.0f%s", whole, unit);
	return number;
}

struct ctl_number
ctl_term_duration(double seconds)
{
	if (isnan(seconds))
		return UNKNOWN;
	if (seconds <= 0)
		return number_format("%.0fs", 0);
	if (seconds < 999.5e-6)
		return number_format("%.0fus", seconds * 1e6);
	if (seconds < 0.9995)
		return number_format("%.0fms", seconds * 1e3);
	if (seconds < 9.95)
		return number_format("%.1fs", seconds);
	if (seconds < 60)
		return number_format("%.0fs", floor(seconds));
	if (seconds < 3600)
		return two_units(seconds, 60, "m", "s");
	if (seconds < 86400)
		return two_units(seconds / 60, 60, "h", "m");
	if (seconds < 100 * 86400.0)
		return two_units(seconds / 3600, 24, "d", "h");
	return number_format(seconds > COUNT_MAX ? "%.3gd" : "%.0fd", floor(seconds / 86400));
}

struct ctl_number
ctl_term_rate(double per_second)
{
	if (per_second > 0 && per_second < 0.05)
		return (struct ctl_number){"<0.1"};
	if (per_second > 0 && per_second < 9.95)
		return number_format("%.1f", per_second);
	return ctl_term_count(per_second);
}

struct ctl_number
ctl_term_percent(double part, double whole)
{
	double percent = 100 * part / whole;

	if (isnan(part) || isnan(whole) || whole <= 0)
		return UNKNOWN;
	if (percent > 0 && percent < 1)
		return (struct ctl_number){"<1%"};
	return number_format(percent > COUNT_MAX ? "%.3g%%" : "%.0f%%", floor(percent));
}

int
ctl_term_parse_duration(const char *text, uint64_t min_usec, uint64_t max_usec, uint64_t *ret_usec)
{
	static const struct {
		const char *name;
		double usec;
	} units[] = {{"", 1e6}, {"s", 1e6}, {"ms", 1e3}, {"m", 60e6}, {"h", 3600e6}};
	size_t digits = strspn(text, "0123456789."), i;
	char *end;
	double value;

	if (digits == 0 || digits > 20)
		return -EINVAL;
	value = strtod(text, &end);
	if (end != text + digits)
		return -EINVAL;
	for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		value *= units[i].usec;
		if (value < (double)min_usec || value > (double)max_usec)
			return -ERANGE;
		*ret_usec = (uint64_t)llround(value);
		return 0;
	}
	return -EINVAL;
}

int
ctl_term_parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t value;

	if (digits == 0 || text[digits] != '\0')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (errno != 0 || value > max)
		return -ERANGE;
	*ret_number = value;
	return 0;
}

const char *
ctl_term_style(enum ctl_style style)
{
	static const char *const sequences[CTL_STYLE_COUNT] = {
		[CTL_PLAIN] = "\033[0m",
		[CTL_BOLD] = "\033[0;1m",
		[CTL_DIM] = "\033[0;2m",
		[CTL_GOOD] = "\033[0;32m",
		[CTL_WARN] = "\033[0;33m",
		[CTL_BAD] = "\033[0;1;31m",
	};
	return sequences[style];
}

/* Length of the UTF-8 character at the start, 0 when there is none (RFC 3629). */
static size_t
utf8_decode(const char *text, size_t length, uint32_t *ret_character)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)text[0];
	size_t n = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2, i;
	uint32_t character = n == 1 ? first : first & (0xffu >> (n + 1));

	if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || n > length)
		return 0;
	for (i = 1; i < n; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | ((unsigned char)text[i] & 0x3f);
	}
	if (character < smallest[n] || character > 0x10ffff ||
		(character >= 0xd800 && character <= 0xdfff))
		return 0;
	*ret_character = character;
	return n;
}

/* Columns of a character, 0 when it must not reach the terminal. */
static unsigned
character_width(uint32_t character)
{
	int width;

	if (character < 0x80)
		return character >= 0x20 && character < 0x7f;
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		return 0;
	width = wcwidth((wchar_t)character);
	return width > 0 ? (unsigned)width : 0;
}

size_t
ctl_term_glyph(const char *text, size_t length, struct ctl_glyph *ret_glyph)
{
	uint32_t character = 0;
	size_t n = utf8_decode(text, length, &character);

	ret_glyph->width = n ? character_width(character) : 0;
	if (ret_glyph->width > 0) {
		memcpy(ret_glyph->text, text, n);
		ret_glyph->text[n] = '\0';
		return n;
	}
	if (n == 0)
		snprintf(ret_glyph->text, sizeof(ret_glyph->text), "\\x%02x",
			(unsigned)(unsigned char)text[0]);
	else if (character < 0x10000)
		snprintf(ret_glyph->text, sizeof(ret_glyph->text), "\\u%04x", character & 0xffff);
	else
		snprintf(ret_glyph->text, sizeof(ret_glyph->text), "\\u%04x\\u%04x",
			0xd800 + ((character - 0x10000) >> 10 & 0x3ff),
			0xdc00 + (character & 0x3ff));
	ret_glyph->width = (unsigned)strlen(ret_glyph->text);
	return n ? n : 1;
}

unsigned
ctl_term_width(const char *text)
{
	size_t length = strlen(text), at = 0;
	struct ctl_glyph glyph;
	unsigned width = 0;

	while (at < length) {
		at += ctl_term_glyph(text + at, length - at, &glyph);
		width += glyph.width;
	}
	return width;
}

void
ctl_term_write(FILE *out, const char *text, size_t length)
{
	struct ctl_glyph glyph;
	size_t at = 0;

	while (at < length) {
		if (text[at] == '\n') {
			fputc('\n', out);
			at++;
			continue;
		}
		at += ctl_term_glyph(text + at, length - at, &glyph);
		fputs(glyph.text, out);
	}
}

char *
ctl_term_escape(const char *text)
{
	size_t length = strlen(text), at = 0, size;
	struct ctl_glyph glyph;
	char *escaped = NULL;
	FILE *out = open_memstream(&escaped, &size);

	if (!out)
		return NULL;
	while (at < length) {
		at += ctl_term_glyph(text + at, length - at, &glyph);
		fputs(glyph.text, out);
	}
	if (fclose(out) != 0) {
		free(escaped);
		return NULL;
	}
	return escaped;
}

void
ctl_term_size(int fd, unsigned *ret_columns, unsigned *ret_rows)
{
	struct winsize size = {0};

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		size.ws_col = size.ws_row = 0;
	*ret_columns = size.ws_col ? size.ws_col : 80;
	*ret_rows = size.ws_row ? size.ws_row : 24;
}
