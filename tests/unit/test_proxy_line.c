/*
 * Tests of proxy_line, by proxy_header: reading headers of version 1. The numbers in the names are
 * sections of HAProxy's proxy-protocol.txt.
 */
#include "fixture_proxy.h"

#define LINE_MAX_BYTES 107

static void
assert_good(const char *line, const char *source, const char *destination)
{
	assert_good_bytes(line, strlen(line), source, destination);
}

static void
assert_bad(const char *line)
{
	assert_bad_bytes(line, strlen(line));
}

static void
test_2_1_examples(void **state)
{
	(void)state;
	assert_good("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1:56324",
		"192.168.0.11:443");
	assert_good("PROXY TCP6 2001:db8::1 2001:DB8:0:0::2 1 65535\r\n", "[2001:db8::1]:1",
		"[2001:db8::2]:65535");
	assert_good("PROXY TCP6 :: 0000:0000:0000:0000:0000:0000:0000:0001 0 0\r\n", "[::]:0",
		"[::1]:0");
	assert_good("PROXY UNKNOWN\r\n", "unknown", "unknown");
}

static void
test_2_1_longest_lines(void **state)
{
	static const char ipv4[] = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
	static const char ipv6[] = "PROXY TCP6 " IPV6_LONG " " IPV6_LONG " 65535 65535\r\n";
	static const char none[] = "PROXY UNKNOWN " IPV6_LONG " " IPV6_LONG " 65535 65535\r\n";

	(void)state;
	assert_int_equal(strlen(ipv4), 56);
	assert_int_equal(strlen(ipv6), 104);
	assert_int_equal(strlen(none), LINE_MAX_BYTES);
	assert_good(ipv4, "255.255.255.255:65535", "255.255.255.255:65535");
	assert_good(ipv6, "[" IPV6_LONG "]:65535", "[" IPV6_LONG "]:65535");
	assert_good(none, "unknown", "unknown");
}

static void
test_2_1_mapped_addresses_are_ipv4(void **state)
{
	(void)state;
	assert_good("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 7000 443\r\n", "192.0.2.1:7000",
		"198.51.100.2:443");
	assert_good("PROXY TCP6 ::FFFF:192.0.2.1 2001:db8::1 7000 443\r\n", "192.0.2.1:7000",
		"[2001:db8::1]:443");
	assert_good("PROXY TCP6 ::192.0.2.1 ::1 7000 443\r\n", "[::192.0.2.1]:7000", "[::1]:443");
}

static void
test_2_1_behind_unknown_all_is_ignored_up_to_the_end(void **state)
{
	static const char zero[] = "PROXY UNKNOWN \0 x\r\n";

	(void)state;
	assert_good("PROXY UNKNOWN \r\n", "unknown", "unknown");
	assert_good("PROXY UNKNOWN   TCP4 \t\xff\x01\r\n", "unknown", "unknown");
	assert_good("PROXY UNKNOWN a\rb\nc\n\rd\r\r\n", "unknown", "unknown");
	assert_good_bytes(zero, sizeof(zero) - 1, "unknown", "unknown");
	assert_bad("PROXY UNKNOWNS");
	assert_bad("PROXY UNKNOWN\n");
	assert_bad("PROXY UNKNOWN\r\r");
}

/* A line of so many bytes, or what is here of it. */
static struct bytes
make_unknown(size_t length, bool ended)
{
	struct bytes bytes = {.length = 0};

	put(&bytes, "PROXY UNKNOWN ", 14);
	while (bytes.length < length - (ended ? 2 : 0))
		put(&bytes, "x", 1);
	if (ended)
		put(&bytes, "\r\n", 2);
	return bytes;
}

