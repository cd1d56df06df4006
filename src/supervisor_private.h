/* supervisor_private: what the files of the supervisor share. Process: S. */
#ifndef MILLGATE_SUPERVISOR_PRIVATE_H
#define MILLGATE_SUPERVISOR_PRIVATE_H

#include "supervisor.h"

/* Callbacks of crew and acceptor. */
void supervisor_on_message(
	void *context, struct crew_member *member, const struct control_message *message);
void supervisor_on_lost(void *context, struct crew_member *member);
void supervisor_on_room(void *context);
void supervisor_on_refused(void *context, unsigned listener, enum close_reason reason);

/* A connection is gone, for whatever reason: the one place where it leaves all counts. CLOSE_NONE: it
 * was counted as closed before. */
void supervisor_forget(struct supervisor *supervisor, uint64_t id, enum close_reason reason);

/* In supervisor_run.c: no more connections come in; those that are here go as `stop` says. */
void supervisor_begin_stop(struct supervisor *supervisor, enum supervisor_stop stop);

/* Ends as SIGTERM asks for. */
void supervisor_terminate(struct supervisor *supervisor);

/* In supervisor_restart.c. Decides which of the parked connections stay; `restore.set` was taken. */
int supervisor_begin_restore(struct supervisor *supervisor) MG_MUST_CHECK;
/* All workers have ended: passes on what they left. -errno, logged: an upgrade that lost all. */
int supervisor_pass_on(struct supervisor *supervisor);

/* In supervisor_try.c: could a process that took over from this one start, with the file as it is? -errno
 * with the reason. What only time can tell is not looked at. */
int supervisor_try(
	const struct supervisor *supervisor, struct mg_error *reterr_error) MG_MUST_CHECK;

/* In supervisor_servers.c: the servers behind relay listeners, at start, when the acceptor is there,
 * and after a reload. */
int supervisor_init_servers(struct supervisor *supervisor) MG_MUST_CHECK;
void supervisor_apply_servers(struct supervisor *supervisor);

/* Tells systemd READY=1, once, when all workers are up and nothing is to be restored. */
void supervisor_say_ready(struct supervisor *supervisor);

/* Ends a reload that systemd was told of. */
void supervisor_say_reloaded(struct supervisor *supervisor);

/* In supervisor_upstreams.c: what is wrong with servers behind relay listeners, and their gauges. */
void supervisor_add_upstream_problems(const struct supervisor *supervisor, json_t *list);
void supervisor_add_upstream_warnings(const struct supervisor *supervisor, json_t *list);
void supervisor_refresh_upstreams(struct supervisor *supervisor);

#endif
