/* addr: addresses and ranges; strict reading, exact writing, messages that help. */
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
#include "fixture.h"

static struct cidr
make_cidr(const char *text)
{
	struct mg_error error = {""};
	struct cidr cidr;

	if (cidr_parse(text, &cidr, &error) < 0)
		fail_msg("%s: %s", text, error.text);
	return cidr;
}

static void
assert_addr(const struct addr *addr, const char *with_port, const char *alone)
{
	char buf[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(addr, buf), with_port);
	assert_string_equal(addr_format_host(addr, buf), alone);
}

static void
assert_cidr(const char *text, const char *expected)
{
	struct cidr cidr = make_cidr(text);
	char buf[CIDR_TEXT_MAX];

	assert_string_equal(cidr_format(&cidr, buf), expected);
}

static void
assert_cidr_fails(const char *text, const char *message)
{
	struct cidr cidr, before;
	struct mg_error error = {""};

	memset(&cidr, 0x5a, sizeof(cidr));
	before = cidr;
	assert_int_equal(cidr_parse(text, &cidr, &error), -EINVAL);
	assert_memory_equal(&cidr, &before, sizeof(cidr));
	if (!strstr(error.text, message))
		fail_msg("%s: \"%s\" says nothing of \"%s\"", text, error.text, message);
}

static struct addr
from_sin6(const char *text, uint16_t port)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	assert_int_equal(inet_pton(AF_INET6, text, &sin6.sin6_addr), 1);
	return addr_from_sockaddr((const struct sockaddr *)&sin6, sizeof(sin6));
}

static void
test_from_sockaddr_ipv4(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(7000)};
	struct addr addr;

	(void)state;
	assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &sin.sin_addr), 1);
	addr = addr_from_sockaddr((const struct sockaddr *)&sin, sizeof(sin));
	assert_int_equal(addr.family, ADDR_IPV4);
	assert_int_equal(addr.port, 7000);
	assert_addr(&addr, "192.0.2.1:7000", "192.0.2.1");
}

static void
test_from_sockaddr_ipv6(void **state)
{
	struct addr addr = from_sin6("2001:db8::1", 65535);

	(void)state;
	assert_int_equal(addr.family, ADDR_IPV6);
	assert_addr(&addr, "[2001:db8::1]:65535", "2001:db8::1");
}

static void
test_from_sockaddr_mapped_is_ipv4(void **state)
{
	struct addr addr = from_sin6("::ffff:192.0.2.1", 80);
	struct addr expected = make_addr("192.0.2.1");

	(void)state;
	expected.port = 80;
	assert_memory_equal(&addr, &expected, sizeof(addr));
	assert_addr(&addr, "192.0.2.1:80", "192.0.2.1");
}

static void
test_from_sockaddr_nearly_mapped_is_ipv6(void **state)
{
	(void)state;
	assert_int_equal(from_sin6("::fffe:192.0.2.1", 80).family, ADDR_IPV6);
	assert_int_equal(from_sin6("::1:ffff:192.0.2.1", 80).family, ADDR_IPV6);
	assert_int_equal(from_sin6("::192.0.2.1", 80).family, ADDR_IPV6);
}

static void
test_from_sockaddr_unix(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct addr addr =
		addr_from_sockaddr((const struct sockaddr *)&sun, sizeof(sun.sun_family));

	(void)state;
	assert_int_equal(addr.family, ADDR_UNIX);
	assert_int_equal(addr.port, 0);
	assert_addr(&addr, "unix", "unix");
}

static void
test_from_sockaddr_unknown(void **state)
{
	struct sockaddr_storage sa = {.ss_family = AF_NETLINK};
	struct addr addr = addr_from_sockaddr((const struct sockaddr *)&sa, sizeof(sa));

	(void)state;
	assert_int_equal(addr.family, ADDR_NONE);
	assert_addr(&addr, "unknown", "unknown");
	assert_int_equal(addr_from_sockaddr(NULL, 0).family, ADDR_NONE);
}

