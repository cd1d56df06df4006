/*
 * admin_upstreams: the servers behind relay listeners: how they are, and taking them out for
 * maintenance.
 *
 * Process: S.
 */
#include <event2/http.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin_routes.h"
#include "supervisor.h"

static const char *
admin_upstream_state(const struct upstream *upstream)
{
	if (!upstream->named)
		return "gone";
	if (upstream->disabled)
		return "disabled";
	if (!upstream->wanted)
		return "gone";
	if (upstream->unresolved)
		return "unresolved";
	return upstream->down ? "down" : "up";
}

static void
admin_add_upstream_metric(
	json_t *into, const struct metrics *metrics, uint16_t number, enum upstream_metric metric)
{
	json_object_set_new(into, upstream_metric_info(metric)->name,
		json_integer((json_int_t)metrics_upstream_sum(metrics, number, metric)));
}

/* How long connecting took; null if it never succeeded. */
static json_t *
admin_json_connect_average(const struct metrics *metrics, uint16_t number)
{
	uint64_t connects = metrics_upstream_sum(metrics, number, UPSTREAM_METRIC_CONNECTS);
	uint64_t usec = metrics_upstream_sum(metrics, number, UPSTREAM_METRIC_CONNECT_USEC);

	return connects > 0 ? json_real((double)usec / 1e6 / (double)connects) : json_null();
}

static json_t *
admin_json_upstream(const struct supervisor *supervisor, uint16_t number)
{
	static const enum upstream_metric totals[] = {UPSTREAM_METRIC_BYTES_SENT,
		UPSTREAM_METRIC_BYTES_RECEIVED, UPSTREAM_METRIC_CHECKS,
		UPSTREAM_METRIC_CHECK_FAILURES};
	const struct upstream *upstream = &supervisor->upstreams->items[number];
	const struct metrics *metrics = supervisor->metrics;
	char address[UPSTREAM_ADDRESS_TEXT_MAX];
	json_t *map = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "listener",
		supervisor->conf->listeners[upstream->listener].name, "name", upstream->name,
		"address", upstream_format(upstream, address), "state",
		admin_upstream_state(upstream), "connections", (json_int_t)upstream->connections,
		"max_connections",
		(json_int_t)supervisor->conf->listeners[upstream->listener].upstream_max);

	admin_add_upstream_metric(map, metrics, number, UPSTREAM_METRIC_CONNECTS);
	admin_add_upstream_metric(map, metrics, number, UPSTREAM_METRIC_CONNECT_FAILURES);
	json_object_set_new(
		map, "connect_seconds_average", admin_json_connect_average(metrics, number));
	for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++)
		admin_add_upstream_metric(map, metrics, number, totals[i]);
	return map;
}

json_t *
admin_json_upstreams(const struct supervisor *supervisor)
{
	uint16_t numbers[UPSTREAM_MAX];
	size_t n = supervisor_list_upstreams(supervisor, numbers);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, admin_json_upstream(supervisor, numbers[i]));
	return list;
}

void
admin_get_upstreams(void *context, struct admin_request *request)
{
	admin_reply(
		request, HTTP_OK, json_pack("{s:o}", "upstreams", admin_json_upstreams(context)));
}

/* {"server": "127.0.0.1:8080", "listener": "public"}; the listener may be absent. False: it is
 * something else, and the request is answered. */
static bool
admin_read_server(struct admin_request *request, const char **ret_server, const char **ret_listener)
{
	const char *key;
	json_t *value;

	*ret_server = *ret_listener = NULL;
	json_object_foreach(request->body, key, value) {
		const char **ret = strcmp(key, "server") == 0     ? ret_server
				   : strcmp(key, "listener") == 0 ? ret_listener
								  : NULL;

		if (!ret) {
			admin_reply_error(request, HTTP_BADREQUEST,
				"unknown key \"%s\"; allowed are: server, listener", key);
			return false;
		}
		if (!json_is_string(value)) {
			admin_reply_error(request, HTTP_BADREQUEST, "%s: allowed are texts", key);
			return false;
		}
		*ret = json_string_value(value);
	}
	if (*ret_server)
		return true;
	admin_reply_error(request, HTTP_BADREQUEST,
		"the key server is needed: a name of upstream.servers, or an address, as GET "
		"/upstreams tells them");
	return false;
}

