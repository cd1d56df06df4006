/*
 * ctl_term: how numbers look to a person, and what may be sent to a terminal.
 *
 * Process: millgatectl. Numbers come from JSON as double; NAN stands for "not told" and shows as
 * "-". Nothing here prints but ctl_term_write().
 */
#ifndef MILLGATE_CTL_TERM_H
#define MILLGATE_CTL_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"

/* By value, so that a call can stand among printf's arguments. */
struct ctl_number {
	char text[32];
};

struct ctl_number ctl_term_count(double n);          /* "1,234,567" */
struct ctl_number ctl_term_id(double n);             /* "1234567" */
struct ctl_number ctl_term_bytes(double bytes);      /* "999 B", "1.23 KiB", "45.6 MiB" */
struct ctl_number ctl_term_duration(double seconds); /* "120us", "1.2s", "59s", "3h12m", "2d4h" */
struct ctl_number ctl_term_rate(double per_second);  /* "0", "<0.1", "4.2", "1,234" */

/* "0%", "<1%", "99%": rounded down, so that only what is full is 100%. */
struct ctl_number ctl_term_percent(double part, double whole);

/* Reads "250ms", "2s", "1.5" (seconds), "10m", "1h". -EINVAL when it is anything else, -ERANGE
 * when it is not within the limits. */
int ctl_term_parse_duration(
	const char *text, uint64_t min_usec, uint64_t max_usec, uint64_t *ret_usec) MG_MUST_CHECK;

/* Reads digits. -EINVAL, -ERANGE. */
int ctl_term_parse_number(const char *text, uint64_t max, uint64_t *ret_number) MG_MUST_CHECK;

enum ctl_style {
	CTL_PLAIN,
	CTL_BOLD,
	CTL_DIM,
	CTL_GOOD,
	CTL_WARN,
	CTL_BAD,
	CTL_STYLE_COUNT,
};

/* The sequence that switches a style on; it begins with a reset. */
const char *ctl_term_style(enum ctl_style style);

/* One character as a terminal may be sent it. */
struct ctl_glyph {
	char text[16];
	unsigned width; /* columns */
};

/*
 * Takes one UTF-8 character off the text and returns its bytes. What the locale cannot print, has
 * no width or steers the terminal becomes \u00XX as in JSON; bytes that are not UTF-8 \xXX.
 */
size_t ctl_term_glyph(const char *text, size_t length, struct ctl_glyph *ret_glyph);

/* Columns of a text of glyphs. */
unsigned ctl_term_width(const char *text);

/* Writes text with everything made harmless but newlines. */
void ctl_term_write(FILE *out, const char *text, size_t length);

/* The same as a string to be freed, newlines made harmless too; NULL: no memory. */
char *ctl_term_escape(const char *text);

/* Size of the terminal; 80 and 24 where it does not say. */
void ctl_term_size(int fd, unsigned *ret_columns, unsigned *ret_rows);

#endif
