/*
 * admin_connections: who is connected; and closing some of them.
 *
 * Process: S.
 */
#include <errno.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdlib.h>

#include "admin_routes.h"
#include "conn_state.h"
#include "supervisor.h"

#define ADMIN_PAGE_DEFAULT 100

/* What a request needs when its answer comes. */
struct admin_inquiry {
	struct supervisor *supervisor;
	struct admin_request *request;
	uint64_t id;
};

static json_t *
admin_json_known(uint64_t value)
{
	return value == CONTROL_UNKNOWN ? json_null() : json_integer((json_int_t)value);
}

static json_t *
admin_json_seconds(uint64_t usec)
{
	return usec == CONTROL_UNKNOWN ? json_null() : json_real((double)usec / 1e6);
}

static const char *
admin_conn_state(const struct inspect_result *result)
{
	if (result->handover)
		return "handover";
	switch (result->details.state) {
	case CONN_PROXY:
		return "proxy_header";
	case CONN_HANDSHAKE:
		return "handshake";
	case CONN_CLOSING:
		return "closing";
	default:
		return "open";
	}
}

/* The other side of a relayed connection; null if there is none. */
static json_t *
admin_json_server(const struct supervisor *supervisor, const struct control_details *details)
{
	const struct upstream *upstream;
	char address[UPSTREAM_ADDRESS_TEXT_MAX], local[ADDR_TEXT_MAX];

	if (details->server >= UPSTREAM_MAX)
		return json_null();
	upstream = &supervisor->upstreams->items[details->server];
	if (!upstream->in_use)
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:I}", "server", upstream->name,
		"address", upstream_format(upstream, address), "local",
		addr_format(&details->server_local, local), "state",
		details->server_state == CONN_CONNECTING ? "connecting" : "open", "bytes_received",
		admin_json_known(details->server_bytes_received), "bytes_sent",
		admin_json_known(details->server_bytes_sent), "rtt_seconds",
		admin_json_seconds(details->server_rtt_usec), "queued_bytes",
		(json_int_t)details->server_queued_bytes);
}

static json_t *
admin_json_connection(const struct supervisor *supervisor, const struct inspect_result *result)
{
	const struct control_details *details = &result->details;
	const struct conf_listener *listener = &supervisor->conf->listeners[result->listener];
	char peer[ADDR_TEXT_MAX], service[CONF_NAME_MAX + 1];

	return json_pack("{s:I, s:s, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:s, s:o}", "id",
		(json_int_t)details->id, "listener", listener->name, "service",
		conf_service_name(listener, service), "worker", result->worker, "peer",
		addr_format(&details->peer, peer), "age_seconds",
		admin_json_seconds(details->age_usec), "idle_seconds",
		admin_json_seconds(details->idle_usec), "bytes_received",
		admin_json_known(details->bytes_received), "bytes_sent",
		admin_json_known(details->bytes_sent), "rtt_seconds",
		admin_json_seconds(details->rtt_usec), "queued_bytes",
		(json_int_t)details->queued_bytes, "state", admin_conn_state(result), "upstream",
		admin_json_server(supervisor, details));
}

static void
admin_reply_gone(struct admin_request *request, uint64_t id)
{
	admin_reply_error(request, HTTP_NOTFOUND, "there is no connection %" PRIu64, id);
}

static void
admin_on_page(void *context, const struct inspect_report *report)
{
	struct admin_inquiry *inquiry = context;
	json_t *list = json_array();

	for (unsigned i = 0; i < report->n_results; i++)
		json_array_append_new(
			list, admin_json_connection(inquiry->supervisor, &report->results[i]));
	admin_reply(inquiry->request, HTTP_OK,
		json_pack("{s:o, s:o}", "connections", list, "next",
			report->more ? json_integer(report->next) : json_null()));
	free(inquiry);
}

static void
admin_on_one(void *context, const struct inspect_report *report)
{
	struct admin_inquiry *inquiry = context;

	if (report->n_results == 0)
		admin_reply_gone(inquiry->request, inquiry->id);
	else
		admin_reply(inquiry->request, HTTP_OK,
			admin_json_connection(inquiry->supervisor, &report->results[0]));
	free(inquiry);
}

static void
admin_on_killed(void *context, const struct inspect_report *report)
{
	struct admin_inquiry *inquiry = context;

	if (report->n_killed == 0 && inquiry->id)
		admin_reply_gone(inquiry->request, inquiry->id);
	else
		admin_reply(inquiry->request, HTTP_OK,
			json_pack("{s:I}", "closed", (json_int_t)report->n_killed));
	free(inquiry);
}

