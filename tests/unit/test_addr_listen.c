/* addr: what a listener binds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/un.h>

#include <cmocka.h>

#include "addr.h"

#define PATH_BYTES_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static void
assert_listen(const char *text, const char *expected)
{
	struct sockaddr_storage sa;
	struct mg_error error = {""};
	socklen_t length = 0;
	char buf[ADDR_LISTEN_TEXT_MAX];

	if (addr_parse_listen(text, &sa, &length, &error) < 0)
		fail_msg("%s: %s", text, error.text);
	assert_string_equal(
		addr_format_listen((const struct sockaddr *)&sa, length, buf), expected);
}

static void
assert_listen_fails(const char *text, const char *message)
{
	struct sockaddr_storage sa, before;
	struct mg_error error = {""};
	socklen_t length = 77;

	memset(&sa, 0x5a, sizeof(sa));
	before = sa;
	assert_int_equal(addr_parse_listen(text, &sa, &length, &error), -EINVAL);
	assert_memory_equal(&sa, &before, sizeof(sa));
	assert_int_equal(length, 77);
	if (!strstr(error.text, message))
		fail_msg("%s: \"%s\" says nothing of \"%s\"", text, error.text, message);
}

static void
test_listen_ipv4(void **state)
{
	struct sockaddr_storage sa;
	struct sockaddr_in sin;
	socklen_t length;

	(void)state;
	assert_int_equal(addr_parse_listen("127.0.0.1:7000", &sa, &length, NULL), 0);
	assert_int_equal(length, sizeof(sin));
	memcpy(&sin, &sa, sizeof(sin));
	assert_int_equal(sin.sin_family, AF_INET);
	assert_int_equal(ntohs(sin.sin_port), 7000);
	assert_int_equal(ntohl(sin.sin_addr.s_addr), INADDR_LOOPBACK);
	assert_listen("127.0.0.1:7000", "127.0.0.1:7000");
	assert_listen("0.0.0.0:1", "0.0.0.0:1");
}

static void
test_listen_ipv6(void **state)
{
	struct sockaddr_storage sa;
	struct sockaddr_in6 sin6;
	socklen_t length;

	(void)state;
	assert_int_equal(addr_parse_listen("[::1]:7000", &sa, &length, NULL), 0);
	assert_int_equal(length, sizeof(sin6));
	memcpy(&sin6, &sa, sizeof(sin6));
	assert_int_equal(sin6.sin6_family, AF_INET6);
	assert_int_equal(ntohs(sin6.sin6_port), 7000);
	assert_memory_equal(&sin6.sin6_addr, &in6addr_loopback, sizeof(sin6.sin6_addr));
	assert_listen("[::]:7000", "[::]:7000");
	assert_listen("[2001:DB8::1]:7000", "[2001:db8::1]:7000");
	assert_listen("[::ffff:127.0.0.1]:7000", "127.0.0.1:7000");
}

static void
test_listen_ports(void **state)
{
	(void)state;
	assert_listen_fails("127.0.0.1:0", "found port \"0\", allowed are 1 to 65535");
	assert_listen("127.0.0.1:1", "127.0.0.1:1");
	assert_listen("[::1]:65535", "[::1]:65535");
	assert_listen_fails("127.0.0.1:65536", "found port \"65536\", allowed are 1 to 65535");
	assert_listen_fails("[::1]:65536", "found port \"65536\"");
	assert_listen_fails("127.0.0.1:4294974296", "found port");
	assert_listen_fails("127.0.0.1:", "found port \"\"");
	assert_listen_fails("127.0.0.1:-1", "found port \"-1\"");
	assert_listen_fails("127.0.0.1: 80", "found port");
	assert_listen_fails("127.0.0.1:80 ", "found port");
	assert_listen_fails("127.0.0.1:080", "found port");
	assert_listen_fails("127.0.0.1:http", "found port \"http\"");
}

static void
test_listen_ipv6_needs_brackets(void **state)
{
	(void)state;
	assert_listen_fails(
		"::1:7000", "found \"::1:7000\", allowed are IPv6 addresses in brackets");
	assert_listen_fails(":::7000", "brackets");
	assert_listen_fails("2001:db8::1", "brackets");
	assert_listen_fails("127.0.0.1:70:00", "brackets");
}

static void
test_listen_brackets_are_for_ipv6(void **state)
{
	(void)state;
	assert_listen_fails("[127.0.0.1]:7000", "allowed are \"127.0.0.1:7000\"");
	assert_listen_fails("[]:7000", "allowed are");
	assert_listen_fails("[::1]", "allowed are");
	assert_listen_fails("[::1]7000", "allowed are");
	assert_listen_fails("[::1:7000", "allowed are");
	assert_listen_fails("[", "allowed are");
	assert_listen_fails("[[::1]]:7000", "allowed are");
}

static void
test_listen_resolves_no_names(void **state)
{
	(void)state;
	assert_listen_fails("localhost:7000", "host names are not resolved");
	assert_listen_fails("localhost:7000", "found \"localhost:7000\"");
	assert_listen_fails("*:7000", "allowed are \"127.0.0.1:7000\", \"[::]:7000\"");
	assert_listen_fails(":7000", "allowed are");
	assert_listen_fails("7000", "allowed are");
	assert_listen_fails("127.0.0.1", "allowed are");
	assert_listen_fails("127.1:7000", "allowed are");
	assert_listen_fails("", "found \"\", allowed are");
	assert_listen_fails("a\033b:7000", "found \"a?b:7000\"");
}

static void
test_listen_no_zone(void **state)
{
	(void)state;
	assert_listen_fails("[fe80::1%eth0]:7000", "with a zone id");
	assert_listen_fails("[fe80::1%2]:7000", "with a zone id");
}

static void
test_listen_unix_path(void **state)
{
	struct sockaddr_storage sa;
	struct sockaddr_un sun;
	socklen_t length;

	(void)state;
	assert_int_equal(addr_parse_listen("unix:/run/x.sock", &sa, &length, NULL), 0);
	memcpy(&sun, &sa, sizeof(sun));
	assert_int_equal(sun.sun_family, AF_UNIX);
	assert_string_equal(sun.sun_path, "/run/x.sock");
	assert_int_equal(
		length, offsetof(struct sockaddr_un, sun_path) + strlen("/run/x.sock") + 1);
	assert_listen("unix:/run/x.sock", "unix:/run/x.sock");
}

static void
test_listen_unix_abstract(void **state)
{
	struct sockaddr_storage sa;
	struct sockaddr_un sun;
	socklen_t length;

	(void)state;
	assert_int_equal(addr_parse_listen("unix:@name", &sa, &length, NULL), 0);
	memcpy(&sun, &sa, sizeof(sun));
	assert_memory_equal(sun.sun_path, "\0name", 5);
	assert_int_equal(length, offsetof(struct sockaddr_un, sun_path) + 5);
	assert_listen("unix:@name", "unix:@name");
	assert_listen("unix:@@", "unix:@@");
}

static void
make_unix_text(char *text, const char *head, size_t n)
{
	strcpy(text, head);
	memset(text + strlen(head), 'x', n);
	text[strlen(head) + n] = '\0';
}

static void
test_listen_unix_path_length(void **state)
{
	char text[256];

	(void)state;
	assert_int_equal(PATH_BYTES_MAX, 107);
	make_unix_text(text, "unix:/", PATH_BYTES_MAX - 2);
	assert_listen(text, text);
	make_unix_text(text, "unix:/", PATH_BYTES_MAX - 1);
	assert_listen(text, text);
	make_unix_text(text, "unix:/", PATH_BYTES_MAX);
	assert_listen_fails(text, "found a Unix socket path of 108 bytes, allowed are 1 to 107");
}

static void
test_listen_unix_name_length(void **state)
{
	char text[256];

	(void)state;
	assert_listen_fails("unix:@", "found a Unix socket name of 0 bytes, allowed are 1 to 107");
	assert_listen("unix:@x", "unix:@x");
	make_unix_text(text, "unix:@", PATH_BYTES_MAX - 1);
	assert_listen(text, text);
	make_unix_text(text, "unix:@", PATH_BYTES_MAX);
	assert_listen(text, text);
	make_unix_text(text, "unix:@", PATH_BYTES_MAX + 1);
	assert_listen_fails(text, "found a Unix socket name of 108 bytes");
}

static void
test_listen_unix_path_is_absolute(void **state)
{
	(void)state;
	assert_listen_fails(
		"unix:run/x.sock", "found \"unix:run/x.sock\", allowed are \"unix:/path\"");
	assert_listen_fails("unix:./x.sock", "absolute");
	assert_listen_fails("unix:", "found \"unix:\"");
	assert_listen_fails("UNIX:/run/x.sock", "allowed are");
	assert_listen_fails("/run/x.sock", "unix:/path");
}

/* The kernel gives a path of 108 bytes no zero byte. */
static void
test_format_listen_full_path(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char buf[ADDR_LISTEN_TEXT_MAX], expected[ADDR_LISTEN_TEXT_MAX];

	(void)state;
	memset(sun.sun_path, 'x', sizeof(sun.sun_path));
	make_unix_text(expected, "unix:", sizeof(sun.sun_path));
	assert_string_equal(
		addr_format_listen((const struct sockaddr *)&sun, sizeof(sun), buf), expected);
	assert_string_equal(
		addr_format_listen((const struct sockaddr *)&sun, sizeof(sun) + 1, buf), expected);
}

