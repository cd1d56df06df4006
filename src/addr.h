/*
 * addr: addresses of clients, ranges of them, and the addresses that listeners bind.
 *
 * Process: both. Pure: libc only, no socket is opened here.
 */
#ifndef MILLGATE_ADDR_H
#define MILLGATE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "error.h"

enum addr_family {
	ADDR_NONE = 0, /* not known, for instance because the peer has gone */
	ADDR_IPV4,
	ADDR_IPV6,
	ADDR_UNIX,
};

/* Who is at the other end. An IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291 section
 * 2.5.5.2) counts as the IPv4 address that it is. Plain data, sent between processes. */
struct addr {
	uint8_t family; /* enum addr_family */
	uint8_t pad;
	uint16_t port;     /* host byte order; 0 for ADDR_UNIX and ADDR_NONE */
	uint8_t bytes[16]; /* IPv4: the first four; the rest zero */
};

/* A range of addresses, as in 10.0.0.0/8 or 2001:db8::/32. Bits behind the prefix are zero. */
struct cidr {
	uint8_t family; /* ADDR_IPV4 or ADDR_IPV6 */
	uint8_t prefix; /* 0 to 32 or 128 */
	uint8_t bytes[16];
};

#define ADDR_TEXT_MAX 64
#define CIDR_TEXT_MAX 64

/* What the kernel reports of a peer; families that we do not serve give ADDR_NONE. */
struct addr addr_from_sockaddr(const struct sockaddr *sa, socklen_t length);

/* The way back, for ADDR_IPV4 and ADDR_IPV6 (asserted); all that is not used is zero. */
socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *ret_sa);

/* Makes of an IPv4-mapped IPv6 address the IPv4 address that it is. */
void addr_unmap(struct addr *addr);

/* Makes of an IPv4 address the IPv6 address that stands for it: where both ends of a connection
 * must be of one family. */
void addr_map(struct addr *addr);

/* Reads an address alone, "192.0.2.1" or "2001:db8::1", of so many bytes; numbers of IPv4 have no
 * leading zeros, a mapped address stays IPv6, the port is 0. false: it is none. */
bool addr_parse_host(const char *text, size_t length, struct addr *ret_addr);

/* Reads a number of 0 to `max` (at most 65535), of so many decimal digits: no sign, no space, no
 * leading zero. false: it is none. */
bool addr_parse_number(const char *text, size_t length, unsigned max, unsigned *ret_number);

/* "192.0.2.1:7000", "[2001:db8::1]:7000", "unix", "unknown". Returns buf. */
const char *addr_format(const struct addr *addr, char buf[static ADDR_TEXT_MAX]);

/* The address alone, with no port and no brackets: "192.0.2.1", "2001:db8::1". Returns buf. */
const char *addr_format_host(const struct addr *addr, char buf[static ADDR_TEXT_MAX]);

/* The range of `prefix` bits that holds the address (family IPv4 or IPv6; asserted). */
struct cidr addr_network(const struct addr *addr, unsigned prefix);

/* Reads "10.0.0.0/8" or a plain address, which is a range of one. Bits set behind the prefix are
 * an error, since they are a typing error nearly always. -EINVAL with what is wrong. */
int cidr_parse(
	const char *text, struct cidr *ret_cidr, struct mg_error *reterr_error) MG_MUST_CHECK;

bool cidr_contains(const struct cidr *cidr, const struct addr *addr);

/* "10.0.0.0/8", "2001:db8::/32"; always with the prefix. Returns buf. */
const char *cidr_format(const struct cidr *cidr, char buf[static CIDR_TEXT_MAX]);

/*
 * Reads what a listener binds: "127.0.0.1:7000", "[::]:7000", "unix:/run/x.sock" (an absolute
 * path; "unix:@name" is the abstract namespace, unix(7)). Ports are 1 to 65535, host names are
 * not resolved. -EINVAL with what is allowed.
 */
int addr_parse_listen(const char *text, struct sockaddr_storage *ret_sa, socklen_t *ret_length,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* The text that addr_parse_listen() reads, for a bound socket's name. Returns buf. */
#define ADDR_LISTEN_TEXT_MAX 128
const char *addr_format_listen(
	const struct sockaddr *sa, socklen_t length, char buf[static ADDR_LISTEN_TEXT_MAX]);

#endif
