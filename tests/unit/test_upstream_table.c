/* upstream: servers come and go, up and down. Choosing has a file of its own. */
#include "fixture_upstream.h"

#include <errno.h>

#define APP "app.example:9000"

static int
set_addresses(struct upstreams *upstreams, unsigned n, const char *const *texts, unsigned *n_fresh)
{
	struct upstream_address addresses[8];

	for (unsigned i = 0; i < n; i++)
		addresses[i] = make_address(texts[i]);
	*n_fresh = 0;
	return upstreams_set_addresses(upstreams, 0, APP, addresses, n, count_fresh, n_fresh);
}

static void
a_name_is_a_server_for_each_of_its_addresses(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 0);
	const char *const texts[] = {"192.0.2.1:9000", "[2001:db8::1]:9000", "192.0.2.1:9000"};
	char text[UPSTREAM_ADDRESS_TEXT_MAX];
	unsigned n_fresh;

	(void)state;
	/* One that is named twice is one. */
	assert_int_equal(set_addresses(upstreams, 3, texts, &n_fresh), 0);
	assert_int_equal(n_fresh, 2);
	assert_int_equal(find_server(upstreams, 0, APP, "[2001:db8::1]:9000"), 1);
	assert_int_equal(find_server(upstreams, 0, APP, "[2001:db8::2]:9000"), UPSTREAM_NONE);
	assert_int_equal(find_server(upstreams, 0, "app", "192.0.2.1:9000"), UPSTREAM_NONE);
	assert_int_equal(find_server(upstreams, 1, APP, "192.0.2.1:9000"), UPSTREAM_NONE);
	assert_string_equal(upstream_format(&upstreams->items[1], text), "[2001:db8::1]:9000");
	assert_string_equal(upstreams->items[1].name, APP);
	upstreams_free(upstreams);
}

static void
a_server_that_goes_is_free_with_its_last_connection(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 2);

	(void)state;
	upstreams_count(upstreams, 0);
	upstreams_count(upstreams, 0);
	upstreams_keep_names(upstreams, 0, NULL, 0);
	assert_false(upstreams->items[1].in_use);
	assert_true(upstreams->items[0].in_use && !upstreams->items[0].wanted);
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	assert_false(upstreams_release(upstreams, 0));
	assert_true(upstreams->items[0].in_use);
	assert_false(upstreams_release(upstreams, 0));
	assert_false(upstreams->items[0].in_use);
	assert_int_equal(upstreams->n_members[0], 0);
	upstreams_free(upstreams);
}

static void
an_address_that_comes_back_meanwhile_is_the_same_server(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 0);
	const char *const both[] = {"192.0.2.1:9000", "192.0.2.2:9000"};
	uint16_t number;
	unsigned n_fresh;

	(void)state;
	assert_int_equal(set_addresses(upstreams, 2, both, &n_fresh), 0);
	number = find_server(upstreams, 0, APP, both[0]);
	upstreams_count(upstreams, number);
	upstreams_set_disabled(upstreams, number, true, false);
	assert_int_equal(set_addresses(upstreams, 1, both + 1, &n_fresh), 0);
	assert_false(upstreams->items[number].wanted);
	assert_int_equal(set_addresses(upstreams, 2, both, &n_fresh), 0);
	assert_int_equal(n_fresh, 0);
	assert_int_equal(find_server(upstreams, 0, APP, both[0]), number);
	assert_true(upstreams->items[number].wanted && upstreams->items[number].disabled);
	assert_int_equal(upstreams->items[number].connections, 1);
	/* One without connections is another one when it comes back. */
	upstreams_set_disabled(upstreams, number, false, false);
	upstreams_release(upstreams, number);
	assert_int_equal(set_addresses(upstreams, 1, both + 1, &n_fresh), 0);
	assert_int_equal(set_addresses(upstreams, 2, both, &n_fresh), 0);
	assert_int_equal(n_fresh, 1);
	upstreams_free(upstreams);
}

