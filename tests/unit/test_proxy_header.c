/*
 * Tests of proxy_header: reading headers of version 2, writing both. The numbers in the names are
 * sections of HAProxy's proxy-protocol.txt.
 */
#include "fixture_proxy.h"

/* From 192.0.2.1:7000 to 198.51.100.2:443, with so many bytes behind the addresses. */
static void
put_ipv4(struct bytes *bytes, size_t behind)
{
	put_head(bytes, 0x21, 0x11, 12 + behind);
	put(bytes, "\xc0\x00\x02\x01\xc6\x33\x64\x02\x1b\x58\x01\xbb", 12);
}

static void
put_tlv(struct bytes *bytes, uint8_t type, size_t length)
{
	const uint8_t head[] = {type, (uint8_t)(length >> 8), (uint8_t)length};

	put(bytes, head, sizeof(head));
	put_zeros(bytes, length);
}

/* CRC32c by the division itself, the highest power first; not the way of what is tested. */
static uint32_t
crc32c(const uint8_t *data, size_t length)
{
	uint32_t rest = UINT32_MAX, result = 0;

	for (size_t i = 0; i < length * 8; i++) {
		uint32_t bit = data[i / 8] >> i % 8 & 1;

		rest = rest << 1 ^ ((rest >> 31 ^ bit) ? 0x1edc6f41 : 0);
	}
	for (int i = 0; i < 32; i++)
		result |= (rest >> i & 1) << (31 - i);
	return ~result;
}

/* Writes the checksum of a header in which it is still zero. */
static void
set_crc(struct bytes *bytes, size_t at)
{
	uint32_t crc = htonl(crc32c(bytes->at, bytes->length));

	memcpy(bytes->at + at, &crc, sizeof(crc));
}

static void
assert_good_binary(const struct bytes *bytes, const char *source, const char *destination)
{
	assert_good_bytes(bytes->at, bytes->length, source, destination);
}

static void
assert_bad_binary(const struct bytes *bytes)
{
	assert_bad_bytes(bytes->at, bytes->length);
}

/* Reading. */

static void
test_2_2_families(void **state)
{
	struct bytes ipv4 = {.length = 0}, ipv6 = {.length = 0}, unix_socket = {.length = 0};

	(void)state;
	put_ipv4(&ipv4, 0);
	put_head(&ipv6, 0x21, 0x21, 36);
	put(&ipv6, make_addr("2001:db8::1").bytes, 16);
	put(&ipv6, make_addr("2001:db8::2").bytes, 16);
	put(&ipv6, "\x1b\x58\xff\xff", 4);
	put_head(&unix_socket, 0x21, 0x31, 216);
	put(&unix_socket, "/run/x.sock", 11);
	put_zeros(&unix_socket, 205);
	for (uint8_t transport = 1; transport <= 2; transport++) {
		ipv4.at[13] = 0x10 | transport;
		ipv6.at[13] = 0x20 | transport;
		unix_socket.at[13] = 0x30 | transport;
		assert_good_binary(&ipv4, "192.0.2.1:7000", "198.51.100.2:443");
		assert_good_binary(&ipv6, "[2001:db8::1]:7000", "[2001:db8::2]:65535");
		assert_good_binary(&unix_socket, "unix", "unix");
	}
}

static void
test_2_2_mapped_addresses_are_ipv4(void **state)
{
	struct bytes bytes = {.length = 0};

	(void)state;
	put_head(&bytes, 0x21, 0x21, 36);
	put(&bytes, make_addr("::ffff:192.0.2.1").bytes, 16);
	put(&bytes, make_addr("::fffe:192.0.2.1").bytes, 16);
	put(&bytes, "\x00\x01\x00\x02", 4);
	assert_good_binary(&bytes, "192.0.2.1:1", "[::fffe:c000:201]:2");
}

static void
test_2_2_what_is_unspecified_is_skipped(void **state)
{
	static const uint8_t families[] = {0x00, 0x01, 0x02, 0x10, 0x20, 0x30};

	(void)state;
	for (size_t i = 0; i < sizeof(families); i++) {
		for (size_t length = 0; length < 40; length += 13) {
			struct bytes bytes = {.length = 0};

			put_head(&bytes, 0x21, families[i], length);
			for (size_t k = 0; k < length; k++)
				put(&bytes, "\x03", 1);
			assert_good_binary(&bytes, "unknown", "unknown");
		}
	}
}

