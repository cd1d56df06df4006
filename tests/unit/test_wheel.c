/* Tests of wheel: each limit by hand, then a long random walk beside a naive model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "wheel.h"

#define NODES 200
#define START 1000u

/* The wheel's node does not come first, as in a real table. */
struct row {
	uint64_t other;
	struct wheel_node node;
};

struct fixture {
	struct wheel wheel;
	struct row rows[NODES];
	uint32_t fired[4 * NODES]; /* the indices, in order of expiry */
	uint32_t fired_at[4 * NODES];
	uint32_t n_fired;
	void (*then)(struct fixture *fixture, uint32_t index); /* more for the callback to do */
};

static void
fixture_init(struct fixture *fixture, uint32_t now)
{
	memset(fixture, 0, sizeof(*fixture));
	wheel_init(&fixture->wheel, &fixture->rows[0].node, sizeof(fixture->rows[0]), now);
}

static void
record(void *context, uint32_t index)
{
	struct fixture *fixture = context;

	assert_false(wheel_is_set(&fixture->wheel, index));
	assert_int_equal(fixture->wheel.now, fixture->rows[index].node.due);
	assert_true(fixture->n_fired < 4 * NODES);
	fixture->fired_at[fixture->n_fired] = fixture->wheel.now;
	fixture->fired[fixture->n_fired++] = index;
	if (fixture->then)
		fixture->then(fixture, index);
}

static void
expire(struct fixture *fixture, uint32_t now)
{
	wheel_expire(&fixture->wheel, now, record, fixture);
	assert_int_equal(fixture->wheel.now, now);
}

static void
assert_empty(const struct fixture *fixture)
{
	uint32_t tick;

	assert_int_equal(fixture->wheel.count, 0);
	assert_false(wheel_next(&fixture->wheel, &tick));
	for (int level = 0; level < WHEEL_LEVELS; level++)
		assert_true(fixture->wheel.occupied[level] == 0);
	for (int slot = 0; slot < WHEEL_LEVELS * WHEEL_SLOTS; slot++)
		assert_int_equal(fixture->wheel.head[slot], 0);
}

static void
test_tick_of_a_moment(void **state)
{
	(void)state;
	assert_int_equal(wheel_tick(0), 0);
	assert_int_equal(wheel_tick(WHEEL_TICK_USEC - 1), 0);
	assert_int_equal(wheel_tick(WHEEL_TICK_USEC), 1);
	assert_int_equal(wheel_tick(UINT64_C(0x100000005) * WHEEL_TICK_USEC), 5);
}

static void
test_tick_reached_across_the_wrap(void **state)
{
	(void)state;
	assert_true(wheel_tick_reached(7, 7));
	assert_true(wheel_tick_reached(8, 7));
	assert_false(wheel_tick_reached(7, 8));
	assert_true(wheel_tick_reached(3, UINT32_MAX));
	assert_false(wheel_tick_reached(UINT32_MAX, 3));
}

static void
test_a_new_wheel_is_empty(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	assert_false(wheel_is_set(&fixture.wheel, 0));
	assert_empty(&fixture);
	expire(&fixture, START + 12345);
	assert_int_equal(fixture.n_fired, 0);
}

static void
test_expires_at_its_tick_and_not_before(void **state)
{
	static const uint32_t delays[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 262143, 262144,
		262145, (1 << 24) - 1, 1 << 24, (1 << 24) + 1, (63u << 24) + 1, WHEEL_SPAN_MAX - 1,
		WHEEL_SPAN_MAX};
	static const uint32_t starts[] = {0, 1, 63, 64, 0xffffff, 0x3fffffff, 0x40000000,
		0x7fffffff, 0x80000000, UINT32_MAX - 64, UINT32_MAX - 1, UINT32_MAX};
	struct fixture fixture;

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		for (size_t j = 0; j < sizeof(delays) / sizeof(*delays); j++) {
			fixture_init(&fixture, starts[i]);
			wheel_set(&fixture.wheel, 3, starts[i] + delays[j]);
			expire(&fixture, starts[i] + delays[j] - 1);
			assert_int_equal(fixture.n_fired, 0);
			assert_true(wheel_is_set(&fixture.wheel, 3));
			expire(&fixture, starts[i] + delays[j]);
			assert_int_equal(fixture.n_fired, 1);
			assert_int_equal(fixture.fired[0], 3);
			assert_empty(&fixture);
		}
	}
}

