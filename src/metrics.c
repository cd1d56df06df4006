/* metrics: see metrics.h. */
#include "metrics.h"

#include <assert.h>
#include <sys/mman.h>

static const struct metric_info METRICS[METRIC_COUNT] = {
#define METRIC(symbol, name, kind, unit, help) \
	[METRIC_##symbol] = {#name, METRIC_KIND_##kind, unit, help, ""},
#define METRIC_LISTENER(...)
#define METRIC_UPSTREAM(...)
#define METRIC_SPLIT(...)
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
};

static const struct metric_info LISTENER_METRICS[LISTENER_METRIC_COUNT] = {
#define METRIC(...)
#define METRIC_LISTENER(symbol, name, kind, unit, help) \
	[LISTENER_METRIC_##symbol] = {#name, METRIC_KIND_##kind, unit, help, "listener"},
#define METRIC_UPSTREAM(...)
#define METRIC_SPLIT(...)
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
};

static const struct metric_info UPSTREAM_METRICS[UPSTREAM_METRIC_COUNT] = {
#define METRIC(...)
#define METRIC_LISTENER(...)
#define METRIC_UPSTREAM(symbol, name, kind, unit, help) \
	[UPSTREAM_METRIC_##symbol] = {                  \
		#name, METRIC_KIND_##kind, unit, help, "listener, server, address"},
#define METRIC_SPLIT(...)
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
};

static const struct metric_info SPLIT_METRICS[SPLIT_METRIC_COUNT] = {
#define METRIC(...)
#define METRIC_LISTENER(...)
#define METRIC_UPSTREAM(...)
#define METRIC_SPLIT(symbol, name, labels, kind, unit, help) \
	[SPLIT_METRIC_##symbol] = {#name, METRIC_KIND_##kind, unit, help, labels},
#include "metrics.def"
#undef METRIC
#undef METRIC_LISTENER
#undef METRIC_UPSTREAM
#undef METRIC_SPLIT
};

static size_t
metrics_bytes(unsigned n_slots)
{
	return sizeof(struct metrics) + n_slots * sizeof(struct metrics_slot);
}

struct metrics *
metrics_new(unsigned n_workers)
{
	struct metrics *metrics;

	assert(n_workers <= METRICS_WORKERS_MAX);
	metrics = mmap(NULL, metrics_bytes(1 + n_workers), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (metrics == MAP_FAILED)
		return NULL;
	metrics->n_slots = 1 + n_workers;
	return metrics;
}

void
metrics_free(struct metrics *metrics)
{
	if (metrics)
		(void)munmap(metrics, metrics_bytes(metrics->n_slots));
}

uint64_t
metrics_sum(const struct metrics *metrics, enum metric metric)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < metrics->n_slots; i++)
		sum += metrics_read(&metrics->slots[i].value[metric]);
	return sum;
}

uint64_t
metrics_listener_sum(const struct metrics *metrics, unsigned listener, enum listener_metric metric)
{
	uint64_t sum = 0;

	assert(listener < METRICS_LISTENERS_MAX);
	for (unsigned i = 0; i < metrics->n_slots; i++)
		sum += metrics_read(&metrics->slots[i].listener[listener][metric]);
	return sum;
}

void
metrics_count_closed(struct metrics_slot *slot, unsigned listener, enum close_reason reason)
{
	assert(listener < METRICS_LISTENERS_MAX && reason < CLOSE_REASON_COUNT);
	metrics_add(&slot->closed[reason], 1);
	metrics_add(&slot->listener_closed[listener][reason], 1);
}

uint64_t
metrics_upstream_sum(const struct metrics *metrics, unsigned upstream, enum upstream_metric metric)
{
	uint64_t sum = 0;

	assert(upstream < METRICS_UPSTREAMS_MAX);
	for (unsigned i = 0; i < metrics->n_slots; i++)
		sum += metrics_read(&metrics->slots[i].upstream[upstream][metric]);
	return sum;
}

void
metrics_upstream_clear(struct metrics *metrics, unsigned upstream)
{
	assert(upstream < METRICS_UPSTREAMS_MAX);
	for (unsigned i = 0; i < metrics->n_slots; i++)
		for (unsigned n = 0; n < UPSTREAM_METRIC_COUNT; n++)
			metrics_write(&metrics->slots[i].upstream[upstream][n], 0);
}

const struct metric_info *
metric_info(enum metric metric)
{
	assert(metric < METRIC_COUNT);
	return &METRICS[metric];
}

const struct metric_info *
listener_metric_info(enum listener_metric metric)
{
	assert(metric < LISTENER_METRIC_COUNT);
	return &LISTENER_METRICS[metric];
}

const struct metric_info *
upstream_metric_info(enum upstream_metric metric)
{
	assert(metric < UPSTREAM_METRIC_COUNT);
	return &UPSTREAM_METRICS[metric];
}

const struct metric_info *
split_metric_info(enum split_metric metric)
{
	assert(metric < SPLIT_METRIC_COUNT);
	return &SPLIT_METRICS[metric];
}

const char *
metric_kind_name(enum metric_kind kind)
{
	return kind == METRIC_KIND_COUNTER ? "counter" : "gauge";
}
