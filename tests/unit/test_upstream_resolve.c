/* upstream_watch: names of servers, with a nameserver on loopback. */
#include "fixture_watch.h"

#include "fixture_fds.h"
#include "upstream_hosts.h"

#define APP "app.example:9000"
#define TYPE_A 1
#define TYPE_AAAA 28
#define DNS_HEAD 12

enum mood {
	ANSWERS,
	HAS_NONE, /* no such name */
	FAILS,
	IS_SILENT,
};

/* Answers every question alike. */
struct nameserver {
	int fd;
	struct event *event;
	char text[32];        /* its address */
	enum mood mood[2];    /* to A, to AAAA */
	const char *a, *aaaa; /* "192.0.2.1 192.0.2.2" */
	unsigned n_asked[2];
};

static void
put_answers(const char *texts, int family, uint8_t *packet, size_t *length)
{
	size_t bytes = family == AF_INET ? 4 : 16;
	char copy[512], *save, *text;

	snprintf(copy, sizeof(copy), "%s", texts);
	for (text = strtok_r(copy, " ", &save); text; text = strtok_r(NULL, " ", &save)) {
		/* The name of the question, its type, IN, 60 s. */
		const uint8_t head[] = {0xc0, DNS_HEAD, 0, family == AF_INET ? TYPE_A : TYPE_AAAA,
			0, 1, 0, 0, 0, 60, 0, (uint8_t)bytes};

		memcpy(packet + *length, head, sizeof(head));
		*length += sizeof(head);
		assert_int_equal(inet_pton(family, text, packet + *length), 1);
		*length += bytes;
		packet[7]++;
	}
}

static void
nameserver_on_question(evutil_socket_t fd, short what, void *arg)
{
	static const uint8_t codes[] = {[ANSWERS] = 0, [HAS_NONE] = 3, [FAILS] = 2};
	struct nameserver *nameserver = arg;
	struct sockaddr_storage sa;
	socklen_t sa_length = sizeof(sa);
	uint8_t packet[1024];
	ssize_t n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&sa, &sa_length);
	size_t length = (size_t)n;
	unsigned i;

	(void)what;
	assert_true(n > DNS_HEAD + 4);
	i = packet[length - 3] == TYPE_AAAA;
	nameserver->n_asked[i]++;
	if (nameserver->mood[i] == IS_SILENT)
		return;
	packet[2] |= 0x80;
	packet[3] = (uint8_t)(0x80 | codes[nameserver->mood[i]]);
	if (nameserver->mood[i] == ANSWERS)
		put_answers(i ? nameserver->aaaa : nameserver->a, i ? AF_INET6 : AF_INET, packet,
			&length);
	(void)!sendto(fd, packet, length, 0, (struct sockaddr *)&sa, sa_length);
}

static struct nameserver *
make_nameserver(struct watched *watched, const char *a)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct nameserver *nameserver = calloc(1, sizeof(*nameserver));
	socklen_t length = sizeof(sin);

	assert_non_null(nameserver);
	nameserver->a = a;
	nameserver->aaaa = "";
	nameserver->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(nameserver->fd, (struct sockaddr *)&sin, length), 0);
	assert_int_equal(getsockname(nameserver->fd, (struct sockaddr *)&sin, &length), 0);
	snprintf(nameserver->text, sizeof(nameserver->text), "127.0.0.1:%u", ntohs(sin.sin_port));
	nameserver->event = event_new(watched->base, nameserver->fd, EV_READ | EV_PERSIST,
		nameserver_on_question, nameserver);
	event_add(nameserver->event, NULL);
	return nameserver;
}

static void
free_all(struct watched *watched, struct nameserver *nameserver)
{
	upstream_watch_done(&watched->watch);
	event_free(nameserver->event);
	close(nameserver->fd);
	free(nameserver);
	free_watched(watched);
}

/* The servers of this name that get clients, in the order of their numbers. */
static const char *
servers_of(struct watched *watched, const char *name)
{
	static char text[1024];
	char address[UPSTREAM_ADDRESS_TEXT_MAX];

	text[0] = '\0';
	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		const struct upstream *upstream = &watched->upstreams->items[i];

		if (upstream->in_use && upstream->wanted && strcmp(upstream->name, name) == 0)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
				text[0] ? " " : "", upstream_format(upstream, address));
	}
	return text;
}

#define wait_for_servers(watched, wanted) \
	wait_until(watched, strcmp(servers_of(watched, APP), wanted) == 0)

static struct conf *
make_app(const struct nameserver *nameserver)
{
	struct conf *conf = make_relay("\"" APP "\"", nameserver->text);

	conf->listeners[0].upstream_health_interval = 0;
	return conf;
}

