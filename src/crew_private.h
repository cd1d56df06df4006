/* crew_private: what crew.c (the processes) and crew_handover.c (what they are given) share.
 * Process: S. */
#ifndef MILLGATE_CREW_PRIVATE_H
#define MILLGATE_CREW_PRIVATE_H

#include "crew.h"

static inline struct metrics_slot *
crew_slot(const struct crew_member *member)
{
	return &member->crew->metrics->slots[1 + member->index];
}

/* The worker can not be talked to any more: it is killed, and SIGCHLD ends the matter. */
void crew_give_up(struct crew_member *member);

/* Sends what waits for this worker: the configuration first, then the batch. */
void crew_flush_member(struct crew_member *member);

/* Something has changed for the better with this worker: says that there is room, if that is
 * owed. */
void crew_check_room(struct crew_member *member);

#endif
