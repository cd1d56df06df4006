/*
 * roster: see roster.h.
 *
 * Free slots wait in a queue, first in, first out, and are taken from it only while more than
 * ROSTER_QUARANTINE wait; otherwise a slot never used before is. There are max_connections +
 * ROSTER_QUARANTINE slots, so one or the other is always there. Taking never empties the queue,
 * so its last slot needs no end mark. Slot 0 is not used: no id is 0.
 */
#include "roster.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lazy.h"
#include "upstream.h"

#define ROSTER_WAITS UINT16_MAX
#define GENERATION_MAX ((1u << ROSTER_GENERATION_BITS) - 1)

_Static_assert(ROSTER_SLOT_BITS + ROSTER_GENERATION_BITS <= 53, "a JSON number holds every id");

struct roster {
	struct roster_entry *entries; /* by slot */
	uint16_t *servers; /* by slot: the number of its server, + 1; 0: none; or ROSTER_WAITS */
	uint32_t waiting[UINT8_MAX + 1]; /* by listener */
	uint32_t max_connections;
	uint32_t n_slots; /* slot 0 included */
	uint32_t n_used;  /* slots from here on were never used */
	uint32_t size;
	uint32_t floor;                       /* the generation of slots never used */
	uint32_t highest;                     /* generation given out, here or before */
	uint32_t n_waiting;                   /* slots in the queue */
	uint32_t first_waiting, last_waiting; /* unless none waits */
};

struct roster *
roster_new(uint32_t max_connections)
{
	struct roster *roster = malloc(sizeof(*roster));

	assert(max_connections <= ROSTER_CONNECTIONS_MAX);
	if (!roster)
		return NULL;
	*roster = (struct roster){
		.max_connections = max_connections,
		.n_slots = 1 + max_connections + ROSTER_QUARANTINE,
		.n_used = 1,
	};
	roster->entries = lazy_alloc(roster->n_slots * sizeof(*roster->entries));
	roster->servers = lazy_alloc(roster->n_slots * sizeof(*roster->servers));
	if (!roster->entries || !roster->servers) {
		roster_free(roster);
		return NULL;
	}
	return roster;
}

void
roster_free(struct roster *roster)
{
	if (!roster)
		return;
	lazy_free(roster->entries, roster->n_slots * sizeof(*roster->entries));
	lazy_free(roster->servers, roster->n_slots * sizeof(*roster->servers));
	free(roster);
}

static void
roster_enqueue(struct roster *roster, uint32_t slot)
{
	if (roster->n_waiting++ == 0)
		roster->first_waiting = slot;
	else
		roster->entries[roster->last_waiting].source = slot;
	roster->last_waiting = slot;
}

static uint32_t
roster_take_slot(struct roster *roster)
{
	uint32_t slot = roster->first_waiting;

	if (roster->n_waiting > ROSTER_QUARANTINE) {
		roster->first_waiting = roster->entries[slot].source;
		roster->n_waiting--;
		return slot;
	}
	assert(roster->n_used < roster->n_slots);
	roster->entries[roster->n_used].generation = roster->floor;
	return roster->n_used++;
}

static uint64_t
roster_id(const struct roster *roster, uint32_t slot)
{
	return (uint64_t)roster->entries[slot].generation << ROSTER_SLOT_BITS | slot;
}

static void
roster_enter(struct roster *roster, uint64_t id, uint8_t worker, uint8_t listener, uint32_t source)
{
	uint32_t generation = roster_id_generation(id) & GENERATION_MAX;

	roster->entries[roster_slot(id)] = (struct roster_entry){
		.source = source,
		.fd = -1,
		.generation = generation,
		.in_use = 1,
		.worker = worker,
		.listener = listener,
	};
	roster->size++;
	if (generation > roster->highest)
		roster->highest = generation;
}

