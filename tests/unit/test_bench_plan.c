/* test_bench_plan: how connections are spread, and at what rate things are due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "bench_pace.h"
#include "bench_plan.h"

#define FD_LIMIT 1032 /* 1,000 connections a process */
#define PORTS 28232

static struct bench_target
target_of(const char *text)
{
	struct bench_target target;
	struct mg_error error;

	assert_int_equal(addr_parse_listen(text, &target.address, &target.length, &error), 0);
	return target;
}

static struct bench_plan
plan_of(uint32_t connections, const struct bench_target *targets, uint32_t n_targets)
{
	return (struct bench_plan){
		.connections = connections,
		.targets = targets,
		.n_targets = n_targets,
		.fd_limit = FD_LIMIT,
		.ports = PORTS,
	};
}

static void
make(struct bench_plan *plan)
{
	struct mg_error error;

	assert_int_equal(bench_plan_make(plan, &error), 0);
}

static void
set_source(struct bench_plan *plan, const char *text)
{
	struct mg_error error;

	plan->has_source = true;
	assert_int_equal(cidr_parse(text, &plan->source, &error), 0);
}

/* The source of a connection as text, "" if none is bound. */
static const char *
source_of(const struct bench_plan *plan, uint32_t connection, char buf[static INET6_ADDRSTRLEN])
{
	struct sockaddr_storage sa;
	socklen_t length;

	buf[0] = '\0';
	if (!bench_plan_source(plan, connection, &sa, &length))
		return buf;
	if (sa.ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)&sa;

		assert_int_equal(length, sizeof(*sin));
		assert_int_equal(sin->sin_port, 0);
		return inet_ntop(AF_INET, &sin->sin_addr, buf, INET6_ADDRSTRLEN);
	}
	assert_int_equal(length, sizeof(struct sockaddr_in6));
	return inet_ntop(
		AF_INET6, &((const struct sockaddr_in6 *)&sa)->sin6_addr, buf, INET6_ADDRSTRLEN);
}

static void
assert_source(const struct bench_plan *plan, uint32_t connection, const char *expected)
{
	char buf[INET6_ADDRSTRLEN];

	assert_string_equal(source_of(plan, connection, buf), expected);
}

static void
processes_follow_from_the_fd_limit(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	const struct {
		uint32_t connections, processes;
	} cases[] = {{1, 1}, {999, 1}, {1000, 1}, {1001, 2}, {2000, 2}, {2001, 3}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench_plan plan = plan_of(cases[i].connections, &target, 1);

		make(&plan);
		assert_int_equal(plan.processes, cases[i].processes);
	}
}

static void
too_few_processes_are_an_error(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(2001, &target, 1);
	struct mg_error error;

	(void)state;
	plan.processes = 2;
	assert_int_equal(bench_plan_make(&plan, &error), -EINVAL);
	plan.processes = 3;
	assert_int_equal(bench_plan_make(&plan, &error), 0);
	plan.processes = BENCH_PROCESSES_MAX;
	assert_int_equal(bench_plan_make(&plan, &error), 0);
	plan.processes = BENCH_PROCESSES_MAX + 1;
	assert_int_equal(bench_plan_make(&plan, &error), -EINVAL);
}

static void
a_process_has_a_connection_at_least(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(3, &target, 1);

	(void)state;
	plan.processes = 4;
	make(&plan);
	assert_int_equal(plan.processes, 3);
}

static void
a_fd_limit_without_room_is_an_error(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(1, &target, 1);
	struct mg_error error;

	(void)state;
	plan.fd_limit = BENCH_FDS_RESERVED;
	assert_int_equal(bench_plan_make(&plan, &error), -EINVAL);
	plan.fd_limit = BENCH_FDS_RESERVED + 1;
	assert_int_equal(bench_plan_make(&plan, &error), 0);
}

