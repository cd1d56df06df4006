/*
 * upstream_resolve: finds the addresses of servers that are given by name.
 *
 * Process: S. /etc/hosts is looked into first, then nameservers are asked by libevent's evdns, for
 * addresses of those families that this machine has itself; nothing waits for an answer. It is not
 * told that a name has no address: that may be an error of a moment, and the old ones are better.
 */
#ifndef MILLGATE_UPSTREAM_RESOLVE_H
#define MILLGATE_UPSTREAM_RESOLVE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "upstream.h"

#define UPSTREAM_RESOLVE_ADDRESSES_MAX 32 /* of each family, of a name */
#define UPSTREAM_RESOLVE_QUESTIONS_MAX 32 /* under way; libevent sends twice as many at once */

struct evdns_base;
struct upstream_resolve_name;

struct upstream_resolve {
	struct event_base *base;
	const struct upstreams *upstreams;
	const char *hosts_path, *resolv_conf_path;
	/* A name has these addresses, sorted, no two the same. */
	void (*resolved)(void *context, unsigned listener, const char *name,
		const struct upstream_address *addresses, size_t n);
	/* It cannot be resolved, for the first time since it could; and NULL: it can again. Called
	 * before `resolved`. */
	void (*trouble)(void *context, unsigned listener, const char *name, const char *problem);
	/* All names have been tried once since the last upstream_resolve_end(). */
	void (*settled)(void *context);
	void *context;
	struct upstream_resolve_name *names; /* UPSTREAM_MAX */
	struct evdns_base *dns;              /* NULL while no name was ever asked for */
	unsigned n_questions;                /* under way, those that nobody waits for too */
	unsigned next;                       /* the name whose turn it is */
	bool is_settled;
	struct event *settle_event; /* so that `settled` comes from the loop */
};

/* The caller has set the fields up to `context`. -ENOMEM. */
int upstream_resolve_init(struct upstream_resolve *resolve) MG_MUST_CHECK;
/* If questions are under way this turns the loop until libevent has let go of them: to be called
 * while all that has events on it is still there. `resolved` is not called any more. */
void upstream_resolve_done(struct upstream_resolve *resolve);

/*
 * At start and at reload: begin, each name with a host, end. All are resolved at once, and then at
 * intervals (0: not again). Names that were not added again are forgotten. Nameservers, hosts and
 * resolv.conf are read anew. No nameservers: those of resolv.conf. Above UPSTREAM_MAX names the
 * rest is left out: -ENOSPC.
 */
void upstream_resolve_begin(struct upstream_resolve *resolve);
int upstream_resolve_add(struct upstream_resolve *resolve, unsigned listener, const char *text,
	const struct upstream_name *name, uint64_t interval_usec) MG_MUST_CHECK;
void upstream_resolve_end(
	struct upstream_resolve *resolve, const char *const *nameservers, size_t n);

/* Of the name at this place, below UPSTREAM_MAX: true if it cannot be resolved, and what and why. */
bool upstream_resolve_trouble(const struct upstream_resolve *resolve, unsigned index,
	unsigned *ret_listener, const char **ret_name, const char **ret_problem);

#endif
