/*
 * pollset: the epoll set of a worker's connections, seen by libevent as one event.
 *
 * Process: W. A libevent event for each connection would cost 128 bytes more. The epoll data
 * carries fd and generation, so that whoever is called can tell an event that was meant for an
 * earlier user of the fd. Level-triggered.
 */
#ifndef MILLGATE_POLLSET_H
#define MILLGATE_POLLSET_H

#include <event2/event.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "error.h"

#define POLLSET_BATCH 512

struct pollset {
	int fd; /* -1: not initialised */
	struct event *event;
	/* Called for each ready descriptor. `events` are EPOLLIN and so on, epoll_ctl(2). */
	void (*ready)(void *context, int fd, uint32_t generation, uint32_t events);
	/* Called before each batch: the time to read the clock. */
	void (*begin)(void *context);
	void *context;
	struct epoll_event batch[POLLSET_BATCH];
};

/* The caller has set the callbacks and `context`. -errno. */
int pollset_init(struct pollset *pollset, struct event_base *base) MG_MUST_CHECK;
void pollset_done(struct pollset *pollset);

/* A closed descriptor leaves the set by itself, epoll(7), so there is no removal. -errno: ENOSPC
 * is fs.epoll.max_user_watches. */
int pollset_add(
	struct pollset *pollset, int fd, uint32_t generation, uint32_t events) MG_MUST_CHECK;
int pollset_change(
	struct pollset *pollset, int fd, uint32_t generation, uint32_t events) MG_MUST_CHECK;

#endif
