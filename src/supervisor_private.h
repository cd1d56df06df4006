/* supervisor_private: what the files of the supervisor share. Process: S. */
#ifndef MILLGATE_SUPERVISOR_PRIVATE_H
#define MILLGATE_SUPERVISOR_PRIVATE_H

#include "supervisor.h"

/* Callbacks of crew and acceptor. */
void supervisor_on_message(
	void *context, struct crew_member *member, const struct control_message *message);
void supervisor_on_lost(void *context, struct crew_member *member);
void supervisor_on_room(void *context);
void supervisor_on_refused(void *context, enum close_reason reason);

/* Tells systemd READY=1, once, when all workers are up. */
void supervisor_say_ready(struct supervisor *supervisor);

/* Ends a reload that systemd was told of. */
void supervisor_say_reloaded(struct supervisor *supervisor);

#endif
