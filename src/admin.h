/*
 * admin: the admin socket and the metrics socket: HTTP/1.1 with JSON.
 *
 * Process: S. Parses requests, checks them against commands.def (path, method, access, body) and
 * against the route (query parameters), and calls the handler. What a handler gets is well-formed,
 * and may be asked where it was asked.
 */
#ifndef MILLGATE_ADMIN_H
#define MILLGATE_ADMIN_H

#include <event2/event.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <stdbool.h>

#include "commands.h"
#include "metrics.h"

#define ADMIN_CLIENTS_MAX 64       /* of each socket */
#define ADMIN_TIMEOUT_S 10         /* for a client to send or to take what is due */
#define ADMIN_HEAD_MAX 8192        /* bytes */
#define ADMIN_BODY_MAX (64 * 1024) /* bytes */

struct admin;
struct evhttp_request;

struct admin_request {
	struct evhttp_request *http;
	struct admin *admin;
	struct evkeyvalq query;
	uint64_t id;  /* of a path that ends in ID */
	json_t *body; /* an object; NULL: none was sent */
};

/* A handler answers, now or later, with exactly one of the admin_reply functions. */
struct admin_route {
	void (*handle)(void *context, struct admin_request *request);
	const char *parameters; /* allowed in the query, separated by blanks */
};

/* What a socket is for. Each has its own clients and limits: none waits for those of another. */
struct admin_face {
	enum command_access access;    /* commands that need more do not exist there */
	enum metric requests, clients; /* that count them */
};

/* Takes fd, a listening socket. `routes` has COMMAND_COUNT entries; they and `face` are borrowed.
 * NULL: no memory. */
struct admin *admin_new(struct event_base *base, int fd, const struct admin_face *face,
	const struct admin_route *routes, void *context, struct metrics *metrics) MG_MUST_CHECK;
void admin_free(struct admin *admin);

/* No more clients: they wait for the next process. */
void admin_halt(struct admin *admin);

/* The value of a query parameter, or NULL. */
const char *admin_query(const struct admin_request *request, const char *name);

/* Reads a whole number. Absent: *ret_value stays. False: it is none or not between min and max,
 * and the request has been answered with 400. */
bool admin_query_number(struct admin_request *request, const char *name, uint64_t min, uint64_t max,
	uint64_t *ret_value);

/* Each answers and frees the request. `json` is taken; NULL (no memory) gives a 500. */
void admin_reply(struct admin_request *request, int status, json_t *json);
void admin_reply_error(struct admin_request *request, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void admin_reply_text(struct admin_request *request, const char *type, const char *text);

#endif
