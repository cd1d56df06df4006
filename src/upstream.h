/*
 * upstream: the servers behind relay listeners, and which of them a client gets.
 *
 * Process: both. Pure but for the memory, which is shared: the supervisor alone writes, and decides;
 * a worker looks up the address of the server that it was told. So the counts are exact and the
 * balance is of all workers together, and a changed address needs no message.
 *
 * A server is one address. What the configuration names may resolve to several, which are as many
 * servers under one name. Each has a number, its place in the table, which is used again only when
 * no connection has it any more; that of one that is disabled only when no name is configured for it
 * either, since an address may come back.
 */
#ifndef MILLGATE_UPSTREAM_H
#define MILLGATE_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "error.h"
#include "upstream_name.h"

#define UPSTREAM_LISTENERS_MAX 64
#define UPSTREAM_NONE UINT16_MAX   /* no server */
#define UPSTREAM_SHY_USEC 10000000 /* a server that failed is a last resort for so long */

enum upstream_balance {
	UPSTREAM_LEAST_CONNECTIONS, /* those that have equally few take turns */
	UPSTREAM_ROUND_ROBIN,
	/* By rendezvous hashing of the address without the port: a server that goes moves its own
	 * clients only. Clients without one (Unix sockets) go by least connections. */
	UPSTREAM_SOURCE,
};

/* What choosing looks at comes first, in one cache line. */
struct upstream {
	bool in_use;        /* this place of the table is taken */
	bool named;         /* configured */
	bool wanted;        /* and the name has this address; otherwise it gets no new client */
	bool unresolved;    /* there is no address: a name that has none yet has this place */
	bool disabled;      /* by an operator */
	bool name_disabled; /* by its name: what that gets is disabled as well */
	bool down;          /* by its health */
	uint8_t listener;
	uint8_t users;        /* counts the servers that have had this place */
	uint32_t connections; /* under way to it or open */
	uint64_t hash;        /* of its address */
	uint64_t failed_usec; /* when connecting last failed, no good check since; 0: never */
	uint64_t connected;   /* how many connects had succeeded by then */
	unsigned streak;      /* results in a row that speak against `down` */
	struct upstream_address address;
	char name[UPSTREAM_NAME_MAX + 1]; /* in the configuration */
} __attribute__((aligned(64)));

/* What a listener's configuration says of all its servers. */
struct upstream_policy {
	enum upstream_balance balance;
	uint64_t max_connections; /* each; 0: no limit */
	unsigned rise, fall;
	bool checked; /* there are checks: without them none is ever down */
};

struct upstreams {
	struct upstream items[UPSTREAM_MAX]; /* by number */
	struct upstream_policy policies[UPSTREAM_LISTENERS_MAX];
	/* The numbers of a listener's servers that are in use, in the order in which they came. */
	uint16_t members[UPSTREAM_LISTENERS_MAX][UPSTREAM_MAX];
	uint16_t n_members[UPSTREAM_LISTENERS_MAX];
	uint16_t next[UPSTREAM_LISTENERS_MAX]; /* the member whose turn it is */
};

/* Shared memory, zeroed; forked children share it. NULL: no memory. */
struct upstreams *upstreams_new(void) MG_MUST_CHECK;
void upstreams_free(struct upstreams *upstreams);
/* In a forked worker: it can be read only from here on. */
void upstreams_inherit(struct upstreams *upstreams);

/* Without checks all that are down are up again. */
void upstreams_set_policy(
	struct upstreams *upstreams, unsigned listener, const struct upstream_policy *policy);

/*
 * The name (at most UPSTREAM_NAME_MAX bytes) has these addresses now. Those that it had and has no
 * more get no new clients; those that it has again go on, with number and counters. `fresh`
 * (optional) is called with the number of each that is new: its counters begin at 0. -ENOSPC: there
 * are UPSTREAM_MAX servers; the rest of the addresses is left out.
 */
