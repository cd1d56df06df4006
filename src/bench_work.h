/*
 * bench_work: what a client process does with connections that are up.
 *
 * Process: bench client. A workload sees connections only through bench_client.h; it never opens
 * one. Every hook may be NULL. `begin` is called when the measured phase starts, `end` when it
 * ends; `up` and `down` also before and after.
 */
#ifndef MILLGATE_BENCH_WORK_H
#define MILLGATE_BENCH_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench_options.h"

struct bench_client;

#define BENCH_NEVER UINT64_MAX

struct bench_work {
	bool sends;       /* wants TCP_NODELAY */
	bool never_reads; /* arrivals stay where they are */

	/* -ENOMEM; the process then gives up. */
	int (*init)(struct bench_client *client);
	void (*done)(struct bench_client *client);
	void (*up)(struct bench_client *client, uint32_t index);
	/* The connection has ended or is about to be closed; its state is no longer UP. */
	void (*down)(struct bench_client *client, uint32_t index);
	/* May drop the connection. */
	void (*received)(
		struct bench_client *client, uint32_t index, const char *data, size_t length);
	void (*writable)(struct bench_client *client, uint32_t index);
	void (*begin)(struct bench_client *client);
	void (*end)(struct bench_client *client);
	/* Does what is due, once a turn of the loop between begin and end. Returns when it wants to
	 * be called again at the latest, BENCH_NEVER if no time does. */
	uint64_t (*turn)(struct bench_client *client);
	/* Is there nothing more to do in this phase? Without it: none in DRAIN. */
	bool (*settled)(const struct bench_client *client);
};

extern const struct bench_work bench_work_idle;
extern const struct bench_work bench_work_receive;
extern const struct bench_work bench_work_echo;
extern const struct bench_work bench_work_slow;

/* Churn and storm go with a workload from above: they are about connections, not about bytes. */
void bench_churn_begin(struct bench_client *client);
uint64_t bench_churn_turn(struct bench_client *client);
void bench_storm_begin(struct bench_client *client);

#endif