/* NULL: there is no memory, and the request is answered. */
static struct admin_inquiry *
admin_inquiry_new(struct supervisor *supervisor, struct admin_request *request)
{
	struct admin_inquiry *inquiry = calloc(1, sizeof(*inquiry));

	if (!inquiry) {
		admin_reply(request, HTTP_INTERNAL, NULL);
		return NULL;
	}
	*inquiry = (struct admin_inquiry){
		.supervisor = supervisor, .request = request, .id = request->id};
	return inquiry;
}

/* The answer when no job could be started. */
static void
admin_inquiry_failed(struct admin_inquiry *inquiry, int error)
{
	if (error == -ENOENT)
		admin_reply_gone(inquiry->request, inquiry->id);
	else if (error == -EBUSY)
		admin_reply_error(inquiry->request, HTTP_SERVUNAVAIL,
			"%d requests about connections are under way already; try again",
			INSPECT_JOBS_MAX);
	else
		admin_reply(inquiry->request, HTTP_INTERNAL, NULL);
	free(inquiry);
}

static bool
admin_read_source(struct admin_request *request, struct cidr *ret_source)
{
	const char *text = admin_query(request, "source");
	struct mg_error error;

	if (!text || cidr_parse(text, ret_source, &error) == 0)
		return true;
	admin_reply_error(request, HTTP_BADREQUEST, "parameter source: %s", error.text);
	return false;
}

static bool
admin_read_listener(
	const struct supervisor *supervisor, struct admin_request *request, int *ret_listener)
{
	const char *name = admin_query(request, "listener");
	const struct conf_listener *listener;

	if (!name)
		return true;
	listener = conf_find_listener(supervisor->conf, name);
	if (!listener) {
		admin_reply_error(request, HTTP_BADREQUEST, "there is no listener \"%s\"", name);
		return false;
	}
	*ret_listener = (int)(listener - supervisor->conf->listeners);
	return true;
}

static void
admin_start(struct supervisor *supervisor, struct admin_request *request,
	const struct inspect_filter *filter, inspect_done_fn *done)
{
	struct admin_inquiry *inquiry = admin_inquiry_new(supervisor, request);
	int r;

	if (!inquiry)
		return;
	r = inspect_start(&supervisor->inspect, filter, done, inquiry);
	if (r < 0)
		admin_inquiry_failed(inquiry, r);
}

void
admin_get_connections(void *context, struct admin_request *request)
{
	struct supervisor *supervisor = context;
	struct inspect_filter filter = {.listener = -1};
	uint64_t limit = ADMIN_PAGE_DEFAULT, after = 0, worker = UINT64_MAX;

	if (!admin_read_source(request, &filter.source) ||
		!admin_read_listener(supervisor, request, &filter.listener) ||
		!admin_query_number(
			request, "worker", 0, supervisor->crew.n_members - 1, &worker) ||
		!admin_query_number(request, "limit", 1, INSPECT_LIMIT_MAX, &limit) ||
		!admin_query_number(request, "after", 0, INT64_MAX, &after))
		return;
	filter.worker = worker == UINT64_MAX ? -1 : (int)worker;
	filter.limit = (uint32_t)limit;
	filter.after = roster_slot(after);
	admin_start(supervisor, request, &filter, admin_on_page);
}

void
admin_delete_connections(void *context, struct admin_request *request)
{
	struct inspect_filter filter = {.listener = -1, .worker = -1, .kill = true};

	if (!admin_query(request, "source")) {
		admin_reply_error(request, HTTP_BADREQUEST,
			"the parameter source is needed; 0.0.0.0/0 and ::/0 are all");
		return;
	}
	if (admin_read_source(request, &filter.source) &&
		admin_read_listener(context, request, &filter.listener))
		admin_start(context, request, &filter, admin_on_killed);
}

static void
admin_start_one(struct supervisor *supervisor, struct admin_request *request, bool kill)
{
	struct admin_inquiry *inquiry = admin_inquiry_new(supervisor, request);
	int r;

	if (!inquiry)
		return;
	r = inspect_start_one(&supervisor->inspect, request->id, kill,
		kill ? admin_on_killed : admin_on_one, inquiry);
	if (r < 0)
		admin_inquiry_failed(inquiry, r);
}

void
admin_get_connection(void *context, struct admin_request *request)
{
	admin_start_one(context, request, false);
}

void
admin_delete_connection(void *context, struct admin_request *request)
{
	admin_start_one(context, request, true);
}