static void
test_due_now_or_before_expires_one_tick_later(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	wheel_set(&fixture.wheel, 0, START - 1);
	wheel_set(&fixture.wheel, 1, START);
	wheel_set(&fixture.wheel, 2, START + 1);
	wheel_set(&fixture.wheel, 3, START + 2);
	expire(&fixture, START);
	assert_int_equal(fixture.n_fired, 0);
	expire(&fixture, START + 1);
	assert_int_equal(fixture.n_fired, 3);
}

static void
test_due_beyond_the_span_is_clamped(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	wheel_set(&fixture.wheel, 0, START + WHEEL_SPAN_MAX - 1);
	wheel_set(&fixture.wheel, 1, START + WHEEL_SPAN_MAX);
	wheel_set(&fixture.wheel, 2, START + WHEEL_SPAN_MAX + 1);
	wheel_set(&fixture.wheel, 3, START + INT32_MAX);
	expire(&fixture, START + WHEEL_SPAN_MAX - 1);
	assert_int_equal(fixture.n_fired, 1);
	assert_int_equal(fixture.fired[0], 0);
	expire(&fixture, START + WHEEL_SPAN_MAX);
	assert_int_equal(fixture.n_fired, 4);
}

static void
test_setting_again_moves(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	wheel_set(&fixture.wheel, 0, START + 5);
	wheel_set(&fixture.wheel, 0, START + 5000);
	assert_int_equal(fixture.wheel.count, 1);
	expire(&fixture, START + 4999);
	assert_int_equal(fixture.n_fired, 0);
	wheel_set(&fixture.wheel, 0, START + 5001);
	wheel_set(&fixture.wheel, 0, START + 5000);
	expire(&fixture, START + 5000);
	assert_int_equal(fixture.n_fired, 1);
	assert_empty(&fixture);
}

static void
test_clear_first_middle_and_last_of_a_slot(void **state)
{
	struct fixture fixture;

	(void)state;
	for (uint32_t gone = 0; gone < 3; gone++) {
		fixture_init(&fixture, START);
		for (uint32_t i = 0; i < 3; i++)
			wheel_set(&fixture.wheel, i, START + 70);
		wheel_clear(&fixture.wheel, gone);
		wheel_clear(&fixture.wheel, gone);
		assert_false(wheel_is_set(&fixture.wheel, gone));
		assert_int_equal(fixture.wheel.count, 2);
		expire(&fixture, START + 70);
		assert_int_equal(fixture.n_fired, 2);
		assert_int_equal(fixture.fired[0] + fixture.fired[1], 3 - gone);
		assert_empty(&fixture);
	}
}

static void
test_clearing_the_last_node_leaves_an_empty_wheel(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	for (uint32_t i = 0; i < 30; i++)
		wheel_set(&fixture.wheel, i, START + (1u << i));
	for (uint32_t i = 0; i < 30; i++)
		wheel_clear(&fixture.wheel, i);
	assert_empty(&fixture);
}

static void
test_the_first_index_and_slot_are_nothing_special(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, UINT32_MAX);
	wheel_set(&fixture.wheel, 0, 0); /* level 0 after the wrap, slot 0 */
	assert_true(wheel_is_set(&fixture.wheel, 0));
	expire(&fixture, 0);
	assert_int_equal(fixture.n_fired, 1);
	wheel_set(&fixture.wheel, 0, 64);
	assert_true(wheel_is_set(&fixture.wheel, 0));
	wheel_clear(&fixture.wheel, 0);
	assert_empty(&fixture);
}

