/*
 * recount: sources are counted anew, after a reload changed how many bits make one.
 *
 * Process: S. A source's key holds no more of the address than its prefix, so the workers are
 * asked for the address of every connection. Accepting is halted meanwhile, so that the counts are
 * exact when it goes on.
 */
#ifndef MILLGATE_RECOUNT_H
#define MILLGATE_RECOUNT_H

#include "acceptor.h"
#include "admit.h"
#include "crew.h"
#include "roster.h"

struct recount {
	struct crew *crew;
	struct admit *admit;
	struct roster *roster;
	struct acceptor *acceptor;
	bool running;
	unsigned n_asked;
	bool asked[CREW_MAX];
	/* Called when it is done. */
	void (*done)(void *context);
	void *context;
};

/* After admit_configure() asked for it; not while one is running (asserted). */
void recount_start(struct recount *recount);
/* PEERS and RECOUNTED from a worker; a worker is gone. */
void recount_on_peers(struct recount *recount, const struct crew_member *member,
	const struct control_message *message);
void recount_on_done(struct recount *recount, struct crew_member *member);
void recount_on_lost(struct recount *recount, struct crew_member *member);

#endif
