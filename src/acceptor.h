/*
 * acceptor: takes connections out of the backlogs and gives them to workers.
 *
 * Process: S. Accepts in bounded bursts, asks admit, enters the roster. When nothing can be taken
 * it stops watching the sockets, and starts again when that has changed: it never spins.
 */
#ifndef MILLGATE_ACCEPTOR_H
#define MILLGATE_ACCEPTOR_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "admit.h"
#include "conf.h"
#include "crew.h"
#include "listener.h"
#include "log.h"
#include "roster.h"
#include "upstream.h"

/* Accepts in one turn, for each socket: a message to a worker, so that the one with the fewest
 * connections has room for all of them. crew_can_take() keeps one place of it back. */
#define ACCEPTOR_BURST (FDPASS_FDS_MAX - 1)
#define ACCEPTOR_PAUSE_USEC 100000 /* after EMFILE and the like */
/* Descriptors that clients do not get, so that there are some for who looks and steers and for a
 * worker that is replaced: so many, but at most an eighth of all. */
#define ACCEPTOR_SPARE_FDS 192

/* Why a listener's sockets are not watched. */
enum acceptor_state {
	ACCEPTOR_ACCEPTING = 0,
	ACCEPTOR_FULL,      /* at a limit, and when_full is wait */
	ACCEPTOR_RATE,      /* the accept rate is used up for now */
	ACCEPTOR_NO_WORKER, /* none can take one just now */
	ACCEPTOR_NO_SERVER, /* none is up and has room, and clients are to wait for one */
	ACCEPTOR_PAUSED,    /* EMFILE, ENFILE, ENOBUFS, ENOMEM */
	ACCEPTOR_HALTED,    /* draining, recounting or stopping */
	ACCEPTOR_STATE_COUNT,
};

/* Why all are; bits. */
enum acceptor_halt {
	ACCEPTOR_HALT_DRAIN = 1 << 0,
	ACCEPTOR_HALT_RECOUNT = 1 << 1,
	ACCEPTOR_HALT_STOP = 1 << 2,
	ACCEPTOR_HALT_RESTORE = 1 << 3,
};

struct acceptor;

struct acceptor_socket {
	struct acceptor *acceptor;
	const struct listener_socket *socket;
	struct event *event;
};

struct acceptor {
	struct event_base *base;
	struct conf *const *conf; /* the one in force; borrowed */
	struct admit *admit;
	struct roster *roster;
	struct upstreams *upstreams;
	struct crew *crew;
	struct metrics *metrics;
	struct acceptor_socket *sockets;
	size_t n_sockets;
	enum acceptor_state state[ADMIT_LISTENERS_MAX];
	struct event *rate_event;  /* tokens are there again */
	uint64_t rate_usec;        /* what it is set to */
	struct event *pause_event; /* worth another try */
	unsigned halted;           /* enum acceptor_halt */
	bool paused;
	bool unsettled;      /* names of servers may still be found: clients wait for them */
	bool scarce;         /* descriptors have been, so that some are kept from clients */
	struct rlimit limit; /* of descriptors, for everything but accepting */
	struct log_limit pause_log, refuse_log;
	/* A connection was refused. */
	void (*refused)(void *context, unsigned listener, enum close_reason reason);
	void *context;
};

/* The caller has set everything up to `metrics`, refused and context. Begins to accept. -errno. */
int acceptor_init(struct acceptor *acceptor, const struct listener_set *set) MG_MUST_CHECK;
void acceptor_done(struct acceptor *acceptor);

/* Something has changed for the better: a connection closed, a worker has room, limits rose. */
void acceptor_wake(struct acceptor *acceptor);

void acceptor_halt(struct acceptor *acceptor, enum acceptor_halt why);
void acceptor_resume(struct acceptor *acceptor, enum acceptor_halt why);

/* "accepting", "full", "rate_limited", "no_worker", "no_server", "paused", "halted". */
const char *acceptor_state_name(enum acceptor_state state);

#endif
