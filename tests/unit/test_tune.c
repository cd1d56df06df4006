/* tune: what is found on which machine. */
#include "fixture_tune.h"

static const char ONE[] = "{ " ONE_LISTENER " }";
static const char MILLION_CONF[] = "{ \"workers\": 2, " ONE_LISTENER ", " MILLION " }";

/* The findings with this status, one "KEY " or "KEY(PART) " after the other. */
static void
list_findings(const struct tune_report *report, enum tune_status status, char list[static 4096])
{
	*list = '\0';
	for (size_t i = 0; i < report->n_findings; i++) {
		const struct tune_finding *finding = &report->findings[i];

		if (finding->status != status)
			continue;
		strcat(list, finding->key);
		if (*finding->part != '\0')
			sprintf(list + strlen(list), "(%s)", finding->part);
		strcat(list, " ");
	}
}

static void
assert_findings(const char *conf_text, const struct tune_facts *facts, enum tune_status status,
	const char *expected)
{
	struct tune_report report = check_facts(conf_text, facts);
	char list[4096];

	list_findings(&report, status, list);
	assert_string_equal(list, expected);
	tune_report_done(&report);
}

static void
a_million_on_a_stock_kernel_finds_every_limit(void **state)
{
	struct tune_facts facts = make_stock_facts();

	(void)state;
	assert_findings(MILLION_CONF, &facts, TUNE_SHORT,
		"net.netfilter.nf_conntrack_max net.core.somaxconn net.ipv4.tcp_max_syn_backlog "
		"net.core.netdev_max_backlog net.ipv4.tcp_ehash_entries net.ipv4.tcp_wmem(max) "
		"net.ipv4.tcp_max_orphans net.ipv4.tcp_max_tw_buckets listeners.a.backlog ");
	assert_findings(MILLION_CONF, &facts, TUNE_HARMFUL, "");
	assert_findings(MILLION_CONF, &facts, TUNE_UNKNOWN, "");
	json_decref(facts.values);
}

static void
a_million_in_one_worker_is_short_of_descriptors(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report =
		check_facts("{ \"workers\": 1, " ONE_LISTENER ", " MILLION " }", &facts);

	(void)state;
	assert_string_equal(report.findings[0].key, "LimitNOFILE");
	assert_int_equal(report.findings[0].status, TUNE_SHORT);
	assert_string_equal(report.findings[0].wanted, "1000032");
	assert_int_equal(get_finding(&report, "fs.nr_open", "")->status, TUNE_OK);
	tune_report_done(&report);
	json_decref(facts.values);
}

/* Where the hard limit of descriptors is 20,000, as on the machine of the benchmark. */
static void
a_million_in_60_workers_fits_in_20000_descriptors(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "LimitNOFILE", "20000");
	report = check_facts("{ \"workers\": 60, " ONE_LISTENER ", " MILLION " }", &facts);
	assert_int_equal(get_finding(&report, "LimitNOFILE", "")->status, TUNE_OK);
	assert_string_equal(get_finding(&report, "LimitNOFILE", "")->wanted, "16699");
	tune_report_done(&report);
	json_decref(facts.values);
}

/* Linux before 6.1 does not show it. Below a tenth of a million nobody notices. */
static void
the_hash_table_is_told_of_where_it_matters(void **state)
{
	static const char MORE[] = "{ " ONE_LISTENER ", \"limits\": { \"connections\": 100001 } }";
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "net.ipv4.tcp_ehash_entries", "1024");
	report = check_facts(MORE, &facts);
	assert_int_equal(
		get_finding(&report, "net.ipv4.tcp_ehash_entries", "")->status, TUNE_SHORT);
	assert_null(find_setting(&report, "net.ipv4.tcp_ehash_entries"));
	tune_report_done(&report);
	assert_findings(ONE, &facts, TUNE_SHORT, "");
	set_fact(&facts, "net.ipv4.tcp_ehash_entries", NULL);
	assert_findings(MORE, &facts, TUNE_UNKNOWN, "");
	json_decref(facts.values);
}

static void
the_default_limits_fit_a_stock_kernel(void **state)
{
	struct tune_facts facts = make_stock_facts();

	(void)state;
	assert_findings(ONE, &facts, TUNE_SHORT, "");
	assert_findings(ONE, &facts, TUNE_HARMFUL, "");
	json_decref(facts.values);
}

