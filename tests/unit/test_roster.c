/* Tests of roster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "roster.h"
#include "upstream.h"

#define GENERATION_MAX ((1u << ROSTER_GENERATION_BITS) - 1)

static struct roster *
new_roster(uint32_t max_connections)
{
	struct roster *roster = roster_new(max_connections);

	assert_non_null(roster);
	return roster;
}

static uint64_t
add(struct roster *roster)
{
	uint64_t id = roster_add(roster, 1, 2, 3);

	assert_true(id != 0);
	return id;
}

/* Lets `n` connections come and go, one after the other. */
static void
churn(struct roster *roster, uint32_t n)
{
	while (n-- > 0)
		roster_remove(roster, add(roster));
}

static void
test_first_ids(void **state)
{
	struct roster *roster = new_roster(10);

	(void)state;
	assert_int_equal(roster_size(roster), 0);
	assert_int_equal(add(roster), 1);
	assert_int_equal(add(roster), 2);
	assert_int_equal(add(roster), 3);
	assert_int_equal(roster_size(roster), 3);
	roster_free(roster);
}

static void
test_the_server_of_a_connection(void **state)
{
	struct roster *roster = new_roster(10);
	uint64_t id = add(roster), other = add(roster);

	(void)state;
	assert_int_equal(roster_server(roster, id), UPSTREAM_NONE);
	roster_set_server(roster, id, 0);
	roster_set_server(roster, other, UPSTREAM_MAX - 1);
	assert_int_equal(roster_server(roster, id), 0);
	assert_int_equal(roster_server(roster, other), UPSTREAM_MAX - 1);
	roster_set_server(roster, other, UPSTREAM_NONE);
	assert_int_equal(roster_server(roster, other), UPSTREAM_NONE);
	/* Who gets the slot next has none. */
	roster_remove(roster, id);
	churn(roster, ROSTER_QUARANTINE + 10);
	assert_int_equal(roster_server(roster, id), UPSTREAM_NONE);
	roster_free(roster);
}

static void
test_who_waits_for_a_server_is_counted(void **state)
{
	struct roster *roster = new_roster(10);
	uint64_t id = add(roster), other = add(roster);
	uint8_t listener = (uint8_t)roster_find(roster, id)->listener;

	(void)state;
	assert_int_equal(roster_waiting(roster, listener), 0);
	roster_set_waiting(roster, id);
	roster_set_waiting(roster, id);
	roster_set_waiting(roster, other);
	assert_int_equal(roster_waiting(roster, listener), 2);
	assert_int_equal(roster_waiting(roster, (uint8_t)(listener + 1)), 0);
	assert_int_equal(roster_server(roster, id), UPSTREAM_NONE);
	roster_set_server(roster, id, UPSTREAM_NONE);
	assert_int_equal(roster_waiting(roster, listener), 1);
	roster_set_waiting(roster, id);
	roster_set_server(roster, id, 3);
	assert_int_equal(roster_waiting(roster, listener), 1);
	assert_int_equal(roster_server(roster, id), 3);
	roster_remove(roster, other);
	assert_int_equal(roster_waiting(roster, listener), 0);
	roster_free(roster);
}

static void
test_a_new_entry(void **state)
{
	struct roster *roster = new_roster(10);
	uint64_t id = roster_add(roster, 255, 63, ROSTER_CONNECTIONS_MAX);
	struct roster_entry *entry = roster_find(roster, id);

	(void)state;
	assert_non_null(entry);
	assert_int_equal(entry->worker, 255);
	assert_int_equal(entry->listener, 63);
	assert_int_equal(entry->source, ROSTER_CONNECTIONS_MAX);
	assert_int_equal(entry->fd, -1);
	assert_int_equal(entry->flags, 0);
	roster_free(roster);
}

static void
test_a_slot_used_again_remembers_nothing(void **state)
{
	struct roster *roster = new_roster(1);
	uint64_t id = add(roster);
	struct roster_entry *entry = roster_find(roster, id);

	(void)state;
	entry->fd = 7;
	entry->flags = ROSTER_KILL | ROSTER_OLD_SOURCE;
	roster_remove(roster, id);
	churn(roster, ROSTER_QUARANTINE);
	id = add(roster);
	assert_int_equal(roster_slot(id), 1);
	entry = roster_find(roster, id);
	assert_int_equal(entry->fd, -1);
	assert_int_equal(entry->flags, 0);
	assert_int_equal(entry->source, 3);
	roster_free(roster);
}

