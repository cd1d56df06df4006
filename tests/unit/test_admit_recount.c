/* admit: counting sources anew after a change of prefix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include <cmocka.h>

#include "admit.h"
#include "fixture.h"
#include "fixture_admit.h"

static void
test_recount_wider_and_back(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	struct addr a = make_addr("192.0.2.1"), b = make_addr("192.0.2.2");
	uint32_t source_a = enter(admit, 0, "192.0.2.1");
	uint32_t source_b = enter(admit, 1, "192.0.2.2");

	(void)state;
	limits.ipv4_prefix = 24;
	limits.per_source = 2;
	configure(admit, &limits, true);
	source_a = admit_recount(admit, source_a, &a);
	source_b = admit_recount(admit, source_b, &b);
	admit_recount_done(admit);
	assert_int_equal(source_a, source_b);
	assert_int_equal(source_count(admit, "192.0.2.77"), 2);
	assert_int_equal(admit_connections(admit), 2);
	assert_refused(admit, 0, "192.0.2.3", CLOSE_REFUSED_SOURCE);

	limits.ipv4_prefix = 32;
	configure(admit, &limits, true);
	source_a = admit_recount(admit, source_a, &a);
	source_b = admit_recount(admit, source_b, &b);
	admit_recount_done(admit);
	assert_int_not_equal(source_a, source_b);
	assert_int_equal(source_count(admit, "192.0.2.1"), 1);
	assert_int_equal(source_count(admit, "192.0.2.2"), 1);
	admit_release(admit, 0, source_a, false);
	admit_release(admit, 1, source_b, false);
	assert_int_equal(admit_connections(admit), 0);
	assert_int_equal(source_table_size(admit_sources(admit)), 0);
	admit_free(admit);
}

static void
test_recount_with_traffic_meanwhile(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	struct addr moved = make_addr("192.0.2.1");
	uint32_t old_moved = enter(admit, 0, "192.0.2.1");
	uint32_t old_gone = enter(admit, 0, "192.0.2.1");
	uint32_t new_moved, new_come;

	(void)state;
	limits.ipv4_prefix = 24;
	configure(admit, &limits, true);
	assert_int_equal(source_count(admit, "192.0.2.1"), 0);
	new_come = enter(admit, 0, "192.0.2.9");
	admit_release(admit, 0, old_gone, true);
	assert_int_equal(source_count(admit, "192.0.2.1"), 1);
	new_moved = admit_recount(admit, old_moved, &moved);
	assert_int_equal(new_moved, new_come);
	assert_int_equal(source_count(admit, "192.0.2.1"), 2);
	admit_release(admit, 0, new_come, false);
	admit_recount_done(admit);
	assert_int_equal(source_count(admit, "192.0.2.1"), 1);
	assert_int_equal(admit_connections(admit), 1);
	admit_free(admit);
}

static void
test_recount_of_clients_without_a_source(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	struct addr unix_addr = {.family = ADDR_UNIX};
	uint32_t source;

	(void)state;
	assert_int_equal(admit_decide(admit, 0, &unix_addr, 0, &source), CLOSE_NONE);
	assert_int_equal(admit_decide(admit, 0, &unix_addr, 0, &source), CLOSE_NONE);
	limits.ipv6_prefix = 128;
	configure(admit, &limits, true);
	assert_int_equal(admit_recount(admit, SOURCE_NONE, &unix_addr), SOURCE_NONE);
	admit_release(admit, 0, SOURCE_NONE, true);
	admit_recount_done(admit);
	assert_int_equal(admit_connections(admit), 1);
	admit_free(admit);
}

static void
test_recount_ipv6(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	struct addr a = make_addr("2001:db8::1"), b = make_addr("2001:db8::2");
	uint32_t old = enter(admit, 0, "2001:db8::1");

	(void)state;
	assert_int_equal(enter(admit, 0, "2001:db8::2"), old);
	limits.ipv6_prefix = 128;
	configure(admit, &limits, true);
	assert_int_not_equal(admit_recount(admit, old, &a), admit_recount(admit, old, &b));
	admit_recount_done(admit);
	assert_int_equal(source_count(admit, "2001:db8::1"), 1);
	assert_int_equal(source_count(admit, "2001:db8::2"), 1);
	admit_free(admit);
}

static void
test_other_limits_may_change_during_a_recount(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	struct addr addr = make_addr("192.0.2.1");
	uint32_t old = enter(admit, 0, "192.0.2.1");

	(void)state;
	limits.ipv4_prefix = 24;
	configure(admit, &limits, true);
	limits.connections = 1;
	configure(admit, &limits, false);
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
	admit_recount(admit, old, &addr);
	admit_recount_done(admit);
	admit_free(admit);
}

static void
test_free_during_a_recount(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);

	(void)state;
	enter(admit, 0, "192.0.2.1");
	limits.ipv4_prefix = 24;
	configure(admit, &limits, true);
	admit_free(admit);
}

static void
change_prefix_twice(void)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	bool recount;

	limits.ipv4_prefix = 24;
	if (admit_configure(admit, &limits, 0, &recount) < 0)
		return;
	limits.ipv4_prefix = 16;
	(void)!admit_configure(admit, &limits, 0, &recount);
}

static void
end_recount_early(void)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	bool recount;

	enter(admit, 0, "192.0.2.1");
	limits.ipv4_prefix = 24;
	if (admit_configure(admit, &limits, 0, &recount) < 0)
		return;
	admit_recount_done(admit);
}

static void
test_recounts_do_not_overlap(void **state)
{
	(void)state;
	assert_aborts(change_prefix_twice);
	assert_aborts(end_recount_early);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recount_wider_and_back),
		cmocka_unit_test(test_recount_with_traffic_meanwhile),
		cmocka_unit_test(test_recount_of_clients_without_a_source),
		cmocka_unit_test(test_recount_ipv6),
		cmocka_unit_test(test_other_limits_may_change_during_a_recount),
		cmocka_unit_test(test_free_during_a_recount),
		cmocka_unit_test(test_recounts_do_not_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
