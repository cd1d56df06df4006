/*
 * restore: takes up the connections that the process before this one parked.
 *
 * Process: S. First all records are gone through, the oldest connection first, and it is decided
 * which stay; so it is the newest that go when a limit was lowered. Then the berths are emptied. If
 * there are as many workers as before, each gets the berths of one of those as they are, and the
 * rest is in worker_inherit.c. Otherwise they are emptied here: each descriptor is compared with its
 * record and given to the least loaded worker, by the same way as a new connection. Accepting waits
 * until it is done.
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
	unsigned n_workers;
	struct parkset set;
	/* A connection that restore_begin() entered cannot be had after all. CLOSE_NONE: the process
	 * before has counted it as closed. */
	void (*lost)(void *context, uint64_t id, enum close_reason reason);
	void (*done)(void *context);
	void *context;

	bool running;
	/* By worker: what it is to take up as it is; NULL: nothing (any more). */
	struct parkset_file *whole[CREW_MAX];
	/* It has that, and has not said yet that it is done. */
	const struct parkset_file *awaited[CREW_MAX];
	unsigned n_awaited;
	struct event *event;
	unsigned berth;                /* under way */
	struct fdpass_message message; /* of it, the descriptors from `position` on */
	unsigned position;
	uint32_t first_record; /* of the message */
	bool sound;            /* parkset_matches() of the descriptor before */
	/* Who got the client of the record just before; NULL: nobody. */
	struct crew_member *client_with;
	uint64_t n_parked, n_restored; /* clients */
	uint64_t n_unknown;            /* descriptors of which nothing is known */
	uint64_t n_missing;            /* clients whose descriptors did not come */
	uint64_t n_closed;             /* clients that are closed by the counters, and entered */
};

/*
 * The caller has set everything up to `context`, and `set` was taken. Carries on the counters, and
 * decides which connections stay: those are in the roster and admitted when it returns, and
 * `running` says whether there is anything for restore_wake() to do. -ENOMEM.
 */
int restore_begin(struct restore *restore) MG_MUST_CHECK;
/* A worker is up, or one has room again: goes on. */
void restore_wake(struct restore *restore);
/* INHERITED: this worker has taken up what it was given, but for so many clients, and found so many
 * descriptors of which nothing is known. Or: it has gone. */
void restore_on_inherited(struct restore *restore, const struct crew_member *member,
	uint64_t n_missing, uint64_t n_unknown);
void restore_on_lost(struct restore *restore, const struct crew_member *member);
/* Goes on no more: what is in berths still stays with systemd, for the process after this one. */
void restore_stop(struct restore *restore);
/* Also when it has not ended. */
void restore_end(struct restore *restore);

#endif
