/* admit: every rate to the microsecond, in simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include <cmocka.h>

#include "admit.h"
#include "fixture.h"
#include "fixture_admit.h"

#define SECOND 1000000ull
#define YEAR (365 * 86400 * SECOND)

/* Accepts all that the gate lets through at this time. */
static uint64_t
accept_all(struct admit *admit, unsigned listener, uint64_t now_usec)
{
	struct addr addr = {.family = ADDR_UNIX};
	uint64_t wait_usec, n = 0;
	uint32_t source;

	while (admit_gate(admit, listener, now_usec, &wait_usec) == ADMIT_GATE_OPEN) {
		assert_int_equal(
			admit_decide(admit, listener, &addr, now_usec, &source), CLOSE_NONE);
		admit_release(admit, listener, source, false);
		n++;
	}
	return n;
}

static uint64_t
wait_of(struct admit *admit, unsigned listener, uint64_t now_usec)
{
	uint64_t wait_usec = 0;

	assert_int_equal(admit_gate(admit, listener, now_usec, &wait_usec), ADMIT_GATE_RATE);
	assert_true(wait_usec > 0);
	return wait_usec;
}

static struct admit *
make_rated(uint64_t per_second, uint64_t burst)
{
	struct admit_limits limits = make_limits();

	limits.rate = (struct admit_rate){.per_second = per_second, .burst = burst};
	return make_admit(&limits);
}

static void
test_rate_begins_with_the_burst(void **state)
{
	struct admit *admit = make_rated(7, 0);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 7);
	admit_free(admit);
	admit = make_rated(7, 3);
	assert_int_equal(accept_all(admit, 0, 0), 3);
	admit_free(admit);
	admit = make_rated(7, 100);
	assert_int_equal(accept_all(admit, 0, 0), 100);
	admit_free(admit);
}

static void
test_rate_token_comes_to_the_microsecond(void **state)
{
	struct admit *admit = make_rated(4, 1);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 1);
	assert_int_equal(wait_of(admit, 0, 0), 250000);
	assert_int_equal(accept_all(admit, 0, 249999), 0);
	assert_int_equal(wait_of(admit, 0, 249999), 1);
	assert_int_equal(accept_all(admit, 0, 250000), 1);
	assert_int_equal(accept_all(admit, 0, 250001), 0);
	admit_free(admit);
}

static void
test_rate_wait_is_rounded_up(void **state)
{
	struct admit *admit = make_rated(3, 1);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 1);
	assert_int_equal(wait_of(admit, 0, 0), 333334);
	assert_int_equal(accept_all(admit, 0, 333333), 0);
	assert_int_equal(accept_all(admit, 0, 333334), 1);
	admit_free(admit);
}

/* Always asking again exactly when told to, the n-th token comes at ceil(n / rate). */
static void
test_rate_waits_do_not_drift(void **state)
{
	static const uint64_t rates[] = {1, 3, 7, 1000, 77777, 999983};
	const uint64_t n = 3000;
	uint64_t now, token;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct admit *admit = make_rated(rates[i], 1);

		assert_int_equal(accept_all(admit, 0, 0), 1);
		for (now = 0, token = 1; token <= n; token++) {
			now += wait_of(admit, 0, now);
			assert_true(now * rates[i] >= token * SECOND);
			assert_true((now - 1) * rates[i] < token * SECOND);
			assert_int_equal(accept_all(admit, 0, now), 1);
		}
		admit_free(admit);
	}
}

/* Asks at odd times, never so seldom that the bucket runs over. */
static uint64_t
accept_for(struct admit *admit, uint64_t from_usec, uint64_t until_usec, uint64_t step_max_usec)
{
	uint64_t now = from_usec, n = accept_all(admit, 0, now);
	uint32_t seed = 1;

	while (now < until_usec) {
		now += 1 + next_random(&seed) % step_max_usec;
		if (now > until_usec)
			now = until_usec;
		n += accept_all(admit, 0, now);
	}
	return n;
}

