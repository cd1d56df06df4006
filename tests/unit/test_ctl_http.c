/* Answers of a server, cut anywhere, and those that are none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl_http.h"

#define BODY_MAX 64
#define OK "HTTP/1.1 200 OK\r\n"

/* Feeds the text in two parts, and then the end; what the last call returned. */
static int
parse_split(struct ctl_http_parser *parser, const char *text, size_t length, size_t split)
{
	struct mg_error error = {""};
	int r = ctl_http_parser_feed(parser, text, split, &error);

	if (r == 0)
		r = ctl_http_parser_feed(parser, text + split, length - split, &error);
	if (r == 0)
		r = ctl_http_parser_finish(parser, &error);
	assert_int_equal(r < 0, error.text[0] != '\0');
	return r;
}

static void
assert_parses_at_every_split(const char *text, unsigned status, const char *body)
{
	size_t length = strlen(text), split;
	struct ctl_http_parser parser;

	for (split = 0; split <= length; split++) {
		ctl_http_parser_init(&parser, BODY_MAX);
		assert_int_equal(parse_split(&parser, text, length, split), 1);
		assert_int_equal(parser.reply.status, status);
		assert_int_equal(parser.reply.length, strlen(body));
		assert_string_equal(parser.reply.body, body);
		ctl_http_parser_done(&parser);
	}
}

static void
assert_fails_at_every_split(const char *text, size_t length, int error)
{
	struct ctl_http_parser parser;
	size_t split;

	for (split = 0; split <= length; split++) {
		ctl_http_parser_init(&parser, BODY_MAX);
		assert_int_equal(parse_split(&parser, text, length, split), error);
		ctl_http_parser_done(&parser);
	}
}

static void
body_with_a_length(void **state)
{
	(void)state;
	assert_parses_at_every_split(OK "Content-Length: 5\r\n\r\nhello", 200, "hello");
	assert_parses_at_every_split(OK "content-LENGTH:5  \r\nX: y\r\n\r\nhello", 200, "hello");
	assert_parses_at_every_split(OK "Content-Length: 0\r\n\r\n", 200, "");
	assert_parses_at_every_split("HTTP/1.0 503 \r\nContent-Length: 1\r\n\r\nx", 503, "x");
}

static void
body_in_chunks(void **state)
{
	(void)state;
	assert_parses_at_every_split(OK
		"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n02;x=\"y\"\r\nlo\r\n0\r\n\r\n",
		200, "hello");
	assert_parses_at_every_split(OK
		"Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\nTrailer: z\r\n\r\n",
		200, "0123456789");
	assert_parses_at_every_split(OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "");
}

static void
body_up_to_the_end(void **state)
{
	(void)state;
	assert_parses_at_every_split(OK "\r\nhello\r\n", 200, "hello\r\n");
	assert_parses_at_every_split("HTTP/1.1 404 Not Found\r\n\r\n", 404, "");
}

static void
no_body(void **state)
{
	(void)state;
	assert_parses_at_every_split("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
	assert_parses_at_every_split("HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n", 304, "");
}

static void
interim_answers_are_skipped(void **state)
{
	(void)state;
	assert_parses_at_every_split("HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\n" OK
				     "Content-Length: 2\r\n\r\nok",
		200, "ok");
}

static void
what_follows_the_answer_is_left_alone(void **state)
{
	(void)state;
	assert_parses_at_every_split(OK "Content-Length: 2\r\n\r\nok\x01garbage", 200, "ok");
}

static void
body_may_hold_any_byte(void **state)
{
	static const char text[] = OK "Content-Length: 4\r\n\r\n\0\xff\r\n";
	struct ctl_http_parser parser;

	(void)state;
	ctl_http_parser_init(&parser, BODY_MAX);
	assert_int_equal(parse_split(&parser, text, sizeof(text) - 1, 0), 1);
	assert_int_equal(parser.reply.length, 4);
	assert_memory_equal(parser.reply.body, "\0\xff\r\n", 5);
	ctl_http_parser_done(&parser);
}

static void
every_truncation_is_noticed(void **state)
{
	static const char *const texts[] = {
		OK "Content-Length: 5\r\n\r\nhello",
		OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
	};
	struct ctl_http_parser parser;
	size_t i, length;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		for (length = 0; length < strlen(texts[i]); length++) {
			ctl_http_parser_init(&parser, BODY_MAX);
			assert_int_equal(
				parse_split(&parser, texts[i], length, length / 2), -EBADMSG);
			ctl_http_parser_done(&parser);
		}
}

static void
malformed_answers_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"\r\n",
		"garbage\r\n",
		"http/1.1 200 OK\r\n\r\n",
		"HTTP/2 200 OK\r\n\r\n",
		"HTTP/1.2 200 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 200\r\n\r\n",
		"HTTP/1.1 099 X\r\n\r\n",
		"HTTP/1.1 600 X\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 200 OK\n\n",
		"HTTP/1.1 200 OK\r\n\n",
		"HTTP/1.1 200 O\rK\r\n\r\n",
		"HTTP/1.1 200 O\x1bK\r\n\r\n",
		OK "no colon\r\n\r\n",
		OK ": no name\r\n\r\n",
		OK "Space : before\r\n\r\n",
		OK "A: b\r\n folded\r\n\r\n",
		OK "A: \x01\r\n\r\n",
		OK "Content-Length: \r\n\r\n",
		OK "Content-Length: x\r\n\r\n",
		OK "Content-Length: -1\r\n\r\n",
		OK "Content-Length: +1\r\n\r\nx",
		OK "Content-Length: 0x1\r\n\r\nx",
		OK "Content-Length: 1, 1\r\n\r\nx",
		OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		OK "Transfer-Encoding: gzip\r\n\r\n",
		OK "Transfer-Encoding: gzip, chunked\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\nx\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n1x\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n0\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n1\r\nx0\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_fails_at_every_split(texts[i], strlen(texts[i]), -EBADMSG);
}