/* Until it was asked so many more times, and one more for the answer to be there. */
static void
wait_for_questions(struct watched *watched, struct nameserver *nameserver, unsigned n)
{
	unsigned wanted = nameserver->n_asked[0] + n + 1;

	wait_until(watched, nameserver->n_asked[0] >= wanted);
}

static void
a_name_has_the_servers_that_the_nameserver_says(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.2 192.0.2.1 192.0.2.2");

	(void)state;
	apply_and_free(watched, make_app(nameserver));
	assert_int_equal(watched->n_settled, 0);
	assert_false(upstreams_available(watched->upstreams, 0));
	wait_until(watched, watched->n_settled == 1);
	assert_string_equal(servers_of(watched, APP), "192.0.2.1:9000 192.0.2.2:9000");
	assert_true(upstreams_available(watched->upstreams, 0));
	assert_logged(watched, "public: server " APP " has 2 addresses now\n", 1);
	nameserver->a = "192.0.2.3";
	wait_for_servers(watched, "192.0.2.3:9000");
	assert_logged(watched, "public: server " APP " has 1 address now\n", 1);
	assert_int_equal(watched->n_settled, 1);
	free_all(watched, nameserver);
}

static void
the_order_of_answers_changes_nothing(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1 192.0.2.2 192.0.2.3");
	unsigned n_available;

	(void)state;
	apply_and_free(watched, make_app(nameserver));
	wait_for_servers(watched, "192.0.2.1:9000 192.0.2.2:9000 192.0.2.3:9000");
	n_available = watched->n_available;
	nameserver->a = "192.0.2.3 192.0.2.1 192.0.2.2";
	wait_for_questions(watched, nameserver, 2);
	assert_string_equal(
		servers_of(watched, APP), "192.0.2.1:9000 192.0.2.2:9000 192.0.2.3:9000");
	assert_int_equal(watched->n_available, n_available);
	assert_logged(watched, "addresses now", 1);
	free_all(watched, nameserver);
}

static void
a_failure_keeps_the_old_addresses(void **state)
{
	static const enum mood moods[] = {FAILS, HAS_NONE, ANSWERS};
	static const char *const problems[] = {
		"no nameserver gives an answer", "there is no such name", "it has no address"};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct watched *watched = make_watched();
		struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1");
		char line[256];

		apply_and_free(watched, make_app(nameserver));
		wait_for_servers(watched, "192.0.2.1:9000");
		nameserver->mood[0] = nameserver->mood[1] = moods[i];
		nameserver->a = "";
		wait_until(watched, count_in_log(watched, "cannot be resolved") > 0);
		wait_for_questions(watched, nameserver, 3);
		assert_string_equal(servers_of(watched, APP), "192.0.2.1:9000");
		snprintf(line, sizeof(line),
			"public: server " APP
			" cannot be resolved: %s; addresses that are kept: 1\n",
			problems[i]);
		assert_logged(watched, line, 1);
		nameserver->mood[0] = nameserver->mood[1] = ANSWERS;
		nameserver->a = "192.0.2.2";
		wait_for_servers(watched, "192.0.2.2:9000");
		assert_logged(watched, "public: server " APP " is resolved again\n", 1);
		free_all(watched, nameserver);
	}
}

static void
a_family_whose_question_failed_keeps_its_addresses(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1");

	(void)state;
	nameserver->aaaa = "2001:db8::1";
	apply_and_free(watched, make_app(nameserver));
	wait_until(watched, watched->n_settled == 1);
	/* Not asked for on a machine that has no such address itself. */
	if (nameserver->n_asked[1] > 0) {
		assert_string_equal(servers_of(watched, APP), "192.0.2.1:9000 [2001:db8::1]:9000");
		nameserver->mood[1] = FAILS;
		nameserver->a = "192.0.2.2";
		wait_for_servers(watched, "192.0.2.2:9000 [2001:db8::1]:9000");
		nameserver->mood[1] = ANSWERS;
		nameserver->aaaa = "";
		wait_for_servers(watched, "192.0.2.2:9000");
		assert_logged(watched, "cannot be resolved", 0);
	} else {
		assert_string_equal(servers_of(watched, APP), "192.0.2.1:9000");
	}
	free_all(watched, nameserver);
}

static void
the_file_of_hosts_goes_first(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.9");

	(void)state;
	watched_write_hosts(watched, "192.0.2.1 App.Example # its name\n");
	apply_and_free(watched, make_app(nameserver));
	wait_for_servers(watched, "192.0.2.1:9000");
	assert_int_equal(nameserver->n_asked[0], 0);
	watched_write_hosts(watched, "192.0.2.2\tother app.example\n");
	wait_for_servers(watched, "192.0.2.2:9000");
	assert_int_equal(nameserver->n_asked[0], 0);
	watched_write_hosts(watched, "");
	wait_for_servers(watched, "192.0.2.9:9000");
	free_all(watched, nameserver);
}