static void
test_expiry_is_in_order_of_due_tick(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, UINT32_MAX - 5000);
	for (uint32_t i = 0; i < NODES; i++)
		wheel_set(&fixture.wheel, i, UINT32_MAX - 5000 + 1 + i * 7919 % 10007);
	expire(&fixture, 20000);
	assert_int_equal(fixture.n_fired, NODES);
	for (uint32_t i = 1; i < NODES; i++)
		assert_true(wheel_tick_reached(fixture.fired_at[i], fixture.fired_at[i - 1]));
}

static void
test_time_does_not_go_back(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	wheel_set(&fixture.wheel, 0, START + 1);
	wheel_expire(&fixture.wheel, START - 1, record, &fixture);
	assert_int_equal(fixture.wheel.now, START);
	assert_int_equal(fixture.n_fired, 0);
	expire(&fixture, START + 1);
	assert_int_equal(fixture.n_fired, 1);
}

static void
test_next_is_exact_on_the_lowest_level(void **state)
{
	struct fixture fixture;
	uint32_t tick;

	(void)state;
	fixture_init(&fixture, 64);
	wheel_set(&fixture.wheel, 0, 127);
	wheel_set(&fixture.wheel, 1, 90);
	wheel_set(&fixture.wheel, 2, 128);
	assert_true(wheel_next(&fixture.wheel, &tick));
	assert_int_equal(tick, 90);
	wheel_clear(&fixture.wheel, 1);
	assert_true(wheel_next(&fixture.wheel, &tick));
	assert_int_equal(tick, 127);
}

/* However far ahead a node is, following wheel_next() takes at most one step a level. */
static void
test_empty_time_is_skipped(void **state)
{
	struct fixture fixture;
	uint32_t due = START + WHEEL_SPAN_MAX - 12345, tick = START;
	int steps = 0;

	(void)state;
	fixture_init(&fixture, START);
	wheel_set(&fixture.wheel, 0, due);
	while (wheel_next(&fixture.wheel, &tick)) {
		assert_true(wheel_tick_reached(due, tick));
		expire(&fixture, tick);
		steps++;
	}
	assert_int_equal(tick, due);
	assert_int_equal(fixture.n_fired, 1);
	assert_true(steps <= WHEEL_LEVELS);
}

static void
set_for_the_past(struct fixture *fixture, uint32_t index)
{
	wheel_set(&fixture->wheel, index, fixture->wheel.now);
}

static void
test_callback_that_sets_for_the_past_waits_for_the_next_call(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	fixture.then = set_for_the_past;
	wheel_set(&fixture.wheel, 0, START + 1);
	wheel_set(&fixture.wheel, 1, START + 5);
	expire(&fixture, START + 100000000);
	assert_int_equal(fixture.n_fired, 2);
	expire(&fixture, START + 100000000);
	assert_int_equal(fixture.n_fired, 2);
	expire(&fixture, START + 100000001);
	assert_int_equal(fixture.n_fired, 4);
	expire(&fixture, START + 100000002);
	assert_int_equal(fixture.n_fired, 6);
}

static void
set_100_ahead(struct fixture *fixture, uint32_t index)
{
	wheel_set(&fixture->wheel, index, fixture->wheel.now + 100);
}

static void
test_callback_that_sets_ahead_expires_again_when_reached(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	fixture.then = set_100_ahead;
	wheel_set(&fixture.wheel, 0, START + 100);
	wheel_set(&fixture.wheel, 1, START + 250);
	expire(&fixture, START + 399);
	assert_int_equal(fixture.n_fired, 5);
	for (uint32_t i = 0; i < 5; i++) {
		static const uint32_t order[] = {0, 0, 1, 0, 1};

		assert_int_equal(fixture.fired[i], order[i]);
	}
	assert_int_equal(fixture.wheel.count, 2);
}

