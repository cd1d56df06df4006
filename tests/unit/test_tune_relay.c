/* tune_relay: a relayed client needs twice of everything, and its connection to the server a port. */
#include "fixture_tune.h"

#define RANGE TUNE_PORT_RANGE_KEY
#define SERVER "\"127.0.0.1:8080\""

/* A configuration of relay listeners, each given as what stands in its "upstream". */
static char *
relay_conf(char buf[static 2048], uint64_t connections, const char *const upstreams[], size_t n)
{
	int used = snprintf(buf, 2048,
		"{ \"workers\": 2, \"limits\": { \"connections\": %" PRIu64 " }, "
		"\"listeners\": { \"plain\": { }",
		connections);

	for (size_t i = 0; i < n; i++)
		used += snprintf(buf + used, 2048 - (size_t)used,
			", \"r%zu\": { \"service\": \"relay\", \"upstream\": { %s } }", i,
			upstreams[i]);
	assert_true(used < 2048 - 8);
	strcat(buf, " } }");
	return buf;
}

static struct tune_report
check_relay(uint64_t connections, const char *upstream, const struct tune_facts *facts)
{
	char text[2048];

	return check_facts(relay_conf(text, connections, &upstream, 1), facts);
}

static void
a_relayed_client_counts_twice(void **state)
{
	static const struct {
		const char *key, *tcp, *local; /* wanted, with servers of TCP and of unix sockets */
	} cases[] = {
		{"LimitNOFILE", "100032", "100032"},
		{"fs.file-max", "218192", "218192"},
		{"fs.epoll.max_user_watches", "200272", "200272"},
		{"MemTotal", "1221818368", "1221818368"},
		{"net.netfilter.nf_conntrack_max", "240000", "120000"},
		{"net.ipv4.tcp_max_orphans", "200000", "100000"},
		{"net.ipv4.tcp_max_tw_buckets", "200000", "100000"},
		{"net.core.somaxconn", "4096", "4096"},
		{"net.ipv4.tcp_max_syn_backlog", "2000", "2000"},
	};
	struct tune_facts facts = make_stock_facts();
	struct tune_report tcp = check_relay(100000, "\"servers\": [" SERVER "]", &facts);
	struct tune_report local = check_relay(100000, "\"servers\": [\"unix:/app\"]", &facts);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(get_finding(&tcp, cases[i].key, "")->wanted, cases[i].tcp);
		assert_string_equal(get_finding(&local, cases[i].key, "")->wanted, cases[i].local);
	}
	tune_report_done(&tcp);
	tune_report_done(&local);
	json_decref(facts.values);
}

/* What the row says of the ports, with these listeners. */
static void
assert_ports(uint64_t connections, const char *const upstreams[], size_t n, const char *wanted,
	enum tune_status status)
{
	struct tune_facts facts = make_stock_facts();
	char text[2048];
	struct tune_report report =
		check_facts(relay_conf(text, connections, upstreams, n), &facts);
	const struct tune_finding *finding = get_finding(&report, RANGE, "ports");