static void
test_from_sockaddr_too_short_is_unknown(void **state)
{
	struct sockaddr_storage sa = {.ss_family = AF_INET};
	const struct sockaddr *short_sa = (const struct sockaddr *)&sa;

	(void)state;
	assert_int_equal(addr_from_sockaddr(short_sa, 0).family, ADDR_NONE);
	assert_int_equal(addr_from_sockaddr(short_sa, 1).family, ADDR_NONE);
	assert_int_equal(
		addr_from_sockaddr(short_sa, sizeof(struct sockaddr_in) - 1).family, ADDR_NONE);
	assert_int_equal(
		addr_from_sockaddr(short_sa, sizeof(struct sockaddr_in)).family, ADDR_IPV4);
	sa.ss_family = AF_INET6;
	assert_int_equal(
		addr_from_sockaddr(short_sa, sizeof(struct sockaddr_in6) - 1).family, ADDR_NONE);
	assert_int_equal(
		addr_from_sockaddr(short_sa, sizeof(struct sockaddr_in6)).family, ADDR_IPV6);
}

static void
test_longest_texts_fit(void **state)
{
	struct addr addr = make_addr("fedc:ba98:7654:3210:fedc:ba98:7654:3210");
	struct cidr cidr = addr_network(&addr, 128);
	char buf[CIDR_TEXT_MAX];

	(void)state;
	addr.port = 65535;
	assert_addr(&addr, "[fedc:ba98:7654:3210:fedc:ba98:7654:3210]:65535",
		"fedc:ba98:7654:3210:fedc:ba98:7654:3210");
	assert_string_equal(cidr_format(&cidr, buf), "fedc:ba98:7654:3210:fedc:ba98:7654:3210/128");
}

static void
assert_network(const char *text, unsigned prefix, const char *expected)
{
	struct addr addr = make_addr(text);
	struct cidr cidr = addr_network(&addr, prefix);
	char buf[CIDR_TEXT_MAX];

	assert_string_equal(cidr_format(&cidr, buf), expected);
	assert_true(cidr_contains(&cidr, &addr));
}

static void
test_network_ipv4(void **state)
{
	(void)state;
	assert_network("255.255.255.255", 0, "0.0.0.0/0");
	assert_network("255.255.255.255", 1, "128.0.0.0/1");
	assert_network("255.255.255.255", 7, "254.0.0.0/7");
	assert_network("255.255.255.255", 8, "255.0.0.0/8");
	assert_network("255.255.255.255", 9, "255.128.0.0/9");
	assert_network("255.255.255.255", 31, "255.255.255.254/31");
	assert_network("255.255.255.255", 32, "255.255.255.255/32");
}