static void
test_2_2_with_local_all_is_skipped(void **state)
{
	struct bytes bytes = {.length = 0}, ipv4 = {.length = 0};

	(void)state;
	put_ipv4(&ipv4, 0);
	ipv4.at[12] = 0x20;
	assert_good_binary(&ipv4, "unknown", "unknown");
	put_head(&bytes, 0x20, 0x00, 0);
	assert_good_binary(&bytes, "unknown", "unknown");
	for (unsigned family = 0; family < 256; family++) {
		bytes.length = 0;
		put_head(&bytes, 0x20, (uint8_t)family, 3);
		put(&bytes, "\x03\xff\xff", 3);
		assert_good_binary(&bytes, "unknown", "unknown");
	}
}

static void
test_2_2_the_signature_is_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < 12; i++) {
		struct bytes bytes = {.length = 0};

		put(&bytes, SIGNATURE, 12);
		bytes.at[i] ^= 0x20;
		bytes.length = i + 1;
		assert_bad_binary(&bytes);
	}
}

static void
test_2_2_versions_commands_families_and_transports(void **state)
{
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		struct bytes command = {.length = 0}, family = {.length = 0};
		struct proxy_header header;

		put(&command, SIGNATURE, 12);
		put(&command, &byte, 1);
		if (byte != 0x20 && byte != 0x21)
			assert_bad_binary(&command);
		else
			assert_int_equal(parse(command.at, command.length, &header), 0);
		put_head(&family, 0x21, (uint8_t)byte, 0);
		family.length = 14;
		if (byte >> 4 > 3 || (byte & 0x0f) > 2)
			assert_bad_binary(&family);
		else
			assert_int_equal(parse(family.at, family.length, &header), 0);
	}
}

static void
test_2_2_addresses_must_fit(void **state)
{
	static const struct {
		uint8_t family;
		size_t length;
	} rows[] = {{0x11, 12}, {0x12, 12}, {0x21, 36}, {0x22, 36}, {0x31, 216}, {0x32, 216}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int more = -1; more <= 3; more++) {
			struct bytes bytes = {.length = 0};
			struct proxy_header header;

			put_head(&bytes, 0x21, rows[i].family, rows[i].length + (size_t)more);
			/* One or two bytes are no TLV. */
			if (more == 0 || more == 3)
				assert_int_equal(parse(bytes.at, bytes.length, &header), 0);
			else
				assert_bad_binary(&bytes);
		}
	}
}

static void
test_a_header_is_4096_bytes_at_most(void **state)
{
	(void)state;
	for (size_t total = PROXY_HEADER_MAX - 1; total <= PROXY_HEADER_MAX + 1; total++) {
		struct bytes bytes = {.length = 0}, local = {.length = 0};

		put_ipv4(&bytes, total - 28);
		put_head(&local, 0x20, 0, total - 16);
		if (total > PROXY_HEADER_MAX) {
			bytes.length = 16;
			assert_bad_binary(&bytes);
			assert_bad_binary(&local);
			continue;
		}
		put_tlv(&bytes, 0x04, total - 28 - 3);
		assert_good_binary(&bytes, "192.0.2.1:7000", "198.51.100.2:443");
		put_zeros(&local, total - 16);
		assert_good_binary(&local, "unknown", "unknown");
	}
}

static void
test_the_first_byte_of_the_length_can_be_too_large(void **state)
{
	struct bytes bytes = {.length = 0};

	(void)state;
	put_head(&bytes, 0x21, 0x11, 0x1000);
	bytes.length = 15;
	assert_bad_binary(&bytes);
	bytes.at[14] = 0xff;
	assert_bad_binary(&bytes);
}

/* TLVs. */