int upstreams_set_addresses(struct upstreams *upstreams, unsigned listener, const char *name,
	const struct upstream_address *addresses, size_t n,
	void (*fresh)(void *context, uint16_t number), void *context) MG_MUST_CHECK;

/* The name has no address yet: if it has none of before either, it gets a place, which no client
 * gets, until there is one. -ENOSPC as above. */
int upstreams_await_address(struct upstreams *upstreams, unsigned listener, const char *name,
	void (*fresh)(void *context, uint16_t number), void *context) MG_MUST_CHECK;

/* The listener's configuration has these names only. */
void upstreams_keep_names(
	struct upstreams *upstreams, unsigned listener, const char *const *names, size_t n);

/*
 * At a restart, before the configuration is applied: a server as it was, wanted or not, so that it
 * keeps its counters, and its address (length 0: unresolved) until the name is resolved. The caller
 * may set `disabled`, `name_disabled` and `down`. The number of one that is there already if it is. UPSTREAM_NONE: there are UPSTREAM_MAX.
 * One that is not wanted and that nobody was counted on is gone at the next
 * upstreams_keep_names().
 */
uint16_t upstreams_restore(struct upstreams *upstreams, unsigned listener, const char *name,
	const struct upstream_address *address, bool wanted) MG_MUST_CHECK;

/* Chooses a server for a client, and counts it there. `not_this` (or UPSTREAM_NONE) is one that has
 * just failed it, to be taken only if there is no other. UPSTREAM_NONE: none is up and has room. */
uint16_t upstreams_pick(struct upstreams *upstreams, unsigned listener, const struct addr *client,
	uint16_t not_this, uint64_t now_usec) MG_MUST_CHECK;

/* Would upstreams_pick() find one? */
bool upstreams_available(const struct upstreams *upstreams, unsigned listener);

/* By an operator: the server, or its name with what that gets from now on. */
void upstreams_set_disabled(
	struct upstreams *upstreams, uint16_t number, bool is_disabled, bool by_name);

/* Is it what an operator calls so: a name, or an address? */
bool upstream_is_called(const struct upstream *upstream, const char *name_or_address);

/* A client is counted there, in whatever state the server is: at a restart. */
void upstreams_count(struct upstreams *upstreams, uint16_t number);

/* A client that was counted there is no more; its place is free when it was the last of one that is
 * not wanted. UPSTREAM_NONE is allowed. True: clients that wait may get in now. */
bool upstreams_release(struct upstreams *upstreams, uint16_t number);

enum upstream_change {
	UPSTREAM_SAME,
	UPSTREAM_WENT_DOWN,
	UPSTREAM_CAME_UP,
};

/* A check. A good one also ends the time in which a server is a last resort. */
enum upstream_change upstreams_checked(
	struct upstreams *upstreams, uint16_t number, bool good) MG_MUST_CHECK;

/* A client's connect that failed; `connected` counts all that ever succeeded, so that a failure
 * among successes is no streak. */
enum upstream_change upstreams_connect_failed(struct upstreams *upstreams, uint16_t number,
	uint64_t connected, uint64_t now_usec) MG_MUST_CHECK;

/* True: it gets new clients as far as there is room. */
static inline bool
upstream_is_up(const struct upstream *upstream)
{
	return upstream->in_use && upstream->wanted && !upstream->unresolved &&
	       !upstream->disabled && !upstream->down;
}

/* Its address: "192.0.2.1:8080", "[2001:db8::1]:8080", "unix:/run/app.sock", "" while it is
 * unresolved. Returns buf. */
const char *upstream_format(
	const struct upstream *upstream, char buf[static UPSTREAM_ADDRESS_TEXT_MAX]);

/* "app.example:9000 (192.0.2.1:9000)", or what there is of it. Returns buf. */
#define UPSTREAM_LABEL_MAX (UPSTREAM_NAME_MAX + UPSTREAM_ADDRESS_TEXT_MAX + 4)
const char *upstream_label(const struct upstream *upstream, char buf[static UPSTREAM_LABEL_MAX]);

#endif