/* What each row wants for a million connections in two workers on the stock machine. */
static void
what_a_million_wants(void **state)
{
	static const struct {
		const char *key, *part, *wanted;
	} wants[] = {
		{"LimitNOFILE", "", "500032"},
		{"fs.nr_open", "", "500032"},
		{"fs.file-max", "", "1058192"},
		{"fs.epoll.max_user_watches", "", "1000272"},
		{"MemTotal", "", "4985018368"},
		{"MemoryMax", "", "4985018368"},
		{"net.netfilter.nf_conntrack_max", "", "1200000"},
		{"net.core.somaxconn", "", "20000"},
		{"net.ipv4.tcp_max_syn_backlog", "", "20000"},
		{"net.core.netdev_max_backlog", "", "3000"},
		{"net.ipv4.tcp_ehash_entries", "", "500000"},
		{"net.ipv4.tcp_mem", "pressure", "65536"},
		{"net.ipv4.tcp_mem", "max", "98304"},
		{"net.ipv4.tcp_wmem", "max", "1572323"},
		{"net.ipv4.tcp_rmem", "max", "15723230"},
		{"net.core.wmem_max", "", "212992"},
		{"net.core.rmem_max", "", "212992"},
		{"net.ipv4.tcp_max_orphans", "", "1000000"},
		{"net.ipv4.tcp_max_tw_buckets", "", "1000000"},
		{"net.ipv4.tcp_fin_timeout", "", "60"},
		{"net.ipv4.tcp_keepalive_time", "", ""},
		{"net.ipv4.tcp_keepalive_intvl", "", ""},
		{"net.ipv4.tcp_keepalive_probes", "", ""},
		{"net.ipv4.ip_local_port_range", "", ""},
		{"listeners.a.backlog", "", "20000"},
	};
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_facts(MILLION_CONF, &facts);

	(void)state;
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		const struct tune_finding *finding =
			find_finding(&report, wants[i].key, wants[i].part);

		if (!finding)
			fail_msg("nothing is said of %s", wants[i].key);
		assert_string_equal(finding->wanted, wants[i].wanted);
	}
	assert_int_equal(report.n_findings, sizeof(wants) / sizeof(wants[0]));
	tune_report_done(&report);
	json_decref(facts.values);
}

/* Those that concern a restart are told of where they are known to apply. */
static void
what_a_restart_wants(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_facts(MILLION_CONF, &facts);

	(void)state;
	assert_null(find_finding(&report, "LimitNOFILE", "in flight"));
	assert_null(find_finding(&report, "FileDescriptorStoreMax", ""));
	tune_report_done(&report);
	facts.in_flight_limited = true;
	set_fact(&facts, "FileDescriptorStoreMax", "21");
	report = check_facts(MILLION_CONF, &facts);
	assert_string_equal(get_finding(&report, "LimitNOFILE", "in flight")->wanted, "1000000");
	assert_int_equal(get_finding(&report, "LimitNOFILE", "in flight")->status, TUNE_SHORT);
	assert_string_equal(get_finding(&report, "fs.nr_open", "")->wanted, "1000000");
	assert_string_equal(get_finding(&report, "FileDescriptorStoreMax", "")->wanted, "22");
	assert_int_equal(get_finding(&report, "FileDescriptorStoreMax", "")->status, TUNE_SHORT);
	tune_report_done(&report);
	json_decref(facts.values);
}

/* The status of a row when its number is this; TUNE_OK also if it is not told of. */
static enum tune_status
row_status(enum tune_row row, const struct conf *conf, struct tune_facts *facts, uint64_t number,
	uint64_t *ret_wanted)
{
	const struct tune_row_info *info = tune_row_info(row);
	enum tune_status status = TUNE_OK;
	struct tune_report report;

	set_fact_number(facts, info->key, info->index, number);
	assert_int_equal(tune_check_row(row, conf, facts, &report), 0);
	assert_in_range(report.n_findings, 0, 1);
	if (report.n_findings > 0) {
		status = report.findings[0].status;
		if (ret_wanted)
			*ret_wanted = strtoull(report.findings[0].wanted, NULL, 10);
	}
	tune_report_done(&report);
	return status;
}

