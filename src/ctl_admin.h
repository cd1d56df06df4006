/*
 * ctl_admin: one question to the gateway, and its answer as JSON.
 *
 * Process: millgatectl. It turns everything that can go wrong into an exit code and a message
 * that names the socket.
 */
#ifndef MILLGATE_CTL_ADMIN_H
#define MILLGATE_CTL_ADMIN_H

#include <jansson.h>

#include "ctl.h"

struct ctl_call {
	enum command command;
	const char *id;    /* for paths that end in ID */
	const char *query; /* "a=b&c=d", or NULL */
	const char *body;  /* JSON, or NULL */
	bool any_status;   /* an error status is an answer too, if it comes with an object */
	bool text;         /* the answer is no JSON */
};

struct ctl_answer {
	struct ctl_http_reply reply;
	json_t *json; /* an object; NULL for text */
};

/* Asks. CTL_EXIT_OK: the answer is the caller's, ctl_answer_done() afterwards. Prints nothing;
 * of an interrupted call the error is empty. */
enum ctl_exit ctl_admin_try(const struct ctl *ctl, const struct ctl_call *call,
	struct ctl_answer *ret_answer, struct mg_error *reterr_error) MG_MUST_CHECK;

/* The same, and prints what went wrong. */
enum ctl_exit ctl_admin_call(const struct ctl *ctl, const struct ctl_call *call,
	struct ctl_answer *ret_answer) MG_MUST_CHECK;

void ctl_answer_done(struct ctl_answer *answer);

/* A query, put together; to be freed. Values are percent-encoded, those that are NULL left out. */
char *ctl_admin_query(const char *const (*pairs)[2], unsigned n_pairs) MG_MUST_CHECK;

/* Prints a message of ours on stderr, harmless. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints the server's JSON: as it came, or, to a terminal, indented and harmless. */
void ctl_print_json(const struct ctl *ctl, const struct ctl_answer *answer);

/* Members of an object that may be missing or of another type: NAN, or "-". */
double ctl_json_real(const json_t *object, const char *key);
const char *ctl_json_text(const json_t *object, const char *key);

#endif
