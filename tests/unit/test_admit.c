/* admit: every limit to the connection. Recounts and rates have files of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "admit.h"
#include "fixture.h"
#include "fixture_admit.h"

static struct cidr
make_cidr(const char *text)
{
	struct cidr cidr;

	assert_int_equal(cidr_parse(text, &cidr, NULL), 0);
	return cidr;
}

static void
test_free_of_null(void **state)
{
	(void)state;
	admit_free(NULL);
}

static void
test_counts(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	uint32_t a = enter(admit, 0, "192.0.2.1"), b = enter(admit, 63, "192.0.2.1");

	(void)state;
	assert_int_equal(a, b);
	assert_int_equal(admit_connections(admit), 2);
	assert_int_equal(admit_listener_connections(admit, 0), 1);
	assert_int_equal(admit_listener_connections(admit, 63), 1);
	assert_int_equal(admit_listener_connections(admit, 1), 0);
	assert_int_equal(source_count(admit, "192.0.2.1"), 2);
	admit_release(admit, 63, b, false);
	assert_int_equal(admit_connections(admit), 1);
	assert_int_equal(admit_listener_connections(admit, 63), 0);
	assert_int_equal(source_count(admit, "192.0.2.1"), 1);
	admit_release(admit, 0, a, false);
	assert_int_equal(admit_connections(admit), 0);
	assert_int_equal(source_table_size(admit_sources(admit)), 0);
	admit_free(admit);
}

static void
test_total_limit(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;
	uint32_t source;

	(void)state;
	limits.connections = 3;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	enter(admit, 1, "192.0.2.2");
	source = enter(admit, 2, "192.0.2.3");
	assert_refused(admit, 0, "192.0.2.4", CLOSE_REFUSED_TOTAL);
	assert_int_equal(source_count(admit, "192.0.2.4"), 0);
	admit_release(admit, 2, source, false);
	enter(admit, 0, "192.0.2.4");
	assert_refused(admit, 0, "192.0.2.4", CLOSE_REFUSED_TOTAL);
	admit_free(admit);
}

static void
test_total_limit_up_to_the_maximum(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	struct addr addr = {.family = ADDR_IPV4};
	uint32_t source, i;

	(void)state;
	for (i = 0; i < MAX_CONNECTIONS; i++) {
		memcpy(addr.bytes, &i, sizeof(i));
		assert_int_equal(admit_decide(admit, 0, &addr, 0, &source), CLOSE_NONE);
		assert_int_not_equal(source, SOURCE_NONE);
	}
	assert_int_equal(source_table_size(admit_sources(admit)), MAX_CONNECTIONS);
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
	admit_free(admit);
}

static void
test_listener_limit(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;
	uint32_t source;

	(void)state;
	limits.listeners[1].connections = 2;
	admit = make_admit(&limits);
	enter(admit, 1, "192.0.2.1");
	source = enter(admit, 1, "192.0.2.1");
	assert_refused(admit, 1, "192.0.2.1", CLOSE_REFUSED_LISTENER);
	enter(admit, 0, "192.0.2.1");
	admit_release(admit, 1, source, false);
	enter(admit, 1, "192.0.2.1");
	assert_refused(admit, 1, "192.0.2.1", CLOSE_REFUSED_LISTENER);
	admit_free(admit);
}

static void
test_source_limit(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;
	uint32_t source;

	(void)state;
	limits.per_source = 2;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	source = enter(admit, 1, "192.0.2.1");
	assert_refused(admit, 2, "192.0.2.1", CLOSE_REFUSED_SOURCE);
	assert_int_equal(source_count(admit, "192.0.2.1"), 2);
	enter(admit, 0, "192.0.2.2");
	admit_release(admit, 1, source, false);
	enter(admit, 0, "192.0.2.1");
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_SOURCE);
	admit_free(admit);
}

static void
test_source_limit_by_network(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.per_source = 1;
	limits.ipv4_prefix = 24;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	assert_refused(admit, 0, "192.0.2.200", CLOSE_REFUSED_SOURCE);
	enter(admit, 0, "192.0.3.1");
	enter(admit, 0, "2001:db8::1");
	assert_refused(admit, 0, "2001:db8::2", CLOSE_REFUSED_SOURCE);
	enter(admit, 0, "2001:db8:0:1::1");
	admit_free(admit);
}

static void
test_source_limit_not_for_unix_clients(void **state)
{
	struct admit_limits limits = make_limits();
	struct addr unix_addr = {.family = ADDR_UNIX}, none = {.family = ADDR_NONE};
	struct admit *admit;
	uint32_t source = 4711;

	(void)state;
	limits.per_source = 1;
	admit = make_admit(&limits);
	assert_int_equal(admit_decide(admit, 0, &unix_addr, 0, &source), CLOSE_NONE);
	assert_int_equal(source, SOURCE_NONE);
	assert_int_equal(admit_decide(admit, 0, &unix_addr, 0, &source), CLOSE_NONE);
	assert_int_equal(admit_decide(admit, 0, &none, 0, &source), CLOSE_NONE);
	assert_int_equal(source, SOURCE_NONE);
	assert_int_equal(admit_connections(admit), 3);
	admit_release(admit, 0, SOURCE_NONE, false);
	assert_int_equal(admit_connections(admit), 2);
	admit_free(admit);
}

static void
test_exempt_skip_the_source_limit_only(void **state)
{
	struct cidr exempt[] = {make_cidr("10.0.0.0/8"), make_cidr("2001:db8::/32")};
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.per_source = 1;
	limits.connections = 5;
	limits.exempt = exempt;
	limits.n_exempt = 2;
	admit = make_admit(&limits);
	memset(exempt, 0, sizeof(exempt)); /* the limits were copied */
	enter(admit, 0, "10.0.0.1");
	enter(admit, 0, "10.0.0.1");
	assert_int_equal(source_count(admit, "10.0.0.1"), 2);
	enter(admit, 0, "2001:db8::1");
	enter(admit, 0, "2001:db8::1");
	enter(admit, 0, "11.0.0.1");
	assert_refused(admit, 0, "10.0.0.1", CLOSE_REFUSED_TOTAL);
	admit_free(admit);
}

