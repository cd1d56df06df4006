/*
 * sweep: a walk over all connections of a worker that stalls none of them.
 *
 * Process: W. Visits SWEEP_SLICE entries of the table in a turn of the loop.
 */
#ifndef MILLGATE_SWEEP_H
#define MILLGATE_SWEEP_H

#include "conn.h"

#define SWEEP_SLICE 4096

struct sweep {
	struct conns *conns;
	struct event *event;
	uint32_t next;
	/* Called for each connection; it may close it. */
	void (*visit)(void *context, struct conn *conn);
	/* Optional: called after each slice; `last` after the last one. */
	void (*slice)(void *context, bool last);
	void *context;
};

/* The caller has set conns, visit, slice and context. -ENOMEM. */
int sweep_init(struct sweep *sweep, struct event_base *base) MG_MUST_CHECK;
void sweep_done(struct sweep *sweep);
/* From the first connection on, also when it is under way already. */
void sweep_start(struct sweep *sweep);

#endif
