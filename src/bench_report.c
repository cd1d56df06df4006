/* bench_report: see bench_report.h. The JSON is in bench_report_json.c. */
#include "bench_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "bench_format.h"

const char *
bench_report_hint(int error)
{
	switch (error) {
#define BENCH_HINT(symbol, text) \
	case symbol:             \
		return text;
#include "bench_hint.def"
#undef BENCH_HINT
	default:
		return NULL;
	}
}

double
bench_report_per_connection(
	const struct bench_result *result, uint64_t before_bytes, uint64_t up_bytes)
{
	uint64_t up = result->ready.counters[BENCH_UP];

	return up > 0 ? ((double)up_bytes - (double)before_bytes) / (double)up : 0;
}

static void __attribute__((format(printf, 3, 4)))
report_row(FILE *out, const char *label, const char *format, ...)
{
	va_list args;

	fprintf(out, "%-22s ", label);
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fputc('\n', out);
}

static void
report_count(FILE *out, const char *label, double value)
{
	char text[BENCH_TEXT_MAX];

	report_row(out, label, "%s", bench_format_count(value, text));
}

static void
report_histogram(FILE *out, const char *label, const struct histogram *histogram)
{
	static const struct {
		const char *name;
		double fraction;
	} columns[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
	char text[BENCH_TEXT_MAX];

	if (histogram->count == 0)
		return;
	fprintf(out, "%-22s", label);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		fprintf(out, " %s %s%s", columns[i].name,
			bench_format_seconds(
				(double)histogram_quantile(histogram, columns[i].fraction) / 1e9,
				text),
			columns[i].fraction < 1 ? " " : "");
	fputc('\n', out);
}

static void
report_connections(FILE *out, const struct bench_options *options, const struct bench_plan *plan,
	const struct bench_result *result)
{
	const uint64_t *ready = result->ready.counters, *end = result->end.counters;
	char a[BENCH_TEXT_MAX], b[BENCH_TEXT_MAX];

	report_row(out, "workload", "%s: %s %sconnections, %u client process%s, %u source%s",
		bench_workload_name(options->workload), bench_format_count(options->connections, a),
		options->protocol == BENCH_PROTOCOL_WEBSOCKET ? "WebSocket " : "", plan->processes,
		plan->processes == 1 ? "" : "es", plan->sources, plan->sources == 1 ? "" : "s");
	report_row(out, "connected", "%s in %s, %s connects/s",
		bench_format_count((double)ready[BENCH_CONNECTS], a),
		bench_format_seconds(result->connect_seconds, b),
		result->connect_seconds > 0 ? bench_format_count((double)ready[BENCH_CONNECTS] /
									 result->connect_seconds,
						      (char[BENCH_TEXT_MAX]){0})
					    : "-");
	report_histogram(out, "connect time", &result->connect);
	report_count(out, "up at the end", (double)end[BENCH_UP]);
	report_count(out, "connects failed", (double)result->closed.counters[BENCH_FAILED]);
	if (end[BENCH_RETRIED] > 0)
		report_count(out, "connects retried", (double)end[BENCH_RETRIED]);
	report_row(out, "lost",
		"%s (end of file %" PRIu64 ", reset %" PRIu64 ", other %" PRIu64 ")",
		bench_format_count((double)bench_totals_lost(&result->end), a), end[BENCH_LOST_EOF],
		end[BENCH_LOST_RESET], end[BENCH_LOST_OTHER]);
	for (int e = 0; e < BENCH_ERRNO_MAX; e++) {
		const char *name = e > 0 ? strerrorname_np(e) : "unknown", *hint;

		if (result->connect_errors[e] == 0)
			continue;
		hint = bench_report_hint(e);
		report_row(out, "", "%s x %" PRIu64 ": %s", name ? name : "unknown",
			result->connect_errors[e], hint ? hint : strerror(e));
	}
}

static void
report_echo(FILE *out, const struct bench_options *options, const struct bench_result *result)
{
	const uint64_t *start = result->start.counters, *end = result->end.counters;
	const uint64_t *closed = result->closed.counters;
	double echoes = (double)(end[BENCH_ECHOES] - start[BENCH_ECHOES]);
	char a[BENCH_TEXT_MAX], b[BENCH_TEXT_MAX];

	if (options->echo_rate > 0)
		report_row(out, "echo", "%s/s of %s/s wanted, %u bytes each",
			bench_format_count(echoes / result->measured_seconds, a),
			bench_format_count(options->echo_rate, b), options->size_bytes);
	else
		report_row(out, "echo", "%s/s, %u bytes each, closed loop",
			bench_format_count(echoes / result->measured_seconds, a),
			options->size_bytes);
	report_histogram(out, "latency", &result->latency);
	report_histogram(out, "sent late by", &result->lag);
	if (closed[BENCH_ECHO_UNANSWERED] + closed[BENCH_ECHO_ABANDONED] +
			closed[BENCH_ECHO_SKIPPED] + closed[BENCH_ECHO_MISMATCHES] >
		0)
		report_row(out, "not answered",
			"%" PRIu64 "; connection ended %" PRIu64 "; not sent, it was down %" PRIu64
			"; wrong bytes on %" PRIu64,
			closed[BENCH_ECHO_UNANSWERED], closed[BENCH_ECHO_ABANDONED],
			closed[BENCH_ECHO_SKIPPED], closed[BENCH_ECHO_MISMATCHES]);
}

static void
report_receive(FILE *out, const struct bench_options *options, const struct bench_result *result)
{
	const uint64_t *closed = result->closed.counters;
	char a[BENCH_TEXT_MAX], b[BENCH_TEXT_MAX];

	report_row(out, "arrivals", "%s, %s/s",
		bench_format_count((double)closed[BENCH_WINDOW_ARRIVALS], a),
		bench_format_count(
			(double)closed[BENCH_WINDOW_ARRIVALS] / result->measured_seconds, b));
	report_histogram(out, "gap between arrivals", &result->gap);
	report_row(out, "longest silence", "%s, at the end",
		bench_format_seconds((double)result->silence_nsec / 1e9, a));
	if (options->heartbeat_interval_usec)
		report_row(out, "heartbeats", "%s due, %s received",
			bench_format_count((double)closed[BENCH_HEARTBEATS_DUE], a),
			bench_format_count((double)bench_result_heartbeats(options, result), b));
}

static void
report_traffic(FILE *out, const struct bench_options *options, const struct bench_result *result)
{
	const uint64_t *start = result->start.counters, *end = result->end.counters;
	const uint64_t *closed = result->closed.counters;
	char a[BENCH_TEXT_MAX], b[BENCH_TEXT_MAX];

	report_row(out, "measured for", "%s", bench_format_seconds(result->measured_seconds, a));
	if (options->workload == BENCH_WORKLOAD_ECHO)
		report_echo(out, options, result);
	else if (options->workload == BENCH_WORKLOAD_RECEIVE)
		report_receive(out, options, result);
	if (options->slow_send)
		report_count(out, "sending is blocked on", (double)end[BENCH_BLOCKED]);
	if (options->churn_rate > 0)
		report_row(out, "churned", "%s, %s/s",
			bench_format_count((double)end[BENCH_DROPPED], a),
			bench_format_count(
				(double)end[BENCH_DROPPED] / result->measured_seconds, b));
	if (options->workload == BENCH_WORKLOAD_STORM)
		report_row(out, "storm", "%s",
			result->storm_ended ? bench_format_seconds(result->storm_seconds, a)
					    : "not all are back");
	report_histogram(out, "back after", &result->reconnect);
	report_row(out, "received", "%s, %s/s",
		bench_format_bytes((double)closed[BENCH_RECEIVED_BYTES], a),
		bench_format_bytes(
			(double)(end[BENCH_RECEIVED_BYTES] - start[BENCH_RECEIVED_BYTES]) /
				result->measured_seconds,
			b));
	report_row(out, "sent", "%s", bench_format_bytes((double)closed[BENCH_SENT_BYTES], a));
	report_row(out, "CPU of the clients", "%s", bench_format_seconds(result->cpu_seconds, a));
}

static void
report_memory_row(FILE *out, const char *label, const struct bench_result *result,
	const uint64_t bytes[static 4])
{
	int64_t each = (int64_t)bench_report_per_connection(result, bytes[0], bytes[1]);
	char text[BENCH_TEXT_MAX], change[BENCH_TEXT_MAX + 1];

	fprintf(out, "%-22s", label);
	for (unsigned i = 0; i < 4; i++)
		fprintf(out, " %12s", bench_format_bytes((double)bytes[i], text));
	snprintf(change, sizeof(change), "%s%s", each > 0 ? "+" : "",
		bench_format_count((double)each, text));
	fprintf(out, " %10s B\n", change);
}

/* One row of the four moments; `field` is a member of struct bench_moment. */
#define REPORT_MEMORY(out, label, result, field)                         \
	report_memory_row(out, label, result,                            \
		(uint64_t[]){(result)->before.field, (result)->up.field, \
			(result)->end_of_load.field, (result)->after.field})

static void
report_memory(FILE *out, const struct bench_options *options, const struct bench_result *result)
{
	char text[BENCH_TEXT_MAX];

	fprintf(out, "\n%-22s %12s %12s %12s %12s %12s\n", "memory", "before", "all up", "loaded",
		"closed", "a connection");
	if (options->pid)
		REPORT_MEMORY(out, "server (Pss)", result, server.pss_bytes);
	REPORT_MEMORY(out, "kernel slab *", result, memory.slab_bytes);
	REPORT_MEMORY(out, "socket buffers *", result, memory.tcp_buffer_bytes);
	REPORT_MEMORY(out, "page tables", result, memory.page_table_bytes);
	REPORT_MEMORY(out, "free", result, memory.free_bytes);
	REPORT_MEMORY(out, "available", result, memory.available_bytes);
	fprintf(out, "* both ends of a connection, when the server is on this machine\n");
	if (options->pid)
		report_row(out, "CPU of the server", "%s, %u process%s",
			bench_format_seconds(result->server_cpu_seconds, text),
			result->up.server.processes, result->up.server.processes == 1 ? "" : "es");
}

void
bench_report_table(FILE *out, const struct bench_options *options, const struct bench_plan *plan,
	const struct bench_result *result)
{
	report_connections(out, options, plan, result);
	report_traffic(out, options, result);
	report_memory(out, options, result);
}