static void
an_address_that_is_disabled_is_remembered(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 0);
	const char *const both[] = {"192.0.2.1:9000", "192.0.2.2:9000"};
	static const char *const kept[] = {APP};
	uint16_t number;
	unsigned n_fresh;

	(void)state;
	assert_int_equal(set_addresses(upstreams, 2, both, &n_fresh), 0);
	number = find_server(upstreams, 0, APP, both[0]);
	upstreams_set_disabled(upstreams, number, true, false);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(set_addresses(upstreams, 1, both + 1, &n_fresh), 0);
		upstreams_keep_names(upstreams, 0, kept, 1);
		assert_true(upstreams->items[number].in_use);
		assert_int_equal(set_addresses(upstreams, 2, both, &n_fresh), 0);
		assert_int_equal(n_fresh, 0);
		assert_true(upstreams->items[number].disabled);
		/* Also when its last connection ends meanwhile. */
		upstreams_count(upstreams, number);
		assert_int_equal(set_addresses(upstreams, 1, both + 1, &n_fresh), 0);
		upstreams_release(upstreams, number);
	}
	/* Until it is enabled, */
	upstreams_set_disabled(upstreams, number, false, false);
	assert_false(upstreams->items[number].in_use);
	/* its name is disabled, which is enough, */
	assert_int_equal(set_addresses(upstreams, 2, both, &n_fresh), 0);
	number = find_server(upstreams, 0, APP, both[0]);
	upstreams_set_disabled(upstreams, number, true, true);
	assert_int_equal(set_addresses(upstreams, 1, both + 1, &n_fresh), 0);
	assert_false(upstreams->items[number].in_use);
	/* or the name is not configured any more. */
	assert_int_equal(set_addresses(upstreams, 2, both, &n_fresh), 0);
	number = find_server(upstreams, 0, APP, both[0]);
	upstreams_set_disabled(upstreams, number, true, false);
	upstreams_keep_names(upstreams, 0, NULL, 0);
	assert_int_equal(upstreams->n_members[0], 0);
	upstreams_free(upstreams);
}

static void
a_name_without_an_address_has_a_place(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 0);
	const char *const one[] = {"192.0.2.1:9000"};
	char text[UPSTREAM_LABEL_MAX];
	unsigned n_fresh = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			upstreams_await_address(upstreams, 0, APP, count_fresh, &n_fresh), 0);
	assert_int_equal(n_fresh, 1);
	assert_int_equal(upstreams->n_members[0], 1);
	assert_true(upstreams->items[0].wanted && upstreams->items[0].unresolved);
	assert_string_equal(upstream_format(&upstreams->items[0], text), "");
	assert_string_equal(upstream_label(&upstreams->items[0], text), APP);
	assert_true(upstream_is_called(&upstreams->items[0], "APP.example:9000"));
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	assert_int_equal(set_addresses(upstreams, 1, one, &n_fresh), 0);
	assert_int_equal(upstreams->n_members[0], 1);
	assert_int_not_equal(pick(upstreams), UPSTREAM_NONE);
	/* It has one now. */
	assert_int_equal(upstreams_await_address(upstreams, 0, APP, count_fresh, &n_fresh), 0);
	assert_int_equal(upstreams->n_members[0], 1);
	upstreams_free(upstreams);
}

static void
a_name_does_not_touch_the_servers_of_another(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 2);
	static const char *const kept[] = {APP, "192.0.2.2:9000"};
	const char *const text = "192.0.2.1:9000";
	unsigned n_fresh;

	(void)state;
	assert_int_equal(set_addresses(upstreams, 1, &text, &n_fresh), 0);
	assert_int_equal(n_fresh, 1);
	assert_int_equal(set_addresses(upstreams, 0, NULL, &n_fresh), 0);
	assert_int_equal(upstreams->n_members[0], 2);
	assert_int_equal(set_addresses(upstreams, 1, &text, &n_fresh), 0);
	upstreams_keep_names(upstreams, 0, kept, 2);
	assert_int_equal(upstreams->n_members[0], 2);
	assert_int_not_equal(find_server(upstreams, 0, APP, text), UPSTREAM_NONE);
	assert_int_equal(find_server(upstreams, 0, text, text), UPSTREAM_NONE);
	upstreams_free(upstreams);
}

static struct upstream_address
make_numbered(unsigned i)
{
	char text[32];

	snprintf(text, sizeof(text), "192.0.%u.%u:9000", 2 + i / 256, i % 256);
	return make_address(text);
}

