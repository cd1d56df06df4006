/* tune: what is said of listeners. */
#include "fixture_tune.h"

static void
unix_listeners_need_nothing_of_tcp(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_facts(
		"{ \"listeners\": { \"a\": { \"address\": \"unix:/x\", \"keepalive\": 0 } } }",
		&facts);

	(void)state;
	for (size_t i = 0; i < report.n_findings; i++) {
		assert_null(strstr(report.findings[i].key, "tcp"));
		assert_null(strstr(report.findings[i].key, "conntrack"));
		assert_null(strstr(report.findings[i].key, "keepalive"));
	}
	assert_non_null(find_finding(&report, "net.core.somaxconn", ""));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
listeners_own_limits_count_for_tcp(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_facts("{ " MILLION ", \"listeners\": {"
						"\"a\": { \"limits\": { \"connections\": 1000 } },"
						"\"b\": { \"limits\": { \"connections\": 2000 } },"
						"\"c\": { \"address\": \"unix:/x\" } } }",
		&facts);

	(void)state;
	assert_string_equal(get_finding(&report, "net.ipv4.tcp_max_orphans", "")->wanted, "3000");
	assert_string_equal(get_finding(&report, "fs.file-max", "")->wanted, "1058192");
	assert_string_equal(get_finding(&report, "listeners.a.backlog", "")->wanted, "20");
	assert_string_equal(get_finding(&report, "listeners.c.backlog", "")->wanted, "20000");
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
a_port_among_the_local_ones_is_told_of(void **state)
{
	static const struct {
		const char *reserved, *address, *setting;
	} cases[] = {
		{"", "127.0.0.1:32767", NULL},
		{"", "127.0.0.1:32768", "32768"},
		{"", "[::]:60999", "60999"},
		{"", "127.0.0.1:61000", NULL},
		{"80,443", "127.0.0.1:40000", "80,443,40000"},
		{"80,39999-40001", "127.0.0.1:40000", NULL},
		{"80,40001-40002", "127.0.0.1:40000", "80,40001-40002,40000"},
		{"40000", "127.0.0.1:40000", NULL},
		{"", "unix:/tmp:40000", NULL},
		{"", "", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tune_facts facts = make_stock_facts();
		struct tune_report report;
		const struct tune_setting *setting;
		char text[256];

		snprintf(text, sizeof(text),
			"{ \"listeners\": { \"a\": { \"address\": \"%s\" } } }", cases[i].address);
		set_fact(&facts, TUNE_RESERVED_PORTS_KEY, cases[i].reserved);
		report = check_facts(text, &facts);
		setting = find_setting(&report, TUNE_RESERVED_PORTS_KEY);
		assert_int_equal(tune_report_count_bad(&report), cases[i].setting != NULL);
		if (cases[i].setting)
			assert_string_equal(setting->value, cases[i].setting);
		else
			assert_null(setting);
		tune_report_done(&report);
		json_decref(facts.values);
	}
}

static void
several_ports_are_reserved_together(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report =
		check_facts("{ \"listeners\": { \"a\": { \"address\": \"127.0.0.1:40000\" },"
			    "\"b\": { \"address\": \"[::1]:40000\" },"
			    "\"c\": { \"address\": \"127.0.0.1:40001\" } } }",
			&facts);

	(void)state;
	assert_int_equal(tune_report_count_bad(&report), 2);
	assert_string_equal(get_setting(&report, TUNE_RESERVED_PORTS_KEY)->value, "40000,40001");
	tune_report_done(&report);
	json_decref(facts.values);
}

/* Half of it would give ports free. */
static void
a_long_list_of_reserved_ports_is_left_alone(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;
	char list[1000] = "1";

	(void)state;
	for (int i = 2; i < 200; i++)
		sprintf(list + strlen(list), ",%d", 2 * i);
	set_fact(&facts, TUNE_RESERVED_PORTS_KEY, list);
	report = check_facts(
		"{ \"listeners\": { \"a\": { \"address\": \"127.0.0.1:40000\" } } }", &facts);
	assert_int_equal(tune_report_count_bad(&report), 1);
	assert_null(find_setting(&report, TUNE_RESERVED_PORTS_KEY));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
a_listener_that_never_notices_is_told_of(void **state)
{
	static const struct {
		const char *options;
		bool told;
	} cases[] = {
		{"\"keepalive\": 0", true},
		{"\"keepalive\": 1", false},
		{"\"keepalive\": 0, \"limits\": { \"idle_timeout\": 1 }", false},
		{"\"keepalive\": 0, \"limits\": { \"lifetime\": 1 }", false},
		{"\"keepalive\": 0, \"heartbeat\": { \"interval\": 1, \"payload\": \"x\" }", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tune_facts facts = make_stock_facts();
		struct tune_report report;
		char text[256];

		snprintf(text, sizeof(text), "{ \"listeners\": { \"a\": { %s } } }",
			cases[i].options);
		report = check_facts(text, &facts);
		assert_int_equal(
			find_finding(&report, "listeners.a.keepalive", "") != NULL, cases[i].told);
		tune_report_done(&report);
		json_decref(facts.values);
	}
}

static void
a_backlog_at_its_limit(void **state)
{
	static const struct {
		unsigned backlog;
		enum tune_status status;
	} cases[] = {{19999, TUNE_SHORT}, {20000, TUNE_OK}, {20001, TUNE_OK}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tune_facts facts = make_stock_facts();
		struct tune_report report;
		char text[256];

		snprintf(text, sizeof(text),
			"{ " MILLION ", \"listeners\": { \"a\": { \"backlog\": %u } } }",
			cases[i].backlog);
		report = check_facts(text, &facts);
		assert_int_equal(
			get_finding(&report, "listeners.a.backlog", "")->status, cases[i].status);
		tune_report_done(&report);
		json_decref(facts.values);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unix_listeners_need_nothing_of_tcp),
		cmocka_unit_test(listeners_own_limits_count_for_tcp),
		cmocka_unit_test(a_port_among_the_local_ones_is_told_of),
		cmocka_unit_test(several_ports_are_reserved_together),
		cmocka_unit_test(a_long_list_of_reserved_ports_is_left_alone),
		cmocka_unit_test(a_listener_that_never_notices_is_told_of),
		cmocka_unit_test(a_backlog_at_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
