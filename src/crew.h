/*
 * crew: the workers, as the supervisor sees them.
 *
 * Process: S. Forks them, hands connections to them in batches, replaces those that die or hang.
 * What they report goes to the callbacks.
 */
#ifndef MILLGATE_CREW_H
#define MILLGATE_CREW_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "channel.h"
#include "metrics.h"

#define CREW_MAX METRICS_WORKERS_MAX
/* Connections sent to a worker that it has not confirmed yet. One that hangs swallows no more. */
#define CREW_UNADOPTED_MAX 4096
#define CREW_BACKOFF_MIN_USEC 100000
#define CREW_BACKOFF_MAX_USEC 30000000
#define CREW_WATCH_USEC 1000000    /* from one crew_watch() to the next */
#define CREW_HEALTHY_USEC 60000000 /* a worker that lived so long died for a new reason */

enum crew_state {
	CREW_DOWN = 0, /* none; waiting to be replaced */
	CREW_STARTING, /* forked, not READY yet */
	CREW_UP,
	CREW_STATE_COUNT,
};

struct crew;

struct crew_member {
	struct crew *crew;
	unsigned index;
	enum crew_state state;
	pid_t pid;
	struct channel channel;
	uint32_t connections; /* handed to it and not closed, the batch included */
	uint32_t fds;         /* descriptors that it has or will have for them */
	uint32_t unadopted;   /* sent to it and not yet confirmed */
	uint64_t started_usec;
	uint64_t backoff_usec;
	uint64_t restarts;
	uint64_t old_tick_usec; /* its last tick, if crew_watch() found that too old; or 0 */
	struct event *respawn_event;
	int conf_fd; /* a configuration still to be sent, or -1 */
	bool told_to_stop;
	bool parked; /* it gave its connections out of its hands: nobody lost them */
	int parked_fds[FDPASS_FDS_MAX]; /* with CONTROL_FLAG_RETURN */
	unsigned n_parked_fds;
	unsigned n_batch;
	struct control_handover batch[FDPASS_FDS_MAX];
	int batch_fds[FDPASS_FDS_MAX];
};

struct crew_callbacks {
	/* In the forked child: runs the worker and returns its exit status. */
	int (*run)(void *context, unsigned index, int channel_fd);
	/* A message other than READY. */
	void (*message)(
		void *context, struct crew_member *member, const struct control_message *message);
	/* The worker is gone and its last words were passed on: what it held is lost, unless it
	 * has `parked`. */
	void (*lost)(void *context, struct crew_member *member);
	/* A worker is up, or one can take connections again after crew_pick() found nobody. */
	void (*room)(void *context);
	void *context;
};

struct crew {
	struct event_base *base;
	struct metrics *metrics;
	struct crew_callbacks callbacks;
	struct crew_member *members;
	unsigned n_members;
	uint32_t capacity; /* descriptors of connections that one worker's limit allows */
	unsigned n_up;
	unsigned next;         /* ties between equally loaded workers go round */
	uint64_t watched_usec; /* the time of the last crew_watch() */
	bool stopping;
	uint8_t stop_flags;
	bool starved; /* crew_pick() found nobody; `room` is owed */
};

/* Starts `n` workers. -errno; crew_done() is needed in any case. */
int crew_init(struct crew *crew, struct event_base *base, unsigned n, struct metrics *metrics,
	const struct crew_callbacks *callbacks) MG_MUST_CHECK;
/* Kills what still runs. */
void crew_done(struct crew *crew);

/* The least loaded worker that can take one more that needs so many descriptors, or NULL. *ret_full tells why: true when all
 * workers that are up are at capacity, false when it is worth waiting for one. */
struct crew_member *crew_pick(struct crew *crew, unsigned n_fds, bool *ret_full);

/* Puts a connection, which will need so many descriptors there, into the worker's batch; takes fd. */
void crew_give(
	struct crew_member *member, const struct control_handover *record, int fd, unsigned n_fds);
/* The same for the connection to its server, behind it in the same message. */
void crew_give_upstream(struct crew_member *member, const struct control_handover *record, int fd);

/* Sends it what another process parked, with the berths, which stay the caller's: so many clients
 * are in there and are to stay, and need so many descriptors. False: it has no room for them. */
bool crew_give_whole(struct crew_member *member, const struct control_header *header,
	const int *fds, unsigned n, uint32_t connections, uint32_t connection_fds) MG_MUST_CHECK;

/* Sends all batches. False: some are to wait, and callbacks.room() tells when to try again. */
bool crew_flush(struct crew *crew);

/* A connection of this worker that had so many descriptors is closed. */
void crew_release(struct crew_member *member, unsigned n_fds);

/* Sends to one or to all that run. A worker to which nothing can be said any more is killed. */
void crew_send(
	struct crew_member *member, const struct control_header *header, const void *records);
void crew_send_all(struct crew *crew, const struct control_header *header);

/* RELOAD with the file that holds the new configuration; it is sent before any connection that is
 * given to the worker from now on. */
void crew_send_conf(struct crew *crew, int conf_fd);

/* A child ended; false: it is no worker. */
bool crew_reap(struct crew *crew, pid_t pid, int status);

/* To be called every CREW_WATCH_USEC. Kills workers whose last tick is older than `timeout_usec` and
 * still is their last when this is called the next time. A call that comes much later or earlier than
 * that finds out nothing: the machine stood still (a virtual one that was paused or moved), and they
 * may not have had the time to tick. */
void crew_watch(struct crew *crew, uint64_t now_usec, uint64_t timeout_usec);

/* Has every worker that crew_watch() found silent ticked since? */
bool crew_ticks(const struct crew *crew);

/* Tells all to stop, once they have what they were given; `flags` of CONTROL_STOP. None is replaced
 * from now on. */
void crew_stop(struct crew *crew, uint8_t flags);
/* Workers that have not ended. */
unsigned crew_running(const struct crew *crew);
/* SIGKILL for those that did not stop in time. */
void crew_kill(struct crew *crew);

/* "down", "starting", "up". */
const char *crew_state_name(enum crew_state state);

#endif
