/*
 * bench_plan: how connections are spread over client processes, targets and source addresses.
 *
 * Process: bench. Pure: arithmetic on addresses, no socket is opened and nothing is read from the
 * system. Connections have numbers from 0; a process has a run of them. Targets take turns from
 * one number to the next, sources with each turn of the targets, so that every pair of source and
 * target gets the same number of connections, one more or less.
 */
#ifndef MILLGATE_BENCH_PLAN_H
#define MILLGATE_BENCH_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "addr.h"
#include "error.h"

#define BENCH_CONNECTIONS_MAX 16000000u
#define BENCH_PROCESSES_MAX 1024u
#define BENCH_TARGETS_MAX 64u

/* fds that a client process needs for other things: its epoll set, the eventfd, stdio, what it
 * was started with. */
#define BENCH_FDS_RESERVED 32u

struct bench_target {
	struct sockaddr_storage address;
	socklen_t length;
};

struct bench_plan {
	/* What is asked for; `targets` is borrowed. */
	uint32_t connections;
	uint32_t processes; /* 0: as many as the fd limit asks for */
	const struct bench_target *targets;
	uint32_t n_targets;
	bool has_source;    /* otherwise 127.x.y.z for IPv4 targets on loopback */
	struct cidr source; /* used for targets of its family */
	uint64_t fd_limit;  /* RLIMIT_NOFILE of a process */
	uint32_t ports;     /* how many local ports the kernel chooses from */

	uint32_t
		sources; /* what bench_plan_make() found: addresses to connect from; 1: no choice */
};

/*
 * Completes the plan: `processes` and `sources`. -EINVAL when the number of processes that was
 * asked for cannot hold the connections, or more would be needed than BENCH_PROCESSES_MAX.
 */
int bench_plan_make(struct bench_plan *plan, struct mg_error *reterr_error) MG_MUST_CHECK;

/* The number of the first connection of a process; that of process `processes` is the end. */
uint32_t bench_plan_first(const struct bench_plan *plan, uint32_t process);

/* How many of `total` things (in proportion to its connections) are a process's; over all
 * processes they sum up to `total`. */
uint32_t bench_plan_share(const struct bench_plan *plan, uint32_t process, uint32_t total);

const struct bench_target *bench_plan_target(const struct bench_plan *plan, uint32_t connection);

/* The address to bind before the connect, with port 0. False: none, the kernel chooses. */
bool bench_plan_source(const struct bench_plan *plan, uint32_t connection,
	struct sockaddr_storage *ret_sa, socklen_t *ret_length);

#endif
