/*
 * bench_run: one run of the load generator, from the fork of its clients to their end.
 *
 * Process: bench, parent. It opens no connection itself.
 */
#ifndef MILLGATE_BENCH_RUN_H
#define MILLGATE_BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "bench_memory.h"
#include "bench_options.h"
#include "bench_plan.h"
#include "bench_shared.h"
#include "error.h"

/* The machine and, with --pid, the server at one moment. */
struct bench_moment {
	struct bench_memory memory;
	struct bench_server server;
};

struct bench_result {
	struct bench_totals ready;      /* when all connections were up or had failed */
	struct bench_totals start, end; /* of the measured phase */
	struct bench_totals closed;     /* after all connections were closed */
	uint64_t connect_errors[BENCH_ERRNO_MAX];
	double connect_seconds, measured_seconds;
	bool storm_ended; /* all are back, after so long */
	double storm_seconds;
	bool interrupted;          /* by a signal before all were up */
	double cpu_seconds;        /* of the bench */
	double server_cpu_seconds; /* in the measured phase */
	struct bench_moment before, up, end_of_load, after;
	uint64_t silence_nsec;
	struct histogram connect, reconnect, latency, lag, gap;
};

/*
 * Signals SIGINT and SIGTERM end the run early, in good order; a second one at once (-EINTR).
 * 0: *ret_result is the caller's, to be freed with free().
 */
int bench_run(const struct bench_options *options, const struct bench_plan *plan,
	struct bench_result **ret_result, struct mg_error *reterr_error) MG_MUST_CHECK;

/* Did everything go as it should, but for what --allow-loss allows? Otherwise `problem` says what
 * is wrong. */
#define BENCH_PROBLEM_MAX 128
bool bench_result_is_good(const struct bench_options *options, const struct bench_result *result,
	char problem[static BENCH_PROBLEM_MAX]);

/* How many heartbeats came in the measured phase: by bytes if their size is known, since one read
 * may bring several, otherwise by arrivals. */
static inline uint64_t
bench_result_heartbeats(const struct bench_options *options, const struct bench_result *result)
{
	const uint64_t *counters = result->closed.counters;

	return options->size_bytes ? counters[BENCH_WINDOW_BYTES] / options->size_bytes
				   : counters[BENCH_WINDOW_ARRIVALS];
}

static inline uint64_t
bench_totals_lost(const struct bench_totals *totals)
{
	return totals->counters[BENCH_LOST_EOF] + totals->counters[BENCH_LOST_RESET] +
	       totals->counters[BENCH_LOST_OTHER];
}

#endif
