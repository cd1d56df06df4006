/*
 * wheel: a hierarchical timer wheel over nodes that live in somebody's table.
 *
 * Process: W. Pure: no clock, no libevent. Time is in ticks of WHEEL_TICK_USEC; a tick number is
 * 32 bits and wraps, so deadlines lie at most WHEEL_SPAN_MAX ahead (later ones are clamped to it).
 * A node is named by its index in the table and takes 12 bytes there.
 *
 * Adding, moving and removing are O(1). Expiry visits only occupied slots: a bitmap a level tells
 * the next one, so an idle wheel needs no tick.
 */
#ifndef MILLGATE_WHEEL_H
#define MILLGATE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_TICK_USEC 10000u
#define WHEEL_LEVELS 5
#define WHEEL_SLOTS 64
#define WHEEL_SPAN_MAX ((1u << 30) - 1) /* ticks: 124 days */
#define WHEEL_HEAD 0x80000000u          /* in wheel_node.prev: the first of a slot */

/* Zeroed memory is a node that is not in the wheel. */
struct wheel_node {
	uint32_t next; /* index + 1 of the next node; 0 at the end */
	uint32_t prev; /* index + 1 of the one before, or WHEEL_HEAD | slot; 0: not in the wheel */
	uint32_t due;  /* tick */
};

struct wheel {
	char *base;     /* table; borrowed */
	size_t stride;  /* bytes from one node to the next */
	uint32_t now;   /* the tick that expires just now, or up to which everything has */
	uint32_t until; /* the tick that wheel_expire() is moving to; outside of it, now */
	uint32_t count; /* nodes in the wheel */
	uint64_t occupied[WHEEL_LEVELS];
	uint32_t head[WHEEL_LEVELS * WHEEL_SLOTS]; /* index + 1 */
};

/* `base` points to the first node of the table; `now` is the current tick. */
void wheel_init(struct wheel *wheel, void *base, size_t stride, uint32_t now);

/* The tick that holds this moment of CLOCK_MONOTONIC. */
static inline uint32_t
wheel_tick(uint64_t now_usec)
{
	return (uint32_t)(now_usec / WHEEL_TICK_USEC);
}

/* Is tick a at or after tick b? (Serial number arithmetic, RFC 1982.) */
static inline bool
wheel_tick_reached(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) >= 0;
}

/*
 * Puts a node in, or moves it. A due tick at or before `now` expires at the next wheel_expire()
 * of a later tick: never in the call that is under way, so a callback cannot make it go on and on.
 * A due tick half the range of ticks or more (248 days) ahead would count as one before `now`.
 */
void wheel_set(struct wheel *wheel, uint32_t index, uint32_t due);

/* Takes a node out; one that is not in is left alone. */
void wheel_clear(struct wheel *wheel, uint32_t index);

bool wheel_is_set(const struct wheel *wheel, uint32_t index);

/*
 * Moves the wheel to tick `now` and calls `expired` for each node that falls due, in order of due
 * tick. The node is out of the wheel when it is called; the callback may set, clear and set again
 * any node, this one too. Meanwhile wheel->now is the due tick. What a callback sets for a tick
 * after that and up to `now` still expires in this call. A `now` that was reached before is no
 * news: nothing happens.
 */
void wheel_expire(struct wheel *wheel, uint32_t now, void (*expired)(void *context, uint32_t index),
	void *context);

/* The tick at which wheel_expire() next has something to do (expire or move down a level), or
 * false if the wheel is empty. Never later than the earliest due tick. */
bool wheel_next(const struct wheel *wheel, uint32_t *ret_tick);

#endif
