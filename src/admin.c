/* admin: see admin.h. */
#include "admin.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "admin_page.h"
#include "clock.h"
#include "log.h"

#define ADMIN_JSON_FLAGS (JSON_INDENT(1) | JSON_REAL_PRECISION(12))
#define ADMIN_SWEEP_USEC 1000000 /* how often it is looked who has gone, while it is full */
#define ADMIN_PAUSE_USEC 100000
#define ADMIN_SERVED_MAX 256 /* bytes of text: the routes that are open to all */

struct admin {
	struct event_base *base;
	struct evhttp *http;
	struct evconnlistener *listener;
	bool halted;
	struct event *sweep_event;
	const struct admin_face *face;
	const struct admin_route *routes;
	void *context;
	struct metrics *metrics;
	/* evhttp does not say when it is done with a connection. We hold a reference to each: one
	 * that evhttp has freed has lost its callbacks. The last reference closes the socket, so
	 * that libevent never has a timer on a number that is somebody else's by then. */
	struct bufferevent *clients[ADMIN_CLIENTS_MAX];
	unsigned n_clients;
};

static uint64_t *
admin_metric(const struct admin *admin, enum metric metric)
{
	return &admin->metrics->slots[0].value[metric];
}

static void
admin_request_free(struct admin_request *request)
{
	evhttp_clear_headers(&request->query);
	json_decref(request->body);
	free(request);
}

static void
admin_send(struct admin_request *request, int status, const char *type, const char *text)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(request->http);

	evhttp_add_header(evhttp_request_get_output_headers(request->http), "Content-Type", type);
	/* Who asked by HEAD would take a body for the next answer (RFC 9110 section 9.3.2). */
	if (evhttp_request_get_command(request->http) != EVHTTP_REQ_HEAD)
		evbuffer_add(out, text, strlen(text));
	/* Frees the evhttp request; if its client has gone meanwhile, that is all it does. */
	evhttp_send_reply(request->http, status, NULL, NULL);
	admin_request_free(request);
}

void
admin_reply(struct admin_request *request, int status, json_t *json)
{
	char *text = json ? json_dumps(json, ADMIN_JSON_FLAGS) : NULL;

	json_decref(json);
	if (text)
		admin_send(request, status, "application/json", text);
	else
		admin_send(request, HTTP_INTERNAL, "application/json",
			"{\"error\": \"out of memory\"}");
	free(text);
}

void
admin_reply_error(struct admin_request *request, int status, const char *format, ...)
{
	char text[512], escaped[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* It may quote the request, which may hold anything. */
	log_escape(text, escaped, sizeof(escaped));
	admin_reply(request, status, json_pack("{s:s}", "error", escaped));
}

void
admin_reply_text(struct admin_request *request, const char *type, const char *text)
{
	admin_send(request, HTTP_OK, type, text);
}

const char *
admin_query(const struct admin_request *request, const char *name)
{
	return evhttp_find_header(&request->query, name);
}

bool
admin_query_number(struct admin_request *request, const char *name, uint64_t min, uint64_t max,
	uint64_t *ret_value)
{
	const char *text = admin_query(request, name);
	unsigned long long value;
	char *end;

	if (!text)
		return true;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max) {
		admin_reply_error(request, HTTP_BADREQUEST,
			"parameter %s: found \"%s\", allowed are %" PRIu64 " to %" PRIu64, name,
			text, min, max);
		return false;
	}
	*ret_value = value;
	return true;
}

static const char *
admin_method_name(enum evhttp_cmd_type type)
{
	switch (type) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	case EVHTTP_REQ_HEAD:
		return "HEAD";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_OPTIONS:
		return "OPTIONS";
	case EVHTTP_REQ_PATCH:
		return "PATCH";
	default:
		return "?";
	}
}

/* Does the path fit the pattern? With "/ID" at its end, *ret_id is set. */
static bool
admin_path_fits(const char *pattern, const char *path, uint64_t *ret_id)
{
	size_t length = strlen(pattern);
	char *end;

	if (length < 3 || strcmp(pattern + length - 3, "/ID") != 0)
		return strcmp(pattern, path) == 0;
	length -= 2;
	if (strncmp(pattern, path, length) != 0 || path[length] < '0' || path[length] > '9')
		return false;
	errno = 0;
	*ret_id = strtoull(path + length, &end, 10);
	return !*end && !errno;
}

/* Is it a route of this face? */
static bool
admin_serves(const struct admin_face *face, const struct command_info *info)
{
	return info->method[0] && info->access <= face->access;
}

/* The command that is asked for; COMMAND_COUNT: none, and *ret_allow lists the methods that the
 * path has ("" if there is no such path). */