static void
there_is_room_for_so_many_and_no_more(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 0);
	struct upstream_address addresses[UPSTREAM_MAX + 1];
	unsigned n_fresh = 0;

	(void)state;
	for (unsigned i = 0; i <= UPSTREAM_MAX; i++)
		addresses[i] = make_numbered(i);
	assert_int_equal(upstreams_set_addresses(
				 upstreams, 0, APP, addresses, UPSTREAM_MAX, count_fresh, &n_fresh),
		0);
	assert_int_equal(upstreams_set_addresses(upstreams, 0, APP, addresses, UPSTREAM_MAX + 1,
				 count_fresh, &n_fresh),
		-ENOSPC);
	assert_int_equal(n_fresh, UPSTREAM_MAX);
	assert_int_equal(upstreams_restore(upstreams, 1, APP, &addresses[0], true), UPSTREAM_NONE);
	/* Those that go make room for those that come. */
	assert_int_equal(upstreams_set_addresses(upstreams, 0, APP, addresses + 1, UPSTREAM_MAX,
				 count_fresh, &n_fresh),
		0);
	assert_int_equal(n_fresh, UPSTREAM_MAX + 1);
	/* Not while they have connections. */
	upstreams_count(upstreams, find_server(upstreams, 0, APP, "192.0.2.1:9000"));
	assert_int_equal(upstreams_set_addresses(upstreams, 0, APP, addresses + 2, UPSTREAM_MAX - 1,
				 count_fresh, &n_fresh),
		0);
	assert_int_equal(
		upstreams_set_addresses(upstreams, 1, APP, addresses, 1, NULL, NULL), -ENOSPC);
	upstreams_free(upstreams);
}

static void
a_restored_server_waits_for_its_configuration(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);
	static const char *const kept[] = {"192.0.2.1:9000", APP};
	struct upstream_address a = make_address("192.0.2.7:9000");
	struct upstream_address b = make_address("192.0.2.8:9000");
	struct upstream_address c = make_address("192.0.2.9:9000");
	unsigned n_fresh = 0;

	(void)state;
	assert_int_equal(upstreams_restore(upstreams, 0, APP, &a, true), 1);
	assert_int_equal(upstreams_restore(upstreams, 0, APP, &b, false), 2);
	assert_int_equal(upstreams_restore(upstreams, 0, APP, &c, false), 3);
	assert_int_equal(upstreams_restore(upstreams, 0, APP, &a, true), 1);
	upstreams_count(upstreams, 2);
	upstreams_keep_names(upstreams, 0, kept, 2);
	assert_true(upstreams->items[1].wanted && !upstreams->items[2].wanted);
	assert_true(upstreams->items[2].in_use && !upstreams->items[3].in_use);
	assert_int_equal(
		upstreams_set_addresses(upstreams, 0, APP, &b, 1, count_fresh, &n_fresh), 0);
	assert_int_equal(n_fresh, 0);
	assert_false(upstreams->items[1].in_use);
	assert_true(upstreams->items[2].wanted);
	upstreams_free(upstreams);
}

/* The results, from the left; '-' bad, '+' good. Says what came of the last one. */
static enum upstream_change
check_all(struct upstreams *upstreams, const char *results)
{
	enum upstream_change change = UPSTREAM_SAME;

	for (; *results; results++) {
		assert_int_equal(change, UPSTREAM_SAME);
		change = upstreams_checked(upstreams, 0, *results == '+');
	}
	return change;
}

static void
a_server_is_down_after_fall_and_up_after_rise(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	(void)state;
	assert_int_equal(check_all(upstreams, "--"), UPSTREAM_SAME);
	assert_true(upstream_is_up(&upstreams->items[0]));
	assert_int_equal(check_all(upstreams, "-"), UPSTREAM_WENT_DOWN);
	assert_false(upstream_is_up(&upstreams->items[0]));
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	assert_int_equal(check_all(upstreams, "----+"), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "+"), UPSTREAM_CAME_UP);
	assert_int_equal(pick(upstreams), 0);
	upstreams_free(upstreams);
}

static void
one_result_of_the_other_kind_breaks_a_streak(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	(void)state;
	assert_int_equal(check_all(upstreams, "--+--+--"), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "-"), UPSTREAM_WENT_DOWN);
	assert_int_equal(check_all(upstreams, "+-+-+"), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "+"), UPSTREAM_CAME_UP);
	assert_int_equal(check_all(upstreams, "--"), UPSTREAM_SAME);
	upstreams_free(upstreams);
}