static void
a_nul_in_the_head_is_refused(void **state)
{
	static const char text[] = OK "A: b\0c\r\nContent-Length: 0\r\n\r\n";

	(void)state;
	assert_fails_at_every_split(text, sizeof(text) - 1, -EBADMSG);
}

static void
lengths_have_a_limit(void **state)
{
	static const char *const texts[] = {
		OK "Content-Length: 65\r\n\r\n",
		OK "Content-Length: 18446744073709551617\r\n\r\n",
		OK "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_fails_at_every_split(texts[i], strlen(texts[i]), -EFBIG);
}

/* A body of `n` bytes in one of the three ways; what parsing it returns. */
static int
parse_body_of(const char *way, unsigned n)
{
	char body[BODY_MAX + 2], text[256];
	struct ctl_http_parser parser;
	int r;

	memset(body, 'x', sizeof(body));
	body[n] = '\0';
	if (strcmp(way, "length") == 0)
		snprintf(text, sizeof(text), OK "Content-Length: %u\r\n\r\n%s", n, body);
	else if (strcmp(way, "chunks") == 0)
		snprintf(text, sizeof(text),
			OK "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n%x\r\n%s\r\n0\r\n\r\n",
			n - 1, body + 1);
	else
		snprintf(text, sizeof(text), OK "\r\n%s", body);
	ctl_http_parser_init(&parser, BODY_MAX);
	r = parse_split(&parser, text, strlen(text), 40);
	assert_true(r < 0 || parser.reply.length == n);
	ctl_http_parser_done(&parser);
	return r;
}

static void
bodies_have_a_limit(void **state)
{
	static const char *const ways[] = {"length", "chunks", "end"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		assert_int_equal(parse_body_of(ways[i], BODY_MAX - 1), 1);
		assert_int_equal(parse_body_of(ways[i], BODY_MAX), 1);
		assert_int_equal(parse_body_of(ways[i], BODY_MAX + 1), -EFBIG);
	}
}

/* Feeds `n_headers` headers, lines of `length` bytes without their line ends. */
static int
parse_headers(unsigned n_headers, size_t length)
{
	struct ctl_http_parser parser;
	struct mg_error error;
	char *line = malloc(length + 2);
	int r;

	assert_non_null(line);
	memset(line, 'x', length);
	memcpy(line, "A:", 2);
	memcpy(line + length, "\r\n", 2);
	ctl_http_parser_init(&parser, BODY_MAX);
	r = ctl_http_parser_feed(&parser, OK, strlen(OK), &error);
	while (r == 0 && n_headers-- > 0)
		r = ctl_http_parser_feed(&parser, line, length + 2, &error);
	if (r == 0)
		r = ctl_http_parser_feed(&parser, "\r\n", 2, &error);
	ctl_http_parser_done(&parser);
	free(line);
	return r;
}

static void
lines_have_a_limit(void **state)
{
	(void)state;
	assert_int_equal(parse_headers(1, CTL_HTTP_LINE_MAX - 2), 0);
	assert_int_equal(parse_headers(1, CTL_HTTP_LINE_MAX - 1), 0);
	assert_int_equal(parse_headers(1, CTL_HTTP_LINE_MAX), -EFBIG);
}

static void
heads_have_a_limit(void **state)
{
	(void)state;
	assert_int_equal(parse_headers(63, 1023), 0);
	assert_int_equal(parse_headers(64, 1023), -EFBIG);
}

static void
endless_interim_answers_are_refused(void **state)
{
	struct ctl_http_parser parser;
	struct mg_error error;
	unsigned i;
	int r = 0;

	(void)state;
	ctl_http_parser_init(&parser, BODY_MAX);
	for (i = 0; i < 10000 && r == 0; i++)
		r = ctl_http_parser_feed(&parser, "HTTP/1.1 100 \r\n\r\n", 17, &error);
	assert_int_equal(r, -EFBIG);
	ctl_http_parser_done(&parser);
}

static void
done_is_harmless(void **state)
{
	struct ctl_http_reply reply = {0};

	(void)state;
	ctl_http_reply_done(NULL);
	ctl_http_reply_done(&reply);
	ctl_http_reply_done(&reply);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_with_a_length),
		cmocka_unit_test(body_in_chunks),
		cmocka_unit_test(body_up_to_the_end),
		cmocka_unit_test(no_body),
		cmocka_unit_test(interim_answers_are_skipped),
		cmocka_unit_test(what_follows_the_answer_is_left_alone),
		cmocka_unit_test(body_may_hold_any_byte),
		cmocka_unit_test(every_truncation_is_noticed),
		cmocka_unit_test(malformed_answers_are_refused),
		cmocka_unit_test(a_nul_in_the_head_is_refused),
		cmocka_unit_test(lengths_have_a_limit),
		cmocka_unit_test(bodies_have_a_limit),
		cmocka_unit_test(lines_have_a_limit),
		cmocka_unit_test(heads_have_a_limit),
		cmocka_unit_test(endless_interim_answers_are_refused),
		cmocka_unit_test(done_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
