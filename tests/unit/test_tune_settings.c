/* tune: the settings that would mend what is found, and sysctl.want. */
#include "fixture_tune.h"

static const char MILLION_CONF[] = "{ \"workers\": 2, " ONE_LISTENER ", " MILLION " }";

static void
no_setting_can_add_memory(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "MemTotal", "1073741824");
	report = check_facts(MILLION_CONF, &facts);
	assert_int_equal(get_finding(&report, "MemTotal", "")->status, TUNE_SHORT);
	assert_non_null(strstr(get_finding(&report, "MemTotal", "")->how, "add memory"));
	assert_null(find_setting(&report, "MemTotal"));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
a_setting_keeps_the_other_numbers(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_facts(MILLION_CONF, &facts);
	const struct tune_setting *setting = get_setting(&report, "net.ipv4.tcp_wmem");

	(void)state;
	assert_string_equal(setting->value, "4096 16384 1572323");
	assert_true(setting->needed);
	assert_string_equal(get_finding(&report, "net.ipv4.tcp_wmem", "max")->how,
		"sysctl -w 'net.ipv4.tcp_wmem=4096 16384 1572323'");
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
a_setting_does_justice_to_all_rows_of_its_key(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "net.ipv4.tcp_mem", "100 200 300");
	report = check_facts(MILLION_CONF, &facts);
	/* 98304 would do for the queues, but 25276510208 / 4096 / 64 is larger yet. */
	assert_string_equal(get_setting(&report, "net.ipv4.tcp_mem")->value, "100 65536 98304");
	set_fact(&facts, "net.ipv4.tcp_mem", "100 70000 300");
	tune_report_done(&report);
	report = check_facts(
		"{ " ONE_LISTENER ", \"limits\": { \"queued_bytes\": \"1MiB\" } }", &facts);
	assert_string_equal(get_setting(&report, "net.ipv4.tcp_mem")->value, "100 70000 96422");
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
the_numbers_of_a_setting_ascend(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "net.ipv4.tcp_wmem", "4096 999999 9999999");
	set_fact(&facts, "net.ipv4.tcp_mem", "1 2 575802");
	report = check_facts("{ " ONE_LISTENER ", " MILLION " }", &facts);
	/* Two pages of pressure leave 256 KiB for each, below the second number. */
	assert_string_equal(get_setting(&report, "net.ipv4.tcp_wmem")->value, "4096 262144 262144");
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
just_what_is_wanted_stays_in_the_file(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "net.core.somaxconn", "20000");
	report = check_facts(MILLION_CONF, &facts);
	assert_non_null(find_setting(&report, "net.core.somaxconn"));
	assert_false(get_setting(&report, "net.core.somaxconn")->needed);
	tune_report_done(&report);
	set_fact(&facts, "net.core.somaxconn", "20001");
	report = check_facts(MILLION_CONF, &facts);
	assert_null(find_setting(&report, "net.core.somaxconn"));
	tune_report_done(&report);
	json_decref(facts.values);
}

/* What the settings say is what tune is content with. */
static void
the_settings_mend_what_they_are_for(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "LimitNOFILE", "1024");
	set_fact(&facts, "fs.nr_open", "1024");
	set_fact(&facts, "fs.file-max", "1024");
	set_fact(&facts, "net.ipv4.tcp_mem", "1 2 3");
	set_fact(&facts, "net.ipv4.tcp_wmem", "1048576 8388608 8388608");
	set_fact(&facts, "net.ipv4.tcp_tw_recycle", "1");
	set_fact(&facts, "net.ipv4.tcp_ehash_entries", "524288"); /* no setting mends it */
	for (int round = 0; round < 2; round++) { /* the ceilings follow from the marks */
		report = check_facts(
			"{ \"workers\": 2, \"listeners\": { \"a\": {"
			"\"address\": \"127.0.0.1:40000\", \"backlog\": 65535 } }," MILLION " }",
			&facts);
		for (size_t i = 0; i < report.n_settings; i++)
			set_fact(&facts, report.settings[i].key, report.settings[i].value);
		tune_report_done(&report);
	}
	report = check_facts("{ \"workers\": 2, \"listeners\": { \"a\": {"
			     "\"address\": \"127.0.0.1:40000\", \"backlog\": 65535 } }," MILLION
			     " }",
		&facts);
	if (tune_report_count_bad(&report) > 0)
		fail_msg("%s is still %s", report.findings[0].key, report.findings[0].now);
	tune_report_done(&report);
	json_decref(facts.values);
}

