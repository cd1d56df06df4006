/*
 * bench_options: the command line of millgate-bench.
 *
 * Process: bench. The options are rows of bench_option.def
 * (bench_option_row.h). Nothing here opens a socket.
 */
#ifndef MILLGATE_BENCH_OPTIONS_H
#define MILLGATE_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "addr.h"
#include "bench_plan.h"
#include "error.h"

#define BENCH_SIZE_MAX (16u << 20) /* of an echo message */

enum bench_protocol {
	BENCH_PROTOCOL_RAW,
	BENCH_PROTOCOL_WEBSOCKET,
	BENCH_PROTOCOL_COUNT,
};

enum bench_workload {
	BENCH_WORKLOAD_IDLE,
	BENCH_WORKLOAD_RECEIVE,
	BENCH_WORKLOAD_ECHO,
	BENCH_WORKLOAD_SLOW,
	BENCH_WORKLOAD_CHURN, /* idle, with --churn-rate */
	BENCH_WORKLOAD_STORM, /* idle, and all drop and come back */
	BENCH_WORKLOAD_COUNT,
};

struct bench_options {
	struct bench_target targets[BENCH_TARGETS_MAX];
	const char *target_names[BENCH_TARGETS_MAX]; /* borrowed from argv, as all texts here */
	uint32_t n_targets;

	uint32_t connections, processes, in_flight;
	double rate;
	uint64_t connect_timeout_usec;
	bool has_source;
	struct cidr source;
	bool reconnect, reset;
	uint64_t backoff_min_usec, backoff_max_usec; /* 0: none */
	uint32_t receive_buffer_bytes;               /* 0: the kernel's */

	enum bench_protocol protocol;
	const char *path, *host; /* of the handshake */

	enum bench_workload workload;
	uint64_t duration_usec;
	bool hold;
	uint32_t size_bytes; /* 0 for receive: every arrival is a heartbeat */
	double echo_rate;
	uint32_t concurrency; /* 0: one message on each connection */
	uint64_t heartbeat_interval_usec;
	uint64_t coalesce_usec; /* 0: at once */
	bool slow_send;
	double churn_rate, churn_fraction;

	pid_t pid; /* 0: none */

	bool json, allow_loss, quiet;
	const char *csv_path, *ready_path;

	const char *describe; /* a table, or NULL */
	bool mdoc, help, version;
};

enum bench_options_result {
	BENCH_OPTIONS_RUN,
	BENCH_OPTIONS_DESCRIBE, /* only these fields count: describe, mdoc */
	BENCH_OPTIONS_HELP,
	BENCH_OPTIONS_VERSION,
	BENCH_OPTIONS_WRONG, /* the text says what */
};

enum bench_options_result bench_options_parse(
	int argc, char **argv, struct bench_options *ret_options, struct mg_error *reterr_error);

void bench_options_help(FILE *out);

const char *bench_protocol_name(enum bench_protocol protocol);
const char *bench_workload_name(enum bench_workload workload);

#endif
