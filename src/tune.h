/*
 * tune: compares what the configuration allows with what the machine allows.
 *
 * Process: both. Pure: the facts are read by tune_facts, the report is shown by tune_print. The
 * demands are rows of sysctl.def (tune_table); what concerns single listeners is in tune_listener.
 */
#ifndef MILLGATE_TUNE_H
#define MILLGATE_TUNE_H

#include <stdint.h>

#include <jansson.h>

#include "conf.h"
#include "error.h"
#include "tune_report.h"
#include "tune_table.h"

/* Descriptors that a worker needs beside those of connections: three standard ones, channel, two
 * epoll sets, signals, log, a configuration being read, and some room. */
#define TUNE_RESERVED_FDS 32

#define TUNE_NO_LIMIT "max" /* the value of a fact that knows no limit */

struct tune_facts {
	json_t *values;         /* by key of sysctl.def: text, as far as it could be read */
	uint64_t page_bytes;    /* above 0 */
	unsigned cpus;          /* that this process may use; above 0 */
	bool in_flight_limited; /* the user's descriptors in flight, by LimitNOFILE= */
};

/* The value of a key as text, borrowed; NULL if it is not known. */
const char *tune_fact_text(const struct tune_facts *facts, const char *key);

/* Its numbers; TUNE_NO_LIMIT is UINT64_MAX. False: it is not known, or is something else. */
bool tune_fact_numbers(
	const struct tune_facts *facts, const char *key, struct sysctl_numbers *ret_numbers);

/* Checks everything. *ret_report is the caller's, tune_report_done() afterwards. -ENOMEM. */
int tune_check(const struct conf *conf, const struct tune_facts *facts,
	struct tune_report *ret_report) MG_MUST_CHECK;

/* Checks one row alone. */
int tune_check_row(enum tune_row row, const struct conf *conf, const struct tune_facts *facts,
	struct tune_report *ret_report) MG_MUST_CHECK;

/* How many workers the configuration makes. */
unsigned tune_worker_count(const struct conf *conf, unsigned cpus);

/* How many connections a worker can hold with this limit of descriptors, those to servers included;
 * at least 1. */
uint32_t tune_worker_capacity(uint64_t nofile);

/* How many clients so many workers can hold that can hold so many connections each, as far as the
 * configuration lets relay listeners have: each of their clients is two. */
uint64_t tune_client_capacity(const struct conf *conf, unsigned workers, uint64_t capacity);

#endif
