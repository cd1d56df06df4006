/*
 * park: a worker gives its connections out of its hands, for the process that comes after it.
 *
 * Process: W. Their descriptors go into berths, socketpairs whose near end is closed once they are
 * full: the kernel keeps what is in flight in them, and the clients notice nothing. What is known of
 * the connections goes into a parkfile. Both are then kept by systemd (its store takes few
 * descriptors, since it compares each with every other, and a berth is one with tens of thousands
 * in it), or by the supervisor, which is about to become another program.
 */
#ifndef MILLGATE_PARK_H
#define MILLGATE_PARK_H

#include "conn.h"
#include "park_facts.h"
#include "park_store.h"

/*
 * Parks all connections. Those that cannot be are closed with reason park_failed, and the first
 * cause is logged. -errno: none can be, and nothing was done.
 */
int park_connections(struct conns *conns, const struct park_writer *writer,
	struct parked *ret_parked) MG_MUST_CHECK;

/* Closes in this process what is parked: in a berth it stays open. Once, before something is taken out
 * again, which needs the numbers. */
void park_let_go(const struct parked *parked);
/* Takes the connections of one message out of a berth again, and closes them. The next process finds
 * that they are missing. Returns how many; 0: there are none left. */
unsigned park_retract(struct parked *parked);

#endif