static void
clients_that_fail_in_a_row_count_like_checks(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	(void)state;
	assert_int_equal(upstreams_connect_failed(upstreams, 0, 100, NOW), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "-"), UPSTREAM_SAME);
	assert_int_equal(upstreams_connect_failed(upstreams, 0, 100, NOW), UPSTREAM_WENT_DOWN);
	/* One that is late breaks the way up. */
	assert_int_equal(check_all(upstreams, "+"), UPSTREAM_SAME);
	assert_int_equal(upstreams_connect_failed(upstreams, 0, 100, NOW), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "+"), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "+"), UPSTREAM_CAME_UP);
	upstreams_free(upstreams);
}

static void
a_failure_among_successes_is_no_streak(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	(void)state;
	for (uint64_t connected = 1; connected < 10; connected++) {
		assert_int_equal(
			upstreams_connect_failed(upstreams, 0, connected, NOW), UPSTREAM_SAME);
		assert_int_equal(
			upstreams_connect_failed(upstreams, 0, connected, NOW), UPSTREAM_SAME);
	}
	assert_int_equal(upstreams_connect_failed(upstreams, 0, 9, NOW), UPSTREAM_WENT_DOWN);
	upstreams_free(upstreams);
}

static void
without_checks_no_server_is_down(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);
	struct upstream_policy policy = upstreams->policies[0];

	(void)state;
	assert_int_equal(check_all(upstreams, "---"), UPSTREAM_WENT_DOWN);
	policy.checked = false;
	upstreams_set_policy(upstreams, 0, &policy);
	assert_true(upstream_is_up(&upstreams->items[0]));
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(upstreams_connect_failed(upstreams, 0, 0, NOW), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "----------"), UPSTREAM_SAME);
	assert_int_equal(pick(upstreams), 0);
	/* What was then is not counted later. */
	policy.checked = true;
	upstreams_set_policy(upstreams, 0, &policy);
	assert_int_equal(check_all(upstreams, "--"), UPSTREAM_SAME);
	assert_int_equal(check_all(upstreams, "-"), UPSTREAM_WENT_DOWN);
	upstreams_free(upstreams);
}

static void
a_disabled_server_has_a_health_too(void **state)
{
	struct upstreams *upstreams = make_upstreams(UPSTREAM_ROUND_ROBIN, 1);

	(void)state;
	upstreams->items[0].disabled = true;
	assert_int_equal(check_all(upstreams, "---"), UPSTREAM_WENT_DOWN);
	upstreams->items[0].disabled = false;
	assert_int_equal(pick(upstreams), UPSTREAM_NONE);
	upstreams_free(upstreams);
}

static void
good_names_are_read(void **state)
{
	static const struct {
		const char *text, *address, *host;
		unsigned port;
	} cases[] = {
		{"127.0.0.1:8080", "127.0.0.1:8080", "", 0},
		{"[::1]:65535", "[::1]:65535", "", 0},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:1", "", 0},
		{"unix:/run/app.sock", "unix:/run/app.sock", "", 0},
		{"unix:@app", "unix:@app", "", 0},
		{"app.example:9000", NULL, "app.example", 9000},
		{"app:1", NULL, "app", 1},
		{"app.example.:65535", NULL, "app.example.", 65535},
		{"_x._tcp.1.a-b:80", NULL, "_x._tcp.1.a-b", 80},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[UPSTREAM_ADDRESS_TEXT_MAX];
		struct upstream_name name;

		assert_int_equal(upstream_parse_name(cases[i].text, &name, NULL), 0);
		assert_string_equal(name.host, cases[i].host);
		assert_int_equal(name.port, cases[i].port);
		if (cases[i].address)
			assert_string_equal(
				upstream_address_format(&name.address, text), cases[i].address);
		else
			assert_int_equal(name.address.length, 0);
	}
}

static void
bad_names_are_refused_with_what_is_allowed(void **state)
{
	static const char *const texts[] = {"", ":", ":80", "app", "app:", "app:0", "app:65536",
		"app:08", "app:+1", "app:99999999999", "a b:80", "::1:80", "[::1]", "[::1]:0",
		"[app]:80", "192.0.2.300:80", "192.0.2:80", "10:80", "a..b:80", ".a:80", "a/b:80",
		"unix:80", "unix:", "unix:@", "http://app:80", "fe80::1%eth0:80", "a\xc3\xa9:80"};
	struct mg_error error;
	struct upstream_name name;
	char label[80];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		error.text[0] = '\0';
		if (upstream_parse_name(texts[i], &name, &error) != -EINVAL)
			fail_msg("was taken: %s", texts[i]);
		assert_non_null(strstr(error.text, "allowed are "));
	}
	memset(label, 'x', sizeof(label));
	strcpy(label + 63, ":80");
	assert_int_equal(upstream_parse_name(label, &name, NULL), 0);
	label[63] = 'x';
	strcpy(label + 64, ":80");
	assert_int_equal(upstream_parse_name(label, &name, NULL), -EINVAL);
}

