/*
 * park_facts: the facts of a parkfile: the counters to be carried on, and what the numbers in its
 * records stand for, by name, so that a table may change from one version to the next.
 *
 * Process: both. Pure: JSON text in and out.
 */
#ifndef MILLGATE_PARK_FACTS_H
#define MILLGATE_PARK_FACTS_H

#include <jansson.h>
#include <stdbool.h>

#include "conf.h"
#include "error.h"
#include "metrics.h"
#include "upstream.h"

#define PARK_FACTS_UNKNOWN 255 /* no listener or close reason of ours */

/* Who writes. */
struct park_writer {
	const struct conf *conf;
	const struct metrics *metrics;
	const struct upstreams *upstreams;
	unsigned slot; /* 0: the supervisor, 1 + n: worker n */
	uint64_t parked_usec;
	uint32_t generation; /* supervisor: the highest of any id given out */
	/* Supervisor: by worker, whether it may have written nothing itself; NULL: none has not. */
	const bool *silent;
};

/* The text, to be freed; NULL: no memory. A worker's has the supervisor's counters too: should that
 * have been killed, nobody else knows them. The supervisor's has those of silent workers. */
char *park_facts_encode(const struct park_writer *writer) MG_MUST_CHECK;

struct park_facts {
	json_t *json; /* owned */
	bool supervisor;
	uint64_t parked_usec;
	uint32_t generation;
	uint8_t listeners[256]; /* number in a record -> index in our conf, or PARK_FACTS_UNKNOWN */
	uint8_t reasons[256];   /* number in a record -> enum close_reason, or PARK_FACTS_UNKNOWN */
	/* Number in a record -> number in our upstreams, or UPSTREAM_NONE; all are that until
	 * park_facts_enter_servers(). */
	uint16_t servers[UPSTREAM_MAX];
};

/* -EBADMSG with text: not what park_facts_encode() of any version writes. */
int park_facts_decode(const char *text, size_t length, const struct conf *conf,
	struct park_facts *ret_facts, struct mg_error *reterr_error) MG_MUST_CHECK;
void park_facts_done(struct park_facts *facts);

/* Gives each server that it names, of listeners that are in the configuration, a place in
 * `upstreams`, if it has none there yet. Supervisor only. */
void park_facts_enter_servers(
	struct park_facts *facts, const struct conf *conf, struct upstreams *upstreams);

/* Adds the counters of who wrote it to `slot`. With `of_supervisor`, those of the supervisor that a
 * worker wrote down. What is not known any more is left out. */
void park_facts_add_counters(const struct park_facts *facts, bool of_supervisor,
	const struct conf *conf, struct metrics_slot *slot);
/* The same with those of a worker that the supervisor took for silent; nothing, if it did not. */
void park_facts_add_silent(const struct park_facts *facts, unsigned worker, const struct conf *conf,
	struct metrics_slot *slot);

#endif
