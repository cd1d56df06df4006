/* upstream: which server a client gets. Names and health have files of their own. */
#include "fixture_upstream.h"

#define CLIENTS 4096

static void
free_of_null_does_nothing(void **state)
{
	(void)state;
	upstreams_free(NULL);
}

static void
without_servers_there_is_none(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_LEAST_CONNECTIONS, 0);

	(void)state;
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	assert_false(upstreams_available(upstreams, 0));
	assert_false(upstreams_release(upstreams, UPSTREAM_NONE));
	upstreams_free(upstreams);
}

static void
least_connections_goes_by_the_exact_counts(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_LEAST_CONNECTIONS, 3);

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		upstreams_count(upstreams, 0);
	for (unsigned i = 0; i < 4; i++)
		upstreams_count(upstreams, 2);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pick(upstreams), 1);
	assert_int_not_equal(pick(upstreams), 0);
	assert_int_not_equal(pick(upstreams), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(upstreams->items[i].connections, 5);
	upstreams_release(upstreams, 1);
	assert_int_equal(pick(upstreams), 1);
	upstreams_free(upstreams);
}

static void
least_connections_takes_turns_among_equals(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_LEAST_CONNECTIONS, 3);

	(void)state;
	/* Each client leaves before the next one comes. */
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(pick(upstreams), i % 3);
		upstreams_release(upstreams, (uint16_t)(i % 3));
	}
	upstreams_free(upstreams);
}

static void
round_robin_takes_turns_whatever_the_counts(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 3);

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		upstreams_count(upstreams, 1);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(pick(upstreams), i % 3);
	upstreams_free(upstreams);
}

static void
round_robin_skips_those_that_cannot_take_one(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 4);
	static const uint16_t expected[] = {0, 3, 0, 3};

	(void)state;
	upstreams->items[1].disabled = true;
	upstreams->items[2].down = true;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pick(upstreams), expected[i]);
	upstreams->items[1].disabled = false;
	assert_int_equal(pick(upstreams), 0);
	assert_int_equal(pick(upstreams), 1);
	assert_int_equal(pick(upstreams), 3);
	upstreams_free(upstreams);
}

static void
round_robin_goes_on_where_it_was_when_a_server_goes(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 4);
	static const char *const names[] = {"192.0.2.2:9000", "192.0.2.3:9000", "192.0.2.4:9000"};

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		upstreams_release(upstreams, pick(upstreams));
	upstreams_keep_names(upstreams, 0, names, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pick(upstreams), (1 + i) % 3 + 1);
	upstreams_free(upstreams);
}

static struct addr
make_client(unsigned i)
{
	struct addr addr = make_addr("198.51.100.1");

	addr.bytes[2] = (uint8_t)(i >> 8);
	addr.bytes[3] = (uint8_t)i;
	addr.port = (uint16_t)(i * 7 + 1);
	return addr;
}

static void
pick_for_clients(struct upstreams *upstreams, uint16_t *picked)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct addr addr = make_client(i);

		picked[i] = upstreams_pick(upstreams, 0, &addr, UPSTREAM_NONE, NOW);
		upstreams_release(upstreams, picked[i]);
	}
}

static void
source_is_the_address_without_the_port(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_SOURCE, 5);

	(void)state;
	for (unsigned i = 0; i < 32; i++) {
		struct addr addr = make_client(i);
		uint16_t first = upstreams_pick(upstreams, 0, &addr, UPSTREAM_NONE, NOW);

		for (uint16_t port = 1; port < 50; port++) {
			addr.port = port;
			assert_int_equal(
				upstreams_pick(upstreams, 0, &addr, UPSTREAM_NONE, NOW), first);
		}
	}
	upstreams_free(upstreams);
}

static void
source_spreads_clients_evenly(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_SOURCE, 4);
	uint16_t picked[CLIENTS];
	unsigned counts[4] = {0};

	(void)state;
	pick_for_clients(upstreams, picked);
	for (unsigned i = 0; i < CLIENTS; i++)
		counts[picked[i]]++;
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(counts[i], CLIENTS / 4 * 85 / 100, CLIENTS / 4 * 115 / 100);
	upstreams_free(upstreams);
}

