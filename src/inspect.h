/*
 * inspect: which connections there are: a page of them, one, or all that are to be closed.
 *
 * Process: S. The roster says which connections a filter may fit and where they are; the workers
 * are asked for the rest. A job looks at INSPECT_SLICE slots of the roster in a turn of the loop
 * and asks for INSPECT_ROUND connections at a time, so that however many there are, no client
 * waits for it.
 */
#ifndef MILLGATE_INSPECT_H
#define MILLGATE_INSPECT_H

#include <event2/event.h>
#include <sys/queue.h>

#include "admit.h"
#include "crew.h"
#include "roster.h"

#define INSPECT_SLICE 16384
#define INSPECT_ROUND 128
#define INSPECT_JOBS_MAX 16
#define INSPECT_LIMIT_MAX 1000

struct inspect_filter {
	struct cidr source; /* family ADDR_NONE: any */
	int listener;       /* -1: any */
	int worker;         /* -1: any */
	uint32_t after;     /* slots above this one */
	uint32_t limit;     /* results at most; ignored with kill */
	bool kill;          /* close them instead of telling of them */
};

struct inspect_result {
	struct control_details details;
	uint8_t listener, worker;
	bool handover; /* on its way to the worker; of the details only id and peer are known */
};

struct inspect_job;

struct inspect {
	struct event_base *base;
	struct crew *crew;
	struct admit *admit;
	struct roster *roster;
	TAILQ_HEAD(, inspect_job) jobs;
	unsigned n_jobs;
	uint32_t last_number;
};

/* What a job has found; borrowed until the callback returns. */
struct inspect_report {
	const struct inspect_result *results; /* in order of slot */
	unsigned n_results;
	uint64_t n_killed;
	bool more;     /* the limit was reached: */
	uint32_t next; /* `after` for what follows */
};

typedef void inspect_done_fn(void *context, const struct inspect_report *report);

/* The caller has set base, crew, admit and roster. */
void inspect_init(struct inspect *inspect);
/* Jobs that are under way report what they have found so far. */
void inspect_done(struct inspect *inspect);

/* Calls `done` later, from the loop. -EBUSY: INSPECT_JOBS_MAX are under way. -ENOMEM. */
int inspect_start(struct inspect *inspect, const struct inspect_filter *filter,
	inspect_done_fn *done, void *context) MG_MUST_CHECK;

/* The same for one connection. -ENOENT: there is none with this id. */
int inspect_start_one(struct inspect *inspect, uint64_t id, bool kill, inspect_done_fn *done,
	void *context) MG_MUST_CHECK;

/* DETAILS from a worker; a worker is gone. */
void inspect_on_details(struct inspect *inspect, const struct crew_member *member,
	const struct control_message *message);
void inspect_on_lost(struct inspect *inspect, const struct crew_member *member);

#endif
