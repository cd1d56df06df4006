/*
 * upstream_name: what the configuration says of a server, as text.
 *
 * Process: both. Pure: nothing is resolved here.
 */
#ifndef MILLGATE_UPSTREAM_NAME_H
#define MILLGATE_UPSTREAM_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "addr.h"
#include "error.h"

#define UPSTREAM_MAX 256 /* servers of all listeners */
/* Bytes of a name in the configuration: 253, the dot of an absolute one, a colon and the port. */
#define UPSTREAM_NAME_MAX 260

/* All of `sa` behind what its family has is zero, so that addresses can be compared as bytes. */
struct upstream_address {
	struct sockaddr_storage sa;
	socklen_t length;
};

/* What the configuration names. */
struct upstream_name {
	struct upstream_address address; /* length 0: `host` is to be resolved */
	char host[UPSTREAM_NAME_MAX + 1];
	uint16_t port; /* of `host` */
};

/* Reads "127.0.0.1:8080", "[::1]:8080", "unix:/path", "unix:@name" or "app.example:9000". -EINVAL
 * with what is allowed. */
int upstream_parse_name(const char *text, struct upstream_name *ret_name,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Reads an address without port, as source_addresses has them: "192.0.2.1", "2001:db8::1"; port 0.
 * -EINVAL with what is allowed. */
int upstream_parse_source(const char *text, struct upstream_address *ret_address,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Reads the address of a nameserver: "192.0.2.1:53", "[2001:db8::1]:53". -EINVAL with what is
 * allowed. */
int upstream_parse_nameserver(const char *text, struct upstream_address *ret_address,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* The same address, port included. */
bool upstream_address_equal(const struct upstream_address *a, const struct upstream_address *b);

/* What there is to say of an address that not every machine has for itself. */
enum upstream_kind {
	UPSTREAM_KIND_OWN, /* of one machine; Unix sockets as well */
	UPSTREAM_KIND_UNSPECIFIED,
	UPSTREAM_KIND_MULTICAST,
	UPSTREAM_KIND_BROADCAST, /* 255.255.255.255 */
	UPSTREAM_KIND_LINK_LOCAL /* IPv6: of no use without a zone id */
};
enum upstream_kind upstream_address_kind(const struct upstream_address *address);

/* Is it on this machine, by 127.0.0.0/8 or ::1? */
bool upstream_address_is_loopback(const struct upstream_address *address);

/* "192.0.2.1:8080", "[2001:db8::1]:8080", "unix:/run/app.sock". Returns buf. */
#define UPSTREAM_ADDRESS_TEXT_MAX ADDR_LISTEN_TEXT_MAX
const char *upstream_address_format(
	const struct upstream_address *address, char buf[static UPSTREAM_ADDRESS_TEXT_MAX]);

#endif
