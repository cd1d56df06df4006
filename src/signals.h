/*
 * signals: signals as events, through signalfd(2).
 *
 * Process: both. Unlike libevent's own signal handling it has no state of the process, so a forked
 * worker simply opens its own.
 */
#ifndef MILLGATE_SIGNALS_H
#define MILLGATE_SIGNALS_H

#include <event2/event.h>
#include <signal.h>

#include "error.h"

struct signals {
	int fd;
	struct event *event;
	void (*caught)(void *context, int signal);
	void *context;
};

/* Blocks all signals that millgate knows, and ignores SIGPIPE; before the first fork. */
void signals_block(void);

/* Calls `caught` for each signal of the list (ended by 0). -errno. */
int signals_init(struct signals *signals, struct event_base *base, const int *list,
	void (*caught)(void *context, int signal), void *context) MG_MUST_CHECK;
void signals_done(struct signals *signals);

#endif
