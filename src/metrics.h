/*
 * metrics: counters in memory that the supervisor and its workers share.
 *
 * Process: both. Each process has a slot that it alone writes; a reader adds the slots up. So
 * there is no lock and no atomic addition, and a value is at most one write old. A slot outlives
 * its worker: the worker that takes the place counts on from there.
 */
#ifndef MILLGATE_METRICS_H
#define MILLGATE_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "close_reason.h"
#include "error.h"

#define METRICS_LISTENERS_MAX 64
#define METRICS_WORKERS_MAX 256
#define METRICS_UPSTREAMS_MAX 256

enum metric {
#define METRIC(symbol, name, kind, unit, help) METRIC_##symbol,
#define METRIC_LISTENER(...)
#define METRIC_UPSTREAM(...)
#define METRIC_SPLIT(...)
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
	METRIC_COUNT,
};

enum listener_metric {
#define METRIC(...)
#define METRIC_LISTENER(symbol, name, kind, unit, help) LISTENER_METRIC_##symbol,
#define METRIC_UPSTREAM(...)
#define METRIC_SPLIT(...)
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
	LISTENER_METRIC_COUNT,
};

enum upstream_metric {
#define METRIC(...)
#define METRIC_LISTENER(...)
#define METRIC_UPSTREAM(symbol, name, kind, unit, help) UPSTREAM_METRIC_##symbol,
#define METRIC_SPLIT(...)
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
	UPSTREAM_METRIC_COUNT,
};

enum split_metric {
#define METRIC(...)
#define METRIC_LISTENER(...)
#define METRIC_UPSTREAM(...)
#define METRIC_SPLIT(symbol, name, labels, kind, unit, help) SPLIT_METRIC_##symbol,
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
	SPLIT_METRIC_COUNT,
};

enum metric_kind {
	METRIC_KIND_COUNTER,
	METRIC_KIND_GAUGE
};

struct metric_info {
	const char *name;
	enum metric_kind kind;
	const char *unit;
	const char *help;
	const char *labels; /* that tell several of it apart; "" if there is one */
};

/* A whole number of pages, so that a process touches only its own. */
struct metrics_slot {
	uint64_t value[METRIC_COUNT];
	uint64_t listener[METRICS_LISTENERS_MAX][LISTENER_METRIC_COUNT];
	uint64_t upstream[METRICS_UPSTREAMS_MAX][UPSTREAM_METRIC_COUNT];
	uint64_t closed[CLOSE_REASON_COUNT]; /* and refused; the supervisor counts them */
	/* The same, without those that a restart could not keep. */
	uint64_t listener_closed[METRICS_LISTENERS_MAX][CLOSE_REASON_COUNT];
	/* Monotonic: when this worker last showed that it lives, and gave up parked connections. */
	uint64_t tick_usec, retracted_usec;
} __attribute__((aligned(4096)));

/* Slot 0 is the supervisor's, slot 1 + n that of worker n. */
struct metrics {
	unsigned n_slots;
	struct metrics_slot slots[];
};

/* Shared memory for `n_workers` (up to METRICS_WORKERS_MAX) and the supervisor, zeroed; forked
 * children share it. NULL: no memory. */
struct metrics *metrics_new(unsigned n_workers) MG_MUST_CHECK;
void metrics_free(struct metrics *metrics);

static inline uint64_t
metrics_read(const uint64_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static inline void
metrics_write(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static inline void
metrics_add(uint64_t *field, uint64_t n)
{
	metrics_write(field, metrics_read(field) + n);
}

/* One more that was closed or refused, for this reason; `slot` is the supervisor's. */
void metrics_count_closed(struct metrics_slot *slot, unsigned listener, enum close_reason reason);

uint64_t metrics_sum(const struct metrics *metrics, enum metric metric);
uint64_t metrics_listener_sum(
	const struct metrics *metrics, unsigned listener, enum listener_metric metric);
uint64_t metrics_upstream_sum(
	const struct metrics *metrics, unsigned upstream, enum upstream_metric metric);
/* Another server has taken the place. Nobody may be counting for the one before it. */
void metrics_upstream_clear(struct metrics *metrics, unsigned upstream);

const struct metric_info *metric_info(enum metric metric);
const struct metric_info *listener_metric_info(enum listener_metric metric);
const struct metric_info *upstream_metric_info(enum upstream_metric metric);
const struct metric_info *split_metric_info(enum split_metric metric);
/* "counter", "gauge". */
const char *metric_kind_name(enum metric_kind kind);

#endif
