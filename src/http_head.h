/*
 * http_head: the head of an HTTP/1 request (RFC 9112), found and taken apart.
 *
 * Process: both. Pure: bytes in, parts or an error out; allocates and copies nothing. Strict: what
 * is not of the form is refused, for two programs that read a head differently are an attack.
 */
#ifndef MILLGATE_HTTP_HEAD_H
#define MILLGATE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* A stretch of the caller's bytes. */
struct http_text {
	const char *at;
	size_t length;
};

struct http_head {
	struct http_text method;
	struct http_text target;
	struct http_text path;   /* of the target, without the query */
	unsigned minor;          /* 1 of HTTP/1.1 */
	struct http_text fields; /* for http_head_next() */
};

struct http_field {
	struct http_text name, value; /* without the blanks around the value */
};

/*
 * Looks for the end of a head, piece by piece; *state is 0 before the first. Returns how many bytes
 * of this piece belong to the head when its end is among them, 0 when it is still to come, -EBADMSG
 * at a byte that no head has.
 */
long http_head_find_end(uint8_t *state, const void *data, size_t length) MG_MUST_CHECK;

/* Takes a whole head apart, the empty line at its end included; every field is checked. -EBADMSG:
 * malformed; -EPROTONOSUPPORT: not HTTP/1.x. */
int http_head_parse(const char *data, size_t length, struct http_head *ret_head) MG_MUST_CHECK;

/* The field at the front of *fields, which is moved behind it; false: there are no more. */
bool http_head_next(struct http_text *fields, struct http_field *ret_field);

/* How many fields have this name (in any case); the value of the first. */
unsigned http_head_find(
	const struct http_head *head, const char *name, struct http_text *ret_value);

/* The next element of a list "a, b, c", without blanks around it; empty ones are left out. */
bool http_text_next(struct http_text *list, struct http_text *ret_element);

/* The same text, in any case of ASCII letters. */
bool http_text_is(const struct http_text *text, const char *wanted);

/* Whether any field of this name has the element in its list, in any case. */
bool http_head_lists(const struct http_head *head, const char *name, const char *element);

#endif