/* The status of what sysctl.want says, and the setting that it gives. */
static void
assert_want(const char *want, const char *key, const char *now, enum tune_status status,
	const char *setting)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;
	char text[512];
	size_t n = 0;

	snprintf(text, sizeof(text),
		"{ " ONE_LISTENER ", \"sysctl\": { \"want\": { \"%s\": %s } } }", key, want);
	set_fact(&facts, key, now);
	report = check_facts(text, &facts);
	for (size_t i = 0; i < report.n_findings; i++) {
		if (!report.findings[i].is_want)
			continue;
		assert_string_equal(report.findings[i].key, key);
		assert_int_equal(report.findings[i].status, status);
		n++;
	}
	assert_int_equal(n, 1);
	if (setting)
		assert_string_equal(get_setting(&report, key)->value, setting);
	else
		assert_null(find_setting(&report, key));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
a_want_must_be_reached(void **state)
{
	(void)state;
	assert_want("50", "net.own.limit", "49", TUNE_SHORT, "50");
	assert_want("50", "net.own.limit", "50", TUNE_OK, "50");
	assert_want("50", "net.own.limit", "51", TUNE_OK, NULL);
	assert_want("50", "net.own.limit", NULL, TUNE_UNKNOWN, NULL);
	assert_want("50", "net.own.limit", "cubic", TUNE_UNKNOWN, NULL);
}

static void
a_want_of_nothing_means_off(void **state)
{
	(void)state;
	assert_want("0", "net.own.switch", "1", TUNE_SHORT, "0");
	assert_want("0", "net.own.switch", "0", TUNE_OK, "0");
}

static void
a_want_goes_by_the_table(void **state)
{
	(void)state;
	assert_want("30", "net.ipv4.tcp_fin_timeout", "31", TUNE_SHORT, "30");
	assert_want("30", "net.ipv4.tcp_fin_timeout", "30", TUNE_OK, "30");
	assert_want("30", "net.ipv4.tcp_fin_timeout", "29", TUNE_OK, NULL);
	assert_want("2", "net.ipv4.tcp_tw_recycle", "1", TUNE_SHORT, "2");
}

static void
a_want_of_several_numbers(void **state)
{
	(void)state;
	assert_want("\"1 2 3\"", "net.own.triple", "1 2 3", TUNE_OK, "1 2 3");
	assert_want("\"1 2 3\"", "net.own.triple", "9 1 9", TUNE_SHORT, "9 2 9");
	assert_want("\"1 2 3\"", "net.own.triple", "9 9 9", TUNE_OK, NULL);
	assert_want("\"1 2 3\"", "net.own.triple", "9 9", TUNE_SHORT, NULL);
	assert_want("\"1 2\"", "net.own.triple", "0 2 3", TUNE_SHORT, "1 2 3");
}

static void
the_larger_of_want_and_table_is_set(void **state)
{
	(void)state;
	assert_want("9000", "net.core.somaxconn", "100", TUNE_SHORT, "9000");
	assert_want("200", "net.core.somaxconn", "100", TUNE_SHORT, "4096");
}

/* The ceilings of the table are a matter of judgement. */
static void
a_want_goes_before_a_ceiling(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report =
		check_facts("{ " ONE_LISTENER ", " MILLION ", \"sysctl\": { \"want\": {"
			    "\"net.ipv4.tcp_rmem\": \"4096 87380 6291456\" } } }",
			&facts);

	(void)state;
	assert_null(find_finding(&report, "net.ipv4.tcp_rmem", "max"));
	assert_int_equal(get_finding(&report, "net.ipv4.tcp_rmem", "")->status, TUNE_OK);
	assert_non_null(find_finding(&report, "net.ipv4.tcp_wmem", "max"));
	tune_report_done(&report);
	json_decref(facts.values);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_setting_can_add_memory),
		cmocka_unit_test(a_setting_keeps_the_other_numbers),
		cmocka_unit_test(a_setting_does_justice_to_all_rows_of_its_key),
		cmocka_unit_test(the_numbers_of_a_setting_ascend),
		cmocka_unit_test(just_what_is_wanted_stays_in_the_file),
		cmocka_unit_test(the_settings_mend_what_they_are_for),
		cmocka_unit_test(a_want_must_be_reached),
		cmocka_unit_test(a_want_of_nothing_means_off),
		cmocka_unit_test(a_want_goes_by_the_table),
		cmocka_unit_test(a_want_of_several_numbers),
		cmocka_unit_test(the_larger_of_want_and_table_is_set),
		cmocka_unit_test(a_want_goes_before_a_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