static void
test_exempt_ends_at_its_edge(void **state)
{
	struct cidr exempt = make_cidr("10.0.0.0/31");
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.per_source = 1;
	limits.exempt = &exempt;
	limits.n_exempt = 1;
	admit = make_admit(&limits);
	enter(admit, 0, "10.0.0.1");
	enter(admit, 0, "10.0.0.1");
	enter(admit, 0, "10.0.0.2");
	assert_refused(admit, 0, "10.0.0.2", CLOSE_REFUSED_SOURCE);
	limits.n_exempt = 0;
	limits.exempt = NULL;
	configure(admit, &limits, false);
	assert_refused(admit, 0, "10.0.0.1", CLOSE_REFUSED_SOURCE);
	admit_free(admit);
}

static void
test_order_of_reasons(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.connections = 1;
	limits.per_source = 1;
	limits.listeners[0].connections = 1;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
	limits.connections = 2;
	configure(admit, &limits, false);
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_LISTENER);
	limits.listeners[0].connections = 2;
	configure(admit, &limits, false);
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_SOURCE);
	limits.per_source = 2;
	configure(admit, &limits, false);
	enter(admit, 0, "192.0.2.1");
	admit_free(admit);
}

static void
test_lower_limits_throw_nobody_out(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	uint32_t source = SOURCE_NONE;
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		source = enter(admit, 0, "192.0.2.1");
	limits.connections = limits.per_source = limits.listeners[0].connections = 3;
	configure(admit, &limits, false);
	assert_int_equal(admit_connections(admit), 5);
	for (i = 5; i >= 3; i--) {
		assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
		admit_release(admit, 0, source, false);
	}
	enter(admit, 0, "192.0.2.1");
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
	admit_free(admit);
}

