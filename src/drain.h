/*
 * drain: closes all connections of a worker at an even pace, in random order.
 *
 * Process: W. Clients that are closed come back at once; spread over minutes, that is no storm.
 */
#ifndef MILLGATE_DRAIN_H
#define MILLGATE_DRAIN_H

#include "conn.h"

struct drain {
	struct conns *conns;
	struct event *event;
	uint64_t start_usec, over_usec;
	uint32_t start_count; /* connections when it began */
	double phase;         /* 0 to 1: how near the first one is, so that workers differ */
	/* The order: table entries (first + k * step) % entries for k = 0, 1, ...; step and entries
	 * have no common divisor, so each entry comes once. */
	uint32_t entries, first, step, visited;
	bool running; /* until cancelled, also when none are left */
};

/* -ENOMEM. */
int drain_init(struct drain *drain, struct event_base *base, struct conns *conns) MG_MUST_CHECK;
void drain_done(struct drain *drain);

/* Closes all with reason `drained` over so many microseconds; 0: at once. Anew when running. */
void drain_start(struct drain *drain, uint64_t over_usec);
/* Connections have come that were on their way when it began. */
void drain_wake(struct drain *drain);
void drain_cancel(struct drain *drain);

#endif
