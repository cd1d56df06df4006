/* tune_print: the advice as JSON and as text. */
#include "fixture_tune.h"
#include "tune_print.h"

static json_t *
make_advice(const char *conf_text, const struct tune_facts *facts)
{
	struct tune_report report = check_facts(conf_text, facts);
	json_t *tuning = tune_to_json(&report);

	assert_non_null(tuning);
	tune_report_done(&report);
	return tuning;
}

static json_t *
make_stock_advice(void)
{
	struct tune_facts facts = make_stock_facts();
	json_t *tuning = make_advice("{ \"workers\": 1, " ONE_LISTENER ", " MILLION " }", &facts);

	json_decref(facts.values);
	return tuning;
}

/* What a printer writes; to be freed. */
static char *
print_to_text(void (*print)(FILE *out, const json_t *tuning), const json_t *tuning)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	print(out, tuning);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void
print_plain_table(FILE *out, const json_t *tuning)
{
	tune_print_table(out, tuning, false);
}

static void
print_colored_table(FILE *out, const json_t *tuning)
{
	tune_print_table(out, tuning, true);
}

static void
assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in:\n%s", part, text);
}

static void
json_has_all_of_a_finding(void **state)
{
	json_t *tuning = make_stock_advice();
	const json_t *first = json_array_get(json_object_get(tuning, "findings"), 0);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(first, "key")), "LimitNOFILE");
	assert_string_equal(json_string_value(json_object_get(first, "part")), "");
	assert_string_equal(json_string_value(json_object_get(first, "where")), "unit");
	assert_string_equal(json_string_value(json_object_get(first, "status")), "short");
	assert_string_equal(json_string_value(json_object_get(first, "now")), "524288");
	assert_string_equal(json_string_value(json_object_get(first, "rule")), "at_least");
	assert_string_equal(json_string_value(json_object_get(first, "wanted")), "1000032");
	assert_has(json_string_value(json_object_get(first, "why")), "1000032).");
	assert_has(json_string_value(json_object_get(first, "how")), "LimitNOFILE=1000032");
	assert_true(json_is_false(json_object_get(first, "configured")));
	assert_int_equal(tune_count_bad(tuning), 10);
	assert_int_equal(json_integer_value(json_object_get(tuning, "short")), 10);
	json_decref(tuning);
}

static void
a_table_of_findings(void **state)
{
	json_t *tuning = make_stock_advice();
	char *text = print_to_text(print_plain_table, tuning);

	(void)state;
	assert_memory_equal(text, "STATUS   SETTING  ", 18);
	assert_has(text,
		"\nshort    net.core.somaxconn              4096                  at least "
		"20000\n         The kernel cuts");
	assert_has(text, "\n         > sysctl -w net.core.somaxconn=20000; then restart");
	assert_has(text, "\nok       net.ipv4.tcp_mem (pressure) ");
	assert_has(text, "\nok       net.ipv4.tcp_keepalive_time     7200                  -\n");
	assert_has(text, "\n0 harmful, 10 short, 0 unknown, 15 ok.\n");
	assert_null(strchr(text, '\033'));
	free(text);
	json_decref(tuning);
}

static void
a_table_in_colours(void **state)
{
	json_t *tuning = make_stock_advice();
	char *text = print_to_text(print_colored_table, tuning);

	(void)state;
	assert_has(text, "\033[33mshort\033[0m    net.core.somaxconn");
	assert_has(text, "\033[32mok\033[0m       ");
	free(text);
	json_decref(tuning);
}

static void
a_file_for_sysctl(void **state)
{
	json_t *tuning = make_stock_advice();
	char *text = print_to_text(tune_print_sysctl, tuning);

	(void)state;
	assert_has(text, "\nnet.core.somaxconn = 20000\n");
	assert_has(text, "\nnet.ipv4.tcp_wmem = 4096 16384 1572323\n");
	assert_has(text, "\n# Each connection has an entry");
	assert_null(strstr(text, "LimitNOFILE =")); /* that is the unit's */
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(line[0] == '#' || strstr(line, " = "));
	free(text);
	json_decref(tuning);
}

static void
a_file_for_systemd(void **state)
{
	json_t *tuning = make_stock_advice();
	char *text = print_to_text(tune_print_unit, tuning);

	(void)state;
	assert_has(text, "\n[Service]\n");
	assert_has(text, "\nLimitNOFILE=1000032\n");
	assert_null(strstr(text, "somaxconn"));
	free(text);
	json_decref(tuning);
}

static void
lines_are_no_longer_than_a_terminal(void **state)
{
	json_t *tuning = make_stock_advice();
	char *text = print_to_text(tune_print_sysctl, tuning);

	(void)state;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_in_range(strlen(line), 1, 78);
	free(text);
	json_decref(tuning);
}

