/* upstream_source: where connections to servers come from. */
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "fixture_upstream.h"
#include "upstream_source.h"

static int
make_socket(const struct upstream_address *address)
{
	int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static struct upstream_address
name_of(int fd)
{
	struct upstream_address name = {.length = sizeof(name.sa)};

	assert_int_equal(getsockname(fd, (struct sockaddr *)&name.sa, &name.length), 0);
	return name;
}

/* `text` with port 0 becomes the address with a port that was free. */
static int
make_listening(const char *text, struct upstream_address *ret_address)
{
	int fd;

	assert_int_equal(upstream_parse_source(text, ret_address, NULL), 0);
	fd = make_socket(ret_address);
	assert_int_equal(bind(fd, (struct sockaddr *)&ret_address->sa, ret_address->length), 0);
	assert_int_equal(listen(fd, 16), 0);
	*ret_address = name_of(fd);
	return fd;
}

static void
a_connect_that_meets_itself_is_refused(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "::1"};

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct upstream_address server;
		struct upstream_sources sources = {.items = &server, .n = 1};
		int fd;

		close(make_listening(hosts[i], &server));
		fd = make_socket(&server);
		assert_int_equal(upstream_sources_connect(&sources, 0, fd, &server), -ECONNREFUSED);
		close(fd);
		/* The server can have its port at once. */
		fd = make_socket(&server);
		assert_int_equal(bind(fd, (struct sockaddr *)&server.sa, server.length), 0);
		assert_int_equal(listen(fd, 16), 0);
		close(fd);
	}
}

static void
it_comes_from_the_source_that_it_is_to_begin_with(void **state)
{
	static const char *const texts[] = {"127.0.0.2", "::1", "127.0.0.3"};
	static const unsigned expected[] = {2, 3, 3, 2}; /* for the one in between, the next one */
	struct upstream_sources sources = {0};
	struct upstream_address server;
	int listening = make_listening("127.0.0.1", &server);

	(void)state;
	upstream_sources_set(&sources, texts, 3);
	assert_int_equal(sources.n, 3);
	for (unsigned first = 0; first < 4; first++) {
		int fd = make_socket(&server);
		struct upstream_address name;

		assert_int_equal(upstream_sources_connect(&sources, first, fd, &server), 0);
		name = name_of(fd);
		assert_int_equal(ntohl(((struct sockaddr_in *)&name.sa)->sin_addr.s_addr) & 0xff,
			expected[first]);
		close(fd);
	}
	upstream_sources_done(&sources);
	assert_int_equal(sources.n, 0);
	close(listening);
}

static void
without_a_source_of_its_family_the_kernel_chooses(void **state)
{
	static const char *const texts[] = {"::1"};
	struct upstream_sources sources = {0};
	struct upstream_address server;
	int listening = make_listening("127.0.0.1", &server), fd = make_socket(&server);

	(void)state;
	upstream_sources_set(&sources, texts, 1);
	assert_int_equal(upstream_sources_connect(&sources, 0, fd, &server), 0);
	upstream_sources_done(&sources);
	close(fd);
	close(listening);
}

static unsigned
port_of(int fd)
{
	struct upstream_address name = name_of(fd);

	return ntohs(((struct sockaddr_in *)&name.sa)->sin_port);
}

/* More than half of few ports: they are found, each in a part of them, and then others are. */
static void
ports_are_looked_for_in_a_small_part_of_them(void **state)
{
	enum {
		FIRST = 40001,
		N = 256,
		OTHERS = 20
	};
	struct upstream_sources sources = {.first_port = FIRST, .n_ports = N};
	struct upstream_address server;
	int listening = make_listening("127.0.0.1", &server), fds[N + OTHERS], zero = 0;
	unsigned n_within = 0, n_high = 0;

	(void)state;
	if (setsockopt(listening, IPPROTO_IP, 51, &zero, sizeof(zero)) < 0)
		skip(); /* before Linux 6.3 */
	assert_int_equal(listen(listening, N + OTHERS), 0);
	for (unsigned i = 0; i < N + OTHERS; i++) {
		unsigned port;

		fds[i] = make_socket(&server);
		assert_int_equal(upstream_sources_connect(&sources, i * 77, fds[i], &server), 0);
		port = port_of(fds[i]) - FIRST;
		n_within += port < N;
		n_high += port >= N / 2 && port < N;
		assert_true(i > N / 4 || port < N);
		if (i == N / 4)
			assert_in_range(n_high, N / 16, N * 3 / 16); /* not one after the other */
	}
	assert_in_range(n_within, N * 3 / 4, N);
	for (unsigned i = 0; i < N + OTHERS; i++)
		close(fds[i]);
	close(listening);
}

static void
ports_of_this_machine_are_known(void **state)
{
	struct upstream_sources sources = {0};

	(void)state;
	upstream_sources_set(&sources, NULL, 0);
	if (sources.n_ports == 0)
		skip(); /* they are few */
	assert_in_range(sources.first_port, 1, UINT16_MAX);
	assert_in_range(sources.first_port + sources.n_ports - 1, sources.first_port, UINT16_MAX);
	upstream_sources_done(&sources);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connect_that_meets_itself_is_refused),
		cmocka_unit_test(it_comes_from_the_source_that_it_is_to_begin_with),
		cmocka_unit_test(without_a_source_of_its_family_the_kernel_chooses),
		cmocka_unit_test(ports_are_looked_for_in_a_small_part_of_them),
		cmocka_unit_test(ports_of_this_machine_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