static void
clear_all_others(struct fixture *fixture, uint32_t index)
{
	for (uint32_t i = 0; i < NODES; i++) {
		if (i != index)
			wheel_clear(&fixture->wheel, i);
	}
}

static void
test_callback_clears_the_rest_of_the_list(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	fixture.then = clear_all_others;
	for (uint32_t i = 0; i < 10; i++)
		wheel_set(&fixture.wheel, i, START + 3);
	expire(&fixture, START + 3);
	assert_int_equal(fixture.n_fired, 1);
	assert_empty(&fixture);
}

static void
postpone_neighbours(struct fixture *fixture, uint32_t index)
{
	uint32_t tick;

	if (index > 0)
		wheel_set(&fixture->wheel, index - 1, fixture->wheel.now);
	if (index + 1 < NODES)
		wheel_set(&fixture->wheel, index + 1, fixture->wheel.now + 1);
	assert_true(wheel_next(&fixture->wheel, &tick));
	assert_true(wheel_tick_reached(fixture->wheel.now + 1, tick));
}

static void
test_callback_moves_nodes_of_the_same_list(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	fixture.then = postpone_neighbours;
	for (uint32_t i = 0; i < 9; i++)
		wheel_set(&fixture.wheel, i, START + 3);
	expire(&fixture, START + 3);
	/* Last set, first called: 8 takes 7 with it, and so on. */
	assert_int_equal(fixture.n_fired, 5);
	assert_true(wheel_is_set(&fixture.wheel, 7));
	assert_true(wheel_is_set(&fixture.wheel, 9));
}

static void
assert_next_is_now(struct fixture *fixture, uint32_t index)
{
	uint32_t tick;

	if (index == 0)
		return;
	assert_true(wheel_next(&fixture->wheel, &tick));
	assert_int_equal(tick, fixture->wheel.now);
}

static void
test_next_within_a_callback_counts_what_is_due_now(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, START);
	fixture.then = assert_next_is_now;
	wheel_set(&fixture.wheel, 0, START + 3);
	wheel_set(&fixture.wheel, 1, START + 3);
	expire(&fixture, START + 3);
	assert_int_equal(fixture.n_fired, 2);
}

/* The model: an array of 64-bit due ticks, searched from end to end; the wheel sees 32 bits. */
struct model {
	struct wheel wheel;
	struct row rows[NODES];
	uint64_t due[NODES]; /* 0: not set */
	uint64_t now, until;
	uint64_t random;
	uint32_t n_expired;
};

static uint32_t
model_random(struct model *model, uint32_t below)
{
	model->random ^= model->random << 13;
	model->random ^= model->random >> 7;
	model->random ^= model->random << 17;
	return (uint32_t)((model->random >> 16) % below);
}

/* As often in each order of magnitude. */
static uint32_t
model_random_span(struct model *model)
{
	return model_random(model, 1u << (1 + model_random(model, 30)));
}

static uint64_t
model_earliest(const struct model *model)
{
	uint64_t earliest = UINT64_MAX;

	for (uint32_t i = 0; i < NODES; i++) {
		if (model->due[i] && model->due[i] < earliest)
			earliest = model->due[i];
	}
	return earliest;
}

static void
model_change(struct model *model)
{
	uint32_t index = model_random(model, NODES);
	uint64_t due = model->now + model_random_span(model);

	if (model_random(model, 4) == 0) {
		model->due[index] = 0;
		wheel_clear(&model->wheel, index);
		return;
	}
	if (model_random(model, 8) == 0)
		due = model->now - model_random_span(model);
	if (model_random(model, 64) == 0)
		due = model->now + WHEEL_SPAN_MAX - 1 + model_random(model, 3);
	wheel_set(&model->wheel, index, (uint32_t)due);
	if (due <= model->now)
		due = model->until + 1;
	if (due > model->now + WHEEL_SPAN_MAX)
		due = model->now + WHEEL_SPAN_MAX;
	model->due[index] = due;
}