static void
a_name_has_253_bytes_at_most_and_a_port(void **state)
{
	char text[UPSTREAM_NAME_MAX + 8], host[UPSTREAM_NAME_MAX];
	struct upstream_name name;

	(void)state;
	memset(host, 'x', sizeof(host));
	host[63] = host[127] = host[191] = '.';
	for (int length = 252; length <= 254; length++) {
		snprintf(text, sizeof(text), "%.*s:65535", length, host);
		assert_int_equal(
			upstream_parse_name(text, &name, NULL), length <= 253 ? 0 : -EINVAL);
		snprintf(text, sizeof(text), "%.*s.:65535", length, host);
		assert_int_equal(
			upstream_parse_name(text, &name, NULL), length <= 253 ? 0 : -EINVAL);
		if (length == 253)
			assert_int_equal(strlen(text), UPSTREAM_NAME_MAX);
	}
}

static void
messages_are_about_what_is_wrong(void **state)
{
	static const char port[] = "allowed are ports from 1 to 65535, without leading zeros";
	static const char zone[] = "with a zone id, allowed are addresses without one";
	static const char lower[] = "with \"unix:\" in lower case";
	static const char forms[] = "allowed are \"127.0.0.1:8080\"";
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"127.0.0.1:0", port},
		{"127.0.0.1:080", port},
		{"127.0.0.1:65536", port},
		{"127.0.0.1:70000", port},
		{"127.0.0.1:", port},
		{"127.0.0.1:http", port},
		{"[::1]:0", port},
		{"[::1]:", port},
		{"app:0", port},
		{"app:080", port},
		{"UNIX:70000", port}, /* a name like any other */
		{"UNIX:/x", lower},
		{"Unix:@x", lower},
		{"uniX:/x:1", lower},
		{"UNIX:/x%1", lower},
		{"http://a%20b:80", forms},
		{"127.0.0.1", forms},
		{"[::1]", forms},
		{"::1:0", forms},
		{"[127.0.0.1]:0", forms},
		{"[]:0", forms},
		{"::1", forms},
		{"http://app", forms},
		{"app:80/", forms},
		{":0", forms},
		{"[fe80::1%eth0]:80", zone},
		{"[fe80::1%eth0]:0", zone},
		{"fe80::1%1", zone},
		{"unix:x", "(an absolute path)"},
	};
	struct upstream_address address;
	struct upstream_name name;
	struct mg_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(upstream_parse_name(cases[i].text, &name, &error), -EINVAL);
		if (!strstr(error.text, cases[i].message))
			fail_msg("%s: %s", cases[i].text, error.text);
	}
	assert_int_equal(upstream_parse_name("unix:/a%b", &name, NULL), 0);
	assert_int_equal(upstream_parse_name("UNIX:80", &name, NULL), 0);
	assert_string_equal(name.host, "UNIX");
	assert_int_equal(upstream_parse_source("fe80::1%eth0", &address, &error), -EINVAL);
	assert_non_null(strstr(error.text, zone));
	assert_int_equal(upstream_parse_nameserver("[fe80::1%eth0]:53", &address, &error), -EINVAL);
	assert_non_null(strstr(error.text, zone));
}

