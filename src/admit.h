/*
 * admit: may this connection come in?
 *
 * Process: S. Pure: a connection and the time go in, an answer comes out; libc only, no sockets,
 * no clock. It keeps the counts that limits are about: in all, per listener, per source.
 */
#ifndef MILLGATE_ADMIT_H
#define MILLGATE_ADMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "close_reason.h"
#include "source.h"

#define ADMIT_LISTENERS_MAX 64

enum admit_when_full {
	ADMIT_REFUSE = 0, /* accept and close, counted */
	ADMIT_WAIT,       /* leave it in the backlog */
};

struct admit_rate {
	uint64_t per_second; /* 0: no limit */
	uint64_t burst;      /* how many may come at once; 0: as many as per_second */
};

struct admit_listener_limits {
	uint64_t connections; /* 0: none of its own */
	struct admit_rate rate;
	enum admit_when_full when_full;
};

struct admit_limits {
	uint64_t connections;
	uint64_t per_source; /* 0: no limit */
	unsigned ipv4_prefix, ipv6_prefix;
	const struct cidr *exempt; /* not subject to per_source; still counted */
	size_t n_exempt;
	struct admit_rate rate;
	struct admit_listener_limits listeners[ADMIT_LISTENERS_MAX];
};

struct admit;

/* Copies the limits. `max_connections` bounds every later `limits.connections`. NULL: no memory. */
struct admit *admit_new(const struct admit_limits *limits, uint32_t max_connections,
	uint64_t now_usec) MG_MUST_CHECK;
void admit_free(struct admit *admit);

/*
 * New limits for connections to come; who is in stays in. Token buckets keep their fill, cut to the
 * new burst. When a prefix changed, sources are counted anew: true is returned, the old counts
 * are kept aside for those who are in, and the caller moves each of them with
 * admit_recount() and ends with admit_recount_done(). A second change of prefix before that first
 * one is done is the caller's bug (asserted). -ENOMEM: nothing changed.
 */
int admit_configure(struct admit *admit, const struct admit_limits *limits, uint64_t now_usec,
	bool *ret_recount) MG_MUST_CHECK;

/* A connection that came in before the prefix changed: lets go of its old source (one from before
 * the change, see admit_release()) and returns its new one. */
uint32_t admit_recount(struct admit *admit, uint32_t old_source, const struct addr *addr);
void admit_recount_done(struct admit *admit);

enum admit_gate {
	ADMIT_GATE_OPEN = 0, /* accept one */
	ADMIT_GATE_FULL,     /* when_full is wait, and the listener or the whole is full */
	ADMIT_GATE_RATE,     /* the accept rate is used up for now */
};

/* Asked before each accept. With ADMIT_GATE_RATE, *ret_wait_usec says when to ask again. */
enum admit_gate admit_gate(
	struct admit *admit, unsigned listener, uint64_t now_usec, uint64_t *ret_wait_usec);

/*
 * Asked with what accept gave, once for each ADMIT_GATE_OPEN; takes one token of the rates (that
 * there is one is asserted), of a refused connection too. CLOSE_NONE: it is in and counted,
 * *ret_source is its source's handle, to be given back by admit_release(). Otherwise the reason
 * why not, and nothing is counted.
 */
enum close_reason admit_decide(struct admit *admit, unsigned listener, const struct addr *addr,
	uint64_t now_usec, uint32_t *ret_source);

/* A connection that is in and counted for no source, since it is a load balancer's, has told who it
 * is for: counts it for that source, as admit_decide() does. Or CLOSE_REFUSED_SOURCE. */
enum close_reason admit_identify(
	struct admit *admit, const struct addr *addr, uint32_t *ret_source);

/* As admit_decide() for one that was let in before, by the process before this one: takes no token. */
enum close_reason admit_restore(
	struct admit *admit, unsigned listener, const struct addr *addr, uint32_t *ret_source);

/* Would admit_restore() let so many in, wherever they come from? */
bool admit_takes_all(const struct admit *admit, uint64_t n);

/* The connection is closed. `from_before_recount`: the handle is one from before the change of
 * prefix that is still being recounted. */
void admit_release(
	struct admit *admit, unsigned listener, uint32_t source, bool from_before_recount);

uint32_t admit_connections(const struct admit *admit);
uint32_t admit_listener_connections(const struct admit *admit, unsigned listener);
/* The table in force, for views; borrowed until the next admit_configure(). */
const struct source_table *admit_sources(const struct admit *admit);

#endif