static void
test_rate_is_exact_over_a_thousand_seconds(void **state)
{
	static const struct {
		uint64_t per_second, burst, step_max_usec;
	} rows[] = {
		{7, 0, 850000},
		{7, 0, 9973},
		{7, 10, 1200000},
		{13, 2, 70000},
		{1000, 0, 990000},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t burst = rows[i].burst ? rows[i].burst : rows[i].per_second;
		struct admit *admit = make_rated(rows[i].per_second, rows[i].burst);

		assert_int_equal(accept_for(admit, 0, 1000 * SECOND, rows[i].step_max_usec),
			rows[i].per_second * 1000 + burst);
		admit_free(admit);
	}
}

static void
test_rate_never_gives_more_than_the_burst_at_once(void **state)
{
	struct admit *admit = make_rated(7, 5);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 5);
	assert_int_equal(accept_all(admit, 0, 1000 * SECOND), 5);
	assert_int_equal(accept_all(admit, 0, 1000 * SECOND), 0);
	admit_free(admit);
}

static void
test_rate_after_years_of_silence(void **state)
{
	struct admit *admit = make_rated(10000000, 0);

	(void)state;
	accept_all(admit, 0, 0);
	assert_int_equal(accept_all(admit, 0, 1), 10);
	assert_int_equal(accept_all(admit, 0, 500 * YEAR), 10000000);
	assert_int_equal(accept_all(admit, 0, UINT64_MAX), 10000000);
	admit_free(admit);
}

static void
test_rate_above_one_a_microsecond(void **state)
{
	struct admit *admit = make_rated(3000000, 1000);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 1000);
	assert_int_equal(wait_of(admit, 0, 0), 1);
	assert_int_equal(accept_all(admit, 0, 1), 3);
	assert_int_equal(accept_all(admit, 0, 333), 996);
	assert_int_equal(accept_all(admit, 0, 333 + 334), 1000);
	admit_free(admit);
}

static void
test_rate_when_time_stands_or_goes_back(void **state)
{
	struct admit *admit = make_rated(1, 1);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 10 * SECOND), 1);
	assert_int_equal(accept_all(admit, 0, 10 * SECOND), 0);
	assert_int_equal(accept_all(admit, 0, 5 * SECOND), 0);
	assert_int_equal(wait_of(admit, 0, 5 * SECOND), SECOND);
	assert_int_equal(accept_all(admit, 0, 11 * SECOND - 1), 0);
	assert_int_equal(accept_all(admit, 0, 11 * SECOND), 1);
	admit_free(admit);
}

static void
test_rate_needs_a_token_of_both(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.rate = (struct admit_rate){.per_second = 10, .burst = 5};
	limits.listeners[0].rate = (struct admit_rate){.per_second = 2, .burst = 3};
	admit = make_admit(&limits);
	assert_int_equal(accept_all(admit, 0, 0), 3);
	assert_int_equal(wait_of(admit, 0, 0), 500000);
	assert_int_equal(accept_all(admit, 1, 0), 2);
	assert_int_equal(wait_of(admit, 1, 0), 100000);
	assert_int_equal(wait_of(admit, 0, 0), 500000);
	assert_int_equal(accept_all(admit, 1, 500000), 5);
	assert_int_equal(wait_of(admit, 0, 500000), 100000);
	assert_int_equal(accept_all(admit, 0, 600000), 1);
	admit_free(admit);
}

static void
test_rate_of_a_listener_is_exact_beside_the_total(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.rate.per_second = 10;
	limits.listeners[0].rate.per_second = 3;
	admit = make_admit(&limits);
	assert_int_equal(accept_for(admit, 0, 1000 * SECOND, 600000), 3003);
	admit_free(admit);
}

static void
test_rate_counts_who_is_refused(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.connections = 1;
	limits.rate.per_second = 2;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	assert_gate(admit, 0, ADMIT_GATE_OPEN);
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
	assert_gate(admit, 0, ADMIT_GATE_RATE);
	admit_free(admit);
}

static void
set_rate(struct admit *admit, uint64_t per_second, uint64_t burst, uint64_t now_usec)
{
	struct admit_limits limits = make_limits();
	bool recount = true;

	limits.rate = (struct admit_rate){.per_second = per_second, .burst = burst};
	assert_int_equal(admit_configure(admit, &limits, now_usec, &recount), 0);
	assert_false(recount);
}

