/*
 * roster: every connection that the supervisor has let in, 12 bytes each.
 *
 * Process: S. Pure. It gives connections their ids and knows where each is: with which worker,
 * on which fd there. An id is generation << 24 | slot: a slot is used again only after at least
 * ROSTER_QUARANTINE others were, with the next generation, so an id is never mistaken for a later
 * connection. Ids stay below 2^53, so that every JSON reader holds them exactly.
 */
#ifndef MILLGATE_ROSTER_H
#define MILLGATE_ROSTER_H

#include <stdint.h>

#include "error.h"

#define ROSTER_SLOT_BITS 24
#define ROSTER_CONNECTIONS_MAX ((1u << ROSTER_SLOT_BITS) - 1 - ROSTER_QUARANTINE)
#define ROSTER_GENERATION_BITS 29
#define ROSTER_QUARANTINE 65536u

enum roster_flag {
	ROSTER_KILL = 1 << 0,       /* close as soon as the worker has said which fd it is */
	ROSTER_OLD_SOURCE = 1 << 1, /* `source` is from before the recount under way */
	ROSTER_FLAGS = 3,
};

#define ROSTER_FD_AWAY (-2)           /* as fd: with no worker yet; restored and on its way */
#define ROSTER_FD_MAX ((1 << 23) - 1) /* the highest fd of a worker that an entry can name */

struct roster_entry {
	uint32_t generation : 29, in_use : 1, flags : 2;
	uint32_t source : 24; /* admit's handle; in a free slot: the next free one */
	uint32_t worker : 8;
	int32_t fd : 24; /* in the worker; -1 until it has said */
	uint32_t listener : 8;
};

_Static_assert(sizeof(struct roster_entry) == 12, "a connection costs the supervisor 12 bytes");

struct roster;

/* For at most `max_connections` at once (up to ROSTER_CONNECTIONS_MAX); the memory is paid for as
 * it is touched and left out of forked children. NULL: no memory. */
struct roster *roster_new(uint32_t max_connections) MG_MUST_CHECK;
void roster_free(struct roster *roster);

/* A new entry, with fd -1 and no flag. Returns its id, or 0 when max_connections are in. */
uint64_t roster_add(
	struct roster *roster, uint8_t worker, uint8_t listener, uint32_t source) MG_MUST_CHECK;

/*
 * At start only, before the first roster_add(): enters a connection under the id that it had with
 * the process before. -EEXIST: the id, or another with its slot, is in, or max_connections are;
 * -ERANGE: no id can be so.
 */
int roster_restore(struct roster *roster, uint64_t id, uint8_t worker, uint8_t listener,
	uint32_t source) MG_MUST_CHECK;
/* Ends that. Slots that are free get the generation `floor`, which must be above all that the
 * process before gave out, so that no id of it is used again. */
void roster_restored(struct roster *roster, uint32_t floor);

/* The highest generation given out, by this process or one before it. */
uint32_t roster_generation(const struct roster *roster);

/* NULL: no such connection (any more). Valid until the entry is removed. */
struct roster_entry *roster_find(struct roster *roster, uint64_t id);

/* An id that is not in (any more) is left alone. */
void roster_remove(struct roster *roster, uint64_t id);

/* Which server a relayed connection is counted on, its number in struct upstreams; UPSTREAM_NONE:
 * none. Kept apart, so that only relayed connections pay its 2 bytes. The id must be in (asserted). */
void roster_set_server(struct roster *roster, uint64_t id, uint16_t server);
uint16_t roster_server(const struct roster *roster, uint64_t id);

/* One that has none and is inside, to wait for one, until it is given one or removed; and how many of
 * those a listener has. */
void roster_set_waiting(struct roster *roster, uint64_t id);
uint32_t roster_waiting(const struct roster *roster, uint8_t listener);

/* The number of connections. */
uint32_t roster_size(const struct roster *roster);

/*
 * Walks the entries in order of slot: returns the first id whose slot is above `slot`, looking at
 * no more than `max_slots` slots. 0: none there; *ret_slot then is where to go on, or UINT32_MAX
 * at the end. Otherwise *ret_slot is the slot of the id.
 */
uint64_t roster_next(struct roster *roster, uint32_t slot, uint32_t max_slots, uint32_t *ret_slot);

static inline uint32_t
roster_id_generation(uint64_t id)
{
	return (uint32_t)(id >> ROSTER_SLOT_BITS);
}

static inline uint32_t
roster_slot(uint64_t id)
{
	return (uint32_t)(id & ((1u << ROSTER_SLOT_BITS) - 1));
}

#endif
