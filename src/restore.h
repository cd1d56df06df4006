/*
 * restore: takes up the connections that the process before this one parked.
 *
 * Process: S. First all records are gone through, the oldest connection first, and it is decided
 * which stay; so it is the newest that go when a limit was lowered. Then the berths are emptied:
 * each descriptor is compared with its record and given to the least loaded worker, by the same
 * way as a new connection. Accepting waits until it is done.
 */
#ifndef MILLGATE_RESTORE_H
#define MILLGATE_RESTORE_H

#include <event2/event.h>
#include <stdbool.h>

#include "admit.h"
#include "crew.h"
#include "metrics.h"
#include "parkset.h"
#include "roster.h"

struct restore {
	struct event_base *base;
	const struct conf *conf;
	struct crew *crew;
	struct admit *admit;
	struct roster *roster;
	struct upstreams *upstreams;
	struct metrics *metrics;
	struct parkset set;
	/* A connection that restore_begin() entered cannot be had after all. */
	void (*lost)(void *context, uint64_t id, enum close_reason reason);
	void (*done)(void *context);
	void *context;

	bool running;
	struct event *event;
	unsigned berth;                /* under way */
	struct fdpass_message message; /* of it, the descriptors from `position` on */
	unsigned position;
	uint32_t first_record; /* of the message */
	uint8_t **fates;       /* by file and record: enum close_reason, or of enum restore_fate */
	/* Who got the client of the record just before; NULL: nobody. */
	struct crew_member *client_with;
	uint64_t n_parked, n_restored; /* clients */
	uint64_t n_unknown;            /* descriptors of which nothing is known */
};

/*
 * The caller has set everything up to `context`, and `set` was taken. Carries on the counters, and
 * decides which connections stay: those are in the roster and admitted when it returns, and
 * `running` says whether there is anything for restore_wake() to do. -ENOMEM.
 */
int restore_begin(struct restore *restore) MG_MUST_CHECK;
/* All workers are up, or one has room again: goes on. */
void restore_wake(struct restore *restore);
/* Also when it has not ended. */
void restore_end(struct restore *restore);

#endif
