/*
 * upstream_check: tries at intervals whether each server accepts a connection.
 *
 * Process: S. A connect that is closed at once; nothing is sent. At most one check of a server is
 * under way, so UPSTREAM_MAX of all. Servers that are disabled are checked too, so that their
 * health is known when they are enabled again.
 */
#ifndef MILLGATE_UPSTREAM_CHECK_H
#define MILLGATE_UPSTREAM_CHECK_H

#include <event2/event.h>
#include <stdint.h>

#include "error.h"
#include "log.h"
#include "metrics.h"
#include "upstream.h"
#include "upstream_source.h"

/* Of a listener; interval 0: its servers are not checked. */
struct upstream_check_policy {
	uint64_t interval_usec;
	uint64_t timeout_usec;
	struct upstream_sources sources; /* where connects come from, as those of clients do */
};

struct upstream_check_slot; /* a server's */

struct upstream_check {
	struct event_base *base;
	struct upstreams *upstreams;
	struct metrics *metrics;
	/* The server's health has changed; `problem` is why a check failed, or NULL. */
	void (*changed)(
		void *context, uint16_t number, enum upstream_change change, const char *problem);
	void *context;
	struct upstream_check_policy policies[UPSTREAM_LISTENERS_MAX];
	struct upstream_check_slot *slots; /* UPSTREAM_MAX, by number */
	struct log_limit log;              /* of checks that we could not make */
};

/* The caller has set the fields up to `context`. -ENOMEM. */
int upstream_check_init(struct upstream_check *check) MG_MUST_CHECK;
void upstream_check_done(struct upstream_check *check);

/* After each change of the table or of `policies`: who is new is checked at once, who is no longer
 * wanted not any more. */
void upstream_check_update(struct upstream_check *check);

/* Another server has this number now. */
void upstream_check_forget(struct upstream_check *check, uint16_t number);

/*
 * How long until the next check of a server, at least half an interval. Checks are at moments that
 * follow from the number, so that those of several servers are an even stream.
 */
uint64_t upstream_check_delay(uint64_t now_usec, uint64_t interval_usec, uint16_t number);

#endif
