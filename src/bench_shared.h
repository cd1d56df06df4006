/*
 * bench_shared: the memory through which millgate-bench's parent steers its client processes and
 * sees what they do.
 *
 * Process: bench, parent and clients. The parent writes the phase, each client writes its own slot
 * only. Counters are relaxed atomics; histograms and times are plain, and the parent reads them
 * once the client has said (`settled`, release) that it is done with the phase.
 */
#ifndef MILLGATE_BENCH_SHARED_H
#define MILLGATE_BENCH_SHARED_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include "error.h"
#include "histogram.h"

enum bench_phase {
	BENCH_PHASE_WAIT,    /* until all client processes are there */
	BENCH_PHASE_CONNECT, /* settled: every connection is up or has failed */
	BENCH_PHASE_MEASURE, /* the workload runs; settled: it has no more to do (storm) */
	BENCH_PHASE_DRAIN,   /* nothing new is sent; settled: every answer has come */
	BENCH_PHASE_CLOSE,   /* settled: every connection is closed, the process ends */
};

enum bench_counter {
#define BENCH_COUNTER(symbol, name, kind, help) BENCH_##symbol,
#include "bench_counter.def"
#undef BENCH_COUNTER
	BENCH_COUNTER_COUNT,
};

#define BENCH_ERRNO_MAX 134 /* EHWPOISON, the largest of Linux, is 133 */

struct bench_slot {
	_Alignas(64) _Atomic uint64_t counters[BENCH_COUNTER_COUNT];
	_Atomic uint32_t connect_errors[BENCH_ERRNO_MAX];
	_Atomic uint32_t settled; /* the last phase that this client is done with */
	uint64_t last_up_nsec;    /* when the last connect before CONNECT settled succeeded */
	uint64_t all_back_nsec;   /* storm: when the last connection was back */
	uint64_t silence_nsec;    /* receive: the longest wait that had not ended at the end */
	struct histogram connect, reconnect; /* nanoseconds, as all of these */
	struct histogram latency, lag;       /* echo */
	struct histogram gap;                /* receive */
};

struct bench_shared {
	_Atomic uint32_t phase;
	int wake_fd; /* an eventfd in every client's epoll set, edge-triggered */
	uint32_t n_slots;
	uint64_t measure_start_nsec; /* set before BENCH_PHASE_MEASURE */
	struct bench_slot slots[];
};

/* Shared with the children forked afterwards. NULL: errno says why. */
struct bench_shared *bench_shared_new(uint32_t n_slots) MG_MUST_CHECK;
void bench_shared_free(struct bench_shared *shared);

/* Begins the next phase and wakes every client. */
void bench_shared_set_phase(struct bench_shared *shared, enum bench_phase phase);
enum bench_phase bench_shared_phase(const struct bench_shared *shared);

/* How many clients are done with the phase. */
uint32_t bench_shared_settled(const struct bench_shared *shared, enum bench_phase phase);

struct bench_totals {
	uint64_t counters[BENCH_COUNTER_COUNT];
};

void bench_shared_sum(const struct bench_shared *shared, struct bench_totals *ret_totals);

/* Sums up the errors of connects; `counts` has BENCH_ERRNO_MAX entries. */
void bench_shared_sum_errors(const struct bench_shared *shared, uint64_t *ret_counts);

/* For the one client that owns the slot: no lock prefix is needed, as nobody else writes. */
static inline void
bench_slot_add(struct bench_slot *slot, enum bench_counter counter, int64_t n)
{
	uint64_t value = atomic_load_explicit(&slot->counters[counter], memory_order_relaxed);

	atomic_store_explicit(&slot->counters[counter], value + (uint64_t)n, memory_order_relaxed);
}

/* `error`: a positive errno. */
void bench_slot_add_error(struct bench_slot *slot, int error);

uint64_t bench_clock_nsec(void);

#endif