static void
test_lower_source_limit(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	uint32_t source = SOURCE_NONE;
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		source = enter(admit, 0, "192.0.2.1");
	limits.per_source = 2;
	configure(admit, &limits, false);
	for (i = 4; i >= 2; i--) {
		assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_SOURCE);
		admit_release(admit, 0, source, false);
	}
	enter(admit, 0, "192.0.2.1");
	enter(admit, 0, "192.0.2.2");
	admit_free(admit);
}

static void
test_lower_listener_limit(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);
	uint32_t source;

	(void)state;
	enter(admit, 5, "192.0.2.1");
	source = enter(admit, 5, "192.0.2.1");
	limits.listeners[5].connections = 1;
	configure(admit, &limits, false);
	assert_refused(admit, 5, "192.0.2.1", CLOSE_REFUSED_LISTENER);
	admit_release(admit, 5, source, false);
	assert_refused(admit, 5, "192.0.2.1", CLOSE_REFUSED_LISTENER);
	admit_release(admit, 5, source, false);
	enter(admit, 5, "192.0.2.1");
	admit_free(admit);
}

static void
test_higher_limits_hold_at_once(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.connections = 1;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
	limits.connections = 2;
	configure(admit, &limits, false);
	enter(admit, 0, "192.0.2.1");
	assert_refused(admit, 0, "192.0.2.1", CLOSE_REFUSED_TOTAL);
	admit_free(admit);
}

static void
test_gate_is_open_when_full_refuses(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.connections = 1;
	limits.listeners[0].connections = 1;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	assert_gate(admit, 0, ADMIT_GATE_OPEN);
	admit_free(admit);
}

static void
test_gate_waits_for_the_total(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;
	uint32_t source;

	(void)state;
	limits.connections = 2;
	limits.listeners[0].when_full = ADMIT_WAIT;
	admit = make_admit(&limits);
	enter(admit, 1, "192.0.2.1");
	assert_gate(admit, 0, ADMIT_GATE_OPEN);
	source = enter(admit, 1, "192.0.2.1");
	assert_gate(admit, 0, ADMIT_GATE_FULL);
	assert_gate(admit, 1, ADMIT_GATE_OPEN);
	admit_release(admit, 1, source, false);
	assert_gate(admit, 0, ADMIT_GATE_OPEN);
	admit_free(admit);
}

static void
test_gate_waits_for_the_listener(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;
	uint32_t source;

	(void)state;
	limits.listeners[0].connections = limits.listeners[1].connections = 2;
	limits.listeners[0].when_full = limits.listeners[1].when_full = ADMIT_WAIT;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	assert_gate(admit, 0, ADMIT_GATE_OPEN);
	source = enter(admit, 0, "192.0.2.1");
	assert_gate(admit, 0, ADMIT_GATE_FULL);
	assert_gate(admit, 1, ADMIT_GATE_OPEN);
	admit_release(admit, 0, source, false);
	assert_gate(admit, 0, ADMIT_GATE_OPEN);
	admit_free(admit);
}

static void
test_gate_follows_lowered_limits(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;
	uint32_t source;

	(void)state;
	limits.listeners[0].when_full = ADMIT_WAIT;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	source = enter(admit, 0, "192.0.2.1");
	limits.connections = 1;
	configure(admit, &limits, false);
	assert_gate(admit, 0, ADMIT_GATE_FULL);
	admit_release(admit, 0, source, false);
	assert_gate(admit, 0, ADMIT_GATE_FULL);
	admit_release(admit, 0, source, false);
	assert_gate(admit, 0, ADMIT_GATE_OPEN);
	admit_free(admit);
}

