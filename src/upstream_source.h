/*
 * upstream_source: the addresses that connections to servers come from (upstream.source_addresses).
 *
 * Process: both; workers connect clients, the supervisor checks.
 */
#ifndef MILLGATE_UPSTREAM_SOURCE_H
#define MILLGATE_UPSTREAM_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upstream_name.h"

struct upstream_sources {
	struct upstream_address *items;
	size_t n; /* 0: the kernel chooses */
	/* The ports that the kernel gives to connections, net.ipv4.ip_local_port_range; n_ports 0: not
	 * known, or so few that it may look at all of them. */
	uint32_t first_port, n_ports;
};

/* In place of those before: these, as a configuration that was checked has them. Without memory for
 * them there are none. */
void upstream_sources_set(
	struct upstream_sources *sources, const char *const *texts, size_t n_texts);
/* Zeroed ones are allowed. */
void upstream_sources_done(struct upstream_sources *sources);

/*
 * Connects the socket: from one of the sources, or the next one that has a port left for this server:
 * an address may have one connection from each of its ports to each server (IP_BIND_ADDRESS_NO_PORT,
 * ip(7)). Without one of the server's family the kernel chooses. `spread` is another number for each
 * connection: by it they go to all sources and ports alike.
 * 0, or -errno as connect(2) and bind(2) have it; -ECONNREFUSED also for a socket that met itself,
 * which is to be closed, as after any error.
 */
int upstream_sources_connect(const struct upstream_sources *sources, uint64_t spread, int fd,
	const struct upstream_address *server) MG_MUST_CHECK;

/* Would one of the sources be used for this server, if there are any? Not so if none is of its family;
 * a Unix socket's server needs none. */
bool upstream_sources_suit(
	const struct upstream_sources *sources, const struct upstream_address *server);

/* Can connections come from this address, which is of a configuration that was checked? -errno of
 * bind(2): EADDRNOTAVAIL if it is none of this machine. */
int upstream_source_try(const char *text) MG_MUST_CHECK;

#endif
