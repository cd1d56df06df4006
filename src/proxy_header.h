/*
 * proxy_header: the header of the PROXY protocol, by which a proxy tells the next server who the
 * client is: versions 1 (a line of text) and 2 (binary).
 *
 * Process: both. Pure: bytes in, addresses or an error out, and back. The specification is
 * HAProxy's doc/proxy-protocol.txt; the sections named here are its.
 */
#ifndef MILLGATE_PROXY_HEADER_H
#define MILLGATE_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "error.h"

/* The longest that is read, in bytes; a proxy may add facts of its own (TLVs), which are skipped. */
#define PROXY_HEADER_MAX 4096
/* The longest that is written: a line of text (2.1), which is longer than our binary ones. */
#define PROXY_HEADER_PUT_MAX 108

/*
 * Who speaks to whom. Both are of ADDR_NONE where the proxy does not say: it speaks for itself then,
 * or for a protocol that it has no word for, and the connection's own addresses hold (UNKNOWN,
 * LOCAL, and AF_UNSPEC as family or transport). Both are ADDR_UNIX if the client came by a Unix
 * socket; its path is not kept.
 */
struct proxy_header {
	struct addr source, destination;
};

/*
 * Reads the header at the start of what came so far. Returns its length in bytes; 0: it is not
 * complete, and what came is less than PROXY_HEADER_MAX; -EBADMSG with text: it is none, and
 * nothing that comes makes one of it, which is said at the first byte that is wrong.
 *
 * An IPv4-mapped IPv6 address counts as the IPv4 address that it is. Addresses of datagrams are
 * taken as those of streams. What follows the addresses (TLVs) is skipped, but must fill the header
 * exactly, and a checksum (PP2_TYPE_CRC32C) must be right, once the header is whole; there is at
 * most one. Where the specification has the receiver ignore the whole block (LOCAL, AF_UNSPEC), it
 * is skipped unread.
 */
ssize_t proxy_header_parse(const uint8_t *data, size_t length, struct proxy_header *ret_header,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/*
 * Writes a header of this version, 1 or 2 (asserted), for a connection by TCP. A header has one family: of
 * an IPv4 and an IPv6 address the former is written as the IPv6 address that stands for it
 * (::ffff:a.b.c.d). If one is of a Unix socket or none at all, no address is told: UNKNOWN, or
 * PROXY with AF_UNSPEC. Returns its length.
 */
size_t proxy_header_put(uint8_t buf[static PROXY_HEADER_PUT_MAX], unsigned version,
	const struct proxy_header *header);

#endif
