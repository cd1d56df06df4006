/* ctl_http_parser: the pure half of ctl_http, from bytes to a reply. See ctl_http.h. */
#include "ctl_http.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_FIRST_BYTES 4096u

void
ctl_http_parser_init(struct ctl_http_parser *parser, size_t body_max)
{
	memset(parser, 0, sizeof(*parser));
	parser->body_max = body_max;
}

void
ctl_http_parser_done(struct ctl_http_parser *parser)
{
	ctl_http_reply_done(&parser->reply);
}

void
ctl_http_reply_done(struct ctl_http_reply *reply)
{
	if (!reply)
		return;
	free(reply->body);
	reply->body = NULL;
	reply->length = 0;
}

/* Makes room for `more` bytes and the NUL behind them. */
static int
body_reserve(struct ctl_http_parser *parser, size_t more, struct mg_error *reterr_error)
{
	size_t needed = parser->reply.length + more + 1;
	size_t capacity = parser->capacity ? parser->capacity : BODY_FIRST_BYTES;
	char *body;

	if (more > parser->body_max - parser->reply.length)
		return mg_error_set(reterr_error, -EFBIG, "the answer is longer than %zu bytes",
			parser->body_max);
	while (capacity < needed)
		capacity *= 2;
	if (capacity == parser->capacity)
		return 0;
	body = realloc(parser->reply.body, capacity);
	if (!body)
		return mg_error_set(reterr_error, -ENOMEM, "no memory for the answer");
	parser->reply.body = body;
	parser->capacity = capacity;
	return 0;
}

static int
body_append(struct ctl_http_parser *parser, const char *data, size_t length,
	struct mg_error *reterr_error)
{
	int r = body_reserve(parser, length, reterr_error);

	if (r < 0)
		return r;
	memcpy(parser->reply.body + parser->reply.length, data, length);
	parser->reply.length += length;
	parser->reply.body[parser->reply.length] = '\0';
	return 0;
}

/* "HTTP/1.1 200 OK"; the reason may be missing, the space before it may not (RFC 9112). */
static int
parse_status_line(struct ctl_http_parser *parser, struct mg_error *reterr_error)
{
	const char *line = parser->line;

	if (strncmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
		line[8] != ' ' || line[9] < '1' || line[9] > '5' ||
		!isdigit((unsigned char)line[10]) || !isdigit((unsigned char)line[11]) ||
		line[12] != ' ')
		return mg_error_set(reterr_error, -EBADMSG, "the answer is not HTTP/1.1");
	parser->reply.status = (unsigned)strtoul(line + 9, NULL, 10);
	if (parser->reply.status == 101)
		return mg_error_set(
			reterr_error, -EBADMSG, "the answer switches to another protocol");
	parser->state = CTL_HTTP_HEADER;
	return 0;
}

static int
parse_content_length(
	struct ctl_http_parser *parser, const char *value, struct mg_error *reterr_error)
{
	size_t digits = strspn(value, "0123456789");

	if (parser->has_length || digits == 0 || value[digits] != '\0')
		return mg_error_set(reterr_error, -EBADMSG, "the answer has a bad Content-Length");
	if (digits > 18 || strtoull(value, NULL, 10) > parser->body_max)
		return mg_error_set(reterr_error, -EFBIG, "the answer is longer than %zu bytes",
			parser->body_max);
	parser->has_length = true;
	parser->remaining = strtoull(value, NULL, 10);
	return 0;
}

/* Cuts the line into a name and a value, without the spaces around the value. */
static int
split_header(char *line, char **ret_value)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t name = strspn(line, token), end;
	char *value;

	if (name == 0 || line[name] != ':')
		return -EBADMSG;
	line[name] = '\0';
	value = line + name + 1;
	value += strspn(value, " \t");
	for (end = strlen(value); end > 0 && strchr(" \t", value[end - 1]); end--)
		value[end - 1] = '\0';
	*ret_value = value;
	return 0;
}

static int
parse_header(struct ctl_http_parser *parser, struct mg_error *reterr_error)
{
	char *value;

	if (split_header(parser->line, &value) < 0)
		return mg_error_set(reterr_error, -EBADMSG, "the answer has a malformed header");
	if (parser->state == CTL_HTTP_TRAILER)
		return 0;
	if (strcasecmp(parser->line, "Content-Length") == 0)
		return parse_content_length(parser, value, reterr_error);
	if (strcasecmp(parser->line, "Transfer-Encoding") == 0) {
		if (parser->chunked || strcasecmp(value, "chunked") != 0)
			return mg_error_set(reterr_error, -EBADMSG,
				"the answer has an unknown Transfer-Encoding");
		parser->chunked = true;
	}
	return 0;
}

/* The empty line: what the head said decides how the body ends. */
static int
end_head(struct ctl_http_parser *parser, struct mg_error *reterr_error)
{
	unsigned status = parser->reply.status;

	if (parser->chunked && parser->has_length)
		return mg_error_set(reterr_error, -EBADMSG,
			"the answer has both Content-Length and Transfer-Encoding");
	if (status < 200) { /* an interim answer: the final one follows */
		parser->chunked = parser->has_length = false;
		parser->state = CTL_HTTP_STATUS_LINE;
		return 0;
	}
	if (status == 204 || status == 304)
		parser->state = CTL_HTTP_DONE;
	else if (parser->chunked)
		parser->state = CTL_HTTP_CHUNK_SIZE;
	else if (!parser->has_length)
		parser->state = CTL_HTTP_BODY_EOF;
	else
		parser->state = parser->remaining > 0 ? CTL_HTTP_BODY_LENGTH : CTL_HTTP_DONE;
	return 0;
}