static void
a_silent_nameserver_does_not_hold_the_start_up_for_long(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1");

	(void)state;
	nameserver->mood[0] = nameserver->mood[1] = IS_SILENT;
	watched->watch.settle_usec = 30000;
	apply_and_free(watched, make_app(nameserver));
	wait_until(watched, nameserver->n_asked[0] > 0);
	assert_int_equal(watched->n_settled, 0);
	wait_until(watched, watched->n_settled == 1);
	assert_string_equal(servers_of(watched, APP), "");
	/* It ends with questions under way. */
	free_all(watched, nameserver);
}

static void
a_reload_asks_anew_and_forgets_names_that_went(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *silent = make_nameserver(watched, "192.0.2.1");
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.2");
	struct conf *conf;

	(void)state;
	silent->mood[0] = silent->mood[1] = IS_SILENT;
	apply_and_free(watched, make_app(silent));
	wait_until(watched, silent->n_asked[0] > 0);
	/* What is under way goes to the new nameserver. */
	apply_and_free(watched, make_app(nameserver));
	wait_for_servers(watched, "192.0.2.2:9000");
	conf = make_relay("\"other.example:80\", \"192.0.2.7:80\"", silent->text);
	conf->listeners[0].upstream_health_interval = 0;
	apply_and_free(watched, conf);
	assert_string_equal(servers_of(watched, APP), "");
	assert_string_equal(servers_of(watched, "192.0.2.7:80"), "192.0.2.7:80");
	wait_until(watched, silent->n_asked[0] > 1);
	/* A question that nobody waits for any more. */
	apply_and_free(watched, make_app(nameserver));
	wait_for_servers(watched, "192.0.2.2:9000");
	assert_string_equal(servers_of(watched, "192.0.2.7:80"), "");
	upstream_watch_done(&watched->watch);
	event_free(silent->event);
	close(silent->fd);
	free(silent);
	free_all(watched, nameserver);
}

static void
what_has_connections_left_is_kept_over_a_change(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1 192.0.2.2");
	uint64_t *counter = &watched->metrics->slots[0].upstream[0][UPSTREAM_METRIC_CONNECTS];
	uint64_t *other = &watched->metrics->slots[0].upstream[1][UPSTREAM_METRIC_CONNECTS];

	(void)state;
	apply_and_free(watched, make_app(nameserver));
	wait_for_servers(watched, "192.0.2.1:9000 192.0.2.2:9000");
	upstreams_count(watched->upstreams, 0);
	metrics_add(counter, 7);
	metrics_add(other, 7);
	nameserver->a = "192.0.2.3";
	wait_for_servers(watched, "192.0.2.3:9000");
	assert_int_equal(*counter, 7);
	/* A place that was free has counters that begin at 0. */
	assert_int_equal(*other, 0);
	nameserver->a = "192.0.2.1";
	wait_for_servers(watched, "192.0.2.1:9000");
	assert_int_equal(*counter, 7);
	assert_int_equal(watched->upstreams->items[0].connections, 1);
	free_all(watched, nameserver);
}

static void
a_name_that_is_disabled_stays_so_with_other_addresses(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1 192.0.2.2");

	(void)state;
	apply_and_free(watched, make_app(nameserver));
	wait_for_servers(watched, "192.0.2.1:9000 192.0.2.2:9000");
	/* One address of it is another matter. */
	assert_int_equal(
		upstream_watch_set_disabled(&watched->watch, 0, "192.0.2.1:9000", true), 1);
	nameserver->a = "192.0.2.1 192.0.2.3";
	wait_for_servers(watched, "192.0.2.1:9000 192.0.2.3:9000");
	assert_true(upstreams_available(watched->upstreams, 0));
	assert_int_equal(upstream_watch_set_disabled(&watched->watch, 0, APP, true), 2);
	nameserver->a = "192.0.2.4";
	wait_for_servers(watched, "192.0.2.4:9000");
	assert_false(upstreams_available(watched->upstreams, 0));
	assert_int_equal(upstream_watch_set_disabled(&watched->watch, -1, APP, false), 1);
	assert_true(upstreams_available(watched->upstreams, 0));
	/* The only address it has is not the name either. */
	assert_int_equal(
		upstream_watch_set_disabled(&watched->watch, 0, "192.0.2.4:9000", true), 1);
	nameserver->a = "192.0.2.5";
	wait_for_servers(watched, "192.0.2.5:9000");
	assert_true(upstreams_available(watched->upstreams, 0));
	nameserver->a = "192.0.2.4";
	wait_for_servers(watched, "192.0.2.4:9000");
	assert_false(upstreams_available(watched->upstreams, 0));
	free_all(watched, nameserver);
}