uint64_t
roster_add(struct roster *roster, uint8_t worker, uint8_t listener, uint32_t source)
{
	uint64_t id;

	if (roster->size >= roster->max_connections)
		return 0;
	id = roster_id(roster, roster_take_slot(roster));
	roster_enter(roster, id, worker, listener, source);
	return id;
}

int
roster_restore(
	struct roster *roster, uint64_t id, uint8_t worker, uint8_t listener, uint32_t source)
{
	uint32_t slot = roster_slot(id);

	assert(roster->n_waiting == 0);
	if (slot == 0 || slot >= roster->n_slots || id >> ROSTER_SLOT_BITS > GENERATION_MAX)
		return -ERANGE;
	if (roster->entries[slot].in_use || roster->size >= roster->max_connections)
		return -EEXIST;
	roster_enter(roster, id, worker, listener, source);
	if (slot >= roster->n_used)
		roster->n_used = slot + 1;
	return 0;
}

void
roster_restored(struct roster *roster, uint32_t floor)
{
	roster->floor = floor & GENERATION_MAX;
	/* What was given out before is to be known to the process after this one as well. */
	if (roster->floor > roster->highest)
		roster->highest = roster->floor - 1;
	for (uint32_t slot = 1; slot < roster->n_used; slot++) {
		if (roster->entries[slot].in_use)
			continue;
		roster->entries[slot].generation = roster->floor;
		roster_enqueue(roster, slot);
	}
}

uint32_t
roster_generation(const struct roster *roster)
{
	return roster->highest;
}

struct roster_entry *
roster_find(struct roster *roster, uint64_t id)
{
	uint32_t slot = roster_slot(id);

	if (slot >= roster->n_used || !roster->entries[slot].in_use)
		return NULL;
	return roster_id(roster, slot) == id ? &roster->entries[slot] : NULL;
}

/* Only who has, or had, something of it pays for the page. */
static void
roster_put_server(struct roster *roster, uint64_t id, uint16_t value)
{
	uint32_t slot = roster_slot(id);
	uint32_t *waiting = &roster->waiting[roster->entries[slot].listener];

	if (roster->servers[slot] == value)
		return;
	if (roster->servers[slot] == ROSTER_WAITS)
		(*waiting)--;
	if (value == ROSTER_WAITS)
		(*waiting)++;
	roster->servers[slot] = value;
}

void
roster_remove(struct roster *roster, uint64_t id)
{
	struct roster_entry *entry = roster_find(roster, id);

	if (!entry)
		return;
	roster_put_server(roster, id, 0);
	entry->in_use = 0;
	entry->generation = (entry->generation + 1) & GENERATION_MAX;
	roster_enqueue(roster, roster_slot(id));
	roster->size--;
}

void
roster_set_server(struct roster *roster, uint64_t id, uint16_t server)
{
	assert(roster_find(roster, id));
	roster_put_server(roster, id, server == UPSTREAM_NONE ? 0 : (uint16_t)(server + 1));
}

void
roster_set_waiting(struct roster *roster, uint64_t id)
{
	assert(roster_find(roster, id));
	roster_put_server(roster, id, ROSTER_WAITS);
}

uint32_t
roster_waiting(const struct roster *roster, uint8_t listener)
{
	return roster->waiting[listener];
}

uint16_t
roster_server(const struct roster *roster, uint64_t id)
{
	uint16_t server = roster->servers[roster_slot(id)];

	return server && server != ROSTER_WAITS ? (uint16_t)(server - 1) : UPSTREAM_NONE;
}

uint32_t
roster_size(const struct roster *roster)
{
	return roster->size;
}

uint64_t
roster_next(struct roster *roster, uint32_t slot, uint32_t max_slots, uint32_t *ret_slot)
{
	while (slot < roster->n_used - 1) {
		if (max_slots-- == 0) {
			*ret_slot = slot;
			return 0;
		}
		if (roster->entries[++slot].in_use) {
			*ret_slot = slot;
			return roster_id(roster, slot);
		}
	}
	*ret_slot = UINT32_MAX;
	return 0;
}
