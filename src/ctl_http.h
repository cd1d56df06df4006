/*
 * ctl_http: a small HTTP/1.1 client over a Unix socket, one connection a request.
 *
 * Process: millgatectl. It blocks up to a deadline, believes nothing the server says about sizes,
 * and prints nothing. The parser is pure.
 */
#ifndef MILLGATE_CTL_HTTP_H
#define MILLGATE_CTL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define CTL_HTTP_LINE_MAX 8192                 /* bytes in a line of the head */
#define CTL_HTTP_HEAD_MAX (64 * 1024)          /* bytes in all of them */
#define CTL_HTTP_BODY_MAX (256u * 1024 * 1024) /* bytes in a body */

struct ctl_http_server {
	const char *socket_path; /* borrowed */
	uint64_t timeout_usec;   /* for a whole exchange */
	int cancel_fd;           /* an exchange is given up when this is readable; -1: never */
};

struct ctl_http_request {
	const char *method;
	const char *target; /* path and query */
	const char *body;   /* JSON, or NULL */
};

struct ctl_http_reply {
	unsigned status;
	char *body; /* owned; a NUL that is not counted follows */
	size_t length;
};

enum ctl_http_state {
	CTL_HTTP_STATUS_LINE,
	CTL_HTTP_HEADER,
	CTL_HTTP_BODY_LENGTH,
	CTL_HTTP_BODY_EOF,
	CTL_HTTP_CHUNK_SIZE,
	CTL_HTTP_CHUNK_DATA,
	CTL_HTTP_CHUNK_END,
	CTL_HTTP_TRAILER,
	CTL_HTTP_DONE,
};

struct ctl_http_parser {
	enum ctl_http_state state;
	bool has_length, chunked;
	uint64_t remaining; /* bytes of the body or the chunk still to come */
	size_t body_max, capacity, head_bytes, line_length;
	struct ctl_http_reply reply;
	char line[CTL_HTTP_LINE_MAX + 1];
};

/* For a body of at most `body_max` bytes. */
void ctl_http_parser_init(struct ctl_http_parser *parser, size_t body_max);
void ctl_http_parser_done(struct ctl_http_parser *parser);

/* Takes the bytes that came. 1: the reply is complete (what follows it is left alone); 0: more is
 * needed; -EBADMSG: not HTTP as we accept it; -EFBIG: over a limit; -ENOMEM. */
int ctl_http_parser_feed(struct ctl_http_parser *parser, const char *data, size_t length,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Nothing more comes: 1 or -EBADMSG. */
int ctl_http_parser_finish(
	struct ctl_http_parser *parser, struct mg_error *reterr_error) MG_MUST_CHECK;

/*
 * Sends the request and reads the whole reply, whatever its status. 0: the reply is the caller's,
 * ctl_http_reply_done() afterwards. Errors of the parser as above; -ETIMEDOUT; -ECANCELED;
 * -ECONNRESET also when the server hung up without an answer; otherwise what the kernel said.
 * The text does not name the socket.
 */
int ctl_http_exchange(const struct ctl_http_server *server, const struct ctl_http_request *request,
	struct ctl_http_reply *ret_reply, struct mg_error *reterr_error) MG_MUST_CHECK;

void ctl_http_reply_done(struct ctl_http_reply *reply);

#endif
