/* Tests of http_head. */
#include "fixture.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "http_head.h"

#define LINE "GET /chat?room=1 HTTP/1.1\r\n"
#define HOST "Host: example.com\r\n"

static int
parse(const char *text, struct http_head *ret_head)
{
	return http_head_parse(text, strlen(text), ret_head);
}

static void
assert_bad(const char *text)
{
	struct http_head head;

	if (parse(text, &head) != -EBADMSG)
		fail_msg("not refused: %s", text);
}

static void
assert_is(const struct http_text *text, const char *wanted)
{
	assert_int_equal(text->length, strlen(wanted));
	assert_memory_equal(text->at, wanted, text->length);
}

static void
assert_path(const char *target, const char *path)
{
	char text[256];
	struct http_head head;

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n\r\n", target);
	assert_int_equal(parse(text, &head), 0);
	assert_is(&head.target, target);
	assert_is(&head.path, path);
}

/* The end. */

static void
test_the_end_is_found_wherever_the_pieces_are_cut(void **state)
{
	static const char text[] = LINE HOST "\r\nrest";
	long length = (long)sizeof(text) - 1, end = length - 4;

	(void)state;
	for (long cut = 0; cut <= length; cut++) {
		uint8_t at = 0;
		long n = http_head_find_end(&at, text, (size_t)cut);

		if (cut >= end) {
			assert_int_equal(n, end);
			continue;
		}
		assert_int_equal(n, 0);
		n = http_head_find_end(&at, text + cut, (size_t)(length - cut));
		assert_int_equal(n, end - cut);
	}
}

static void
test_a_head_that_ends_with_line_feeds_ends_too(void **state)
{
	uint8_t at = 0;

	(void)state;
	assert_int_equal(http_head_find_end(&at, "GET / HTTP/1.1\n\n", 16), 16);
	at = 0;
	assert_int_equal(http_head_find_end(&at, "GET / HTTP/1.1\n\r\n", 17), 17);
	assert_bad("GET / HTTP/1.1\n\n");
	assert_bad("GET / HTTP/1.1\r\nHost: a\n\r\n\r\n");
}

static void
test_bytes_that_no_head_has_are_refused_at_once(void **state)
{
	static const char tls[] = "\x16\x03\x01\x02\x00";

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		const char bytes[] = {'a', (char)byte};
		uint8_t at = 0;
		bool bad = (byte < ' ' && byte != '\t' && byte != '\r' && byte != '\n') ||
			   byte == 0x7f;

		assert_int_equal(http_head_find_end(&at, bytes, 2), bad ? -EBADMSG : 0);
	}
	assert_int_equal(http_head_find_end(&(uint8_t){0}, tls, 5), -EBADMSG);
}

/* The request line. */

static void
test_a_request_is_taken_apart(void **state)
{
	struct http_head head;
	struct http_text value;

	(void)state;
	assert_int_equal(parse(LINE HOST "\r\n", &head), 0);
	assert_is(&head.method, "GET");
	assert_is(&head.target, "/chat?room=1");
	assert_is(&head.path, "/chat");
	assert_int_equal(head.minor, 1);
	assert_int_equal(http_head_find(&head, "host", &value), 1);
	assert_is(&value, "example.com");
}

static void
test_forms_of_the_target(void **state)
{
	(void)state;
	assert_path("/", "/");
	assert_path("/?", "/");
	assert_path("/a/b?c?d", "/a/b");
	assert_path("//a", "//a");
	assert_path("http://example.com/a?b", "/a");
	assert_path("HTTPS://example.com:80/", "/");
	assert_bad("GET * HTTP/1.1\r\n\r\n");
	assert_bad("GET a HTTP/1.1\r\n\r\n");
	assert_bad("GET /a#b HTTP/1.1\r\n\r\n");
	assert_bad("GET http://example.com HTTP/1.1\r\n\r\n");
	assert_bad("GET ftp://example.com/ HTTP/1.1\r\n\r\n");
	assert_bad("GET /\xc3\xbc HTTP/1.1\r\n\r\n");
}

static void
test_the_request_line_is_strict(void **state)
{
	(void)state;
	assert_bad("");
	assert_bad("\r\n");
	assert_bad("\r\nGET / HTTP/1.1\r\n\r\n");
	assert_bad("GET / HTTP/1.1");
	assert_bad("GET / HTTP/1.1\r\n");
	assert_bad("GET /\r\n\r\n");
	assert_bad("GET  / HTTP/1.1\r\n\r\n");
	assert_bad("GET /  HTTP/1.1\r\n\r\n");
	assert_bad(" GET / HTTP/1.1\r\n\r\n");
	assert_bad("G(T / HTTP/1.1\r\n\r\n");
	assert_bad("GET / HTTP/1.1 \r\n\r\n");
	assert_bad("GET / HTTP/1.12\r\n\r\n");
	assert_bad("GET / http/1.1\r\n\r\n");
	assert_bad("GET / HTTP/1.1\r\r\n\r\n");
}

