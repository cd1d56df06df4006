/*
 * admin_views: how the gateway is: health, numbers, metrics, sources, configuration.
 *
 * Process: S.
 */
#include "config.h"

#include <event2/http.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin_routes.h"
#include "clock.h"
#include "supervisor.h"

#define ADMIN_SOURCES_DEFAULT 10
#define ADMIN_SOURCES_MAX 1000

static void
admin_add_health(const struct supervisor *supervisor, json_t *into)
{
	json_t *problems = supervisor_problems(supervisor);

	json_object_set_new(
		into, "status", json_string(json_array_size(problems) == 0 ? "ok" : "degraded"));
	json_object_set_new(into, "problems", problems);
	json_object_set_new(into, "warnings", supervisor_warnings(supervisor));
	json_object_set_new(into, "draining", json_boolean(supervisor->draining));
}

void
admin_get_health(void *context, struct admin_request *request)
{
	json_t *health = json_object();

	admin_add_health(context, health);
	admin_reply(request,
		json_array_size(json_object_get(health, "problems")) == 0 ? HTTP_OK
									  : HTTP_SERVUNAVAIL,
		health);
}

static json_t *
admin_json_metrics(const struct metrics *metrics)
{
	json_t *map = json_object();

	for (unsigned i = 0; i < METRIC_COUNT; i++)
		json_object_set_new(map, metric_info(i)->name,
			json_integer((json_int_t)metrics_sum(metrics, i)));
	return map;
}

static json_t *
admin_json_closed(const struct supervisor *supervisor)
{
	json_t *map = json_object();

	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		json_object_set_new(map, close_reason_info(i)->name,
			json_integer((json_int_t)metrics_read(
				&supervisor->metrics->slots[0].closed[i])));
	return map;
}

/* Only reasons that there were. */
static json_t *
admin_json_listener_closed(const struct supervisor *supervisor, unsigned listener)
{
	const uint64_t *closed = supervisor->metrics->slots[0].listener_closed[listener];
	json_t *map = json_object();

	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		if (metrics_read(&closed[i]) > 0)
			json_object_set_new(map, close_reason_info(i)->name,
				json_integer((json_int_t)metrics_read(&closed[i])));
	return map;
}

static json_t *
admin_json_limits(const struct supervisor *supervisor)
{
	const struct conf *conf = supervisor->conf;

	return json_pack("{s:I, s:I, s:I, s:I}", "connections", (json_int_t)conf->limit_connections,
		"connections_per_source", (json_int_t)conf->limit_per_source, "queued_bytes",
		(json_int_t)conf->queued_total, "worker_connections",
		(json_int_t)supervisor_capacity(supervisor));
}

static const char *
admin_listener_state(const struct supervisor *supervisor, unsigned index)
{
	enum acceptor_state state = supervisor->acceptor.state[index];

	if (state == ACCEPTOR_HALTED && supervisor->draining)
		return "draining";
	return acceptor_state_name(state);
}

static json_t *
admin_json_listener(const struct supervisor *supervisor, unsigned index)
{
	const struct conf_listener *listener = &supervisor->conf->listeners[index];
	json_t *addresses = json_array();
	char service[CONF_NAME_MAX + 1];
	json_t *map;

	for (size_t i = 0; i < supervisor->listeners.n; i++)
		if (supervisor->listeners.sockets[i].listener == index)
			json_array_append_new(
				addresses, json_string(supervisor->listeners.sockets[i].address));
	map = json_pack("{s:s, s:o, s:I, s:s, s:o}", "service",
		conf_service_name(listener, service), "addresses", addresses, "connections_limit",
		(json_int_t)listener->limit_connections, "state",
		admin_listener_state(supervisor, index), "closed",
		admin_json_listener_closed(supervisor, index));
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		json_object_set_new(map, listener_metric_info(i)->name,
			json_integer(
				(json_int_t)metrics_listener_sum(supervisor->metrics, index, i)));
	return map;
}

static json_t *
admin_json_listeners(const struct supervisor *supervisor)
{
	json_t *map = json_object();

	for (unsigned i = 0; i < supervisor->conf->n_listeners; i++)
		json_object_set_new(map, supervisor->conf->listeners[i].name,
			admin_json_listener(supervisor, i));
	return map;
}

static json_t *
admin_json_worker(const struct supervisor *supervisor, const struct crew_member *member)
{
	const uint64_t *value = supervisor->metrics->slots[1 + member->index].value;

	return json_pack("{s:i, s:i, s:s, s:I, s:I, s:I, s:I, s:I}", "worker", (int)member->index,
		"pid", (int)member->pid, "state", crew_state_name(member->state), "connections",
		(json_int_t)member->connections, "restarts", (json_int_t)member->restarts,
		"queued_bytes", (json_int_t)metrics_read(&value[METRIC_QUEUED_BYTES]),
		"bytes_received_total", (json_int_t)metrics_read(&value[METRIC_BYTES_RECEIVED]),
		"bytes_sent_total", (json_int_t)metrics_read(&value[METRIC_BYTES_SENT]));
}

static json_t *
admin_json_workers(const struct supervisor *supervisor)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < supervisor->crew.n_members; i++)
		json_array_append_new(
			list, admin_json_worker(supervisor, &supervisor->crew.members[i]));
	return list;
}