static void
test_2_1_a_line_is_107_bytes_at_most(void **state)
{
	struct proxy_header header;
	struct bytes bytes;

	(void)state;
	for (size_t length = LINE_MAX_BYTES - 1; length <= LINE_MAX_BYTES; length++) {
		bytes = make_unknown(length, true);
		assert_good_bytes(bytes.at, length, "unknown", "unknown");
	}
	bytes = make_unknown(LINE_MAX_BYTES + 1, true);
	assert_int_equal(parse(bytes.at, bytes.length, &header), -EBADMSG);
	/* There is room for the CR at byte 105 at most. */
	bytes = make_unknown(LINE_MAX_BYTES - 1, false);
	assert_bad_bytes(bytes.at, bytes.length);
	bytes.at[LINE_MAX_BYTES - 2] = '\r';
	assert_int_equal(parse(bytes.at, bytes.length, &header), 0);
	put(&bytes, "\r", 1);
	assert_bad_bytes(bytes.at, bytes.length);
}

static void
test_2_1_words_are_exact(void **state)
{
	(void)state;
	assert_bad("G");
	assert_bad("p");
	assert_bad(" ");
	assert_bad("\n");
	assert_bad("PROXX");
	assert_bad("PRI");
	assert_bad("PROXY\r");
	assert_bad("PROXY  ");
	assert_bad("PROXY\t");
	assert_bad("PROXY t");
	assert_bad("PROXY \r");
	assert_bad("PROXY TCP5");
	assert_bad("PROXY TCP ");
	assert_bad("PROXY TCP4\r");
	assert_bad("PROXY TCP44");
	assert_bad("PROXY UD");
	assert_bad("PROXY TCP4  ");
	assert_bad("PROXY TCP4\t");
	assert_bad_bytes("PROXY TCP\0", 10);
	assert_bad_bytes("PROXY\0", 6);
}

static void
test_2_1_addresses_are_of_their_family_and_canonical(void **state)
{
	(void)state;
	assert_bad("PROXY TCP4 :");
	assert_bad("PROXY TCP4 a");
	assert_bad("PROXY TCP4 192.0.2.1:");
	assert_bad("PROXY TCP4 00");
	assert_bad("PROXY TCP4 01");
	assert_bad("PROXY TCP4 1.2.3.04");
	assert_bad("PROXY TCP4 256");
	assert_bad("PROXY TCP4 1..");
	assert_bad("PROXY TCP4 .");
	assert_bad("PROXY TCP4 1.2.3 ");
	assert_bad("PROXY TCP4 1.2.3. ");
	assert_bad("PROXY TCP4 1.2.3.4.");
	assert_bad("PROXY TCP4 1.2.3.4\r");
	assert_bad("PROXY TCP4 1.2.3.4  ");
	assert_bad("PROXY TCP4 1.2.3.4 :");
	assert_bad("PROXY TCP4 1.2.3.4 -");
	assert_bad_bytes("PROXY TCP4 1.2.3.4\0", 19);
	assert_bad("PROXY TCP6 1.");
	assert_bad("PROXY TCP6 g");
	assert_bad("PROXY TCP6 [");
	assert_bad("PROXY TCP6 :1");
	assert_bad("PROXY TCP6 : ");
	assert_bad("PROXY TCP6 :::");
	assert_bad("PROXY TCP6 1::2::");
	assert_bad("PROXY TCP6 00001");
	assert_bad("PROXY TCP6 1:2:3:4:5:6:7 ");
	assert_bad("PROXY TCP6 1:2:3:4:5:6:7:8:");
	assert_bad("PROXY TCP6 1:2:3:4:5:6:7:8.");
	assert_bad("PROXY TCP6 1:2:3:4:5:6:7::8");
	assert_bad("PROXY TCP6 ::ffff:1.2.3.256");
	assert_bad("PROXY TCP6 ::ffff:1.2.3 ");
	assert_bad("PROXY TCP6 ::1%");
	assert_bad("PROXY TCP6 ::1 1.");
}

