/*
 * assign: what workers ask about clients that are in already: may a client come in of whom a load
 * balancer has told, and which server does a relayed one get?
 *
 * Process: S. At accept, acceptor decides both; here is what comes later.
 */
#ifndef MILLGATE_ASSIGN_H
#define MILLGATE_ASSIGN_H

#include "admit.h"
#include "conf.h"
#include "crew.h"
#include "log.h"
#include "roster.h"
#include "upstream.h"

struct assign {
	struct conf *const *conf; /* the one in force; borrowed */
	struct admit *admit;
	struct roster *roster;
	struct upstreams *upstreams;
	struct log_limit refused_log, failed_log;
	/* A server did not accept a client, for this errno; it is the server's fault. */
	void (*failed)(void *context, uint16_t server, int error);
	void *context;
};

/* IDENTIFIED and UNSERVED of a worker: answers with ASSIGN. */
void assign_on_identified(
	struct assign *assign, struct crew_member *member, const struct control_message *message);
void assign_on_unserved(
	struct assign *assign, struct crew_member *member, const struct control_message *message);

#endif