static void
source_moves_the_clients_of_a_server_that_goes_and_no_others(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_SOURCE, 4);
	static const char *const names[] = {"192.0.2.1:9000", "192.0.2.2:9000", "192.0.2.4:9000"};
	uint16_t before[CLIENTS], after[CLIENTS];
	unsigned counts[4] = {0};

	(void)state;
	pick_for_clients(upstreams, before);
	upstreams_keep_names(upstreams, 0, names, 3);
	pick_for_clients(upstreams, after);
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (before[i] != 2)
			assert_int_equal(after[i], before[i]);
		else
			counts[after[i]]++;
	}
	/* And spreads them over the others. */
	assert_int_equal(counts[2], 0);
	assert_true(counts[0] > 200 && counts[1] > 200 && counts[3] > 200);
	/* It gets its own again when it is back, at whatever place. */
	add_server(upstreams, 0, "192.0.2.3:9000");
	pick_for_clients(upstreams, after);
	assert_memory_equal(after, before, sizeof(after));
	upstreams_free(upstreams);
}

static void
source_is_the_same_in_every_process(void **state)
{
	struct upstreams *a = make_upstreams(UPSTREAM_SOURCE, 4);
	struct upstreams *b = make_upstreams(UPSTREAM_SOURCE, 0);
	uint16_t picked_a[CLIENTS], picked_b[CLIENTS];

	(void)state;
	for (unsigned i = 4; i > 0; i--) {
		char text[32];

		snprintf(text, sizeof(text), "192.0.2.%u:9000", i);
		add_server(b, 0, text);
	}
	pick_for_clients(a, picked_a);
	pick_for_clients(b, picked_b);
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(picked_a[i], 3 - picked_b[i]);
	upstreams_free(a);
	upstreams_free(b);
}

static void
clients_without_a_source_address_go_by_least_connections(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_SOURCE, 3);
	struct addr addr = {.family = ADDR_UNIX};

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(upstreams_pick(upstreams, 0, &addr, UPSTREAM_NONE, NOW), i % 3);
	upstreams_free(upstreams);
}

static void
a_server_that_failed_is_a_last_resort_for_a_while(void **state)
{
	static const enum upstream_balance balances[] = {
		UPSTREAM_LEAST_CONNECTIONS, UPSTREAM_ROUND_ROBIN, UPSTREAM_SOURCE};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct upstreams *upstreams = make_upstreams(balances[i], 2);
		struct addr client = make_addr("198.51.100.1");
		uint64_t end = NOW + UPSTREAM_SHY_USEC;
		bool seen = false;

		assert_int_equal(upstreams_connect_failed(upstreams, 0, 0, NOW), UPSTREAM_SAME);
		for (unsigned n = 0; n < 16; n++) {
			client.bytes[3] = (uint8_t)n;
			assert_int_equal(
				upstreams_pick(upstreams, 0, &client, UPSTREAM_NONE, end - 1), 1);
			upstreams_release(upstreams, 1);
		}
		for (unsigned n = 0; n < 16; n++) {
			client.bytes[3] = (uint8_t)n;
			seen = upstreams_pick(upstreams, 0, &client, UPSTREAM_NONE, end) == 0 ||
			       seen;
		}
		assert_true(seen);
		upstreams->items[1].down = true;
		assert_int_equal(upstreams_pick(upstreams, 0, &client, UPSTREAM_NONE, NOW), 0);
		upstreams_free(upstreams);
	}
}

static void
a_good_check_ends_that(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_LEAST_CONNECTIONS, 2);

	(void)state;
	assert_int_equal(upstreams_connect_failed(upstreams, 0, 0, NOW), UPSTREAM_SAME);
	assert_int_equal(pick(upstreams), 1);
	assert_int_equal(upstreams_checked(upstreams, 0, true), UPSTREAM_SAME);
	assert_int_equal(pick(upstreams), 0);
	upstreams_free(upstreams);
}

static void
the_one_that_has_just_failed_a_client_comes_last(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_LEAST_CONNECTIONS, 2);
	struct addr client = make_addr("198.51.100.1");

	(void)state;
	for (unsigned i = 0; i < 9; i++)
		upstreams_count(upstreams, 1);
	/* Even after one that failed others. */
	assert_int_equal(upstreams_connect_failed(upstreams, 1, 0, NOW), UPSTREAM_SAME);
	assert_int_equal(upstreams_pick(upstreams, 0, &client, 0, NOW), 1);
	upstreams->items[1].disabled = true;
	assert_int_equal(upstreams_pick(upstreams, 0, &client, 0, NOW), 0);
	upstreams_free(upstreams);
}

