/*
 * pollset: the epoll set of a worker's connections, seen by libevent as one event.
 *
 * Process: W. A libevent event for each connection would cost 128 bytes more. The epoll data
 * carries fd and generation, so that whoever is called can tell an event that was meant for an
 * earlier user of the fd. Level-triggered.
 *
 * libevent waits with another system call than the one that tells which are ready. So a loop may as
 * well wait here, as long as it waits for nothing but connections, one more descriptor and a time.
 */
#ifndef MILLGATE_POLLSET_H
#define MILLGATE_POLLSET_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "error.h"

#define POLLSET_BATCH 512

struct pollset {
	int fd; /* -1: not initialised */
	int own_fd; /* of pollset_watch_own(); -1: none, pollset_wait() would tell of connections only */
	bool own_ready;
	struct event *event;
	bool inherited; /* by pollset_inherit() */
	unsigned n_stale;
	/* Called for each ready descriptor. `events` are EPOLLIN and so on, epoll_ctl(2). False:
	 * there is no such one (any more). */
	bool (*ready)(void *context, int fd, uint32_t generation, uint32_t events);
	/* Called before each batch: the time to read the clock. And after it: the time for what can
	 * wait for others. */
	void (*begin)(void *context);
	void (*end)(void *context);
	/* An inherited set tells again and again of what is not there: the time for pollset_renew(). */
	void (*distrusted)(void *context);
	void *context;
	struct epoll_event batch[POLLSET_BATCH];
};

/* The caller has set the callbacks and `context`. -errno. */
int pollset_init(struct pollset *pollset, struct event_base *base) MG_MUST_CHECK;
void pollset_done(struct pollset *pollset);

/* Watches a descriptor that is no connection: pollset_wait() tells when it can be read. -errno. */
int pollset_watch_own(struct pollset *pollset, int fd) MG_MUST_CHECK;
/* Ends that, for another process that is to inherit the set. -errno. */
int pollset_unwatch_own(struct pollset *pollset) MG_MUST_CHECK;
/* Waits for up to so long for whatever is watched, and calls `ready` for connections. Can the other
 * descriptor be read? */
bool pollset_wait(struct pollset *pollset, int timeout_msec);

/*
 * The kernel keeps a set as long as somebody has it, whoever that is, and also while it is on its way
 * in a message. So another process may go on with one: what is watched there stays watched, as long
 * as each descriptor is open somewhere; but only under the same number can it be changed. Takes fd,
 * a set that another pollset was, in place of the own one. -errno.
 */
int pollset_inherit(struct pollset *pollset, int fd) MG_MUST_CHECK;
/* Begins anew with an empty set. -errno. */
int pollset_renew(struct pollset *pollset) MG_MUST_CHECK;

/* A closed descriptor leaves the set by itself, epoll(7), so there is no removal. -errno: ENOSPC
 * is fs.epoll.max_user_watches. */
int pollset_add(
	struct pollset *pollset, int fd, uint32_t generation, uint32_t events) MG_MUST_CHECK;
int pollset_change(
	struct pollset *pollset, int fd, uint32_t generation, uint32_t events) MG_MUST_CHECK;

/* Which of these events, and of those that are always told, a descriptor has now; in a set or not. */
uint32_t pollset_look(int fd, uint32_t events);

#endif