static void
sources_and_nameservers_are_read(void **state)
{
	struct upstream_address address;
	char text[UPSTREAM_ADDRESS_TEXT_MAX];

	(void)state;
	assert_int_equal(upstream_parse_source("192.0.2.1", &address, NULL), 0);
	assert_string_equal(upstream_address_format(&address, text), "192.0.2.1:0");
	assert_int_equal(upstream_parse_source("2001:db8::1", &address, NULL), 0);
	assert_string_equal(upstream_address_format(&address, text), "[2001:db8::1]:0");
	assert_int_equal(upstream_parse_source("192.0.2.0/24", &address, NULL), -EINVAL);
	assert_int_equal(upstream_parse_source("192.0.2.1:80", &address, NULL), -EINVAL);
	assert_int_equal(upstream_parse_source("[::1]", &address, NULL), -EINVAL);
	assert_int_equal(upstream_parse_source("eth0", &address, NULL), -EINVAL);
	assert_int_equal(upstream_parse_nameserver("[::1]:53", &address, NULL), 0);
	assert_int_equal(upstream_parse_nameserver("192.0.2.1:5353", &address, NULL), 0);
	assert_int_equal(upstream_parse_nameserver("192.0.2.1", &address, NULL), -EINVAL);
	assert_int_equal(upstream_parse_nameserver("unix:/x", &address, NULL), -EINVAL);
	assert_int_equal(upstream_parse_nameserver("ns:53", &address, NULL), -EINVAL);
}

static void
addresses_of_more_or_less_than_a_machine_are_told(void **state)
{
	static const struct {
		const char *text;
		enum upstream_kind kind;
	} cases[] = {
		{"0.0.0.0:1", UPSTREAM_KIND_UNSPECIFIED},
		{"[::]:1", UPSTREAM_KIND_UNSPECIFIED},
		{"[::ffff:0.0.0.0]:1", UPSTREAM_KIND_UNSPECIFIED},
		{"0.0.0.1:1", UPSTREAM_KIND_OWN},
		{"[::1]:1", UPSTREAM_KIND_OWN},
		{"223.255.255.255:1", UPSTREAM_KIND_OWN},
		{"224.0.0.0:1", UPSTREAM_KIND_MULTICAST},
		{"239.255.255.255:1", UPSTREAM_KIND_MULTICAST},
		{"[::ffff:224.0.0.1]:1", UPSTREAM_KIND_MULTICAST},
		{"240.0.0.0:1", UPSTREAM_KIND_OWN},
		{"255.255.255.254:1", UPSTREAM_KIND_OWN},
		{"255.255.255.255:1", UPSTREAM_KIND_BROADCAST},
		{"[fe7f::1]:1", UPSTREAM_KIND_OWN},
		{"[fe80::]:1", UPSTREAM_KIND_LINK_LOCAL},
		{"[febf:ffff::1]:1", UPSTREAM_KIND_LINK_LOCAL},
		{"[fec0::1]:1", UPSTREAM_KIND_OWN},
		{"[feff::1]:1", UPSTREAM_KIND_OWN},
		{"[ff00::]:1", UPSTREAM_KIND_MULTICAST},
		{"[ff02::1]:1", UPSTREAM_KIND_MULTICAST},
		{"unix:/run/x", UPSTREAM_KIND_OWN},
		{"169.254.0.1:1", UPSTREAM_KIND_OWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct upstream_name name;

		assert_int_equal(upstream_parse_name(cases[i].text, &name, NULL), 0);
		if (upstream_address_kind(&name.address) != cases[i].kind)
			fail_msg("taken for another kind: %s", cases[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_a_server_for_each_of_its_addresses),
		cmocka_unit_test(a_server_that_goes_is_free_with_its_last_connection),
		cmocka_unit_test(an_address_that_comes_back_meanwhile_is_the_same_server),
		cmocka_unit_test(a_name_does_not_touch_the_servers_of_another),
		cmocka_unit_test(there_is_room_for_so_many_and_no_more),
		cmocka_unit_test(a_restored_server_waits_for_its_configuration),
		cmocka_unit_test(a_server_is_down_after_fall_and_up_after_rise),
		cmocka_unit_test(one_result_of_the_other_kind_breaks_a_streak),
		cmocka_unit_test(clients_that_fail_in_a_row_count_like_checks),
		cmocka_unit_test(a_failure_among_successes_is_no_streak),
		cmocka_unit_test(without_checks_no_server_is_down),
		cmocka_unit_test(an_address_that_is_disabled_is_remembered),
		cmocka_unit_test(a_name_without_an_address_has_a_place),
		cmocka_unit_test(a_disabled_server_has_a_health_too),
		cmocka_unit_test(good_names_are_read),
		cmocka_unit_test(bad_names_are_refused_with_what_is_allowed),
		cmocka_unit_test(a_name_has_253_bytes_at_most_and_a_port),
		cmocka_unit_test(messages_are_about_what_is_wrong),
		cmocka_unit_test(sources_and_nameservers_are_read),
		cmocka_unit_test(addresses_of_more_or_less_than_a_machine_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