static void
test_2_2_tlvs_are_skipped(void **state)
{
	struct bytes bytes = {.length = 0};

	(void)state;
	put_ipv4(&bytes, 3 + 4 + 259 + 5);
	put_tlv(&bytes, 0x04, 0);
	put_tlv(&bytes, 0xe0, 1);
	put_tlv(&bytes, 0x02, 256);
	put_tlv(&bytes, 0xff, 2);
	assert_good_binary(&bytes, "192.0.2.1:7000", "198.51.100.2:443");
}

static void
test_2_2_tlvs_fill_the_header(void **state)
{
	(void)state;
	/* A TLV of so many bytes, in a header that has room for 10. */
	for (size_t length = 7; length <= 13; length++) {
		struct bytes bytes = {.length = 0};
		struct proxy_header header;

		put_ipv4(&bytes, 3 + 10);
		put_tlv(&bytes, 0x04, length);
		bytes.length = 28 + 3;
		if (length == 7 || length == 10)
			assert_int_equal(parse(bytes.at, bytes.length, &header), 0);
		else
			assert_bad_binary(&bytes);
	}
}

static void
test_2_2_a_tlv_is_refused_by_the_first_byte_of_its_length(void **state)
{
	struct bytes bytes = {.length = 0};

	(void)state;
	put_ipv4(&bytes, 3 + 255);
	put_tlv(&bytes, 0x04, 256);
	bytes.length = 28 + 2;
	assert_bad_binary(&bytes);
}

static void
test_the_checksum_of_these_tests_is_crc32c(void **state)
{
	static const uint8_t zeros[32] = {0};

	(void)state;
	assert_int_equal(crc32c((const uint8_t *)"123456789", 9), 0xe3069283);
	/* RFC 3720 appendix B.4 */
	assert_int_equal(crc32c(zeros, sizeof(zeros)), 0x8a9136aa);
}

/* As a load balancer sent it: CRC32C, a type of its own, NOOP. */
static void
test_2_2_3_a_header_from_the_wild(void **state)
{
	struct bytes bytes = {.length = 0};
	struct proxy_header header;

	(void)state;
	put_head(&bytes, 0x21, 0x11, 0x54);
	put(&bytes, "\xac\x1f\x07\x71\xac\x1f\x0a\x1f\xc8\xf2\x00\x50", 12);
	put(&bytes, "\x03\x00\x04\xe8\xd6\x89\x2d", 7);
	put(&bytes, "\xea\x00\x17\x01vpce-08d2bf15fac5001c9", 26);
	put_tlv(&bytes, 0x04, 36);
	assert_int_equal(bytes.length, 100);
	assert_good_binary(&bytes, "172.31.7.113:51442", "172.31.10.31:80");
	/* No byte may differ, but for the one that says that there is a checksum. */
	for (size_t i = 16; i < bytes.length; i++) {
		if (i == 28)
			continue;
		bytes.at[i] ^= 0x01;
		assert_int_equal(parse(bytes.at, bytes.length, &header), -EBADMSG);
		bytes.at[i] ^= 0x01;
	}
}

static void
test_2_2_3_the_checksum_may_stand_anywhere(void **state)
{
	(void)state;
	for (int place = 0; place < 3; place++) {
		struct bytes bytes = {.length = 0};
		size_t at = 0;

		put_ipv4(&bytes, 5 + 7 + 6);
		for (int i = 0; i < 3; i++) {
			at = i == place ? bytes.length + 3 : at;
			put_tlv(&bytes, i == place ? 0x03 : 0x04, i == place ? 4 : 3);
		}
		bytes.at[15] = (uint8_t)(bytes.length - 16);
		set_crc(&bytes, at);
		assert_good_binary(&bytes, "192.0.2.1:7000", "198.51.100.2:443");
		bytes.at[at + 3] ^= 0x80;
		assert_bad_binary(&bytes);
	}
}

static void
test_2_2_3_a_checksum_is_4_bytes(void **state)
{
	(void)state;
	for (size_t length = 3; length <= 5; length++) {
		struct bytes bytes = {.length = 0};
		struct proxy_header header;

		put_ipv4(&bytes, 3 + 20);
		put_tlv(&bytes, 0x03, length);
		bytes.length = 28 + 3;
		if (length == 4)
			assert_int_equal(parse(bytes.at, bytes.length, &header), 0);
		else
			assert_bad_binary(&bytes);
	}
}