static void
processes_have_all_connections_evenly(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(1000003, &target, 1);

	(void)state;
	plan.processes = 0;
	plan.fd_limit = 20000;
	make(&plan);
	assert_int_equal(bench_plan_first(&plan, 0), 0);
	assert_int_equal(bench_plan_first(&plan, plan.processes), 1000003);
	for (uint32_t i = 0; i < plan.processes; i++) {
		uint32_t n = bench_plan_first(&plan, i + 1) - bench_plan_first(&plan, i);

		assert_in_range(n, 1000003 / plan.processes, 1000003 / plan.processes + 1);
		assert_true(n <= 20000 - BENCH_FDS_RESERVED);
	}
}

static void
shares_sum_up_to_the_whole(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(2500, &target, 1);
	const uint32_t totals[] = {0, 1, 2, 3, 100, 2499, 2500};

	(void)state;
	plan.processes = 7;
	make(&plan);
	for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
		uint32_t sum = 0;

		for (uint32_t p = 0; p < plan.processes; p++) {
			uint32_t share = bench_plan_share(&plan, p, totals[i]);

			assert_true(share <=
				    bench_plan_first(&plan, p + 1) - bench_plan_first(&plan, p));
			sum += share;
		}
		assert_int_equal(sum, totals[i]);
	}
}

static void
few_connections_need_no_source(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(PORTS / 4, &target, 1);

	(void)state;
	make(&plan);
	assert_int_equal(plan.sources, 1);
	assert_source(&plan, 0, "");
}

static void
many_on_loopback_are_spread_over_127(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(PORTS / 4 + 1, &target, 1);

	(void)state;
	make(&plan);
	assert_int_equal(plan.sources, 2);
	assert_source(&plan, 0, "127.1.0.1");
	assert_source(&plan, 1, "127.1.0.2");
	assert_source(&plan, 2, "127.1.0.1");
}

static void
a_million_have_ports_enough(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(1000000, &target, 1);

	(void)state;
	plan.fd_limit = 20000;
	make(&plan);
	assert_int_equal(plan.processes, 51);
	assert_int_equal(plan.sources, 142);
	assert_true(1000000 / plan.sources < PORTS / 3);
	assert_source(&plan, 141, "127.1.0.142");
}

static void
more_targets_need_fewer_sources(void **state)
{
	const struct bench_target targets[] = {
		target_of("127.0.0.1:7000"), target_of("127.0.0.1:7001")};
	struct bench_plan plan = plan_of(PORTS, targets, 2);

	(void)state;
	make(&plan);
	assert_int_equal(plan.sources, 2);
}

static void
every_source_meets_every_target(void **state)
{
	const struct bench_target targets[] = {
		target_of("127.0.0.1:7000"), target_of("127.0.0.1:7001")};
	struct bench_plan plan = plan_of(8, targets, 2);

	(void)state;
	set_source(&plan, "127.9.0.0/30");
	make(&plan);
	assert_int_equal(plan.sources, 2);
	assert_ptr_equal(bench_plan_target(&plan, 0), &targets[0]);
	assert_ptr_equal(bench_plan_target(&plan, 1), &targets[1]);
	assert_source(&plan, 0, "127.9.0.1");
	assert_source(&plan, 1, "127.9.0.1");
	assert_source(&plan, 2, "127.9.0.2");
	assert_source(&plan, 3, "127.9.0.2");
	assert_source(&plan, 4, "127.9.0.1");
}

static void
a_range_is_used_without_its_ends(void **state)
{
	struct bench_target target = target_of("192.0.2.1:7000");
	struct bench_plan plan = plan_of(1000, &target, 1);

	(void)state;
	set_source(&plan, "10.1.0.0/24");
	make(&plan);
	assert_int_equal(plan.sources, 254);
	assert_source(&plan, 0, "10.1.0.1");
	assert_source(&plan, 253, "10.1.0.254");
	assert_source(&plan, 254, "10.1.0.1");
}

static void
ranges_of_one_and_two_have_no_ends(void **state)
{
	struct bench_target target = target_of("192.0.2.1:7000");
	struct bench_plan one = plan_of(10, &target, 1), two = plan_of(10, &target, 1);

	(void)state;
	set_source(&one, "10.1.2.3");
	make(&one);
	assert_int_equal(one.sources, 1);
	assert_source(&one, 0, "10.1.2.3");
	assert_source(&one, 1, "10.1.2.3");
	set_source(&two, "10.1.2.2/31");
	make(&two);
	assert_int_equal(two.sources, 2);
	assert_source(&two, 0, "10.1.2.2");
	assert_source(&two, 1, "10.1.2.3");
}

