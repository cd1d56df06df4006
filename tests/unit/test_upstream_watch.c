/* upstream_watch: checks of servers on loopback. Names have a file of their own. */
#include "fixture_watch.h"

#include "fixture_fds.h"

#define FIRST 0 /* the number of the first server */

/* A port that is ours as long as the socket is there, whether it listens or not. */
static int
make_socket(char text[static 32], const char *same_as)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
	if (same_as)
		sin.sin_port = htons((uint16_t)atoi(strchr(same_as, ':') + 1));
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &length), 0);
	snprintf(text, 32, "127.0.0.1:%u", ntohs(sin.sin_port));
	return fd;
}

static int
make_listener(char text[static 32])
{
	int fd = make_socket(text, NULL);

	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

/* Takes two connections, and answers no others. The caller closes all three. */
static void
make_full_listener(char text[static 32], int fds[static 3])
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);

	fds[0] = make_socket(text, NULL);
	assert_int_equal(listen(fds[0], 0), 0);
	assert_int_equal(getsockname(fds[0], (struct sockaddr *)&sa, &length), 0);
	for (unsigned i = 1; i < 3; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(fds[i], (struct sockaddr *)&sa, length);
	}
}

static struct conf *
make_relay_to(const char *server)
{
	char text[160];

	snprintf(text, sizeof(text), "\"%s\"", server);
	return make_relay(text, NULL);
}

static bool
is_up(const struct watched *watched)
{
	return upstream_is_up(&watched->upstreams->items[FIRST]);
}

static void
a_server_that_refuses_is_down_and_comes_up_again(void **state)
{
	struct watched *watched = make_watched();
	char text[32], line[128];
	int listener = make_listener(text), spare = make_socket(text, text);
	unsigned n_available;

	(void)state;
	apply_and_free(watched, make_relay_to(text));
	wait_until(watched, checks_of(watched, FIRST) >= 3 && watched->n_settled == 1);
	assert_true(is_up(watched));
	assert_int_equal(failures_of(watched, FIRST), 0);
	close(listener);
	wait_until(watched, !is_up(watched));
	assert_int_equal(failures_of(watched, FIRST), 3);
	wait_until(watched, failures_of(watched, FIRST) >= 6);
	snprintf(line, sizeof(line), "public: server %s is down: connect: Connection refused\n",
		text);
	assert_logged(watched, line, 1);
	n_available = watched->n_available;
	assert_int_equal(listen(spare, 128), 0);
	wait_until(watched, is_up(watched));
	assert_int_equal(watched->n_available, n_available + 1);
	snprintf(line, sizeof(line), "public: server %s is up again\n", text);
	assert_logged(watched, line, 1);
	free_watched(watched);
	close(spare);
}

static void
a_server_that_does_not_answer_in_time_fails(void **state)
{
	struct watched *watched = make_watched();
	struct conf *conf;
	char text[32];
	int fds[3];

	(void)state;
	make_full_listener(text, fds);
	conf = make_relay_to(text);
	conf->listeners[0].upstream_health_timeout = 10000;
	conf->listeners[0].upstream_health_fall = 1;
	apply_and_free(watched, conf);
	wait_until(watched, !is_up(watched));
	assert_logged(watched, "is down: connect: Connection timed out", 1);
	free_watched(watched);
	close_all(fds, 3);
}

/* In the abstract namespace; the text to be configured. */
static int
make_unix_listener(char text[static 64])
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t length;

	snprintf(text, 64, "unix:@millgate-test-%d", getpid());
	length = strlen(text) - strlen("unix:");
	memcpy(sun.sun_path + 1, text + strlen("unix:@"), length - 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
		0);
	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

static void
a_server_at_a_unix_socket_is_checked_too(void **state)
{
	struct watched *watched = make_watched();
	char text[64];
	int fd = make_unix_listener(text);

	(void)state;
	apply_and_free(watched, make_relay_to("unix:@nobody-is-here"));
	wait_until(watched, !is_up(watched));
	assert_logged(watched, "unix:@nobody-is-here is down: connect: Connection refused", 1);
	apply_and_free(watched, make_relay_to(text));
	wait_until(watched, checks_of(watched, FIRST) >= 3);
	assert_int_equal(failures_of(watched, FIRST), 0);
	free_watched(watched);
	close(fd);
}

static void
what_we_are_short_of_is_not_the_servers_failure(void **state)
{
	struct watched *watched = make_watched();
	char text[32];
	int fd = make_socket(text, NULL);
	struct rlimit limit;

	(void)state;
	limit = limit_fds_to_room_for(0);
	apply_and_free(watched, make_relay_to(text));
	wait_until(watched, count_in_log(watched, "cannot check server") == 1);
	for (unsigned i = 0; i < 50; i++)
		turn(watched);
	assert_true(is_up(watched));
	assert_int_equal(checks_of(watched, FIRST), 0);
	restore_limit(&limit);
	wait_until(watched, !is_up(watched));
	free_watched(watched);
	close(fd);
}