static void
test_no_more_than_max_connections(void **state)
{
	(void)state;
	for (uint32_t max = 0; max < 4; max++) {
		struct roster *roster = new_roster(max);
		uint64_t id = 0;

		for (uint32_t n = 0; n < max; n++)
			id = add(roster);
		assert_int_equal(roster_size(roster), max);
		assert_true(roster_add(roster, 0, 0, 0) == 0);
		assert_int_equal(roster_size(roster), max);
		if (max > 0) {
			roster_remove(roster, id);
			assert_int_equal(roster_size(roster), max - 1);
			add(roster);
			assert_true(roster_add(roster, 0, 0, 0) == 0);
		}
		roster_free(roster);
	}
}

static void
test_remove_and_stale_ids(void **state)
{
	struct roster *roster = new_roster(10);
	uint64_t first = add(roster), second = add(roster);

	(void)state;
	roster_remove(roster, first);
	assert_null(roster_find(roster, first));
	assert_non_null(roster_find(roster, second));
	roster_remove(roster, first);
	assert_int_equal(roster_size(roster), 1);
	roster_free(roster);
}

static void
test_ids_that_never_were(void **state)
{
	struct roster *roster = new_roster(10);
	uint64_t id = add(roster);

	(void)state;
	assert_null(roster_find(roster, 0));
	assert_null(roster_find(roster, id + 1));
	assert_null(roster_find(roster, id | UINT64_C(1) << ROSTER_SLOT_BITS));
	assert_null(roster_find(roster, id | UINT64_C(1) << 53));
	assert_null(roster_find(roster, id | UINT64_C(1) << 63));
	assert_null(roster_find(roster, (1u << ROSTER_SLOT_BITS) - 1));
	assert_null(roster_find(roster, UINT64_MAX));
	roster_remove(roster, 0);
	roster_remove(roster, UINT64_MAX);
	assert_int_equal(roster_size(roster), 1);
	roster_free(roster);
}

static void
test_quarantine(void **state)
{
	struct roster *roster = new_roster(2);
	uint64_t stale = add(roster), id;

	(void)state;
	roster_remove(roster, stale);
	for (uint32_t n = 0; n < ROSTER_QUARANTINE; n++) {
		id = add(roster);
		assert_int_equal(id, n + 2);
		roster_remove(roster, id);
	}
	id = add(roster);
	assert_int_equal(roster_slot(id), roster_slot(stale));
	assert_int_equal(id >> ROSTER_SLOT_BITS, 1);
	assert_null(roster_find(roster, stale));
	assert_non_null(roster_find(roster, id));
	roster_remove(roster, stale);
	assert_int_equal(roster_size(roster), 1);
	/* The next slots come back in the order in which they were let go. */
	assert_int_equal(roster_slot(add(roster)), ROSTER_QUARANTINE + 2);
	roster_free(roster);
}

static void
test_slots_come_back_in_order(void **state)
{
	struct roster *roster = new_roster(3);
	uint64_t a = add(roster), b = add(roster), c = add(roster);

	(void)state;
	roster_remove(roster, b);
	roster_remove(roster, c);
	roster_remove(roster, a);
	churn(roster, ROSTER_QUARANTINE - 2);
	assert_int_equal(roster_slot(add(roster)), roster_slot(b));
	roster_free(roster);
}

static void
test_full_after_long_churn(void **state)
{
	const uint32_t max = 100;
	struct roster *roster = new_roster(max);

	(void)state;
	for (uint32_t n = 0; n < max - 1; n++)
		add(roster);
	churn(roster, 3 * ROSTER_QUARANTINE);
	add(roster);
	assert_true(roster_add(roster, 0, 0, 0) == 0);
	assert_int_equal(roster_size(roster), max);
	roster_free(roster);
}

static void
test_generation_wraps_and_ids_stay_below_2_to_the_53(void **state)
{
	struct roster *roster = new_roster(1);
	uint64_t id = add(roster);

	(void)state;
	roster_find(roster, id)->generation = GENERATION_MAX;
	assert_null(roster_find(roster, id));
	id |= (uint64_t)GENERATION_MAX << ROSTER_SLOT_BITS;
	assert_non_null(roster_find(roster, id));
	assert_true(id < UINT64_C(1) << 53);
	assert_true((id | ((1u << ROSTER_SLOT_BITS) - 1)) == (UINT64_C(1) << 53) - 1);
	roster_remove(roster, id);
	churn(roster, ROSTER_QUARANTINE);
	assert_int_equal(add(roster), 1);
	assert_null(roster_find(roster, id));
	roster_free(roster);
}