static void
nothing_to_set_is_said(void **state)
{
	json_t *tuning = json_pack("{s:[], s:[]}", "findings", "settings");
	char *sysctl = print_to_text(tune_print_sysctl, tuning);
	char *unit = print_to_text(tune_print_unit, tuning);

	(void)state;
	assert_has(sysctl, "# Nothing falls short here.\n");
	assert_has(unit, "# Nothing falls short here.\n");
	free(sysctl);
	free(unit);
	json_decref(tuning);
}

static void
an_answer_of_any_shape_is_printed(void **state)
{
	static const char *const answers[] = {"{}", "[]", "null", "{ \"findings\": 1 }",
		"{ \"findings\": [ 1, null, [], {} ], \"settings\": [ 1, null, [], {} ] }",
		"{ \"findings\": [ { \"key\": 1, \"status\": [], \"now\": {} } ], \"short\": \"x\" }",
		"{ \"short\": -5, \"harmful\": 1e300 }",
		"{ \"findings\": [ { \"status\": \"a very long status\", \"rule\": \"odd\" } ] }"};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		json_t *tuning = json_loads(answers[i], JSON_DECODE_ANY, NULL);

		assert_non_null(tuning);
		assert_int_equal(tune_count_bad(tuning), 0);
		free(print_to_text(print_colored_table, tuning));
		free(print_to_text(tune_print_sysctl, tuning));
		free(print_to_text(tune_print_unit, tuning));
		json_decref(tuning);
	}
}

static void
what_steers_a_terminal_is_not_printed(void **state)
{
	json_t *tuning =
		json_loads("{ \"findings\": [ { \"key\": \"\\u001b[2J\", \"now\": \"\\u009b1m\","
			   "\"wanted\": \"\\n\", \"status\": \"\\u0007\","
			   "\"why\": \"a\\u001b]0;x\\u0007 b\", \"how\": \"\\r\\n\" } ] }",
			0, NULL);
	char *text = print_to_text(print_plain_table, tuning);

	(void)state;
	for (const char *p = text; *p; p++)
		assert_true(*p == '\n' || (*p >= ' ' && *p <= '~'));
	free(text);
	json_decref(tuning);
}

/* A setting comes through as this line of the file, or not at all. */
static void
assert_setting(const char *key, const char *value, const char *why, bool taken)
{
	json_t *tuning = json_pack("{s:[{s:s, s:s, s:s, s:s, s:b}]}", "settings", "where", "sysctl",
		"key", key, "value", value, "why", why, "needed", 1);
	char *text = print_to_text(tune_print_sysctl, tuning);
	const char *got_key, *got_value;

	assert_int_equal(tune_setting_read(json_array_get(json_object_get(tuning, "settings"), 0),
				 "sysctl", &got_key, &got_value),
		taken);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (line[0] != '#')
			assert_true(taken && strncmp(line, key, strlen(key)) == 0);
	free(text);
	json_decref(tuning);
}

static void
what_is_no_setting_is_left_out(void **state)
{
	(void)state;
	assert_setting("net.core.somaxconn", "5", "", true);
	assert_setting("net.ipv4.tcp_mem", "1 2 3", "", true);
	assert_setting("net.ipv4.ip_local_reserved_ports", "80,90-99", "", true);
	assert_setting("net.core.somaxconn", "5", "x\nkernel.modprobe = /x", true);
	assert_setting("net.core.somaxconn", "5\nkernel.modprobe = /x", "", false);
	assert_setting("kernel.core_pattern", "|/bin/sh", "", false);
	assert_setting("net/core/somaxconn", "5", "", false);
	assert_setting("../x.y", "5", "", false);
	assert_setting("net.core.somaxconn", "", "", false);
	assert_setting("", "5", "", false);
}

static void
a_unit_gets_directives_only(void **state)
{
	json_t *tuning = json_loads(
		"{ \"settings\": ["
		"{ \"where\": \"unit\", \"key\": \"LimitNOFILE\", \"value\": \"5\" },"
		"{ \"where\": \"unit\", \"key\": \"ExecStart\", \"value\": \"/bin/sh\" },"
		"{ \"where\": \"unit\", \"key\": \"A\\nB\", \"value\": \"5\" } ] }",
		0, NULL);
	char *text = print_to_text(tune_print_unit, tuning);

	(void)state;
	assert_has(text, "\nLimitNOFILE=5\n");
	assert_null(strstr(text, "ExecStart"));
	assert_null(strstr(text, "B="));
	free(text);
	json_decref(tuning);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_has_all_of_a_finding),
		cmocka_unit_test(a_table_of_findings),
		cmocka_unit_test(a_table_in_colours),
		cmocka_unit_test(a_file_for_sysctl),
		cmocka_unit_test(a_file_for_systemd),
		cmocka_unit_test(lines_are_no_longer_than_a_terminal),
		cmocka_unit_test(nothing_to_set_is_said),
		cmocka_unit_test(an_answer_of_any_shape_is_printed),
		cmocka_unit_test(what_steers_a_terminal_is_not_printed),
		cmocka_unit_test(what_is_no_setting_is_left_out),
		cmocka_unit_test(a_unit_gets_directives_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