static void
model_expired(void *context, uint32_t index)
{
	struct model *model = context;

	assert_true(model->due[index] != 0);
	assert_true(model->due[index] == model_earliest(model));
	assert_true(model->due[index] <= model->until);
	assert_int_equal(model->wheel.now, (uint32_t)model->due[index]);
	model->now = model->due[index];
	model->due[index] = 0;
	model->n_expired++;
	for (uint32_t n = model_random(model, 3); n > 0; n--)
		model_change(model);
}

static void
model_check(const struct model *model)
{
	uint64_t earliest = model_earliest(model);
	uint32_t tick, n_set = 0;

	for (uint32_t i = 0; i < NODES; i++) {
		assert_int_equal(wheel_is_set(&model->wheel, i), model->due[i] != 0);
		n_set += model->due[i] != 0;
	}
	assert_int_equal(model->wheel.count, n_set);
	assert_int_equal(wheel_next(&model->wheel, &tick), n_set > 0);
	if (n_set > 0) {
		assert_true(earliest > model->now);
		assert_true(wheel_tick_reached(tick, (uint32_t)model->now + 1));
		assert_true(wheel_tick_reached((uint32_t)earliest, tick));
	}
}

static void
model_step(struct model *model)
{
	uint32_t tick;

	if (model_random(model, 4) > 0) {
		model_change(model);
		return;
	}
	model->until = model->now + model_random_span(model);
	/* As the loop does it: up to just where there is something to do. */
	if (model_random(model, 2) == 0 && wheel_next(&model->wheel, &tick))
		model->until = model->now + (tick - (uint32_t)model->now);
	wheel_expire(&model->wheel, (uint32_t)model->until, model_expired, model);
	model->now = model->until;
}

static void
test_random_walk_beside_a_model(void **state)
{
	static struct model model;

	(void)state;
	model = (struct model){.random = 0x9e3779b97f4a7c15, .now = UINT64_C(0x3fffffff0)};
	model.until = model.now;
	wheel_init(&model.wheel, &model.rows[0].node, sizeof(model.rows[0]), (uint32_t)model.now);
	for (int i = 0; i < 40000; i++) {
		model_step(&model);
		model_check(&model);
	}
	assert_true(model.n_expired > 5000);
	assert_true(model.now >> 32 > 8); /* it wrapped more than once */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tick_of_a_moment),
		cmocka_unit_test(test_tick_reached_across_the_wrap),
		cmocka_unit_test(test_a_new_wheel_is_empty),
		cmocka_unit_test(test_expires_at_its_tick_and_not_before),
		cmocka_unit_test(test_due_now_or_before_expires_one_tick_later),
		cmocka_unit_test(test_due_beyond_the_span_is_clamped),
		cmocka_unit_test(test_setting_again_moves),
		cmocka_unit_test(test_clear_first_middle_and_last_of_a_slot),
		cmocka_unit_test(test_clearing_the_last_node_leaves_an_empty_wheel),
		cmocka_unit_test(test_the_first_index_and_slot_are_nothing_special),
		cmocka_unit_test(test_expiry_is_in_order_of_due_tick),
		cmocka_unit_test(test_time_does_not_go_back),
		cmocka_unit_test(test_next_is_exact_on_the_lowest_level),
		cmocka_unit_test(test_empty_time_is_skipped),
		cmocka_unit_test(test_callback_that_sets_for_the_past_waits_for_the_next_call),
		cmocka_unit_test(test_callback_that_sets_ahead_expires_again_when_reached),
		cmocka_unit_test(test_callback_clears_the_rest_of_the_list),
		cmocka_unit_test(test_callback_moves_nodes_of_the_same_list),
		cmocka_unit_test(test_next_within_a_callback_counts_what_is_due_now),
		cmocka_unit_test(test_random_walk_beside_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