static void
test_format_listen_odd_sockets(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "\0a\0b"};
	struct sockaddr_storage sa = {.ss_family = AF_NETLINK};
	socklen_t head = offsetof(struct sockaddr_un, sun_path);
	char buf[ADDR_LISTEN_TEXT_MAX];

	(void)state;
	assert_string_equal(
		addr_format_listen((const struct sockaddr *)&sun, head + 4, buf), "unix:@a@b");
	assert_string_equal(addr_format_listen((const struct sockaddr *)&sun, head, buf), "unix:");
	assert_string_equal(
		addr_format_listen((const struct sockaddr *)&sa, sizeof(sa), buf), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen_ipv4),
		cmocka_unit_test(test_listen_ipv6),
		cmocka_unit_test(test_listen_ports),
		cmocka_unit_test(test_listen_ipv6_needs_brackets),
		cmocka_unit_test(test_listen_brackets_are_for_ipv6),
		cmocka_unit_test(test_listen_resolves_no_names),
		cmocka_unit_test(test_listen_no_zone),
		cmocka_unit_test(test_listen_unix_path),
		cmocka_unit_test(test_listen_unix_abstract),
		cmocka_unit_test(test_listen_unix_path_length),
		cmocka_unit_test(test_listen_unix_name_length),
		cmocka_unit_test(test_listen_unix_path_is_absolute),
		cmocka_unit_test(test_format_listen_full_path),
		cmocka_unit_test(test_format_listen_odd_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