static void
test_the_largest_roster(void **state)
{
	struct roster *roster = new_roster(ROSTER_CONNECTIONS_MAX);

	(void)state;
	assert_int_equal(add(roster), 1);
	assert_null(roster_find(roster, (1u << ROSTER_SLOT_BITS) - 1));
	roster_free(roster);
}

static void
test_free_of_null(void **state)
{
	(void)state;
	roster_free(NULL);
}

static void
test_walk_of_an_empty_roster(void **state)
{
	struct roster *roster = new_roster(5);
	uint32_t slot = 0;

	(void)state;
	assert_true(roster_next(roster, 0, 100, &slot) == 0);
	assert_int_equal(slot, UINT32_MAX);
	assert_true(roster_next(roster, UINT32_MAX, 100, &slot) == 0);
	assert_int_equal(slot, UINT32_MAX);
	roster_free(roster);
}

static void
test_walk_in_slices(void **state)
{
	struct roster *roster = new_roster(10);
	uint64_t ids[11];
	uint32_t slot = 0;

	(void)state;
	for (int i = 1; i <= 10; i++)
		ids[i] = add(roster);
	for (int i = 2; i <= 8; i++)
		roster_remove(roster, ids[i]);
	/* Left: 1, 9 and 10. */
	assert_int_equal(roster_next(roster, 0, 1, &slot), ids[1]);
	assert_int_equal(slot, 1);
	assert_int_equal(roster_next(roster, slot, 3, &slot), 0);
	assert_int_equal(slot, 4);
	assert_int_equal(roster_next(roster, slot, 4, &slot), 0);
	assert_int_equal(slot, 8);
	assert_int_equal(roster_next(roster, slot, 1, &slot), ids[9]);
	assert_int_equal(slot, 9);
	assert_int_equal(roster_next(roster, slot, UINT32_MAX, &slot), ids[10]);
	assert_int_equal(slot, 10);
	assert_int_equal(roster_next(roster, slot, 1, &slot), 0);
	assert_int_equal(slot, UINT32_MAX);
	roster_free(roster);
}

static void
test_walk_whose_slice_ends_with_the_last_slot(void **state)
{
	struct roster *roster = new_roster(3);
	uint64_t a = add(roster), b = add(roster), c = add(roster);
	uint32_t slot;

	(void)state;
	roster_remove(roster, b);
	roster_remove(roster, c);
	assert_int_equal(roster_next(roster, 0, 3, &slot), a);
	assert_int_equal(roster_next(roster, 1, 1, &slot), 0);
	assert_int_equal(slot, 2);
	assert_int_equal(roster_next(roster, 1, 2, &slot), 0);
	assert_int_equal(slot, UINT32_MAX);
	assert_int_equal(roster_next(roster, 1, 3, &slot), 0);
	assert_int_equal(slot, UINT32_MAX);
	roster_free(roster);
}

static void
test_walk_while_entries_are_removed(void **state)
{
	struct roster *roster = new_roster(100);
	uint32_t slot = 0, seen = 0;
	uint64_t id;

	(void)state;
	for (int i = 0; i < 100; i++)
		add(roster);
	while (slot != UINT32_MAX) {
		id = roster_next(roster, slot, 7, &slot);
		if (id) {
			seen++;
			roster_remove(roster, id);
		}
	}
	assert_int_equal(seen, 100);
	assert_int_equal(roster_size(roster), 0);
	roster_free(roster);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_ids),
		cmocka_unit_test(test_a_new_entry),
		cmocka_unit_test(test_the_server_of_a_connection),
		cmocka_unit_test(test_who_waits_for_a_server_is_counted),
		cmocka_unit_test(test_a_slot_used_again_remembers_nothing),
		cmocka_unit_test(test_no_more_than_max_connections),
		cmocka_unit_test(test_remove_and_stale_ids),
		cmocka_unit_test(test_ids_that_never_were),
		cmocka_unit_test(test_quarantine),
		cmocka_unit_test(test_slots_come_back_in_order),
		cmocka_unit_test(test_full_after_long_churn),
		cmocka_unit_test(test_generation_wraps_and_ids_stay_below_2_to_the_53),
		cmocka_unit_test(test_the_largest_roster),
		cmocka_unit_test(test_free_of_null),
		cmocka_unit_test(test_walk_of_an_empty_roster),
		cmocka_unit_test(test_walk_in_slices),
		cmocka_unit_test(test_walk_whose_slice_ends_with_the_last_slot),
		cmocka_unit_test(test_walk_while_entries_are_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