static enum command
admin_find(const struct admin_face *face, const char *method, const char *path, uint64_t *ret_id,
	char *ret_allow, size_t size)
{
	size_t at = 0;

	ret_allow[0] = '\0';
	for (unsigned i = 0; i < COMMAND_COUNT; i++) {
		const struct command_info *info = commands_info(i);

		if (!admin_serves(face, info) || !admin_path_fits(info->path, path, ret_id))
			continue;
		if (strcmp(info->method, method) == 0)
			return i;
		at += (size_t)snprintf(
			ret_allow + at, size - at, "%s%s", at ? ", " : "", info->method);
	}
	return COMMAND_COUNT;
}

/* "GET /health, GET /metrics": all that this face has. */
static void
admin_list_served(const struct admin_face *face, char *buf, size_t size)
{
	size_t at = 0;

	for (unsigned i = 0; i < COMMAND_COUNT; i++) {
		const struct command_info *info = commands_info(i);

		if (admin_serves(face, info))
			at += (size_t)snprintf(buf + at, size - at, "%s%s %s", at ? ", " : "",
				info->method, info->path);
	}
	assert(at < size);
}

/* There is no command for this. `allow`: the methods of the path, "" without any. */
static void
admin_refuse(struct admin_request *request, const char *method, const char *path, const char *allow)
{
	const struct admin_face *face = request->admin->face;
	int status = allow[0] ? HTTP_BADMETHOD : HTTP_NOTFOUND;
	char served[ADMIN_SERVED_MAX];

	/* Where nothing can be changed no other method means anything, whatever the path. */
	if (face->access < COMMAND_ACCESS_WRITE && strcmp(method, "GET") != 0) {
		status = HTTP_BADMETHOD;
		allow = "GET";
	}
	if (allow[0])
		evhttp_add_header(evhttp_request_get_output_headers(request->http), "Allow", allow);
	if (face->access < COMMAND_ACCESS_WRITE) {
		admin_list_served(face, served, sizeof(served));
		admin_reply_error(
			request, status, "allowed here are %s; found %s %s", served, method, path);
	} else if (allow[0]) {
		admin_reply_error(request, status, "%s allows only %s", path, allow);
	} else {
		admin_reply_error(request, status, "there is no %s", path);
	}
}

static bool
admin_word_in(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = words; (at = strstr(at, word)); at++)
		if ((at == words || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
			return length > 0;
	return false;
}

/* Every parameter is known and there once. Otherwise the request is answered. */
static bool
admin_check_query(struct admin_request *request, const struct admin_route *route)
{
	const char *allowed = route->parameters ? route->parameters : "";
	const struct evkeyval *item, *other;

	TAILQ_FOREACH(item, &request->query, next) {
		if (!admin_word_in(allowed, item->key)) {
			admin_reply_error(request, HTTP_BADREQUEST,
				"unknown parameter \"%s\"; allowed are: %s", item->key,
				allowed[0] ? allowed : "none");
			return false;
		}
		for (other = TAILQ_NEXT(item, next); other; other = TAILQ_NEXT(other, next))
			if (strcmp(item->key, other->key) == 0) {
				admin_reply_error(request, HTTP_BADREQUEST,
					"parameter \"%s\" is there twice", item->key);
				return false;
			}
	}
	return true;
}

static bool
admin_read_body(struct admin_request *request, const struct command_info *info)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(request->http);
	size_t length = evbuffer_get_length(in);
	json_error_t error;

	if (length == 0)
		return true;
	if (info->body == COMMAND_BODY_NO_BODY) {
		admin_reply_error(
			request, HTTP_BADREQUEST, "%s %s takes no body", info->method, info->path);
		return false;
	}
	request->body = json_loadb(
		(const char *)evbuffer_pullup(in, -1), length, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(request->body))
		return true;
	if (request->body)
		admin_reply_error(request, HTTP_BADREQUEST, "the body is no JSON object");
	else
		admin_reply_error(request, HTTP_BADREQUEST, "the body is no JSON: %s", error.text);
	return false;
}

static void
admin_dispatch(struct admin_request *request, const struct evhttp_uri *uri)
{
	const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
	const char *method = admin_method_name(evhttp_request_get_command(request->http));
	const struct admin_route *route;
	enum command command;
	char allow[64];

	path = path ? path : "";
	command =
		admin_find(request->admin->face, method, path, &request->id, allow, sizeof(allow));
	if (command == COMMAND_COUNT) {
		admin_refuse(request, method, path, allow);
		return;
	}
	route = &request->admin->routes[command];
	/* A value is a string of C: what follows a NUL would be lost. */
	if (query && (strstr(query, "%00") || evhttp_parse_query_str(query, &request->query) < 0)) {
		admin_reply_error(request, HTTP_BADREQUEST, "malformed query");
		return;
	}
	if (admin_check_query(request, route) && admin_read_body(request, commands_info(command)))
		route->handle(request->admin->context, request);
}

static void
admin_on_request(struct evhttp_request *http, void *arg)
{
	struct admin *admin = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
	struct admin_request *request = calloc(1, sizeof(*request));

	metrics_add(admin_metric(admin, admin->face->requests), 1);
	if (!request || !uri) {
		free(request);
		evhttp_send_error(http, uri ? HTTP_INTERNAL : HTTP_BADREQUEST, NULL);
		return;
	}
	TAILQ_INIT(&request->query);
	request->http = http;
	request->admin = admin;
	admin_dispatch(request, uri);
}