static void
a_check_of_a_server_that_goes_is_given_up(void **state)
{
	struct watched *watched = make_watched();
	char text[32], other[32];
	int fds[3], fd = make_listener(other);
	unsigned n_open;

	(void)state;
	make_full_listener(text, fds);
	apply_and_free(watched, make_relay_to(other));
	wait_until(watched, checks_of(watched, FIRST) >= 1);
	n_open = count_open_fds();
	apply_and_free(watched, make_relay_to(text));
	wait_until(watched, count_open_fds() == n_open + 1);
	/* And its number is another server's at once. */
	apply_and_free(watched, make_relay_to(other));
	assert_int_equal(count_open_fds(), n_open);
	wait_until(watched, checks_of(watched, FIRST) >= 3);
	assert_int_equal(failures_of(watched, FIRST), 0);
	free_watched(watched);
	close_all(fds, 3);
	close(fd);
}

static void
a_server_that_is_disabled_is_checked_and_gets_nobody(void **state)
{
	struct watched *watched = make_watched();
	char text[32];
	int fd = make_socket(text, NULL);
	unsigned n_available;

	(void)state;
	apply_and_free(watched, make_relay_to(text));
	assert_int_equal(upstream_watch_set_disabled(&watched->watch, -1, "other:80", true), 0);
	assert_int_equal(upstream_watch_set_disabled(&watched->watch, 1, text, true), 0);
	assert_int_equal(upstream_watch_set_disabled(&watched->watch, 0, text, true), 1);
	assert_int_equal(upstream_watch_set_disabled(&watched->watch, -1, text, true), 1);
	assert_false(is_up(watched));
	wait_until(watched, watched->upstreams->items[FIRST].down);
	assert_int_equal(listen(fd, 128), 0);
	wait_until(watched, !watched->upstreams->items[FIRST].down);
	assert_false(upstreams_available(watched->upstreams, 0));
	n_available = watched->n_available;
	assert_int_equal(upstream_watch_set_disabled(&watched->watch, -1, text, false), 1);
	assert_int_equal(watched->n_available, n_available + 1);
	assert_true(is_up(watched));
	free_watched(watched);
	close(fd);
}

static void
without_an_interval_nothing_is_checked(void **state)
{
	struct watched *watched = make_watched();
	uint64_t n_checks, end_usec;
	struct conf *conf;
	char text[32];
	int fd = make_socket(text, NULL);

	(void)state;
	apply_and_free(watched, make_relay_to(text));
	wait_until(watched, !is_up(watched));
	conf = make_relay_to(text);
	conf->listeners[0].upstream_health_interval = 0;
	apply_and_free(watched, conf);
	assert_true(is_up(watched));
	n_checks = checks_of(watched, FIRST);
	end_usec = clock_now_usec() + 60000;
	wait_until(watched, clock_now_usec() > end_usec);
	assert_int_equal(checks_of(watched, FIRST), n_checks);
	free_watched(watched);
	close(fd);
}

static void
clients_that_fail_are_told_of_like_checks(void **state)
{
	struct watched *watched = make_watched();
	struct conf *conf;
	char text[32], line[128];
	int fd = make_listener(text);

	(void)state;
	conf = make_relay_to(text);
	conf->listeners[0].upstream_health_interval = 60000000;
	apply_and_free(watched, conf);
	wait_until(watched, checks_of(watched, FIRST) == 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(is_up(watched));
		/* A client in between that gets through makes the count begin anew. */
		metrics_add(&watched->metrics->slots[0].upstream[FIRST][UPSTREAM_METRIC_CONNECTS],
			i == 0);
		upstream_watch_connect_failed(&watched->watch, FIRST, ETIMEDOUT, NOW);
	}
	assert_false(is_up(watched));
	snprintf(line, sizeof(line), "public: server %s is down: connect: Connection timed out\n",
		text);
	assert_logged(watched, line, 1);
	free_watched(watched);
	close(fd);
}

static void
checks_of_several_servers_are_an_even_stream(void **state)
{
	const uint64_t interval = 8000000;
	bool seen[8] = {false};

	(void)state;
	for (uint16_t number = 0; number < 8; number++) {
		for (uint64_t now = 123456789; now < 123456789 + interval; now += 777777) {
			uint64_t delay = upstream_check_delay(now, interval, number);

			assert_in_range(delay, interval / 2, interval * 3 / 2 - 1);
			assert_int_equal((now + delay) % 1000000, 0);
			seen[(now + delay) % interval / 1000000] = true;
			/* Always the same moment of an interval. */
			assert_int_equal(
				upstream_check_delay(now + delay, interval, number), interval);
		}
		for (unsigned i = 0, n = 0; i < 8; i++) {
			n += seen[i];
			assert_true(n <= number + 1u);
			assert_true(i < 7 || n == number + 1u);
		}
	}
}

static void
done_of_zeroed_memory_does_nothing(void **state)
{
	struct upstream_watch *watch = calloc(1, sizeof(*watch));

	(void)state;
	upstream_watch_done(watch);
	free(watch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_refuses_is_down_and_comes_up_again),
		cmocka_unit_test(a_server_that_does_not_answer_in_time_fails),
		cmocka_unit_test(a_server_at_a_unix_socket_is_checked_too),
		cmocka_unit_test(what_we_are_short_of_is_not_the_servers_failure),
		cmocka_unit_test(a_check_of_a_server_that_goes_is_given_up),
		cmocka_unit_test(a_server_that_is_disabled_is_checked_and_gets_nobody),
		cmocka_unit_test(without_an_interval_nothing_is_checked),
		cmocka_unit_test(clients_that_fail_are_told_of_like_checks),
		cmocka_unit_test(checks_of_several_servers_are_an_even_stream),
		cmocka_unit_test(done_of_zeroed_memory_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
