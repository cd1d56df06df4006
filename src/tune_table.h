/*
 * tune_table: the rows of sysctl.def as data, and what they come to.
 *
 * Process: both. Pure. Knows neither the configuration nor the machine, only their numbers.
 */
#ifndef MILLGATE_TUNE_TABLE_H
#define MILLGATE_TUNE_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "reference.h"
#include "tune_report.h"

#define TUNE_PORT_RANGE_KEY "net.ipv4.ip_local_port_range"
/* Belongs to it. */
#define TUNE_RESERVED_PORTS_KEY "net.ipv4.ip_local_reserved_ports"

#define TUNE_PORTS SIZE_MAX /* the index of a row that is about the number of ports */

enum tune_row {
#define TUNE_GIVEN(...)
#define TUNE_DERIVED(...)
#define TUNE(symbol, ...) TUNE_ROW_##symbol,
#include "sysctl.def"
#undef TUNE_GIVEN
#undef TUNE_DERIVED
#undef TUNE
	TUNE_ROW_COUNT,
};

/* The numbers that the expressions of the table are made of. */
struct tune_needs {
#define TUNE_GIVEN(name, help) uint64_t name;
#define TUNE_DERIVED(name, expression, help) uint64_t name;
#define TUNE(...)
#include "sysctl.def"
#undef TUNE_GIVEN
#undef TUNE_DERIVED
#undef TUNE
};

/* What a row comes to with these numbers. */
struct tune_demand {
	bool applies;
	uint64_t wanted;
};

/* The columns are explained at the head of sysctl.def. */
struct tune_row_info {
	enum tune_where where;
	const char *key;
	size_t index;
	const char *part;
	enum tune_rule rule;
	enum tune_status verdict;
	const char *applies, *wanted; /* the expressions as text */
	const char *why;
	const char *how;
};

const struct tune_row_info *tune_row_info(enum tune_row row);

/* Evaluates the table: fills in the derived numbers, and what each row wants. */
void tune_evaluate(struct tune_needs *needs, struct tune_demand demands[static TUNE_ROW_COUNT]);

/* Writes why a row wants what it wants, as a sentence with the arithmetic. */
void tune_explain(enum tune_row row, const struct tune_needs *needs, uint64_t wanted, FILE *out);

/* Writes the table: first what is demanded, then the numbers that it follows from. */
void tune_describe(const struct reference *reference);

#endif