/* "1f" or "1f;extension"; extensions mean nothing to us. */
static int
parse_chunk_size(struct ctl_http_parser *parser, struct mg_error *reterr_error)
{
	size_t digits = strspn(parser->line, "0123456789abcdefABCDEF");

	if (digits == 0 || !strchr("; \t", parser->line[digits]))
		return mg_error_set(reterr_error, -EBADMSG, "the answer has a malformed chunk");
	if (digits > 15)
		return mg_error_set(reterr_error, -EFBIG, "the answer is longer than %zu bytes",
			parser->body_max);
	parser->remaining = strtoull(parser->line, NULL, 16);
	parser->state = parser->remaining > 0 ? CTL_HTTP_CHUNK_DATA : CTL_HTTP_TRAILER;
	return 0;
}

/* parser->line is complete and has lost its line end. */
static int
take_line(struct ctl_http_parser *parser, struct mg_error *reterr_error)
{
	bool empty = parser->line[0] == '\0';

	switch (parser->state) {
	case CTL_HTTP_STATUS_LINE:
		return parse_status_line(parser, reterr_error);
	case CTL_HTTP_HEADER:
		return empty ? end_head(parser, reterr_error) : parse_header(parser, reterr_error);
	case CTL_HTTP_CHUNK_SIZE:
		return parse_chunk_size(parser, reterr_error);
	case CTL_HTTP_CHUNK_END:
		if (!empty)
			return mg_error_set(
				reterr_error, -EBADMSG, "the answer has a malformed chunk");
		parser->state = CTL_HTTP_CHUNK_SIZE;
		return 0;
	default: /* CTL_HTTP_TRAILER */
		if (!empty)
			return parse_header(parser, reterr_error);
		parser->state = CTL_HTTP_DONE;
		return 0;
	}
}

/* One byte of a line, which ends in CR LF and has no other control byte but tabs. */
static int
feed_line(struct ctl_http_parser *parser, char byte, struct mg_error *reterr_error)
{
	size_t length = parser->line_length;

	if (byte == '\n') {
		if (length == 0 || parser->line[length - 1] != '\r')
			return mg_error_set(
				reterr_error, -EBADMSG, "the answer has a malformed line");
		parser->line[length - 1] = '\0';
		parser->line_length = 0;
		return take_line(parser, reterr_error);
	}
	if ((iscntrl((unsigned char)byte) && byte != '\t' && byte != '\r') ||
		(length > 0 && parser->line[length - 1] == '\r'))
		return mg_error_set(
			reterr_error, -EBADMSG, "the answer has a control byte in its head");
	if (parser->state != CTL_HTTP_CHUNK_SIZE && parser->state != CTL_HTTP_CHUNK_END)
		parser->head_bytes++;
	if (length == CTL_HTTP_LINE_MAX || parser->head_bytes > CTL_HTTP_HEAD_MAX)
		return mg_error_set(reterr_error, -EFBIG, "the answer's head is too long");
	parser->line[parser->line_length++] = byte;
	return 0;
}

/* Takes body bytes, at least one; returns how many, or an error. */
static ssize_t
feed_body(struct ctl_http_parser *parser, const char *data, size_t length,
	struct mg_error *reterr_error)
{
	size_t n = length;
	int r;

	if (parser->state != CTL_HTTP_BODY_EOF && n > parser->remaining)
		n = (size_t)parser->remaining;
	r = body_append(parser, data, n, reterr_error);
	if (r < 0)
		return r;
	if (parser->state == CTL_HTTP_BODY_EOF)
		return (ssize_t)n;
	parser->remaining -= n;
	if (parser->remaining == 0)
		parser->state =
			parser->state == CTL_HTTP_CHUNK_DATA ? CTL_HTTP_CHUNK_END : CTL_HTTP_DONE;
	return (ssize_t)n;
}

static int
parser_settle(struct ctl_http_parser *parser, struct mg_error *reterr_error)
{
	int r = parser->state == CTL_HTTP_DONE ? body_append(parser, "", 0, reterr_error) : 0;

	if (r < 0)
		return r;
	return parser->state == CTL_HTTP_DONE;
}

int
ctl_http_parser_feed(struct ctl_http_parser *parser, const char *data, size_t length,
	struct mg_error *reterr_error)
{
	ssize_t n;

	while (length > 0 && parser->state != CTL_HTTP_DONE) {
		switch (parser->state) {
		case CTL_HTTP_BODY_LENGTH:
		case CTL_HTTP_BODY_EOF:
		case CTL_HTTP_CHUNK_DATA:
			n = feed_body(parser, data, length, reterr_error);
			break;
		default:
			n = feed_line(parser, *data, reterr_error);
			n = n < 0 ? n : 1;
		}
		if (n < 0)
			return (int)n;
		data += n;
		length -= (size_t)n;
	}
	return parser_settle(parser, reterr_error);
}

int
ctl_http_parser_finish(struct ctl_http_parser *parser, struct mg_error *reterr_error)
{
	if (parser->state == CTL_HTTP_BODY_EOF)
		parser->state = CTL_HTTP_DONE;
	if (parser->state != CTL_HTTP_DONE)
		return mg_error_set(reterr_error, -EBADMSG, "the answer ends too early");
	return parser_settle(parser, reterr_error);
}