static void
a_server_takes_max_connections_and_no_more(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_LEAST_CONNECTIONS, 1);
	struct upstream_policy policy = upstreams->policies[0];

	(void)state;
	policy.max_connections = 3;
	upstreams_set_policy(upstreams, 0, &policy);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(upstreams_available(upstreams, 0));
		assert_int_equal(pick(upstreams), 0);
	}
	assert_false(upstreams_available(upstreams, 0));
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	/* Only what makes room lets somebody in. */
	assert_true(upstreams_release(upstreams, 0));
	assert_false(upstreams_release(upstreams, 0));
	assert_int_equal(pick(upstreams), 0);
	assert_int_equal(pick(upstreams), 0);
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	/* A restart, or a lower limit, may leave it with more. */
	upstreams_count(upstreams, 0);
	assert_false(upstreams_release(upstreams, 0));
	assert_true(upstreams_release(upstreams, 0));
	upstreams_free(upstreams);
}

static void
a_server_that_is_full_leaves_clients_to_the_others(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_SOURCE, 2);
	struct upstream_policy policy = upstreams->policies[0];
	uint16_t first = pick(upstreams);

	(void)state;
	policy.max_connections = 1;
	upstreams_set_policy(upstreams, 0, &policy);
	assert_int_equal(pick(upstreams), 1 - first);
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	/* That a server which gets none has room again helps nobody. */
	upstreams->items[first].disabled = true;
	assert_false(upstreams_release(upstreams, first));
	upstreams_free(upstreams);
}

static void
listeners_have_servers_of_their_own(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);
	struct addr client = make_addr("198.51.100.1");
	uint16_t other = add_server(upstreams, UPSTREAM_LISTENERS_MAX - 1, "192.0.2.1:9000");

	(void)state;
	assert_int_equal(other, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pick(upstreams), 0);
	assert_int_equal(
		upstreams_pick(upstreams, UPSTREAM_LISTENERS_MAX - 1, &client, UPSTREAM_NONE, NOW),
		1);
	assert_int_equal(upstreams->items[1].connections, 1);
	upstreams_free(upstreams);
}

static void
write_after_inheriting(void)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	upstreams_inherit(upstreams);
	upstreams_count(upstreams, 0);
}

static void
a_worker_sees_and_cannot_change(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 0);
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		const struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGSEGV, SIG_DFL);
		write_after_inheriting();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	/* What is written before it looks is what it sees. */
	pid = fork();
	if (pid == 0) {
		upstreams_inherit(upstreams);
		while (find_server(upstreams, 0, "192.0.2.1:9000", "192.0.2.1:9000") ==
			UPSTREAM_NONE)
			usleep(1000);
		_exit(0);
	}
	add_server(upstreams, 0, "192.0.2.1:9000");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	upstreams_free(upstreams);
}

static void
release_none_counted(void)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	(void)upstreams_release(upstreams, 0);
}

static void
count_nobody(void)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	upstreams_count(upstreams, 1);
}

static void
miscounting_is_a_bug(void **state)
{
	(void)state;
	assert_aborts(release_none_counted);
	assert_aborts(count_nobody);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(free_of_null_does_nothing),
		cmocka_unit_test(without_servers_there_is_none),
		cmocka_unit_test(least_connections_goes_by_the_exact_counts),
		cmocka_unit_test(least_connections_takes_turns_among_equals),
		cmocka_unit_test(round_robin_takes_turns_whatever_the_counts),
		cmocka_unit_test(round_robin_skips_those_that_cannot_take_one),
		cmocka_unit_test(round_robin_goes_on_where_it_was_when_a_server_goes),
		cmocka_unit_test(source_is_the_address_without_the_port),
		cmocka_unit_test(source_spreads_clients_evenly),
		cmocka_unit_test(source_moves_the_clients_of_a_server_that_goes_and_no_others),
		cmocka_unit_test(source_is_the_same_in_every_process),
		cmocka_unit_test(clients_without_a_source_address_go_by_least_connections),
		cmocka_unit_test(a_server_that_failed_is_a_last_resort_for_a_while),
		cmocka_unit_test(a_good_check_ends_that),
		cmocka_unit_test(the_one_that_has_just_failed_a_client_comes_last),
		cmocka_unit_test(a_server_takes_max_connections_and_no_more),
		cmocka_unit_test(a_server_that_is_full_leaves_clients_to_the_others),
		cmocka_unit_test(listeners_have_servers_of_their_own),
		cmocka_unit_test(a_worker_sees_and_cannot_change),
		cmocka_unit_test(miscounting_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
