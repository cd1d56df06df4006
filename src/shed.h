/*
 * shed: when all queues together are over limits.queued_bytes, the longest are closed first.
 *
 * Process: S. A worker knows only its own queues. So the first to see that the sum is over the
 * limit says so; then each is asked for its longest, and the one that has the longest of all
 * closes queues until enough is freed or another worker's would be longer. That is repeated until
 * the sum fits.
 */
#ifndef MILLGATE_SHED_H
#define MILLGATE_SHED_H

#include "crew.h"

struct shed {
	struct crew *crew;
	const struct metrics *metrics;
	uint64_t limit_bytes;
	bool running;
	unsigned n_asked; /* answers still to come */
	bool asked[CREW_MAX];
	struct crew_member *longest;
	uint64_t longest_bytes, second_bytes;
};

/* A worker said OVER. */
void shed_start(struct shed *shed);
/* LONGEST and SHED_DONE from a worker. */
void shed_on_longest(struct shed *shed, struct crew_member *member, uint64_t bytes);
void shed_on_done(struct shed *shed, struct crew_member *member);
/* A worker is gone; no answer will come from it. */
void shed_on_lost(struct shed *shed, struct crew_member *member);

#endif
