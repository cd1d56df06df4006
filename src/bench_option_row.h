/*
 * bench_option_row: the rows of bench_option.def as data, so that one piece of code serves every
 * option.
 *
 * Process: bench. Knows no command line; bench_options does.
 */
#ifndef MILLGATE_BENCH_OPTION_ROW_H
#define MILLGATE_BENCH_OPTION_ROW_H

#include "bench_options.h"

enum bench_option_type {
	BENCH_OPTION_FLAG,
	BENCH_OPTION_COUNT,
	BENCH_OPTION_NUMBER,
	BENCH_OPTION_DURATION,
	BENCH_OPTION_SIZE,
	BENCH_OPTION_TEXT,
	BENCH_OPTION_VISIBLE,
	BENCH_OPTION_SOURCE,
	BENCH_OPTION_BACKOFF,
	BENCH_OPTION_PROTOCOL,
	BENCH_OPTION_WORKLOAD,
	BENCH_OPTION_PID,
};

/* The columns are explained at the head of bench_option.def. */
struct bench_option_row {
	const char *name; /* NULL: a heading, which is its help */
	const char *argument;
	const char *help;
	const char *default_text;
	uint64_t min, max;
	size_t offset; /* of the field */
	enum bench_option_type type;
	char letter;
};

extern const struct bench_option_row BENCH_OPTION_ROWS[];
extern const unsigned BENCH_OPTION_ROW_COUNT;

/* Reads what was given for the option into its field. -EINVAL with "found X, allowed are Y". */
int bench_option_set(const struct bench_option_row *row, const char *text,
	struct bench_options *options, struct mg_error *reterr_error) MG_MUST_CHECK;

/* What the row allows, "1 to 256"; "" when its help says it. Returns buf. */
#define BENCH_OPTION_ALLOWED_MAX 160
const char *bench_option_allowed(
	const struct bench_option_row *row, char buf[static BENCH_OPTION_ALLOWED_MAX]);

#endif
