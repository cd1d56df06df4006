/*
 * upstream_watch: keeps the table of servers true to the configuration, to their names and to their
 * health.
 *
 * Process: S. It decides nothing about clients; it says when those that wait may get in.
 */
#ifndef MILLGATE_UPSTREAM_WATCH_H
#define MILLGATE_UPSTREAM_WATCH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "error.h"
#include "metrics.h"
#include "upstream.h"
#include "upstream_check.h"
#include "upstream_resolve.h"

#define UPSTREAM_SETTLE_USEC 5000000

struct upstream_watch_callbacks {
	/* A server may take clients that wait. Called from the loop, from upstream_watch_apply()
	 * and from upstream_watch_set_disabled(). */
	void (*available)(void *context);
	/* Once, from the loop: after the first upstream_watch_apply() each name was resolved or
	 * failed, or UPSTREAM_SETTLE_USEC have passed. */
	void (*settled)(void *context);
};

struct upstream_watch {
	struct upstreams *upstreams;
	struct metrics *metrics;
	struct upstream_watch_callbacks callbacks;
	void *context;
	struct upstream_check check;
	struct upstream_resolve resolve;
	struct event *settle_event; /* when it has taken too long */
	uint64_t settle_usec;
	bool is_applied, is_settled;
	bool is_full;                                              /* and that was said */
	char listeners[UPSTREAM_LISTENERS_MAX][CONF_NAME_MAX + 1]; /* their names */
};

/* Tables and metrics stay the caller's. -ENOMEM. */
int upstream_watch_init(struct upstream_watch *watch, struct event_base *base,
	struct upstreams *upstreams, struct metrics *metrics,
	const struct upstream_watch_callbacks *callbacks, void *context) MG_MUST_CHECK;

/* First of all that ends: when names are being resolved it turns the loop, see
 * upstream_resolve_done(). Neither callback is called any more. Zeroed memory is fine. */
void upstream_watch_done(struct upstream_watch *watch);

/*
 * A configuration, at start and at each reload, with the listeners always in the same order. Servers
 * that are given by address are there on return, and names keep what they had until they are
 * resolved.
 */
void upstream_watch_apply(struct upstream_watch *watch, const struct conf *conf);

/* A client's connect failed with `error` (errno): counts and logs. */
void upstream_watch_connect_failed(
	struct upstream_watch *watch, uint16_t number, int error, uint64_t now_usec);

/*
 * For maintenance: disables or enables all servers of the listener (-1: of all) that the
 * configuration gives as `text`, or that have this address. How many there are, whether that
 * changed them or not. What a name gets that was disabled is disabled, too; an address stays so, if its
 * name has it no more and then again.
 */
unsigned upstream_watch_set_disabled(
	struct upstream_watch *watch, int listener, const char *text, bool is_disabled);

#endif