/* Lets go of connections that evhttp has freed. */
static void
admin_sweep(struct admin *admin)
{
	unsigned n = 0;

	for (unsigned i = 0; i < admin->n_clients; i++) {
		bufferevent_event_cb event_cb;

		bufferevent_getcb(admin->clients[i], NULL, NULL, &event_cb, NULL);
		if (event_cb)
			admin->clients[n++] = admin->clients[i];
		else
			bufferevent_decref(admin->clients[i]);
	}
	admin->n_clients = n;
	metrics_write(admin_metric(admin, admin->face->clients), n);
}

static void
admin_on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct admin *admin = arg;
	struct timeval again = clock_timeval(ADMIN_SWEEP_USEC);

	(void)fd;
	(void)what;
	admin_sweep(admin);
	if (admin->n_clients < ADMIN_CLIENTS_MAX && !admin->halted)
		evconnlistener_enable(admin->listener);
	if (admin->n_clients > 0)
		evtimer_add(admin->sweep_event, &again);
}

/* Stops listening for a while: too many clients. */
static void
admin_pause(struct admin *admin)
{
	struct timeval again = clock_timeval(ADMIN_PAUSE_USEC);

	evconnlistener_disable(admin->listener);
	evtimer_add(admin->sweep_event, &again);
}

/* evhttp wants a bufferevent for a connection that it has accepted. */
static struct bufferevent *
admin_on_client(struct event_base *base, void *arg)
{
	struct admin *admin = arg;
	struct timeval again = clock_timeval(ADMIN_SWEEP_USEC);
	struct bufferevent *client = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	/* Before the new one is there: its callbacks are not set yet. */
	admin_sweep(admin);
	if (!client || admin->n_clients == ADMIN_CLIENTS_MAX)
		return client;
	admin_page_replace(client);
	bufferevent_incref(client);
	admin->clients[admin->n_clients++] = client;
	metrics_write(admin_metric(admin, admin->face->clients), admin->n_clients);
	if (admin->n_clients == ADMIN_CLIENTS_MAX)
		admin_pause(admin);
	else
		evtimer_add(admin->sweep_event, &again);
	return client;
}

static void
admin_on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	evconnlistener_enable(arg);
}

/* No descriptor, or no memory, for one more. The listener is evhttp's, and so is `arg`. */
static void
admin_on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct event_base *base = evconnlistener_get_base(listener);
	struct timeval again = clock_timeval(ADMIN_PAUSE_USEC);

	(void)arg;
	if (event_base_once(base, -1, EV_TIMEOUT, admin_on_pause_over, listener, &again) == 0)
		evconnlistener_disable(listener);
}

struct admin *
admin_new(struct event_base *base, int fd, const struct admin_face *face,
	const struct admin_route *routes, void *context, struct metrics *metrics)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	struct evhttp_bound_socket *bound = NULL;

	for (unsigned i = 0; i < COMMAND_COUNT; i++)
		assert(!commands_info(i)->method[0] || routes[i].handle);
	if (admin) {
		*admin = (struct admin){
			.base = base,
			.face = face,
			.routes = routes,
			.context = context,
			.metrics = metrics,
		};
		admin->sweep_event = evtimer_new(base, admin_on_sweep, admin);
		admin->http = evhttp_new(base);
		if (admin->sweep_event && admin->http)
			bound = evhttp_accept_socket_with_handle(admin->http, fd);
	}
	if (!bound) {
		(void)close(fd);
		admin_free(admin);
		return NULL;
	}
	admin->listener = evhttp_bound_socket_get_listener(bound);
	evconnlistener_set_error_cb(admin->listener, admin_on_accept_error);
	evhttp_set_allowed_methods(admin->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
							EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
							EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_timeout(admin->http, ADMIN_TIMEOUT_S);
	evhttp_set_max_headers_size(admin->http, ADMIN_HEAD_MAX);
	evhttp_set_max_body_size(admin->http, ADMIN_BODY_MAX);
	evhttp_set_default_content_type(admin->http, NULL);
	evhttp_set_bevcb(admin->http, admin_on_client, admin);
	evhttp_set_gencb(admin->http, admin_on_request, admin);
	return admin;
}

void
admin_halt(struct admin *admin)
{
	if (!admin)
		return;
	admin->halted = true;
	evconnlistener_disable(admin->listener);
}

void
admin_free(struct admin *admin)
{
	if (!admin)
		return;
	if (admin->http)
		evhttp_free(admin->http);
	for (unsigned i = 0; i < admin->n_clients; i++)
		bufferevent_decref(admin->clients[i]);
	if (admin->sweep_event)
		event_free(admin->sweep_event);
	free(admin);
}
