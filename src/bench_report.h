/*
 * bench_report: the result of a run, as a table for people and as JSON for programs.
 *
 * Process: bench, parent.
 */
#ifndef MILLGATE_BENCH_REPORT_H
#define MILLGATE_BENCH_REPORT_H

#include <stdio.h>

#include "bench_options.h"
#include "bench_plan.h"
#include "bench_run.h"

void bench_report_table(FILE *out, const struct bench_options *options,
	const struct bench_plan *plan, const struct bench_result *result);

/* -ENOMEM, or -EIO when it could not be written. */
int bench_report_json(FILE *out, const struct bench_options *options, const struct bench_plan *plan,
	const struct bench_result *result) MG_MUST_CHECK;

/* What to do about connects that fail with `error`, a positive errno; NULL: nothing known. */
const char *bench_report_hint(int error);

/* A connection's part of what has grown between two moments. */
double bench_report_per_connection(
	const struct bench_result *result, uint64_t before_bytes, uint64_t up_bytes);

#endif