static void
more_names_than_questions_at_once_are_all_resolved(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1");
	char servers[2048] = "";
	struct conf *conf;

	(void)state;
	for (unsigned i = 0; i < 60; i++)
		snprintf(servers + strlen(servers), sizeof(servers) - strlen(servers),
			"%s\"n%u.example:80\"", i ? ", " : "", i);
	conf = make_relay(servers, nameserver->text);
	conf->listeners[0].upstream_health_interval = 0;
	conf->listeners[0].upstream_resolve_interval = 0;
	apply_and_free(watched, conf);
	wait_until(watched, watched->n_settled == 1);
	assert_int_equal(watched->upstreams->n_members[0], 60);
	assert_int_equal(nameserver->n_asked[0], 60);
	free_all(watched, nameserver);
}

static void
more_addresses_than_places_are_told_of_once(void **state)
{
	struct watched *watched = make_watched();
	struct nameserver *nameserver = make_nameserver(watched, "192.0.2.1");
	struct upstream_address addresses[UPSTREAM_MAX];

	(void)state;
	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		char text[32];

		snprintf(text, sizeof(text), "198.51.100.%u:80", i);
		addresses[i] = make_address(text);
	}
	assert_int_equal(upstreams_set_addresses(watched->upstreams, 1, "x:80", addresses,
				 UPSTREAM_MAX, NULL, NULL),
		0);
	for (uint16_t i = 0; i < UPSTREAM_MAX; i++)
		upstreams_count(watched->upstreams, i);
	apply_and_free(watched, make_app(nameserver));
	wait_until(watched, count_in_log(watched, "not all addresses of " APP " are used") == 1);
	wait_for_questions(watched, nameserver, 2);
	assert_logged(watched, "not all addresses", 1);
	/* Once there is a place it is taken. */
	assert_false(upstreams_release(watched->upstreams, 100));
	wait_for_servers(watched, "192.0.2.1:9000");
	free_all(watched, nameserver);
}

static void
hosts_are_found_by_any_of_their_names(void **state)
{
	static const char text[] = "# comment\n"
				   "127.0.0.1 localhost app\r\n"
				   "::1\tlocalhost   ip6-localhost\n"
				   "::ffff:192.0.2.1 mapped\n"
				   "nonsense app\n192.0.2.2\n192.0.2.3 #app\n"
				   "fe80::1%eth0 app\n\n"
				   "192.0.2.4 apple APP.";
	char path[] = "/tmp/millgate-hosts-XXXXXX", host[ADDR_TEXT_MAX];
	struct addr addrs[4];
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(upstream_hosts_find(path, "LocalHost.", addrs, 4), 2);
	assert_string_equal(addr_format_host(&addrs[0], host), "127.0.0.1");
	assert_string_equal(addr_format_host(&addrs[1], host), "::1");
	assert_int_equal(upstream_hosts_find(path, "localhost", addrs, 1), 1);
	assert_int_equal(upstream_hosts_find(path, "app", addrs, 4), 1);
	assert_int_equal(upstream_hosts_find(path, "apple", addrs, 4), 1);
	assert_int_equal(upstream_hosts_find(path, "mapped", addrs, 4), 1);
	assert_string_equal(addr_format_host(&addrs[0], host), "192.0.2.1");
	assert_int_equal(upstream_hosts_find(path, "", addrs, 4), 0);
	assert_int_equal(upstream_hosts_find(path, "ap", addrs, 4), 0);
	unlink(path);
	assert_int_equal(upstream_hosts_find(path, "app", addrs, 4), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_has_the_servers_that_the_nameserver_says),
		cmocka_unit_test(the_order_of_answers_changes_nothing),
		cmocka_unit_test(a_failure_keeps_the_old_addresses),
		cmocka_unit_test(a_family_whose_question_failed_keeps_its_addresses),
		cmocka_unit_test(the_file_of_hosts_goes_first),
		cmocka_unit_test(a_silent_nameserver_does_not_hold_the_start_up_for_long),
		cmocka_unit_test(a_reload_asks_anew_and_forgets_names_that_went),
		cmocka_unit_test(what_has_connections_left_is_kept_over_a_change),
		cmocka_unit_test(a_name_that_is_disabled_stays_so_with_other_addresses),
		cmocka_unit_test(more_names_than_questions_at_once_are_all_resolved),
		cmocka_unit_test(more_addresses_than_places_are_told_of_once),
		cmocka_unit_test(hosts_are_found_by_any_of_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
