/*
 * proxy_line: version 1 of the PROXY protocol's header, a line of text (proxy-protocol.txt, section
 * 2.1).
 *
 * Process: both. Pure. It is a part of proxy_header, which is what others call.
 */
#ifndef MILLGATE_PROXY_LINE_H
#define MILLGATE_PROXY_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "proxy_header.h"

/* As proxy_header_parse(), of what begins as a line. */
ssize_t proxy_line_parse(const uint8_t *data, size_t length, struct proxy_header *ret_header,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Writes a line for addresses of one family, IPv4 or IPv6; UNKNOWN for ADDR_NONE. Returns its
 * length; a zero byte is behind it. */
size_t proxy_line_put(char buf[static PROXY_HEADER_PUT_MAX], const struct proxy_header *header);

#endif