/* All that are called so, after they were changed. */
static json_t *
admin_json_named(const struct supervisor *supervisor, int listener, const char *server)
{
	uint16_t numbers[UPSTREAM_MAX];
	size_t n = supervisor_list_upstreams(supervisor, numbers);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		if (supervisor_upstream_is(supervisor, numbers[i], listener, server))
			json_array_append_new(list, admin_json_upstream(supervisor, numbers[i]));
	return list;
}

static void
admin_set_upstream(struct supervisor *supervisor, struct admin_request *request, bool disabled)
{
	const struct conf_listener *found = NULL;
	const char *server, *name;
	int listener = -1;
	unsigned n;

	if (!admin_read_server(request, &server, &name))
		return;
	if (name) {
		found = conf_find_listener(supervisor->conf, name);
		if (!found) {
			admin_reply_error(
				request, HTTP_NOTFOUND, "there is no listener \"%s\"", name);
			return;
		}
		listener = (int)(found - supervisor->conf->listeners);
	}
	n = supervisor_disable_upstreams(supervisor, listener, server, disabled);
	if (n == 0 && name)
		admin_reply_error(request, HTTP_NOTFOUND,
			"listener %s has no server \"%s\"; \"millgatectl upstreams\" lists them",
			name, server);
	else if (n == 0)
		admin_reply_error(request, HTTP_NOTFOUND,
			"there is no server \"%s\"; \"millgatectl upstreams\" lists them", server);
	else
		admin_reply(request, HTTP_OK,
			json_pack("{s:I, s:o}", "changed", (json_int_t)n, "servers",
				admin_json_named(supervisor, listener, server)));
}

void
admin_post_upstreams_disable(void *context, struct admin_request *request)
{
	admin_set_upstream(context, request, true);
}

void
admin_post_upstreams_enable(void *context, struct admin_request *request)
{
	admin_set_upstream(context, request, false);
}

/* The value of a label, as the text format of Prometheus has it. */
static void
admin_print_label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', out);
		if (*value == '\n')
			fputs("\\n", out);
		else
			fputc(*value, out);
	}
	fputc('"', out);
}

/* Behind the labels. */
static void
admin_print_upstream_value(FILE *out, enum upstream_metric metric, uint64_t value)
{
	if (metric == UPSTREAM_METRIC_CONNECT_USEC)
		fprintf(out, "} %.6f\n", (double)value / 1e6);
	else
		fprintf(out, "} %" PRIu64 "\n", value);
}

static void
admin_print_upstream_metric(FILE *out, const struct supervisor *supervisor,
	enum upstream_metric metric, const uint16_t numbers[], size_t n)
{
	const struct metric_info *info = upstream_metric_info(metric);

	admin_print_family(out, "upstream_", info);
	for (size_t i = 0; i < n; i++) {
		const struct upstream *upstream = &supervisor->upstreams->items[numbers[i]];
		char address[UPSTREAM_ADDRESS_TEXT_MAX];

		fprintf(out, "millgate_upstream_%s{", info->name);
		admin_print_label(
			out, "listener", supervisor->conf->listeners[upstream->listener].name);
		fputc(',', out);
		admin_print_label(out, "server", upstream->name);
		fputc(',', out);
		admin_print_label(out, "address", upstream_format(upstream, address));
		admin_print_upstream_value(
			out, metric, metrics_upstream_sum(supervisor->metrics, numbers[i], metric));
	}
}

void
admin_print_upstreams(FILE *out, const struct supervisor *supervisor)
{
	uint16_t numbers[UPSTREAM_MAX];
	size_t n = supervisor_list_upstreams(supervisor, numbers);

	for (unsigned i = 0; i < UPSTREAM_METRIC_COUNT; i++)
		admin_print_upstream_metric(out, supervisor, i, numbers, n);
}