static void
test_gate_says_full_before_rate(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;

	(void)state;
	limits.connections = 1;
	limits.rate.per_second = 1;
	limits.listeners[0].when_full = ADMIT_WAIT;
	admit = make_admit(&limits);
	enter(admit, 0, "192.0.2.1");
	assert_gate(admit, 0, ADMIT_GATE_FULL);
	assert_gate(admit, 1, ADMIT_GATE_RATE);
	admit_free(admit);
}

static void
release_of_nobody(void)
{
	struct admit_limits limits = make_limits();

	admit_release(make_admit(&limits), 0, SOURCE_NONE, false);
}

static void
release_of_another_listener(void)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);

	admit_release(admit, 1, enter(admit, 0, "192.0.2.1"), false);
}

static void
release_as_old_without_a_recount(void)
{
	struct admit_limits limits = make_limits();
	struct admit *admit = make_admit(&limits);

	admit_release(admit, 0, enter(admit, 0, "192.0.2.1"), true);
}

static enum close_reason
identify(struct admit *admit, const char *text, uint32_t *ret_source)
{
	struct addr addr = make_addr(text);

	return admit_identify(admit, &addr, ret_source);
}

/* One that came through a load balancer counts in all at once, and for its source when that is known. */
static void
test_source_limit_of_who_is_identified_later(void **state)
{
	struct admit_limits limits = make_limits();
	struct admit *admit;
	const struct addr nobody = {.family = ADDR_NONE};
	uint32_t unknown, source = 4711;

	(void)state;
	limits.per_source = 2;
	admit = make_admit(&limits);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(admit_decide(admit, 0, &nobody, 0, &unknown), CLOSE_NONE);
		assert_int_equal(unknown, SOURCE_NONE);
	}
	assert_int_equal(identify(admit, "192.0.2.1", &source), CLOSE_NONE);
	assert_int_equal(identify(admit, "192.0.2.1", &source), CLOSE_NONE);
	assert_int_equal(source_count(admit, "192.0.2.1"), 2);
	unknown = 4711;
	assert_int_equal(identify(admit, "192.0.2.1", &unknown), CLOSE_REFUSED_SOURCE);
	assert_int_equal(unknown, 4711);
	assert_int_equal(identify(admit, "192.0.2.2", &unknown), CLOSE_NONE);
	assert_int_equal(admit_connections(admit), 4);
	admit_release(admit, 0, source, false);
	assert_int_equal(identify(admit, "192.0.2.1", &source), CLOSE_NONE);
	admit_free(admit);
}

static void
test_counts_never_underflow(void **state)
{
	(void)state;
	assert_aborts(release_of_nobody);
	assert_aborts(release_of_another_listener);
	assert_aborts(release_as_old_without_a_recount);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_free_of_null),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_total_limit),
		cmocka_unit_test(test_total_limit_up_to_the_maximum),
		cmocka_unit_test(test_listener_limit),
		cmocka_unit_test(test_source_limit),
		cmocka_unit_test(test_source_limit_by_network),
		cmocka_unit_test(test_source_limit_not_for_unix_clients),
		cmocka_unit_test(test_exempt_skip_the_source_limit_only),
		cmocka_unit_test(test_exempt_ends_at_its_edge),
		cmocka_unit_test(test_order_of_reasons),
		cmocka_unit_test(test_lower_limits_throw_nobody_out),
		cmocka_unit_test(test_lower_source_limit),
		cmocka_unit_test(test_lower_listener_limit),
		cmocka_unit_test(test_higher_limits_hold_at_once),
		cmocka_unit_test(test_gate_is_open_when_full_refuses),
		cmocka_unit_test(test_gate_waits_for_the_total),
		cmocka_unit_test(test_gate_waits_for_the_listener),
		cmocka_unit_test(test_gate_follows_lowered_limits),
		cmocka_unit_test(test_gate_says_full_before_rate),
		cmocka_unit_test(test_source_limit_of_who_is_identified_later),
		cmocka_unit_test(test_counts_never_underflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