	assert_string_equal(finding->now, "32768 60999 (28232 ports)");
	assert_string_equal(finding->wanted, wanted);
	assert_int_equal(finding->status, status);
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
ports_at_the_limit(void **state)
{
	const char *one = "\"servers\": [" SERVER "]";

	(void)state;
	assert_ports(28231, &one, 1, "28231", TUNE_OK);
	assert_ports(28232, &one, 1, "28232", TUNE_OK);
	assert_ports(28233, &one, 1, "28233", TUNE_SHORT);
}

static void
servers_and_source_addresses_share_the_ports(void **state)
{
	static const struct {
		const char *upstream, *wanted;
	} cases[] = {
		{"\"servers\": [" SERVER ", \"127.0.0.1:8081\"]", "50001"},
		{"\"servers\": [" SERVER ", \"unix:/run/app\"]", "50001"},
		{"\"servers\": [\"app.example:80\"]", "100001"},
		{"\"servers\": [" SERVER "], \"source_addresses\": [\"127.0.0.2\", \"127.0.0.3\", "
		 "\"127.0.0.4\"]",
			"33334"},
		{"\"servers\": [" SERVER ", \"127.0.0.1:8081\"], \"source_addresses\": "
		 "[\"127.0.0.2\", \"127.0.0.3\"]",
			"25001"},
		/* Addresses of the other kind are of no use to it. */
		{"\"servers\": [" SERVER "], \"source_addresses\": [\"127.0.0.2\", \"::1\"]",
			"100001"},
		{"\"servers\": [\"[::1]:80\"], \"source_addresses\": [\"127.0.0.2\", "
		 "\"127.0.0.3\"]",
			"100001"},
		{"\"servers\": [\"[::1]:80\"], \"source_addresses\": [\"::2\", \"::3\"]", "50001"},
		/* The server that has the fewest decides, and a name may be of either kind. */
		{"\"servers\": [" SERVER ", \"[::1]:80\"], \"source_addresses\": [\"::2\", "
		 "\"::3\"]",
			"50001"},
		{"\"servers\": [\"app.example:80\"], \"source_addresses\": [\"::2\", \"::3\", "
		 "\"127.0.0.2\"]",
			"100001"},
		{"\"servers\": [\"app.example:80\"], \"source_addresses\": [\"::2\", \"::3\"]",
			"50001"},
		{"\"servers\": [" SERVER "], \"max_connections\": 100", "100"},
		{"\"servers\": [" SERVER ", \"127.0.0.1:8081\"], \"max_connections\": 1000000",
			"50001"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_ports(100001, &cases[i].upstream, 1, cases[i].wanted,
			strtoul(cases[i].wanted, NULL, 10) > 28232 ? TUNE_SHORT : TUNE_OK);
}

static void
listeners_that_lead_to_one_server_share_its_ports(void **state)
{
	static const char *const same[] = {"\"servers\": [" SERVER "], \"max_connections\": 10000",
		"\"servers\": [" SERVER "], \"max_connections\": 20000"};
	static const char *const part[] = {"\"servers\": [" SERVER "], \"max_connections\": 10000",
		"\"servers\": [" SERVER ", \"[::1]:1\"], \"max_connections\": 500"};
	static const char *const apart[] = {"\"servers\": [" SERVER "], \"max_connections\": 10000",
		"\"servers\": [" SERVER
		"], \"max_connections\": 20000, \"source_addresses\": [\"127.0.0.2\"]"};
	static const char *const other[] = {"\"servers\": [" SERVER "], \"max_connections\": 10000",
		"\"servers\": [\"127.0.0.1:8081\"], \"max_connections\": 20000"};

	(void)state;
	assert_ports(100000, same, 2, "30000", TUNE_SHORT);
	assert_ports(100000, part, 2, "10500", TUNE_OK);
	assert_ports(100000, apart, 2, "20000", TUNE_OK);
	assert_ports(100000, other, 2, "20000", TUNE_OK);
	/* All together are never more than limits.connections. */
	assert_ports(25000, same, 2, "25000", TUNE_OK);
}

static void
without_tcp_servers_no_ports_are_needed(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_relay(100000, "\"servers\": [\"unix:/app\"]", &facts);

	(void)state;
	assert_null(find_finding(&report, RANGE, "ports"));
	assert_non_null(strstr(get_finding(&report, RANGE, "")->why, "millgate makes none"));
	tune_report_done(&report);
	report = check_relay(100000, "\"servers\": [" SERVER "]", &facts);
	assert_null(find_finding(&report, RANGE, ""));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
connections_to_servers_are_in_the_table_of_the_kernel_too(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_relay(100000, "\"servers\": [" SERVER "]", &facts);

	(void)state;
	assert_string_equal(
		get_finding(&report, "net.ipv4.tcp_ehash_entries", "")->wanted, "100000");
	tune_report_done(&report);
	report = check_relay(100000, "\"servers\": [\"unix:/app\"]", &facts);
	assert_null(find_finding(&report, "net.ipv4.tcp_ehash_entries", ""));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
the_arithmetic_of_the_ports_is_shown(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_relay(100000,
		"\"servers\": [" SERVER
		", \"unix:/app\"], \"source_addresses\": [\"127.0.0.2\", \"127.0.0.3\"]",
		&facts);

	(void)state;
	assert_non_null(strstr(get_finding(&report, RANGE, "ports")->why,
		"(ports = (port_clients + port_servers * port_sources - 1) / (port_servers * "
		"port_sources) = (100000 + 2 * 2 - 1) / (2 * 2) = 25000)."));
	assert_non_null(
		strstr(get_finding(&report, "LimitNOFILE", "")->why, "max(100000 + 32, 454)"));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
the_range_is_widened_upward_first(void **state)
{
	static const struct {
		unsigned connections;
		const char *range; /* NULL: nothing is set */
	} cases[] = {
		{28231, NULL},
		{28232, "32768 60999"}, /* just enough: probably we said so */
		{28233, "32768 61000"},
		{32768, "32768 65535"},
		{32769, "32767 65535"},
		{55296, "10240 65535"},
		{55297, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tune_facts facts = make_stock_facts();
		struct tune_report report =
			check_relay(cases[i].connections, "\"servers\": [" SERVER "]", &facts);
		const struct tune_finding *finding = get_finding(&report, RANGE, "ports");

		if (cases[i].range)
			assert_string_equal(get_setting(&report, RANGE)->value, cases[i].range);
		else
			assert_null(find_setting(&report, RANGE));
		if (finding->status == TUNE_SHORT)
			assert_non_null(strstr(finding->how, "more upstream.source_addresses"));
		tune_report_done(&report);
		json_decref(facts.values);
	}
}

static void
reserved_ports_and_those_of_listeners_do_not_count(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, TUNE_RESERVED_PORTS_KEY, "80,40000-40009,50000,70000");
	report = check_facts(
		"{ \"limits\": { \"connections\": 28232 }, \"listeners\": { \"r\": { \"address\": "
		"\"127.0.0.1:61001\", \"service\": \"relay\", \"upstream\": { \"servers\": [" SERVER
		"] } }, \"s\": { \"address\": \"127.0.0.1:32768\" } } }",
		&facts);
	assert_string_equal(get_finding(&report, RANGE, "ports")->now, "32768 60999 (28220 ports)");
	/* 12 more, and past the port of a listener, which is to be reserved then. */
	assert_string_equal(get_setting(&report, RANGE)->value, "32768 61012");
	assert_string_equal(get_setting(&report, TUNE_RESERVED_PORTS_KEY)->value,
		"80,40000-40009,50000,70000,61001,32768");
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
ports_that_cannot_be_read_are_unknown(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, RANGE, NULL);
	report = check_relay(100000, "\"servers\": [" SERVER "]", &facts);
	assert_int_equal(get_finding(&report, RANGE, "ports")->status, TUNE_UNKNOWN);
	tune_report_done(&report);
	set_fact(&facts, RANGE, "32768 60999");
	set_fact(&facts, TUNE_RESERVED_PORTS_KEY, NULL);
	report = check_relay(100000, "\"servers\": [" SERVER "]", &facts);
	assert_string_equal(get_finding(&report, RANGE, "ports")->now, "32768 60999 (28232 ports)");
	tune_report_done(&report);
	json_decref(facts.values);
}

/* A million connections is not too much for the sentences. */
static void
no_sentence_is_cut(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_relay(16000000, "\"servers\": [" SERVER "]", &facts);

	(void)state;
	for (size_t i = 0; i < report.n_findings; i++)
		assert_int_equal(report.findings[i].why[strlen(report.findings[i].why) - 1], '.');
	tune_report_done(&report);
	json_decref(facts.values);
}

/* Half of them are relayed in the second case, as far as limits tell. */
static void
capacity_and_table_agree(void **state)
{
	static const char *const upstreams[] = {
		"\"servers\": [" SERVER "]", "\"servers\": [" SERVER "], \"max_connections\": 500"};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (unsigned connections = 999; connections <= 1003; connections++) {
			struct tune_facts facts = make_stock_facts();
			char text[2048];
			struct conf *conf =
				make_conf(relay_conf(text, connections, &upstreams[i], 1));
			struct tune_report report;
			uint64_t wanted;

			assert_int_equal(tune_check_row(TUNE_ROW_NOFILE, conf, &facts, &report), 0);
			wanted = strtoull(report.findings[0].wanted, NULL, 10);
			assert_true(tune_client_capacity(conf, 2, tune_worker_capacity(wanted)) >=
				    connections);
			assert_true(tune_client_capacity(conf, 2,
					    tune_worker_capacity(wanted - 1)) < connections);
			assert_int_equal(tune_client_capacity(conf, 0, 1000), 0);
			tune_report_done(&report);
			conf_free(conf);
			json_decref(facts.values);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_relayed_client_counts_twice),
		cmocka_unit_test(ports_at_the_limit),
		cmocka_unit_test(servers_and_source_addresses_share_the_ports),
		cmocka_unit_test(listeners_that_lead_to_one_server_share_its_ports),
		cmocka_unit_test(without_tcp_servers_no_ports_are_needed),
		cmocka_unit_test(connections_to_servers_are_in_the_table_of_the_kernel_too),
		cmocka_unit_test(the_arithmetic_of_the_ports_is_shown),
		cmocka_unit_test(the_range_is_widened_upward_first),
		cmocka_unit_test(reserved_ports_and_those_of_listeners_do_not_count),
		cmocka_unit_test(ports_that_cannot_be_read_are_unknown),
		cmocka_unit_test(no_sentence_is_cut),
		cmocka_unit_test(capacity_and_table_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