static void
test_versions(void **state)
{
	struct http_head head;

	(void)state;
	assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &head), 0);
	assert_int_equal(head.minor, 0);
	assert_int_equal(parse("GET / HTTP/1.9\r\n\r\n", &head), 0);
	assert_int_equal(head.minor, 9);
	assert_int_equal(parse("GET / HTTP/2.0\r\n\r\n", &head), -EPROTONOSUPPORT);
	assert_int_equal(parse("GET / HTTP/1.x\r\n\r\n", &head), -EPROTONOSUPPORT);
}

/* Fields. */

static void
test_blanks_around_a_value_are_left_out(void **state)
{
	struct http_head head;
	struct http_text value;

	(void)state;
	assert_int_equal(parse(LINE "A: \t b c \t\r\nB:\r\nC:x\r\n\r\n", &head), 0);
	assert_int_equal(http_head_find(&head, "a", &value), 1);
	assert_is(&value, "b c");
	assert_int_equal(http_head_find(&head, "b", &value), 1);
	assert_is(&value, "");
	assert_int_equal(http_head_find(&head, "c", &value), 1);
	assert_is(&value, "x");
}

static void
test_fields_of_one_name_are_counted(void **state)
{
	struct http_head head;
	struct http_text value = {0};

	(void)state;
	assert_int_equal(parse(LINE "X: 1\r\nxx: 0\r\nx: 2\r\n\r\n", &head), 0);
	assert_int_equal(http_head_find(&head, "X", &value), 2);
	assert_is(&value, "1");
	assert_int_equal(http_head_find(&head, "y", &value), 0);
}

static void
test_fields_are_strict(void **state)
{
	(void)state;
	assert_bad(LINE "Host\r\n\r\n");
	assert_bad(LINE "Host : a\r\n\r\n");
	assert_bad(LINE ": a\r\n\r\n");
	assert_bad(LINE "Ho st: a\r\n\r\n");
	assert_bad(LINE "Host: a\r\n b\r\n\r\n");
	assert_bad(LINE "Host: a\r\n\tb\r\n\r\n");
	assert_bad(LINE "Host: a\rb\r\n\r\n");
	assert_bad(LINE "Host: a\x01\r\n\r\n");
	assert_bad(LINE "Host: a\r\n\r\nX: y\r\n\r\n");
}

static void
test_lists(void **state)
{
	struct http_head head;

	(void)state;
	assert_int_equal(parse(LINE "Connection: keep-alive, ,\tUpgrade\r\n"
				    "connection: close\r\nUpgrade: websocket2\r\n\r\n",
				 &head),
		0);
	assert_true(http_head_lists(&head, "Connection", "keep-alive"));
	assert_true(http_head_lists(&head, "Connection", "upgrade"));
	assert_true(http_head_lists(&head, "Connection", "close"));
	assert_false(http_head_lists(&head, "Connection", "up"));
	assert_false(http_head_lists(&head, "Connection", ""));
	assert_false(http_head_lists(&head, "Upgrade", "websocket"));
}

static void
test_elements_of_a_list(void **state)
{
	struct http_text list = {" a,, b c ,\td,", 13}, element;

	(void)state;
	assert_true(http_text_next(&list, &element));
	assert_is(&element, "a");
	assert_true(http_text_next(&list, &element));
	assert_is(&element, "b c");
	assert_true(http_text_next(&list, &element));
	assert_is(&element, "d");
	assert_false(http_text_next(&list, &element));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_end_is_found_wherever_the_pieces_are_cut),
		cmocka_unit_test(test_a_head_that_ends_with_line_feeds_ends_too),
		cmocka_unit_test(test_bytes_that_no_head_has_are_refused_at_once),
		cmocka_unit_test(test_a_request_is_taken_apart),
		cmocka_unit_test(test_forms_of_the_target),
		cmocka_unit_test(test_the_request_line_is_strict),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_blanks_around_a_value_are_left_out),
		cmocka_unit_test(test_fields_of_one_name_are_counted),
		cmocka_unit_test(test_fields_are_strict),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_elements_of_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
