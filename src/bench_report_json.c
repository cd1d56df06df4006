/* bench_report_json: the result of a run as JSON; see bench_report.h. */
#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "bench_report.h"

/* Takes `value`, which may be NULL for want of memory; a document that lacks it fails as a whole,
 * because jansson refuses NULL and the caller counts. */
static void
json_put(json_t *object, const char *key, json_t *value, int *failures)
{
	*failures += json_object_set_new(object, key, value) < 0;
}

static json_t *
json_count(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* Microseconds are as fine as anything here is. */
static json_t *
json_seconds(double seconds)
{
	return json_real((double)(int64_t)(seconds * 1e6 + 0.5) / 1e6);
}

static json_t *
json_rate(double rate)
{
	return json_real((double)(int64_t)(rate * 10 + 0.5) / 10);
}

/* null when nothing was measured. */
static json_t *
json_histogram(const struct histogram *histogram, int *failures)
{
	static const struct {
		const char *key;
		double fraction;
	} rows[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
	json_t *object;

	if (histogram->count == 0)
		return json_null();
	object = json_object();
	json_put(object, "count", json_count(histogram->count), failures);
	json_put(object, "mean", json_seconds(histogram_mean(histogram) / 1e9), failures);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		json_put(object, rows[i].key,
			json_seconds((double)histogram_quantile(histogram, rows[i].fraction) / 1e9),
			failures);
	return object;
}

static json_t *
json_errors(const struct bench_result *result, int *failures)
{
	json_t *object = json_object();

	for (int e = 0; e < BENCH_ERRNO_MAX; e++) {
		const char *name = e > 0 ? strerrorname_np(e) : NULL;

		if (result->connect_errors[e] > 0)
			json_put(object, name ? name : "unknown",
				json_count(result->connect_errors[e]), failures);
	}
	return object;
}

static void
json_put_connections(json_t *object, const struct bench_options *options,
	const struct bench_plan *plan, const struct bench_result *result, int *failures)
{
	const uint64_t *ready = result->ready.counters, *end = result->end.counters;
	json_t *lost = json_object();
	double seconds = result->connect_seconds;

	json_put(object, "protocol", json_string(bench_protocol_name(options->protocol)), failures);
	json_put(object, "workload", json_string(bench_workload_name(options->workload)), failures);
	json_put(object, "connections", json_count(options->connections), failures);
	json_put(object, "processes", json_count(plan->processes), failures);
	json_put(object, "sources", json_count(plan->sources), failures);
	json_put(object, "interrupted", json_boolean(result->interrupted), failures);
	json_put(object, "connections_ready", json_count(ready[BENCH_UP]), failures);
	json_put(object, "connections_up", json_count(end[BENCH_UP]), failures);
	json_put(object, "connect_failed", json_count(result->closed.counters[BENCH_FAILED]),
		failures);
	json_put(object, "connect_retried", json_count(end[BENCH_RETRIED]), failures);
	json_put(object, "connect_errors", json_errors(result, failures), failures);
	json_put(object, "connect_seconds", json_seconds(seconds), failures);
	json_put(object, "connects_per_second",
		json_rate(seconds > 0 ? (double)ready[BENCH_CONNECTS] / seconds : 0), failures);
	json_put(object, "connect_latency_seconds", json_histogram(&result->connect, failures),
		failures);
	json_put(object, "lost", json_count(bench_totals_lost(&result->end)), failures);
	json_put(lost, "eof", json_count(end[BENCH_LOST_EOF]), failures);
	json_put(lost, "reset", json_count(end[BENCH_LOST_RESET]), failures);
	json_put(lost, "other", json_count(end[BENCH_LOST_OTHER]), failures);
	json_put(object, "lost_by", lost, failures);
	json_put(object, "dropped", json_count(end[BENCH_DROPPED]), failures);
	json_put(object, "reconnect_seconds", json_histogram(&result->reconnect, failures),
		failures);
}

static void
json_put_echo(json_t *object, const struct bench_result *result, int *failures)
{
	const uint64_t *closed = result->closed.counters;
	uint64_t in_time =
		result->end.counters[BENCH_ECHOES] - result->start.counters[BENCH_ECHOES];

	json_put(object, "echoes", json_count(closed[BENCH_ECHOES]), failures);
	json_put(object, "echo_per_second", json_rate((double)in_time / result->measured_seconds),
		failures);
	json_put(object, "echo_unanswered", json_count(closed[BENCH_ECHO_UNANSWERED]), failures);
	json_put(object, "echo_abandoned", json_count(closed[BENCH_ECHO_ABANDONED]), failures);
	json_put(object, "echo_skipped", json_count(closed[BENCH_ECHO_SKIPPED]), failures);
	json_put(object, "echo_mismatches", json_count(closed[BENCH_ECHO_MISMATCHES]), failures);
	json_put(object, "latency_seconds", json_histogram(&result->latency, failures), failures);
	json_put(object, "send_lag_seconds", json_histogram(&result->lag, failures), failures);
}

static void
json_put_receive(json_t *object, const struct bench_options *options,
	const struct bench_result *result, int *failures)
{
	const uint64_t *closed = result->closed.counters;

	json_put(object, "arrivals", json_count(closed[BENCH_WINDOW_ARRIVALS]), failures);
	json_put(object, "arrivals_per_second",
		json_rate((double)closed[BENCH_WINDOW_ARRIVALS] / result->measured_seconds),
		failures);
	json_put(object, "gap_seconds", json_histogram(&result->gap, failures), failures);
	json_put(object, "longest_silence_seconds",
		json_seconds((double)result->silence_nsec / 1e9), failures);
	if (options->heartbeat_interval_usec == 0)
		return;
	json_put(object, "heartbeats_due", json_count(closed[BENCH_HEARTBEATS_DUE]), failures);
	json_put(object, "heartbeats_received",
		json_count(bench_result_heartbeats(options, result)), failures);
}

static void
json_put_traffic(json_t *object, const struct bench_options *options,
	const struct bench_result *result, int *failures)
{
	const uint64_t *closed = result->closed.counters;

	json_put(object, "measured_seconds", json_seconds(result->measured_seconds), failures);
	if (options->workload == BENCH_WORKLOAD_ECHO)
		json_put_echo(object, result, failures);
	if (options->workload == BENCH_WORKLOAD_RECEIVE)
		json_put_receive(object, options, result, failures);
	if (options->workload == BENCH_WORKLOAD_STORM)
		json_put(object, "storm_seconds",
			result->storm_ended ? json_seconds(result->storm_seconds) : json_null(),
			failures);
	json_put(object, "blocked", json_count(result->end.counters[BENCH_BLOCKED]), failures);
	json_put(object, "received_bytes", json_count(closed[BENCH_RECEIVED_BYTES]), failures);
	json_put(object, "sent_bytes", json_count(closed[BENCH_SENT_BYTES]), failures);
	json_put(object, "cpu_seconds", json_seconds(result->cpu_seconds), failures);
}

static json_t *
json_moment(const struct bench_options *options, const struct bench_moment *moment, int *failures)
{
	const struct bench_memory *memory = &moment->memory;
	json_t *object = json_object();

	if (options->pid) {
		json_put(
			object, "server_pss_bytes", json_count(moment->server.pss_bytes), failures);
		json_put(
			object, "server_processes", json_count(moment->server.processes), failures);
	}
	json_put(object, "free_bytes", json_count(memory->free_bytes), failures);
	json_put(object, "available_bytes", json_count(memory->available_bytes), failures);
	json_put(object, "slab_bytes", json_count(memory->slab_bytes), failures);
	json_put(object, "slab_unreclaimable_bytes", json_count(memory->slab_unreclaimable_bytes),
		failures);
	json_put(object, "page_table_bytes", json_count(memory->page_table_bytes), failures);
	json_put(object, "sockets_used", json_count(memory->sockets_used), failures);
	json_put(object, "tcp_inuse", json_count(memory->tcp_inuse), failures);
	json_put(object, "tcp_orphan", json_count(memory->tcp_orphan), failures);
	json_put(object, "tcp_time_wait", json_count(memory->tcp_time_wait), failures);
	json_put(object, "tcp_buffer_bytes", json_count(memory->tcp_buffer_bytes), failures);
	return object;
}

static json_t *
json_memory(const struct bench_options *options, const struct bench_result *result, int *failures)
{
	const struct bench_moment *before = &result->before, *up = &result->up;
	json_t *object = json_object(), *each = json_object();

	json_put(object, "before", json_moment(options, before, failures), failures);
	json_put(object, "up", json_moment(options, up, failures), failures);
	json_put(object, "loaded", json_moment(options, &result->end_of_load, failures), failures);
	json_put(object, "closed", json_moment(options, &result->after, failures), failures);
	if (options->pid)
		json_put(each, "server_pss_bytes",
			json_rate(bench_report_per_connection(
				result, before->server.pss_bytes, up->server.pss_bytes)),
			failures);
	json_put(each, "slab_bytes",
		json_rate(bench_report_per_connection(
			result, before->memory.slab_bytes, up->memory.slab_bytes)),
		failures);
	json_put(each, "tcp_buffer_bytes",
		json_rate(bench_report_per_connection(
			result, before->memory.tcp_buffer_bytes, up->memory.tcp_buffer_bytes)),
		failures);
	json_put(each, "available_bytes",
		json_rate(bench_report_per_connection(
			result, up->memory.available_bytes, before->memory.available_bytes)),
		failures);
	json_put(object, "per_connection", each, failures);
	return object;
}

int
bench_report_json(FILE *out, const struct bench_options *options, const struct bench_plan *plan,
	const struct bench_result *result)
{
	json_t *object = json_object();
	int failures = 0, r = 0;

	json_put_connections(object, options, plan, result, &failures);
	json_put_traffic(object, options, result, &failures);
	if (options->pid)
		json_put(object, "server_cpu_seconds", json_seconds(result->server_cpu_seconds),
			&failures);
	json_put(object, "memory", json_memory(options, result, &failures), &failures);
	if (failures > 0)
		r = -ENOMEM;
	else if (json_dumpf(object, out, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) < 0 ||
		 fputc('\n', out) == EOF || fflush(out) != 0)
		r = -EIO;
	json_decref(object);
	return r;
}
