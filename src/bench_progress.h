/*
 * bench_progress: what is shown and written while a run is going on.
 *
 * Process: bench, parent.
 */
#ifndef MILLGATE_BENCH_PROGRESS_H
#define MILLGATE_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench_options.h"
#include "bench_shared.h"
#include "error.h"

struct bench_progress {
	const struct bench_options *options;
	FILE *csv; /* owned; NULL: none is wanted */
	bool on_terminal;
	bool line_is_open; /* on the terminal */
	uint64_t start_nsec;
	uint64_t seconds; /* written */
	uint64_t last_nsec;
	struct bench_totals last;
};

/* Opens the CSV file and writes its head. -errno when it cannot be written. */
int bench_progress_init(struct bench_progress *progress, const struct bench_options *options,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Writes what is due, once a second. */
void bench_progress_tick(struct bench_progress *progress, const struct bench_shared *shared);

/* Ends an open line on the terminal, so that something else can be written. */
void bench_progress_end_line(struct bench_progress *progress);

/* Closes the CSV file. -errno when it could not be written whole. */
int bench_progress_done(struct bench_progress *progress, struct mg_error *reterr_error);

/* Tells that all connections are up or have failed: on stderr and in the ready file. */
int bench_progress_ready(struct bench_progress *progress, const struct bench_totals *totals,
	double seconds, struct mg_error *reterr_error) MG_MUST_CHECK;

#endif
