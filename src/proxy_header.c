/*
 * proxy_header: see proxy_header.h. The numbers are sections of proxy-protocol.txt.
 *
 * What is not whole yet is judged as well: whether anything that may come makes a header of it. A
 * client that speaks another protocol is not waited for.
 */
#include "proxy_header.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "proxy_line.h"

/* Version 2 (2.2): a fixed part, addresses, TLVs. */
#define AT_COMMAND 12
#define AT_FAMILY 13
#define AT_LENGTH 14
#define FIXED_BYTES 16
#define VERSION_2 0x20
#define COMMAND_LOCAL 0
#define COMMAND_PROXY 1
#define INET 1
#define INET6 2
#define UNIX 3
#define STREAM 1
#define DGRAM 2
#define PORT_BYTES 2
#define TLV_HEAD 3
#define TLV_CRC32C 0x03
#define CRC32C_BYTES 4

static const uint8_t SIGNATURE[AT_COMMAND] = {
	'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

static uint16_t
proxy_get_16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void
proxy_put_16(uint8_t *bytes, uint16_t number)
{
	bytes[0] = (uint8_t)(number >> 8);
	bytes[1] = (uint8_t)number;
}

static unsigned
proxy_command(const uint8_t *data)
{
	return data[AT_COMMAND] & 0x0f;
}

static unsigned
proxy_family(const uint8_t *data)
{
	return data[AT_FAMILY] >> 4;
}

static unsigned
proxy_transport(const uint8_t *data)
{
	return data[AT_FAMILY] & 0x0f;
}

/* Of one address, without its port. */
static size_t
proxy_address_bytes(unsigned family)
{
	static const uint8_t bytes[] = {[INET] = 4, [INET6] = 16, [UNIX] = 108};

	assert(family < sizeof(bytes));
	return bytes[family];
}

/* Of all that stands before the TLVs. 0: nobody says how much it is, so that all is skipped: with
 * LOCAL, whose block is to be discarded, and with a family or transport that is UNSPEC. */
static size_t
proxy_addresses_bytes(const uint8_t *data)
{
	size_t bytes;

	if (proxy_command(data) == COMMAND_LOCAL || proxy_transport(data) == 0)
		return 0;
	bytes = 2 * proxy_address_bytes(proxy_family(data));
	return bytes > 0 && proxy_family(data) != UNIX ? bytes + 2 * PORT_BYTES : bytes;
}

/* What came of the fixed part, byte by byte. */
static int
proxy_check_fixed(const uint8_t *data, size_t length, struct mg_error *reterr_error)
{
	size_t signature = length < sizeof(SIGNATURE) ? length : sizeof(SIGNATURE), least = 0;

	if (memcmp(data, SIGNATURE, signature) != 0)
		return mg_error_set(reterr_error, -EBADMSG, "found no PROXY header");
	if (length > AT_COMMAND &&
		((data[AT_COMMAND] & 0xf0) != VERSION_2 || proxy_command(data) > COMMAND_PROXY))
		return mg_error_set(reterr_error, -EBADMSG,
			"PROXY header: found version and command 0x%02x, allowed are 0x20 and 0x21",
			data[AT_COMMAND]);
	if (length > AT_FAMILY && proxy_command(data) != COMMAND_LOCAL &&
		(proxy_family(data) > UNIX || proxy_transport(data) > DGRAM))
		return mg_error_set(reterr_error, -EBADMSG,
			"PROXY header, version 2: found family and transport 0x%02x, allowed are "
			"0 to 3 and 0 to 2",
			data[AT_FAMILY]);
	if (length > AT_LENGTH)
		least = (size_t)data[AT_LENGTH] << 8;
	if (length > AT_LENGTH + 1)
		least = proxy_get_16(data + AT_LENGTH);
	if (FIXED_BYTES + least > PROXY_HEADER_MAX)
		return mg_error_set(reterr_error, -EBADMSG,
			"PROXY header, version 2: found %zu bytes or more, allowed are %u",
			FIXED_BYTES + least, PROXY_HEADER_MAX);
	return 0;
}

/* Looks at the head of a TLV, of which the first bytes are here, and at least one. The checksum is
 * known by its type. Returns the fewest bytes that its value may have, -1 if none are right. */
static long
proxy_tlv_least(const uint8_t *tlv, size_t here)
{
	long least = 0;

	if (here > 1)
		least = tlv[1] << 8;
	if (here > 2)
		least |= tlv[2];
	if (tlv[0] != TLV_CRC32C)
		return least;
	return least > CRC32C_BYTES || (here > 2 && least < CRC32C_BYTES) ? -1 : CRC32C_BYTES;
}

/* The TLVs fill the header from byte `at` to its end at `total`. Returns 0 and where the checksum
 * is (0: none), as far as they are here. */
static int
proxy_check_tlvs(const uint8_t *data, size_t length, size_t at, size_t total, size_t *ret_crc_at,
	struct mg_error *reterr_error)
{
	size_t crc_at = 0;
	long least;

	while (at < total) {
		if (total - at < TLV_HEAD)
			return mg_error_set(reterr_error, -EBADMSG,
				"PROXY header, version 2: %zu bytes behind the last TLV",
				total - at);
		if (length <= at)
			break;
		least = proxy_tlv_least(data + at, length - at);
		if (least < 0 || (data[at] == TLV_CRC32C && crc_at > 0))
			return mg_error_set(reterr_error, -EBADMSG,
				"PROXY header, version 2: the checksum is not one of 4 bytes");
		if ((size_t)least > total - at - TLV_HEAD)
			return mg_error_set(reterr_error, -EBADMSG,
				"PROXY header, version 2: the TLV at byte %zu is longer than the "
				"header",
				at);
		if (data[at] == TLV_CRC32C)
			crc_at = at + TLV_HEAD;
		else if (length - at < TLV_HEAD)
			break;
		at += TLV_HEAD + (size_t)least;
	}
	*ret_crc_at = crc_at;
	return 0;
}

/* More bytes into a CRC32c (RFC 4960 appendix B), which begins and ends inverted. Bit by bit, since
 * there is one header in the life of a connection. */
static uint32_t
proxy_crc32c(uint32_t crc, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

/* 2.2.3: of the whole header, with zeros where the checksum is. */
static int
proxy_check_crc(const uint8_t *data, size_t total, size_t crc_at, struct mg_error *reterr_error)
{
	static const uint8_t zeros[CRC32C_BYTES] = {0};
	uint32_t crc = UINT32_MAX, found;

	if (crc_at == 0)
		return 0;
	crc = proxy_crc32c(crc, data, crc_at);
	crc = proxy_crc32c(crc, zeros, sizeof(zeros));
	crc = ~proxy_crc32c(crc, data + crc_at + sizeof(zeros), total - crc_at - sizeof(zeros));
	found = (uint32_t)proxy_get_16(data + crc_at) << 16 | proxy_get_16(data + crc_at + 2);
	if (found != crc)
		return mg_error_set(reterr_error, -EBADMSG,
			"PROXY header, version 2: found checksum 0x%08x, it should be 0x%08x",
			(unsigned)found, (unsigned)crc);
	return 0;
}

static struct addr
proxy_get_addr(unsigned family, const uint8_t *bytes, const uint8_t *port)
{
	struct addr addr = {
		.family = family == INET ? ADDR_IPV4 : ADDR_IPV6,
		.port = proxy_get_16(port),
	};

	memcpy(addr.bytes, bytes, proxy_address_bytes(family));
	addr_unmap(&addr);
	return addr;
}

/* The addresses of a whole header that has some. Paths of Unix sockets are not kept. */
static void
proxy_get_addresses(const uint8_t *data, struct proxy_header *header)
{
	const uint8_t *addresses = data + FIXED_BYTES, *ports;
	unsigned family = proxy_family(data);
	size_t bytes = proxy_address_bytes(family);

	if (family == UNIX) {
		header->source.family = header->destination.family = ADDR_UNIX;
		return;
	}
	ports = addresses + 2 * bytes;
	header->source = proxy_get_addr(family, addresses, ports);
	header->destination = proxy_get_addr(family, addresses + bytes, ports + PORT_BYTES);
}

static ssize_t
proxy_parse_binary(const uint8_t *data, size_t length, struct proxy_header *ret_header,
	struct mg_error *reterr_error)
{
	struct proxy_header header = {0};
	size_t total, addresses, crc_at = 0;
	int r;

	r = proxy_check_fixed(data, length, reterr_error);
	if (r < 0 || length < FIXED_BYTES)
		return r;
	total = FIXED_BYTES + proxy_get_16(data + AT_LENGTH);
	addresses = proxy_addresses_bytes(data);
	if (total < FIXED_BYTES + addresses)
		return mg_error_set(reterr_error, -EBADMSG,
			"PROXY header, version 2: found %zu bytes, its addresses are %zu",
			total - FIXED_BYTES, addresses);
	if (addresses > 0) {
		r = proxy_check_tlvs(
			data, length, FIXED_BYTES + addresses, total, &crc_at, reterr_error);
		if (r < 0)
			return r;
	}
	if (length < total)
		return 0;
	r = proxy_check_crc(data, total, crc_at, reterr_error);
	if (r < 0)
		return r;
	if (addresses > 0)
		proxy_get_addresses(data, &header);
	*ret_header = header;
	return (ssize_t)total;
}

ssize_t
proxy_header_parse(const uint8_t *data, size_t length, struct proxy_header *ret_header,
	struct mg_error *reterr_error)
{
	if (length == 0)
		return 0;
	if (data[0] == 'P')
		return proxy_line_parse(data, length, ret_header, reterr_error);
	return proxy_parse_binary(data, length, ret_header, reterr_error);
}

/* Writing. */

static bool
proxy_is_inet(const struct addr *addr)
{
	return addr->family == ADDR_IPV4 || addr->family == ADDR_IPV6;
}

/* Both ends in one family, ADDR_NONE if that cannot be. */
static struct proxy_header
proxy_one_family(const struct proxy_header *header)
{
	struct proxy_header same = *header;

	if (!proxy_is_inet(&same.source) || !proxy_is_inet(&same.destination))
		return (struct proxy_header){0};
	if (same.source.family != same.destination.family) {
		addr_map(&same.source);
		addr_map(&same.destination);
	}
	return same;
}

/* AF_UNSPEC is said with PROXY: LOCAL would say that there is no client behind the connection. */
static size_t
proxy_put_binary(uint8_t buf[static PROXY_HEADER_PUT_MAX], const struct proxy_header *header)
{
	unsigned family = header->source.family == ADDR_IPV4 ? INET : INET6;
	size_t bytes = proxy_address_bytes(family);
	uint8_t *at = buf + FIXED_BYTES;

	memset(buf, 0, FIXED_BYTES);
	memcpy(buf, SIGNATURE, sizeof(SIGNATURE));
	buf[AT_COMMAND] = VERSION_2 | COMMAND_PROXY;
	if (header->source.family == ADDR_NONE)
		return FIXED_BYTES;
	buf[AT_FAMILY] = (uint8_t)(family << 4 | STREAM);
	proxy_put_16(buf + AT_LENGTH, (uint16_t)(2 * (bytes + PORT_BYTES)));
	memcpy(at, header->source.bytes, bytes);
	memcpy(at + bytes, header->destination.bytes, bytes);
	proxy_put_16(at + 2 * bytes, header->source.port);
	proxy_put_16(at + 2 * bytes + PORT_BYTES, header->destination.port);
	return FIXED_BYTES + 2 * (bytes + PORT_BYTES);
}

size_t
proxy_header_put(uint8_t buf[static PROXY_HEADER_PUT_MAX], unsigned version,
	const struct proxy_header *header)
{
	struct proxy_header same = proxy_one_family(header);

	assert(version == 1 || version == 2);
	if (version == 1)
		return proxy_line_put((char *)buf, &same);
	return proxy_put_binary(buf, &same);
}
