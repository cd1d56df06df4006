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
#include "parkset.h"
#include "sweep.h"
#include "upstream_source.h"
#include "ws_handshake.h"

#define WORKER_TICK_USEC 1000000 /* how often a worker shows that it lives, or more often: */
#define WORKER_TICKS_MIN 4       /* so often at least within worker_timeout */

/* The numbers below are for a worker's own descriptors, so that those of connections do not depend
 * on how many it has; they are among TUNE_RESERVED_FDS. */
#define WORKER_FDS_OWN 16

/* How long a client that closed its side may take to read what is queued for it. */
#define WORKER_LINGER_USEC 30000000u

/* What waits until the end of the turn, to be told to the supervisor in one message. */
#define WORKER_REPORT_MAX 500
#define WORKER_ASKS_MAX 400

struct worker_asks {
	struct control_ask items[WORKER_ASKS_MAX];
	unsigned n;
};

struct worker {
	unsigned index;
	struct event_base *base;
	struct conf *conf;
	uint32_t epoch; /* of this process and its siblings; in the names of what they park */
	struct parkset *parkset; /* what the processes before parked; until RESTORED */
	struct channel channel;
	struct conns conns;
	const struct upstreams *upstreams; /* shared */
	struct ws_policy ws_policies[CONF_LISTENERS_MAX];
	struct upstream_sources sources[CONF_LISTENERS_MAX]; /* upstream.source_addresses */
	struct event *tick_event, *wheel_event;
	uint64_t wheel_armed_usec; /* what wheel_event is set to; 0: nothing */
	uint64_t tick_period_usec;
	int n_events;        /* libevent's, beside wheel_event, when nothing is under way */
	struct sweep retime; /* after a reload */
	struct sweep recount;
	struct sweep prepare; /* before it parks */
	struct drain drain;
	struct control_place adopted[WORKER_REPORT_MAX];
	unsigned n_adopted;
	struct control_closed closed[WORKER_REPORT_MAX];
	unsigned n_closed;
	struct control_peer peers[WORKER_REPORT_MAX];
	unsigned n_peers;
	struct worker_asks identified, unserved;
	bool over; /* the queues are over the limit; to be told */
	bool stopping;
	uint8_t stop_flags; /* of CONTROL_STOP: what to do with the connections */
	bool failed;        /* exit with an error */
	char name[32];      /* for the log */
};

/* What a forked worker has of the supervisor's. */
struct worker_heritage {
	struct conf *conf;           /* taken */
	struct metrics *metrics;     /* shared */
	struct upstreams *upstreams; /* shared; read */
	struct parkset *parkset;     /* read; freed after RESTORED */
	uint32_t epoch;
};

/*
 * Runs until told to stop; in a forked child that has closed what is not its own. Takes
 * `channel_fd`. Returns the exit status of the process.
 *
 * A worker does not heed SIGTERM, which systemd sends to all processes of the service: what is to
 * become of its connections is for the supervisor to say, or, when that is dead, for systemd, by
 * whether it keeps descriptors for us.
 */
int worker_run(unsigned index, const struct worker_heritage *heritage, int channel_fd);

/* Sends to the supervisor. Failing that there is no use in going on, and the worker stops. */
void worker_send(struct worker *worker, const struct control_header *header, const void *records);

/* It lives, and knows what time it is. */
void worker_tick(struct worker *worker);

/* A connection was closed; the supervisor is told at the end of the turn. */
void worker_on_closed(void *context, uint64_t id, enum close_reason reason);
/* Sends the notices of closed connections that have been gathered. */
void worker_report_closed(struct worker *worker);

/* In worker_ask.c: what the supervisor is asked about clients; at the end of each turn. */
void worker_on_ask(void *context, const struct conn *conn, const struct conn_question *question);
void worker_send_asks(struct worker *worker);
/* Its answers. */
void worker_on_assign(struct worker *worker, const struct control_message *message);

/* In worker_conf.c: the part of the configuration that connections look at. */
void worker_apply_conf(struct worker *worker);
void worker_conf_done(struct worker *worker);

/* In worker_park.c: gives the connections out of this process's hands, as stop_flags say. First it is
 * prepared, while they are served; after the last slice it stops. */
void worker_prepare_park(struct worker *worker);
void worker_on_prepare(void *context, struct conn *conn);
void worker_on_prepare_slice(void *context, bool last);
void worker_park(struct worker *worker);

/* In worker_handover.c: takes connections, new and restored; the supervisor is told at the end of the
 * turn, before anything else about them. */
void worker_on_handover(
	struct worker *worker, const struct control_message *message, struct fdpass_message *fds);
void worker_report_adopted(struct worker *worker);

/* A record of the process before, and what it means here. */
struct worker_parked {
	const struct parkset_file *file;
	uint32_t index; /* of the client's record; that of its server is the next */
	uint8_t listener;
	uint16_t server;
	bool watched; /* it is in the pollset, as the record says */
};

/* Takes up a client of the process before; `follower` is its connection to a server, or -1. */
void worker_restore(
	struct worker *worker, const struct worker_parked *parked, int fd, int follower);

/* Takes up an orphan of the process before, or resets it: its listener may be no more. */
void worker_restore_orphan(struct worker *worker, const struct worker_parked *parked, int fd);

/* In worker_inherit.c: takes up all that a worker of the process before left. */
void worker_on_inherit(
	struct worker *worker, const struct control_message *message, struct fdpass_message *fds);

/* In worker_query.c: answers a QUERY message; visits a connection for RECOUNT; sends what has been
 * gathered. */
void worker_query(struct worker *worker, const struct control_message *message);
void worker_query_recount(void *context, struct conn *conn);
void worker_query_send_peers(struct worker *worker);

#endif
