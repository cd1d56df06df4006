/*
 * bench_ring: a queue of connection numbers, first in, first out, of fixed capacity.
 *
 * Process: bench client. Pure. Every connection is in it once at most, so that a capacity of all
 * connections is enough; more is our bug (asserted).
 */
#ifndef MILLGATE_BENCH_RING_H
#define MILLGATE_BENCH_RING_H

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "error.h"

struct bench_ring {
	uint32_t *items;
	uint32_t capacity, head, n;
};

static inline int MG_MUST_CHECK
bench_ring_init(struct bench_ring *ring, uint32_t capacity)
{
	*ring = (struct bench_ring){
		.items = calloc(capacity, sizeof(*ring->items)), .capacity = capacity};
	return ring->items ? 0 : -ENOMEM;
}

static inline void
bench_ring_done(struct bench_ring *ring)
{
	free(ring->items);
	*ring = (struct bench_ring){0};
}

static inline void
bench_ring_push(struct bench_ring *ring, uint32_t item)
{
	uint64_t at = (uint64_t)ring->head + ring->n;

	assert(ring->n < ring->capacity);
	ring->items[at < ring->capacity ? at : at - ring->capacity] = item;
	ring->n++;
}

/* The first item; the ring is not empty (asserted). */
static inline uint32_t
bench_ring_peek(const struct bench_ring *ring)
{
	assert(ring->n > 0);
	return ring->items[ring->head];
}

static inline uint32_t
bench_ring_pop(struct bench_ring *ring)
{
	uint32_t item = bench_ring_peek(ring);

	ring->head = ring->head + 1 < ring->capacity ? ring->head + 1 : 0;
	ring->n--;
	return item;
}

#endif