static void
test_2_2_3_a_checksum_that_does_not_fit_is_refused_by_its_type(void **state)
{
	(void)state;
	for (size_t room = 6; room <= 10; room++) {
		struct bytes bytes = {.length = 0};
		struct proxy_header header;

		put_ipv4(&bytes, room);
		put(&bytes, "\x03", 1);
		/* Behind it may be nothing, or a TLV. */
		if (room == 7 || room == 10)
			assert_int_equal(parse(bytes.at, bytes.length, &header), 0);
		else
			assert_bad_binary(&bytes);
	}
}

static void
test_2_2_3_there_is_one_checksum_at_most(void **state)
{
	struct bytes bytes = {.length = 0};

	(void)state;
	put_ipv4(&bytes, 7 + 7);
	put_tlv(&bytes, 0x03, 4);
	put(&bytes, "\x03", 1);
	assert_bad_binary(&bytes);
}

static void
test_2_2_what_is_not_refused_can_be_finished(void **state)
{
	static const char letters[] = "\0\0\0\x01\x02\x04\x05\x10\x20\xff";
	uint32_t random = 2;

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct bytes bytes = {.length = 0};

		put_head(&bytes, 0x21, 0x11, 0);
		bytes.length = 15;
		while (walk_one(&bytes, letters, sizeof(letters) - 1, &random))
			;
	}
}

/* Writing. */

static struct proxy_header
make_header(const char *source, uint16_t source_port, const char *destination, uint16_t port)
{
	struct proxy_header header = {make_addr(source), make_addr(destination)};

	addr_unmap(&header.source);
	addr_unmap(&header.destination);
	header.source.port = source_port;
	header.destination.port = port;
	return header;
}

static void
assert_put(unsigned version, const struct proxy_header *header, const void *wanted, size_t length)
{
	uint8_t buf[PROXY_HEADER_PUT_MAX];

	assert_int_equal(proxy_header_put(buf, version, header), length);
	assert_memory_equal(buf, wanted, length);
}

static void
assert_put_line(const struct proxy_header *header, const char *wanted)
{
	assert_put(1, header, wanted, strlen(wanted));
}

