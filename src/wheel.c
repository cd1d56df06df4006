/*
 * wheel: see wheel.h.
 *
 * A tick is read as digits of base WHEEL_SLOTS. A node lies on the level of the highest digit in
 * which its due tick differs from `now`, in the slot that this digit of the due tick names. So
 * everything on a level comes before everything on the levels above, and in order of slot; the
 * lowest occupied level alone tells what is next. When `now` enters a slot of an upper level, its
 * nodes agree with `now` in that digit and move down.
 *
 * The top level is a ring: ticks have more digits than there are levels. Its current slot holds
 * what is a whole turn away. On level 0 the current slot is what falls due now, and between the
 * two it is always empty.
 */
#include "wheel.h"

#include <assert.h>

#define DIGIT_BITS 6
#define DIGIT_MASK (WHEEL_SLOTS - 1)

_Static_assert(WHEEL_SLOTS == 1 << DIGIT_BITS, "a digit names a slot");
_Static_assert(WHEEL_SPAN_MAX == (1u << (WHEEL_LEVELS * DIGIT_BITS)) - 1, "the levels' reach");

static struct wheel_node *
wheel_node_at(const struct wheel *wheel, uint32_t index)
{
	return (void *)(wheel->base + index * wheel->stride);
}

static uint32_t
wheel_slot(uint32_t level, uint32_t tick)
{
	return level * WHEEL_SLOTS + (tick >> (level * DIGIT_BITS) & DIGIT_MASK);
}

static uint32_t
wheel_level(const struct wheel *wheel, uint32_t due)
{
	uint32_t differing = (due ^ wheel->now) | 1; /* equal ticks: level 0 */
	uint32_t level = (31 - (uint32_t)__builtin_clz(differing)) / DIGIT_BITS;

	return level < WHEEL_LEVELS ? level : WHEEL_LEVELS - 1;
}

static uint64_t
rotate_right(uint64_t bits, uint32_t count)
{
	return bits >> (count & 63) | bits << (-count & 63);
}

/* The next tick with something to do, and the lowest level that has it. */
static bool
wheel_find_next(const struct wheel *wheel, uint32_t *ret_tick, uint32_t *ret_level)
{
	for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
		uint32_t shift = level * DIGIT_BITS;
		uint32_t from = (wheel->now >> shift) + (level > 0);
		uint64_t ahead = rotate_right(wheel->occupied[level], from & DIGIT_MASK);

		if (ahead) {
			*ret_tick = (from + (uint32_t)__builtin_ctzll(ahead)) << shift;
			*ret_level = level;
			return true;
		}
	}
	return false;
}

static void
wheel_link(struct wheel *wheel, uint32_t index)
{
	struct wheel_node *node = wheel_node_at(wheel, index);
	uint32_t slot = wheel_slot(wheel_level(wheel, node->due), node->due);

	node->prev = WHEEL_HEAD | slot;
	node->next = wheel->head[slot];
	if (node->next)
		wheel_node_at(wheel, node->next - 1)->prev = index + 1;
	wheel->head[slot] = index + 1;
	wheel->occupied[slot / WHEEL_SLOTS] |= UINT64_C(1) << slot % WHEEL_SLOTS;
	wheel->count++;
}

static void
wheel_unlink(struct wheel *wheel, struct wheel_node *node)
{
	uint32_t slot = node->prev & ~WHEEL_HEAD;

	if (node->next)
		wheel_node_at(wheel, node->next - 1)->prev = node->prev;
	if (!(node->prev & WHEEL_HEAD)) {
		wheel_node_at(wheel, node->prev - 1)->next = node->next;
	} else {
		wheel->head[slot] = node->next;
		if (!node->next)
			wheel->occupied[slot / WHEEL_SLOTS] &= ~(UINT64_C(1) << slot % WHEEL_SLOTS);
	}
	node->next = 0;
	node->prev = 0;
	wheel->count--;
}

/* Takes out the first node of a slot that has one; returns its index. */
static uint32_t
wheel_pop(struct wheel *wheel, uint32_t slot)
{
	uint32_t index = wheel->head[slot] - 1;

	wheel_unlink(wheel, wheel_node_at(wheel, index));
	return index;
}

void
wheel_init(struct wheel *wheel, void *base, size_t stride, uint32_t now)
{
	assert(stride >= sizeof(struct wheel_node));
	*wheel = (struct wheel){.base = base, .stride = stride, .now = now, .until = now};
}

void
wheel_set(struct wheel *wheel, uint32_t index, uint32_t due)
{
	struct wheel_node *node = wheel_node_at(wheel, index);

	assert(index < WHEEL_HEAD - 1);
	wheel_clear(wheel, index);
	if (wheel_tick_reached(wheel->now, due))
		due = wheel->until + 1;
	if (due - wheel->now > WHEEL_SPAN_MAX)
		due = wheel->now + WHEEL_SPAN_MAX;
	node->due = due;
	wheel_link(wheel, index);
}

void
wheel_clear(struct wheel *wheel, uint32_t index)
{
	struct wheel_node *node = wheel_node_at(wheel, index);

	if (node->prev)
		wheel_unlink(wheel, node);
}

bool
wheel_is_set(const struct wheel *wheel, uint32_t index)
{
	return wheel_node_at(wheel, index)->prev != 0;
}

void
wheel_expire(struct wheel *wheel, uint32_t now, void (*expired)(void *context, uint32_t index),
	void *context)
{
	uint32_t tick, level;

	if (wheel_tick_reached(wheel->now, now))
		return;
	wheel->until = now;
	while (wheel_find_next(wheel, &tick, &level) && wheel_tick_reached(now, tick)) {
		uint32_t upper = wheel_slot(level, tick), due = wheel_slot(0, tick);

		wheel->now = tick;
		while (level > 0 && wheel->head[upper])
			wheel_link(wheel, wheel_pop(wheel, upper));
		/* From the head each time: the callback may take out any node. */
		while (wheel->head[due])
			expired(context, wheel_pop(wheel, due));
	}
	wheel->now = now;
}

bool
wheel_next(const struct wheel *wheel, uint32_t *ret_tick)
{
	uint32_t level;

	return wheel_find_next(wheel, ret_tick, &level);
}