static void
test_network_ipv6(void **state)
{
	static const char all[] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";

	(void)state;
	assert_network(all, 0, "::/0");
	assert_network(all, 1, "8000::/1");
	assert_network(all, 63, "ffff:ffff:ffff:fffe::/63");
	assert_network(all, 64, "ffff:ffff:ffff:ffff::/64");
	assert_network(all, 65, "ffff:ffff:ffff:ffff:8000::/65");
	assert_network(all, 127, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127");
	assert_network(all, 128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
}

static void
test_cidr_parse_ranges(void **state)
{
	(void)state;
	assert_cidr("10.0.0.0/8", "10.0.0.0/8");
	assert_cidr("0.0.0.0/0", "0.0.0.0/0");
	assert_cidr("192.0.2.1/32", "192.0.2.1/32");
	assert_cidr("2001:db8::/32", "2001:db8::/32");
	assert_cidr("2001:DB8:0:0::/32", "2001:db8::/32");
	assert_cidr("::/0", "::/0");
	assert_cidr("::1/128", "::1/128");
}

static void
test_cidr_parse_plain_address_is_a_range_of_one(void **state)
{
	(void)state;
	assert_cidr("192.0.2.1", "192.0.2.1/32");
	assert_cidr("2001:db8::1", "2001:db8::1/128");
}

static void
test_cidr_parse_mapped_is_ipv4(void **state)
{
	(void)state;
	assert_cidr("::ffff:192.0.2.1", "192.0.2.1/32");
	assert_cidr("::ffff:10.0.0.0/104", "10.0.0.0/8");
	assert_cidr("::ffff:0:0/96", "0.0.0.0/0");
	assert_cidr_fails("::ffff:0:0/95", "bits set behind the prefix");
}

static void
test_cidr_parse_prefix_limits(void **state)
{
	(void)state;
	assert_cidr("192.0.2.0/31", "192.0.2.0/31");
	assert_cidr_fails(
		"192.0.2.0/33", "found \"192.0.2.0/33\", allowed are prefixes of 0 to 32");
	assert_cidr("2001:db8::/127", "2001:db8::/127");
	assert_cidr_fails("2001:db8::/129", "allowed are prefixes of 0 to 128");
}

static void
test_cidr_parse_strict_prefix(void **state)
{
	(void)state;
	assert_cidr_fails("10.0.0.0/", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/-1", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/+8", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/ 8", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/8 ", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/08", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/8/8", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/0x8", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/255.0.0.0", "allowed are prefixes");
	assert_cidr_fails("10.0.0.0/4294967304", "allowed are prefixes");
}

static void
test_cidr_parse_strict_address(void **state)
{
	(void)state;
	assert_cidr_fails("", "found \"\", allowed are an address");
	assert_cidr_fails("/8", "allowed are an address");
	assert_cidr_fails("10/8", "allowed are an address");
	assert_cidr_fails("10.0.0/8", "allowed are an address");
	assert_cidr_fails("10.0.0.256", "allowed are an address");
	assert_cidr_fails("010.0.0.0/8", "allowed are an address");
	assert_cidr_fails(" 10.0.0.0/8", "allowed are an address");
	assert_cidr_fails("10.0.0.0:80", "allowed are an address");
	assert_cidr_fails("[::1]", "allowed are an address");
	assert_cidr_fails("2001:db8:::/32", "allowed are an address");
	assert_cidr_fails("localhost", "found \"localhost\"");
}

static void
test_cidr_parse_no_zone(void **state)
{
	(void)state;
	assert_cidr_fails("fe80::1%eth0", "found \"fe80::1%eth0\" with a zone id");
	assert_cidr_fails("fe80::%1/64", "zone id");
}

static void
test_cidr_parse_bits_behind_prefix(void **state)
{
	(void)state;
	assert_cidr_fails("10.0.0.1/8", "found \"10.0.0.1/8\" with bits set behind the prefix");
	assert_cidr_fails("10.0.0.1/8", "allowed is \"10.0.0.0/8\"");
	assert_cidr_fails("192.0.2.1/31", "allowed is \"192.0.2.0/31\"");
	assert_cidr_fails("2001:db8::1/64", "allowed is \"2001:db8::/64\"");
}

static void
test_messages_quote_what_is_hostile(void **state)
{
	char text[1000];

	(void)state;
	assert_cidr_fails("a\033[2Jb\nc\xff", "found \"a?[2Jb?c?\"");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_cidr_fails(text, "xxx...\"");
}

static void
test_errors_need_no_text(void **state)
{
	struct sockaddr_storage sa;
	struct cidr cidr;
	socklen_t length;

	(void)state;
	assert_int_equal(cidr_parse("x", &cidr, NULL), -EINVAL);
	assert_int_equal(addr_parse_listen("x", &sa, &length, NULL), -EINVAL);
}

static void
assert_contains(const char *range, const char *text, bool expected)
{
	struct cidr cidr = make_cidr(range);
	struct addr addr = make_addr(text);

	assert_int_equal(cidr_contains(&cidr, &addr), expected);
}

static void
test_cidr_contains_its_edges_only(void **state)
{
	(void)state;
	assert_contains("10.0.0.0/8", "9.255.255.255", false);
	assert_contains("10.0.0.0/8", "10.0.0.0", true);
	assert_contains("10.0.0.0/8", "10.255.255.255", true);
	assert_contains("10.0.0.0/8", "11.0.0.0", false);
	assert_contains("192.0.2.8/29", "192.0.2.7", false);
	assert_contains("192.0.2.8/29", "192.0.2.15", true);
	assert_contains("192.0.2.8/29", "192.0.2.16", false);
	assert_contains("192.0.2.1", "192.0.2.1", true);
	assert_contains("192.0.2.1", "192.0.2.2", false);
	assert_contains("2001:db8::/32", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true);
	assert_contains("2001:db8::/32", "2001:db9::", false);
}

static void
test_cidr_contains_one_family(void **state)
{
	struct addr unix_addr = {.family = ADDR_UNIX}, none = {.family = ADDR_NONE};
	struct cidr all = make_cidr("0.0.0.0/0"), all6 = make_cidr("::/0");

	(void)state;
	assert_contains("0.0.0.0/0", "255.255.255.255", true);
	assert_contains("::/0", "ffff::", true);
	assert_contains("0.0.0.0/0", "::", false);
	assert_contains("::/0", "0.0.0.0", false);
	assert_false(cidr_contains(&all, &unix_addr));
	assert_false(cidr_contains(&all6, &unix_addr));
	assert_false(cidr_contains(&all, &none));
	assert_false(cidr_contains(&all6, &none));
}

static void
test_mapping_is_undone_by_unmapping(void **state)
{
	const struct addr ipv4 = make_addr("192.0.2.1"), ipv6 = make_addr("2001:db8::1");
	struct addr addr = ipv4;

	(void)state;
	addr_map(&addr);
	assert_addr(&addr, "[::ffff:192.0.2.1]:7000", "::ffff:192.0.2.1");
	addr_map(&addr);
	assert_addr(&addr, "[::ffff:192.0.2.1]:7000", "::ffff:192.0.2.1");
	addr_unmap(&addr);
	assert_memory_equal(&addr, &ipv4, sizeof(addr));
	addr_unmap(&addr);
	assert_memory_equal(&addr, &ipv4, sizeof(addr));
	addr = ipv6;
	addr_map(&addr);
	addr_unmap(&addr);
	assert_memory_equal(&addr, &ipv6, sizeof(addr));
	addr = (struct addr){.family = ADDR_UNIX};
	addr_map(&addr);
	assert_int_equal(addr.family, ADDR_UNIX);
}

static void
test_a_host_is_read_of_so_many_bytes(void **state)
{
	struct addr addr;

	(void)state;
	assert_true(addr_parse_host("192.0.2.17", 9, &addr));
	assert_addr(&addr, "192.0.2.1:0", "192.0.2.1");
	assert_true(addr_parse_host("::ffff:192.0.2.1", 16, &addr));
	assert_int_equal(addr.family, ADDR_IPV6);
	assert_false(addr_parse_host("192.0.2.1\0", 10, &addr));
	assert_false(addr_parse_host("192.0.2.01", 10, &addr));
	assert_false(addr_parse_host("", 0, &addr));
}

static void
test_a_number_is_read_of_so_many_digits(void **state)
{
	unsigned number = 1;

	(void)state;
	assert_true(addr_parse_number("0", 1, 65535, &number));
	assert_int_equal(number, 0);
	assert_true(addr_parse_number("655359", 5, 65535, &number));
	assert_int_equal(number, 65535);
	assert_false(addr_parse_number("65536", 5, 65535, &number));
	assert_false(addr_parse_number("00", 2, 65535, &number));
	assert_false(addr_parse_number("1\0", 2, 65535, &number));
	assert_false(addr_parse_number("1", 0, 65535, &number));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_sockaddr_ipv4),
		cmocka_unit_test(test_from_sockaddr_ipv6),
		cmocka_unit_test(test_from_sockaddr_mapped_is_ipv4),
		cmocka_unit_test(test_from_sockaddr_nearly_mapped_is_ipv6),
		cmocka_unit_test(test_from_sockaddr_unix),
		cmocka_unit_test(test_from_sockaddr_unknown),
		cmocka_unit_test(test_from_sockaddr_too_short_is_unknown),
		cmocka_unit_test(test_longest_texts_fit),
		cmocka_unit_test(test_network_ipv4),
		cmocka_unit_test(test_network_ipv6),
		cmocka_unit_test(test_cidr_parse_ranges),
		cmocka_unit_test(test_cidr_parse_plain_address_is_a_range_of_one),
		cmocka_unit_test(test_cidr_parse_mapped_is_ipv4),
		cmocka_unit_test(test_cidr_parse_prefix_limits),
		cmocka_unit_test(test_cidr_parse_strict_prefix),
		cmocka_unit_test(test_cidr_parse_strict_address),
		cmocka_unit_test(test_cidr_parse_no_zone),
		cmocka_unit_test(test_cidr_parse_bits_behind_prefix),
		cmocka_unit_test(test_messages_quote_what_is_hostile),
		cmocka_unit_test(test_errors_need_no_text),
		cmocka_unit_test(test_cidr_contains_its_edges_only),
		cmocka_unit_test(test_cidr_contains_one_family),
		cmocka_unit_test(test_mapping_is_undone_by_unmapping),
		cmocka_unit_test(test_a_host_is_read_of_so_many_bytes),
		cmocka_unit_test(test_a_number_is_read_of_so_many_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
