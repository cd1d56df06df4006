/*
 * bench_memory: what a server and its connections cost, as /proc tells.
 *
 * Process: bench, parent. Reads /proc only. What cannot be read counts as 0.
 */
#ifndef MILLGATE_BENCH_MEMORY_H
#define MILLGATE_BENCH_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/* A process and all that descend from it. */
struct bench_server {
	unsigned processes;
	uint64_t pss_bytes; /* of memory shared by several, each counts its part */
	double cpu_seconds; /* user and system, with children that have ended */
};

/* The whole machine. */
struct bench_memory {
	uint64_t free_bytes, available_bytes;
	uint64_t slab_bytes, slab_unreclaimable_bytes, page_table_bytes;
	uint64_t sockets_used; /* of all families */
	uint64_t tcp_inuse, tcp_orphan, tcp_time_wait;
	uint64_t tcp_buffer_bytes; /* queued in sockets' buffers */
};

void bench_memory_read(struct bench_memory *ret_memory);

/* All fields; takes as long as the kernel needs to walk the page tables. */
void bench_memory_read_server(pid_t pid, struct bench_server *ret_server);

/* cpu_seconds alone: cheap. */
double bench_memory_read_cpu(pid_t pid);

#endif