void
admin_get_stats(void *context, struct admin_request *request)
{
	struct supervisor *supervisor = context;
	double uptime = (double)(clock_now_usec() - supervisor->start_usec) / 1e6;
	json_t *stats;

	supervisor_refresh_metrics(supervisor);
	stats = json_pack("{s:s, s:i, s:f}", "version", PACKAGE_VERSION, "pid", (int)getpid(),
		"uptime_seconds", uptime);
	admin_add_health(supervisor, stats);
	json_object_set_new(stats, "metrics", admin_json_metrics(supervisor->metrics));
	json_object_set_new(stats, "closed", admin_json_closed(supervisor));
	json_object_set_new(stats, "limits", admin_json_limits(supervisor));
	json_object_set_new(stats, "listeners", admin_json_listeners(supervisor));
	json_object_set_new(stats, "upstreams", admin_json_upstreams(supervisor));
	json_object_set_new(stats, "workers", admin_json_workers(supervisor));
	json_object_set_new(stats, "sources_current",
		json_integer(source_table_size(admit_sources(supervisor->admit))));
	admin_reply(request, HTTP_OK, stats);
}

void
admin_get_sources(void *context, struct admin_request *request)
{
	const struct supervisor *supervisor = context;
	const struct source_table *table = admit_sources(supervisor->admit);
	struct source_count top[ADMIN_SOURCES_MAX];
	uint64_t limit = ADMIN_SOURCES_DEFAULT;
	char text[CIDR_TEXT_MAX];
	json_t *list;
	unsigned n;

	if (!admin_query_number(request, "limit", 1, ADMIN_SOURCES_MAX, &limit))
		return;
	n = source_table_top(table, top, (unsigned)limit);
	list = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:I}", "source", cidr_format(&top[i].network, text),
				      "connections", (json_int_t)top[i].connections));
	admin_reply(request, HTTP_OK,
		json_pack("{s:o, s:I}", "sources", list, "sources_current",
			(json_int_t)source_table_size(table)));
}

void
admin_get_config(void *context, struct admin_request *request)
{
	const struct supervisor *supervisor = context;

	admin_reply(request, HTTP_OK, conf_to_json(supervisor->conf));
}

void
admin_get_tuning(void *context, struct admin_request *request)
{
	admin_reply(request, HTTP_OK, supervisor_tuning(context));
}

/* The text format of Prometheus (exposition format 0.0.4). Listener names need no escaping: their
 * characters are restricted. */
void
admin_print_family(FILE *out, const char *prefix, const struct metric_info *info)
{
	fprintf(out, "# HELP millgate_%s%s %s\n# TYPE millgate_%s%s %s\n", prefix, info->name,
		info->help, prefix, info->name, metric_kind_name(info->kind));
}

static void
admin_print_listener_metric(
	FILE *out, const struct supervisor *supervisor, enum listener_metric metric)
{
	const struct metric_info *info = listener_metric_info(metric);

	admin_print_family(out, "listener_", info);
	for (unsigned i = 0; i < supervisor->conf->n_listeners; i++)
		fprintf(out, "millgate_listener_%s{listener=\"%s\"} %" PRIu64 "\n", info->name,
			supervisor->conf->listeners[i].name,
			metrics_listener_sum(supervisor->metrics, i, metric));
}

static void
admin_print_reasons(FILE *out, const struct supervisor *supervisor)
{
	const struct metric_info *info = split_metric_info(SPLIT_METRIC_CLOSED_BY_REASON);

	admin_print_family(out, "", info);
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		fprintf(out, "millgate_%s{reason=\"%s\",class=\"%s\"} %" PRIu64 "\n", info->name,
			close_reason_info(i)->name, close_class_name(close_reason_info(i)->class),
			metrics_read(&supervisor->metrics->slots[0].closed[i]));
}

static void
admin_print_listener_reasons(FILE *out, const struct supervisor *supervisor)
{
	const struct metric_info *info = split_metric_info(SPLIT_METRIC_LISTENER_CLOSED);

	admin_print_family(out, "", info);
	for (unsigned n = 0; n < supervisor->conf->n_listeners; n++)
		for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
			const struct close_reason_info *reason = close_reason_info(i);
			uint64_t count =
				metrics_read(&supervisor->metrics->slots[0].listener_closed[n][i]);

			if (count > 0)
				fprintf(out,
					"millgate_%s{listener=\"%s\",reason=\"%s\",class=\"%s\"} "
					"%" PRIu64 "\n",
					info->name, supervisor->conf->listeners[n].name,
					reason->name, close_class_name(reason->class), count);
		}
}

static void
admin_print_workers(FILE *out, const struct supervisor *supervisor)
{
	const struct metric_info *info = split_metric_info(SPLIT_METRIC_WORKER_CONNECTIONS);

	admin_print_family(out, "", info);
	for (unsigned i = 0; i < supervisor->crew.n_members; i++)
		fprintf(out, "millgate_%s{worker=\"%u\"} %u\n", info->name, i,
			supervisor->crew.members[i].connections);
}

static void
admin_print_metrics(FILE *out, const struct supervisor *supervisor)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		const struct metric_info *info = metric_info(i);

		admin_print_family(out, "", info);
		fprintf(out, "millgate_%s %" PRIu64 "\n", info->name,
			metrics_sum(supervisor->metrics, i));
	}
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		admin_print_listener_metric(out, supervisor, i);
	admin_print_upstreams(out, supervisor);
	admin_print_reasons(out, supervisor);
	admin_print_listener_reasons(out, supervisor);
	admin_print_workers(out, supervisor);
}

void
admin_get_metrics(void *context, struct admin_request *request)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (!out) {
		admin_reply(request, HTTP_INTERNAL, NULL);
		return;
	}
	supervisor_refresh_metrics(context);
	admin_print_metrics(out, context);
	if (fclose(out) == 0 && text)
		admin_reply_text(request, "text/plain; version=0.0.4; charset=utf-8", text);
	else
		admin_reply(request, HTTP_INTERNAL, NULL);
	free(text);
}