/* What came before the change came at the old rate, though nobody asked for it until then. */
static void
test_rate_changed_midway_is_exact(void **state)
{
	struct admit *admit = make_rated(7, 100);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 100);
	set_rate(admit, 11, 100, 3 * SECOND);
	assert_int_equal(accept_all(admit, 0, 3 * SECOND), 21);
	assert_int_equal(accept_all(admit, 0, 5 * SECOND), 22);
	admit_free(admit);
}

static void
test_rate_changed_keeps_fractions(void **state)
{
	struct admit *admit = make_rated(1, 1);

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 1);
	set_rate(admit, 2, 1, 500000);
	assert_int_equal(wait_of(admit, 0, 500000), 250000);
	set_rate(admit, 2, 1, 500000);
	assert_int_equal(wait_of(admit, 0, 500000), 250000);
	admit_free(admit);
}

static void
test_rate_changed_cuts_to_the_new_burst(void **state)
{
	struct admit *admit = make_rated(10, 100);

	(void)state;
	set_rate(admit, 10, 4, 0);
	assert_int_equal(accept_all(admit, 0, 0), 4);
	admit_free(admit);
}

static void
test_rate_changed_gives_no_tokens_away(void **state)
{
	struct admit *admit = make_rated(10, 4);

	(void)state;
	set_rate(admit, 10, 100, 0);
	assert_int_equal(accept_all(admit, 0, 0), 4);
	set_rate(admit, 10, 4, 0);
	set_rate(admit, 10, 100, 0);
	assert_int_equal(accept_all(admit, 0, 0), 0);
	assert_int_equal(accept_all(admit, 0, SECOND), 10);
	admit_free(admit);
}

static void
test_rate_switched_off_and_on(void **state)
{
	struct admit *admit = make_rated(10, 4);
	uint64_t wait_usec;

	(void)state;
	assert_int_equal(accept_all(admit, 0, 0), 4);
	set_rate(admit, 0, 0, 0);
	assert_int_equal(admit_gate(admit, 0, 0, &wait_usec), ADMIT_GATE_OPEN);
	set_rate(admit, 10, 6, SECOND);
	assert_int_equal(accept_all(admit, 0, SECOND), 6);
	assert_int_equal(wait_of(admit, 0, SECOND), 100000);
	admit_free(admit);
}

static void
accept_without_a_token(void)
{
	struct admit *admit = make_rated(1, 1);

	enter(admit, 0, "192.0.2.1");
	enter(admit, 0, "192.0.2.1");
}

static void
test_tokens_never_underflow(void **state)
{
	(void)state;
	assert_aborts(accept_without_a_token);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate_begins_with_the_burst),
		cmocka_unit_test(test_rate_token_comes_to_the_microsecond),
		cmocka_unit_test(test_rate_wait_is_rounded_up),
		cmocka_unit_test(test_rate_waits_do_not_drift),
		cmocka_unit_test(test_rate_is_exact_over_a_thousand_seconds),
		cmocka_unit_test(test_rate_never_gives_more_than_the_burst_at_once),
		cmocka_unit_test(test_rate_after_years_of_silence),
		cmocka_unit_test(test_rate_above_one_a_microsecond),
		cmocka_unit_test(test_rate_when_time_stands_or_goes_back),
		cmocka_unit_test(test_rate_needs_a_token_of_both),
		cmocka_unit_test(test_rate_of_a_listener_is_exact_beside_the_total),
		cmocka_unit_test(test_rate_counts_who_is_refused),
		cmocka_unit_test(test_rate_changed_midway_is_exact),
		cmocka_unit_test(test_rate_changed_keeps_fractions),
		cmocka_unit_test(test_rate_changed_cuts_to_the_new_burst),
		cmocka_unit_test(test_rate_changed_gives_no_tokens_away),
		cmocka_unit_test(test_rate_switched_off_and_on),
		cmocka_unit_test(test_tokens_never_underflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
