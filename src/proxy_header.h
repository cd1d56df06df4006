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

/* Who speaks to whom; family ADDR_NONE where the proxy does not say (UNKNOWN, LOCAL, AF_UNSPEC: it
 * speaks for itself then, and the connection's own addresses hold). */
struct proxy_header {
	struct addr source, destination;
};

/*
 * Reads the header at the start of what came so far. Returns its length in bytes; 0: it is not
 * complete, and what came is at most PROXY_HEADER_MAX; -EBADMSG with text: it is none.
 */
ssize_t proxy_header_parse(const uint8_t *data, size_t length, struct proxy_header *ret_header,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Writes a header of this version, 1 or 2 (asserted); addresses of two families, of Unix sockets or
 * of none are UNKNOWN and AF_UNSPEC. Returns its length. */
size_t proxy_header_put(uint8_t buf[static PROXY_HEADER_PUT_MAX], unsigned version,
	const struct proxy_header *header);

#endif
