/*
 * worker: the process that holds connections.
 *
 * Process: W. Gets connections from the supervisor and tells it when they are closed; never sees a
 * listener, the configuration file or the admin socket.
 */
#ifndef MILLGATE_WORKER_H
#define MILLGATE_WORKER_H

#include "channel.h"
#include "conf.h"
#include "conn.h"
#include "drain.h"
#include "signals.h"
#include "sweep.h"

#define WORKER_TICK_USEC 1000000 /* how often a worker shows that it lives, or more often: */
#define WORKER_TICKS_MIN 4       /* so often at least within worker_timeout */

/* What waits until the end of the turn, to be told to the supervisor in one message. */
#define WORKER_REPORT_MAX 500

struct worker {
	unsigned index;
	struct event_base *base;
	struct conf *conf;
	struct channel channel;
	struct signals signals;
	struct conns conns;
	struct event *tick_event, *wheel_event;
	uint64_t wheel_armed_usec; /* what wheel_event is set to; 0: nothing */
	struct sweep retime;       /* after a reload */
	struct sweep recount;
	struct drain drain;
	struct control_closed closed[WORKER_REPORT_MAX];
	unsigned n_closed;
	struct control_peer peers[WORKER_REPORT_MAX];
	unsigned n_peers;
	bool over; /* the queues are over the limit; to be told */
	bool stopping;
	bool failed;   /* exit with an error */
	char name[32]; /* for the log */
};

/*
 * Runs until told to stop; in a forked child that has closed what is not its own. Takes `conf` and
 * `channel_fd`; metrics are shared. Returns the exit status of the process.
 */
int worker_run(unsigned index, struct conf *conf, struct metrics *metrics, int channel_fd);

/* Sends to the supervisor. Failing that there is no use in going on, and the worker stops. */
void worker_send(struct worker *worker, const struct control_header *header, const void *records);

/* In worker_query.c: answers a QUERY message; visits a connection for RECOUNT; sends what has been
 * gathered. */
void worker_query(struct worker *worker, const struct control_message *message);
void worker_query_recount(void *context, struct conn *conn);
void worker_query_send_peers(struct worker *worker);

#endif