static void
a_wide_range_gives_each_connection_its_own(void **state)
{
	struct bench_target target = target_of("127.0.0.1:7000");
	struct bench_plan plan = plan_of(1000, &target, 1);

	(void)state;
	set_source(&plan, "127.0.0.0/8");
	make(&plan);
	assert_int_equal(plan.sources, 1000);
	assert_source(&plan, 999, "127.0.3.232");
}

static void
ipv6_ranges_count_in_the_last_bits(void **state)
{
	struct bench_target target = target_of("[2001:db8::1]:7000");
	struct bench_plan plan = plan_of(70000, &target, 1);

	(void)state;
	plan.fd_limit = 100000;
	set_source(&plan, "2001:db8:1::/64");
	make(&plan);
	assert_int_equal(plan.sources, 70000);
	assert_source(&plan, 0, "2001:db8:1::");
	assert_source(&plan, 65536, "2001:db8:1::1:0");
}

static void
a_source_is_for_targets_of_its_family(void **state)
{
	const struct bench_target targets[] = {target_of("127.0.0.1:7000"), target_of("[::1]:7000"),
		target_of("unix:/run/x.sock")};
	struct bench_plan plan = plan_of(9, targets, 3);

	(void)state;
	set_source(&plan, "127.5.0.0/16");
	make(&plan);
	assert_source(&plan, 0, "127.5.0.1");
	assert_source(&plan, 1, "");
	assert_source(&plan, 2, "");
	assert_source(&plan, 3, "127.5.0.2");
}

static void
other_targets_get_no_default_source(void **state)
{
	const struct bench_target targets[] = {
		target_of("192.0.2.1:7000"), target_of("[::1]:7000"), target_of("unix:@x")};
	struct bench_plan plan = plan_of(900000, targets, 3);

	(void)state;
	plan.fd_limit = 20000;
	make(&plan);
	for (uint32_t i = 0; i < 6; i++)
		assert_source(&plan, i, "");
}

static void
pace_is_kept_without_drift(void **state)
{
	struct bench_pace pace = bench_pace_new(1000, 3);

	(void)state;
	assert_int_equal(bench_pace_next(&pace), 1000);
	assert_false(bench_pace_is_due(&pace, 999));
	assert_true(bench_pace_is_due(&pace, 1000));
	pace.n = 3000000;
	assert_int_equal(bench_pace_next(&pace), 1000 + UINT64_C(1000000) * 1000000000);
}

static void
pace_of_zero_is_always_due(void **state)
{
	struct bench_pace pace = bench_pace_new(1000, 0);

	(void)state;
	pace.n = 1000000;
	assert_true(bench_pace_is_due(&pace, 1000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processes_follow_from_the_fd_limit),
		cmocka_unit_test(too_few_processes_are_an_error),
		cmocka_unit_test(a_process_has_a_connection_at_least),
		cmocka_unit_test(a_fd_limit_without_room_is_an_error),
		cmocka_unit_test(processes_have_all_connections_evenly),
		cmocka_unit_test(shares_sum_up_to_the_whole),
		cmocka_unit_test(few_connections_need_no_source),
		cmocka_unit_test(many_on_loopback_are_spread_over_127),
		cmocka_unit_test(a_million_have_ports_enough),
		cmocka_unit_test(more_targets_need_fewer_sources),
		cmocka_unit_test(every_source_meets_every_target),
		cmocka_unit_test(a_range_is_used_without_its_ends),
		cmocka_unit_test(ranges_of_one_and_two_have_no_ends),
		cmocka_unit_test(a_wide_range_gives_each_connection_its_own),
		cmocka_unit_test(ipv6_ranges_count_in_the_last_bits),
		cmocka_unit_test(a_source_is_for_targets_of_its_family),
		cmocka_unit_test(other_targets_get_no_default_source),
		cmocka_unit_test(pace_is_kept_without_drift),
		cmocka_unit_test(pace_of_zero_is_always_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