/* 39 letters, of which a line of 104 bytes follows. */
static void
test_2_1_an_address_is_39_letters_at_most(void **state)
{
	(void)state;
	assert_good("PROXY TCP6 0000:0000:0000:0000:0000:ffff:192.0.2.1 ::1 7000 443\r\n",
		"192.0.2.1:7000", "[::1]:443");
	assert_good("PROXY TCP6 0000:0000:0000:0000:0000:ffff:1.10.20.1 ::1 7000 443\r\n",
		"1.10.20.1:7000", "[::1]:443");
	assert_good("PROXY TCP6 0000:0000:0000:0000:000:ffff:19.10.20.1 ::1 7000 443\r\n",
		"19.10.20.1:7000", "[::1]:443");
	assert_bad("PROXY TCP6 0000:0000:0000:0000:0000:ffff:192.0.20");
	assert_bad("PROXY TCP6 0000:0000:0000:0000:0000:ffff:192.0.2.11");
}

static void
test_2_1_ports_are_exact(void **state)
{
#define LINE "PROXY TCP4 1.2.3.4 5.6.7.8"
	(void)state;
	assert_good(LINE " 0 65535\r\n", "1.2.3.4:0", "5.6.7.8:65535");
	assert_good(LINE " 65534 1\r\n", "1.2.3.4:65534", "5.6.7.8:1");
	assert_bad(LINE "\r");
	assert_bad(LINE "  ");
	assert_bad(LINE " 00");
	assert_bad(LINE " 01");
	assert_bad(LINE " 65536");
	assert_bad(LINE " 100000");
	assert_bad(LINE " -");
	assert_bad(LINE " +");
	assert_bad(LINE " 1\r");
	assert_bad(LINE " 1  ");
	assert_bad(LINE " 1x");
	assert_bad(LINE " 1 \r");
	assert_bad(LINE " 1 07");
	assert_bad(LINE " 1 65536");
	assert_bad(LINE " 1 2 ");
	assert_bad(LINE " 1 2\n");
	assert_bad(LINE " 1 2\r\r");
	assert_bad(LINE " 1 2\r ");
	assert_bad_bytes(LINE " 1\0", sizeof(LINE) + 2);
#undef LINE
}

static void
test_2_1_what_is_not_refused_can_be_finished(void **state)
{
	static const char ipv4[] = "0123456789. \r\n", ipv6[] = "01f:::::. \r\n",
			  any[] = "x \r\r\n";
	uint32_t random = 1;

	(void)state;
	for (int i = 0; i < 600; i++) {
		struct bytes bytes = {.length = 0};

		put(&bytes,
			i % 3 == 0   ? "PROXY TCP4 "
			: i % 3 == 1 ? "PROXY TCP6 "
				     : "PROXY UNKNO",
			11);
		if (i % 3 == 2)
			put(&bytes, "WN ", 3);
		while (walk_one(&bytes,
			i % 3 == 0   ? ipv4
			: i % 3 == 1 ? ipv6
				     : any,
			i % 3 == 0   ? sizeof(ipv4) - 1
			: i % 3 == 1 ? sizeof(ipv6) - 1
				     : sizeof(any) - 1,
			&random))
			;
		assert_true(bytes.length <= LINE_MAX_BYTES);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_1_examples),
		cmocka_unit_test(test_2_1_longest_lines),
		cmocka_unit_test(test_2_1_mapped_addresses_are_ipv4),
		cmocka_unit_test(test_2_1_behind_unknown_all_is_ignored_up_to_the_end),
		cmocka_unit_test(test_2_1_a_line_is_107_bytes_at_most),
		cmocka_unit_test(test_2_1_words_are_exact),
		cmocka_unit_test(test_2_1_addresses_are_of_their_family_and_canonical),
		cmocka_unit_test(test_2_1_an_address_is_39_letters_at_most),
		cmocka_unit_test(test_2_1_ports_are_exact),
		cmocka_unit_test(test_2_1_what_is_not_refused_can_be_finished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