static void
check_row_at_its_limit(enum tune_row row)
{
	const struct tune_row_info *info = tune_row_info(row);
	struct tune_facts facts = make_stock_facts();
	struct conf *conf = make_conf(MILLION_CONF);
	uint64_t wanted = 0, bad = info->rule == TUNE_AT_LEAST ? 0 : UINT64_C(1) << 50;
	bool below = info->rule != TUNE_AT_MOST, above = info->rule != TUNE_AT_LEAST;

	facts.in_flight_limited = true;
	assert_int_equal(row_status(row, conf, &facts, bad, &wanted), info->verdict);
	if (wanted > 0)
		assert_int_equal(row_status(row, conf, &facts, wanted - 1, NULL),
			below ? info->verdict : TUNE_OK);
	assert_int_equal(row_status(row, conf, &facts, wanted, NULL), TUNE_OK);
	assert_int_equal(
		row_status(row, conf, &facts, wanted + 1, NULL), above ? info->verdict : TUNE_OK);
	conf_free(conf);
	json_decref(facts.values);
}

static void
every_row_at_its_limit(void **state)
{
	(void)state;
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++)
		if (tune_row_info(row)->rule != TUNE_UNUSED &&
			tune_row_info(row)->index != TUNE_PORTS) /* see test_tune_relay.c */
			check_row_at_its_limit(row);
}

static void
every_row_says_why(void **state)
{
	(void)state;
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++) {
		const struct tune_row_info *info = tune_row_info(row);
		size_t length = strlen(info->why);

		assert_true(length > 10 && info->why[length - 1] != '.');
		assert_null(strstr(info->why, "  "));
		assert_true((info->where != TUNE_SYSCTL && info->where != TUNE_BOOT) ||
			    sysctl_is_key(info->key));
	}
}