static void
test_what_is_written(void **state)
{
	struct proxy_header ipv4 = make_header("192.168.0.1", 56324, "192.168.0.11", 443);
	struct proxy_header ipv6 = make_header("2001:db8::1", 0, "::2", 65535);

	(void)state;
	assert_put_line(&ipv4, "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
	assert_put(2, &ipv4,
		SIGNATURE "\x21\x11\x00\x0c\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb", 28);
	assert_put_line(&ipv6, "PROXY TCP6 2001:db8::1 ::2 0 65535\r\n");
	assert_put(2, &ipv6,
		SIGNATURE "\x21\x21\x00\x24"
			  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
			  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\xff\xff",
		52);
}

static void
test_two_families_are_written_as_ipv6(void **state)
{
	struct proxy_header from = make_header("192.0.2.1", 1, "2001:db8::1", 2);
	struct proxy_header to = make_header("2001:db8::1", 2, "192.0.2.1", 1);

	(void)state;
	assert_put_line(&from, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
	assert_put_line(&to, "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 2 1\r\n");
	assert_put(2, &from,
		SIGNATURE "\x21\x21\x00\x24"
			  "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"
			  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02",
		52);
}

static void
test_no_address_and_unix_sockets_are_written_as_unknown(void **state)
{
	static const uint8_t families[] = {ADDR_NONE, ADDR_UNIX, ADDR_IPV4, ADDR_IPV6};

	(void)state;
	for (size_t i = 0; i < sizeof(families); i++) {
		for (size_t k = 0; k < sizeof(families); k++) {
			struct proxy_header header = {
				{.family = families[i]}, {.family = families[k]}};

			if (i >= 2 && k >= 2)
				continue;
			assert_put_line(&header, "PROXY UNKNOWN\r\n");
			assert_put(2, &header, SIGNATURE "\x21\x00\x00\x00", 16);
		}
	}
}

static void
test_the_longest_line_fits(void **state)
{
	struct proxy_header header = make_header(IPV6_LONG, 65535, IPV6_LONG, 65535);

	(void)state;
	assert_put_line(&header, "PROXY TCP6 " IPV6_LONG " " IPV6_LONG " 65535 65535\r\n");
}

static void
test_what_is_written_is_read(void **state)
{
	static const char *const texts[] = {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1",
		"::1.2.3.4", "::ffff:192.0.2.1", "2001:db8::1", "1:2:3:4:5:6:7:8", IPV6_LONG,
		"64:ff9b::192.0.2.1", "1:0:0:2::3"};
	size_t n = sizeof(texts) / sizeof(texts[0]);

	(void)state;
	for (size_t i = 0; i < n * n * 2; i++) {
		struct proxy_header header =
			make_header(texts[i / 2 / n], (uint16_t)(i * 997), texts[i / 2 % n], 443);
		char source[ADDR_TEXT_MAX], destination[ADDR_TEXT_MAX];
		uint8_t buf[PROXY_HEADER_PUT_MAX];
		size_t length = proxy_header_put(buf, 1 + i % 2, &header);

		assert_good_bytes(buf, length, addr_format(&header.source, source),
			addr_format(&header.destination, destination));
	}
}

static void
put_version_0(void)
{
	uint8_t buf[PROXY_HEADER_PUT_MAX];
	struct proxy_header header = {0};

	proxy_header_put(buf, 0, &header);
}

static void
put_version_3(void)
{
	uint8_t buf[PROXY_HEADER_PUT_MAX];
	struct proxy_header header = {0};

	proxy_header_put(buf, 3, &header);
}

static void
test_other_versions_are_a_bug(void **state)
{
	(void)state;
	assert_aborts(put_version_0);
	assert_aborts(put_version_3);
}

static void
test_errors_need_no_text(void **state)
{
	struct proxy_header header;

	(void)state;
	assert_int_equal(proxy_header_parse((const uint8_t *)"GET", 3, &header, NULL), -EBADMSG);
	assert_int_equal(
		proxy_header_parse((const uint8_t *)"PROXY X", 7, &header, NULL), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_2_families),
		cmocka_unit_test(test_2_2_mapped_addresses_are_ipv4),
		cmocka_unit_test(test_2_2_what_is_unspecified_is_skipped),
		cmocka_unit_test(test_2_2_with_local_all_is_skipped),
		cmocka_unit_test(test_2_2_the_signature_is_exact),
		cmocka_unit_test(test_2_2_versions_commands_families_and_transports),
		cmocka_unit_test(test_2_2_addresses_must_fit),
		cmocka_unit_test(test_a_header_is_4096_bytes_at_most),
		cmocka_unit_test(test_the_first_byte_of_the_length_can_be_too_large),
		cmocka_unit_test(test_2_2_tlvs_are_skipped),
		cmocka_unit_test(test_2_2_tlvs_fill_the_header),
		cmocka_unit_test(test_2_2_a_tlv_is_refused_by_the_first_byte_of_its_length),
		cmocka_unit_test(test_the_checksum_of_these_tests_is_crc32c),
		cmocka_unit_test(test_2_2_3_a_header_from_the_wild),
		cmocka_unit_test(test_2_2_3_the_checksum_may_stand_anywhere),
		cmocka_unit_test(test_2_2_3_a_checksum_is_4_bytes),
		cmocka_unit_test(test_2_2_3_a_checksum_that_does_not_fit_is_refused_by_its_type),
		cmocka_unit_test(test_2_2_3_there_is_one_checksum_at_most),
		cmocka_unit_test(test_2_2_what_is_not_refused_can_be_finished),
		cmocka_unit_test(test_what_is_written),
		cmocka_unit_test(test_two_families_are_written_as_ipv6),
		cmocka_unit_test(test_no_address_and_unix_sockets_are_written_as_unknown),
		cmocka_unit_test(test_the_longest_line_fits),
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_other_versions_are_a_bug),
		cmocka_unit_test(test_errors_need_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