static void
no_sentence_is_cut(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_facts("{ \"workers\": 256, " ONE_LISTENER
						", \"limits\": { \"connections\": 16000000,"
						"\"queued_bytes\": \"1TiB\" } }",
		&facts);

	(void)state;
	for (size_t i = 0; i < report.n_findings; i++)
		assert_int_equal(report.findings[i].why[strlen(report.findings[i].why) - 1], '.');
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
assert_why(const struct tune_report *report, const char *key, const char *part)
{
	const char *why = get_finding(report, key, "")->why;

	if (!strstr(why, part))
		fail_msg("%s: %s", key, why);
}

static void
the_arithmetic_is_shown(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report = check_facts(MILLION_CONF, &facts);

	(void)state;
	assert_why(&report, "fs.file-max",
		"(sockets + sockets / 20 + 8192 = 1000000 + 1000000 / 20 + 8192 = 1058192).");
	assert_why(&report, "net.ipv4.tcp_max_orphans",
		"(tcp_sockets = tcp_connections + tcp_relayed = 1000000 + 0 = 1000000).");
	assert_why(&report, "fs.nr_open",
		"(max(process_fds, in_flight_limited * sockets) = max(500032, 0 * 1000000) = 500032).");
	assert_null(strchr(get_finding(&report, "net.core.rmem_max", "")->why, '('));
	assert_null(strchr(get_finding(&report, "net.ipv4.ip_local_port_range", "")->why, '('));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
the_worst_comes_first(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "net.ipv4.tcp_sack", "0");
	set_fact(&facts, "net.core.netdev_max_backlog", NULL);
	report = check_facts(MILLION_CONF, &facts);
	assert_int_equal(report.findings[0].status, TUNE_HARMFUL);
	for (size_t i = 1; i < report.n_findings; i++)
		assert_true(report.findings[i - 1].status <= report.findings[i].status);
	assert_int_equal(tune_report_count_bad(&report), 9);
	assert_int_equal(report.findings[8].status, TUNE_SHORT);
	assert_string_equal(report.findings[9].key, "net.core.netdev_max_backlog");
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
old_advice_that_harms_is_found(void **state)
{
	static const struct {
		const char *key, *value;
	} cases[] = {
		{"net.ipv4.tcp_tw_recycle", "1"},
		{"net.ipv4.tcp_timestamps", "0"},
		{"net.ipv4.tcp_sack", "0"},
		{"net.ipv4.tcp_window_scaling", "0"},
		{"net.ipv4.tcp_syncookies", "0"},
		{"net.ipv4.tcp_syncookies", "2"},
		{"net.ipv4.tcp_abort_on_overflow", "1"},
		{"net.ipv4.tcp_moderate_rcvbuf", "0"},
		{"net.ipv4.tcp_mem", "8388608 8388608 8388608"},
		{"net.ipv4.tcp_mem", "4096 8192 16384"},
		{"net.ipv4.tcp_rmem", "1048576 1048577 8388608"},
		{"net.ipv4.tcp_wmem", "4096 8388608 8388608"},
		{"net.ipv4.tcp_rmem", "4096 4096 4096"},
		{"net.ipv4.tcp_wmem", "4096 4096 4096"},
		{"vm.overcommit_memory", "2"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tune_facts facts = make_stock_facts();
		struct tune_report report;

		set_fact(&facts, cases[i].key, cases[i].value);
		report = check_facts(ONE, &facts);
		assert_string_equal(report.findings[0].key, cases[i].key);
		assert_int_equal(report.findings[0].status, TUNE_HARMFUL);
		assert_non_null(strstr(report.findings[0].how, "take it out of the file"));
		tune_report_done(&report);
		json_decref(facts.values);
	}
}

static void
what_does_no_harm_is_not_told_of(void **state)
{
	static const struct {
		const char *key, *value;
	} cases[] = {
		{"net.ipv4.tcp_tw_recycle", "0"},
		{"net.ipv4.tcp_tw_reuse", "1"},
		{"net.ipv4.tcp_timestamps", "2"},
		{"net.ipv4.tcp_sack", NULL},
		{"vm.overcommit_memory", "1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tune_facts facts = make_stock_facts();
		struct tune_report report;

		set_fact(&facts, cases[i].key, cases[i].value);
		report = check_facts(ONE, &facts);
		assert_null(find_finding(&report, cases[i].key, ""));
		tune_report_done(&report);
		json_decref(facts.values);
	}
}

static void
without_connection_tracking_nothing_is_said_of_it(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "net.netfilter.nf_conntrack_max", NULL);
	report = check_facts(MILLION_CONF, &facts);
	assert_null(find_finding(&report, "net.netfilter.nf_conntrack_max", ""));
	tune_report_done(&report);
	json_decref(facts.values);
}

/* In a network namespace of its own the kernel hides most of TCP's memory. */
static void
what_cannot_be_read_is_unknown(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;
	const struct tune_finding *finding;

	(void)state;
	set_fact(&facts, "net.ipv4.tcp_mem", NULL);
	set_fact(&facts, "net.core.somaxconn", "many");
	set_fact(&facts, "net.ipv4.tcp_max_orphans", "-1");
	report = check_facts(MILLION_CONF, &facts);
	finding = get_finding(&report, "net.ipv4.tcp_mem", "pressure");
	assert_int_equal(finding->status, TUNE_UNKNOWN);
	assert_string_equal(finding->now, "");
	assert_string_equal(finding->wanted, "65536");
	assert_non_null(strstr(finding->how, "cannot be read"));
	assert_int_equal(get_finding(&report, "net.core.somaxconn", "")->status, TUNE_UNKNOWN);
	assert_int_equal(
		get_finding(&report, "net.ipv4.tcp_max_orphans", "")->status, TUNE_UNKNOWN);
	/* Nothing can be said of the ceilings then. */
	assert_null(find_finding(&report, "net.ipv4.tcp_rmem", "max"));
	assert_null(find_setting(&report, "net.core.somaxconn"));
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
a_machine_of_which_nothing_is_known(void **state)
{
	struct tune_facts facts = {.values = json_object(), .page_bytes = 4096, .cpus = 1};
	struct tune_report report = check_facts(MILLION_CONF, &facts);

	(void)state;
	assert_int_equal(tune_report_count_bad(&report), 1);
	assert_string_equal(report.findings[0].key, "listeners.a.backlog");
	assert_int_equal(report.n_settings, 0);
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
the_memory_limit_of_the_control_group(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;

	(void)state;
	set_fact(&facts, "MemoryMax", "4985018367");
	report = check_facts(MILLION_CONF, &facts);
	assert_int_equal(get_finding(&report, "MemoryMax", "")->status, TUNE_SHORT);
	assert_string_equal(get_setting(&report, "MemoryMax")->value, "4985018368");
	assert_int_equal(get_setting(&report, "MemoryMax")->where, TUNE_UNIT);
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
the_workers_are_as_many_as_cpus_or_as_configured(void **state)
{
	struct conf *automatic = make_conf(ONE), *three;

	(void)state;
	three = make_conf("{ \"workers\": 3, " ONE_LISTENER " }");
	assert_int_equal(tune_worker_count(automatic, 1), 1);
	assert_int_equal(tune_worker_count(automatic, 256), 256);
	assert_int_equal(tune_worker_count(automatic, 257), 256);
	assert_int_equal(tune_worker_count(three, 8), 3);
	conf_free(automatic);
	conf_free(three);
}

static void
what_a_worker_can_hold(void **state)
{
	(void)state;
	assert_int_equal(tune_worker_capacity(0), 1);
	assert_int_equal(tune_worker_capacity(32), 1);
	assert_int_equal(tune_worker_capacity(33), 1);
	assert_int_equal(tune_worker_capacity(34), 2);
	assert_int_equal(tune_worker_capacity(20000), 19968);
	assert_int_equal(tune_worker_capacity(UINT64_MAX), (1 << 23) - 1);
}

/* The table wants just as many descriptors as that makes room for. */
static void
capacity_and_table_agree(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;
	uint64_t wanted;

	(void)state;
	for (unsigned connections = 999999; connections <= 1000001; connections++) {
		char text[256];

		snprintf(text, sizeof(text),
			"{ \"workers\": 60, " ONE_LISTENER
			", \"limits\": { \"connections\": %u } }",
			connections);
		report = check_facts(text, &facts);
		wanted = strtoull(get_finding(&report, "LimitNOFILE", "")->wanted, NULL, 10);
		assert_true(60 * tune_worker_capacity(wanted) >= connections);
		assert_true(60 * tune_worker_capacity(wanted - 1) < connections);
		tune_report_done(&report);
	}
	json_decref(facts.values);
}

static void
a_finding_as_one_line(void **state)
{
	struct tune_facts facts = make_stock_facts();
	struct tune_report report;
	char line[TUNE_LINE_MAX];

	(void)state;
	set_fact(&facts, "net.ipv4.tcp_mem", NULL);
	report = check_facts(MILLION_CONF, &facts);
	tune_finding_line(get_finding(&report, "net.core.somaxconn", ""), line);
	assert_memory_equal(line, "net.core.somaxconn is 4096, wanted is at least 20000: The ", 57);
	tune_finding_line(get_finding(&report, "net.ipv4.tcp_mem", "max"), line);
	assert_memory_equal(
		line, "net.ipv4.tcp_mem (max) is unknown, wanted is at least 98304: ", 61);
	tune_report_done(&report);
	json_decref(facts.values);
}

static void
the_table_describes_itself(void **state)
{
	char *text;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	(void)state;
	tune_describe(&(struct reference){.out = out, .form = REFERENCE_TEXT});
	fclose(out);
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++)
		assert_non_null(strstr(text, tune_row_info(row)->key));
	assert_non_null(strstr(text, "Wanted: at least sockets + sockets / 20 + 8192."));
	assert_non_null(strstr(text, "sockets\n    Is connections + relayed."));
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_million_on_a_stock_kernel_finds_every_limit),
		cmocka_unit_test(a_million_in_one_worker_is_short_of_descriptors),
		cmocka_unit_test(a_million_in_60_workers_fits_in_20000_descriptors),
		cmocka_unit_test(the_hash_table_is_told_of_where_it_matters),
		cmocka_unit_test(the_default_limits_fit_a_stock_kernel),
		cmocka_unit_test(what_a_million_wants),
		cmocka_unit_test(what_a_restart_wants),
		cmocka_unit_test(every_row_at_its_limit),
		cmocka_unit_test(every_row_says_why),
		cmocka_unit_test(no_sentence_is_cut),
		cmocka_unit_test(the_arithmetic_is_shown),
		cmocka_unit_test(the_worst_comes_first),
		cmocka_unit_test(old_advice_that_harms_is_found),
		cmocka_unit_test(what_does_no_harm_is_not_told_of),
		cmocka_unit_test(without_connection_tracking_nothing_is_said_of_it),
		cmocka_unit_test(what_cannot_be_read_is_unknown),
		cmocka_unit_test(a_machine_of_which_nothing_is_known),
		cmocka_unit_test(the_memory_limit_of_the_control_group),
		cmocka_unit_test(the_workers_are_as_many_as_cpus_or_as_configured),
		cmocka_unit_test(what_a_worker_can_hold),
		cmocka_unit_test(capacity_and_table_agree),
		cmocka_unit_test(a_finding_as_one_line),
		cmocka_unit_test(the_table_describes_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
