/* tune_facts: a machine made of files. */
#include <unistd.h>

#include "fixture_tree.h"
#include "fixture_tune.h"
#include "tune_facts.h"

static struct tune_facts
read_facts(const struct tree *tree, const char *conf_text)
{
	struct conf *conf = make_conf(conf_text);
	struct tune_facts facts;

	assert_int_equal(tune_facts_read(tree->root, conf, &facts), 0);
	conf_free(conf);
	return facts;
}

static void
assert_fact(const struct tune_facts *facts, const char *key, const char *value)
{
	const char *text = tune_fact_text(facts, key);

	if (!value && text)
		fail_msg("%s is %s", key, text);
	if (value && !text)
		fail_msg("%s is not known", key);
	if (value)
		assert_string_equal(text, value);
}

static void
settings_are_read_as_text(void **state)
{
	struct tree tree = make_tree();
	struct tune_facts facts;

	(void)state;
	put_file(&tree, "/proc/sys/fs/nr_open", "1048576\n");
	put_file(&tree, "/proc/sys/net/ipv4/tcp_mem", "1\t2\t3\n");
	put_file(&tree, "/proc/sys/net/ipv4/ip_local_reserved_ports", "\n");
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	assert_fact(&facts, "fs.nr_open", "1048576");
	assert_fact(&facts, "net.ipv4.tcp_mem", "1 2 3");
	assert_fact(&facts, TUNE_RESERVED_PORTS_KEY, "");
	assert_fact(&facts, "fs.file-max", NULL);
	tune_facts_done(&facts);
	remove_tree(&tree);
}

static void
every_key_of_the_table_is_read(void **state)
{
	struct tree tree = make_tree();
	struct tune_facts facts;
	char path[512];

	(void)state;
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++) {
		if (tune_row_info(row)->where != TUNE_SYSCTL &&
			tune_row_info(row)->where != TUNE_BOOT)
			continue;
		snprintf(path, sizeof(path), "/proc/sys/%s", tune_row_info(row)->key);
		for (char *p = path + strlen("/proc/sys/"); *p; p++)
			*p = *p == '.' ? '/' : *p;
		put_file(&tree, path, "7 8 9\n");
	}
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++)
		if (tune_row_info(row)->where == TUNE_SYSCTL ||
			tune_row_info(row)->where == TUNE_BOOT)
			assert_fact(&facts, tune_row_info(row)->key, "7 8 9");
	tune_facts_done(&facts);
	remove_tree(&tree);
}

static void
a_table_that_is_shared_with_the_machine_is_as_large(void **state)
{
	struct tree tree = make_tree();
	struct tune_facts facts;

	(void)state;
	put_file(&tree, "/proc/sys/net/ipv4/tcp_ehash_entries", "-262144\n");
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	assert_fact(&facts, "net.ipv4.tcp_ehash_entries", "262144");
	tune_facts_done(&facts);
	remove_tree(&tree);
}

static void
what_the_configuration_wants_is_read(void **state)
{
	struct tree tree = make_tree();
	struct tune_facts facts;

	(void)state;
	put_file(&tree, "/proc/sys/kernel/own", "5\n");
	put_file(&tree, "/proc/sys/kernel/other", "6\n");
	facts = read_facts(
		&tree, "{ " ONE_LISTENER ", \"sysctl\": { \"want\": { \"kernel.own\": 1 } } }");
	assert_fact(&facts, "kernel.own", "5");
	assert_fact(&facts, "kernel.other", NULL);
	tune_facts_done(&facts);
	remove_tree(&tree);
}

static void
an_empty_machine_has_the_limits_of_this_process(void **state)
{
	struct tree tree = make_tree();
	struct tune_facts facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	struct sysctl_numbers numbers;
	struct rlimit limit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(tune_fact_numbers(&facts, "LimitNOFILE", &numbers));
	assert_int_equal(numbers.at[0], limit.rlim_max);
	assert_int_equal(facts.page_bytes, sysconf(_SC_PAGESIZE));
	assert_in_range(facts.cpus, 1, CONF_LISTENERS_MAX * 1024);
	assert_fact(&facts, "MemTotal", NULL);
	assert_fact(&facts, "MemoryMax", NULL);
	assert_int_equal(json_object_size(facts.values), 1);
	tune_facts_done(&facts);
	remove_tree(&tree);
}

static void
what_a_restart_may_pass_on(void **state)
{
	static const struct {
		const char *status;
		bool limited;
	} cases[] = {
		{"Name:\tx\nCapEff:\t0000000000000000\n", true},
		{"CapEff:\t000001ffffffffff\n", false},
		{"CapEff:\t0000000001000000\n", false}, /* CAP_SYS_RESOURCE */
		{"CapEff:\t0000000000200000\n", false}, /* CAP_SYS_ADMIN */
		{"CapEff:\t000001fffedfffff\n", true},
		{"CapInh:\t000001ffffffffff\n", true},
	};
	struct tree tree = make_tree();
	struct tune_facts facts;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_file(&tree, "/proc/self/status", cases[i].status);
		facts = read_facts(&tree, "{ " ONE_LISTENER " }");
		assert_int_equal(facts.in_flight_limited, cases[i].limited);
		assert_fact(&facts, "FileDescriptorStoreMax", NULL);
		tune_facts_done(&facts);
	}
	setenv("FDSTORE", "512", 1);
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	assert_fact(&facts, "FileDescriptorStoreMax", "512");
	tune_facts_done(&facts);
	unsetenv("FDSTORE");
	remove_tree(&tree);
}

static void
the_memory_is_counted_in_bytes(void **state)
{
	struct tree tree = make_tree();
	struct tune_facts facts;

	(void)state;
	put_file(&tree, "/proc/meminfo", "MemFree: 5 kB\nMemTotal:       24684092 kB\nX: 1 kB\n");
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	assert_fact(&facts, "MemTotal", "25276510208");
	tune_facts_done(&facts);
	put_file(&tree, "/proc/meminfo", "MemTotal: much\n");
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	assert_fact(&facts, "MemTotal", NULL);
	tune_facts_done(&facts);
	remove_tree(&tree);
}

/* With this /proc/self/cgroup and these limit files (pairs of path and text, ended by NULL). */
static void
assert_memory_max(const char *cgroup, const char *const *files, const char *expected)
{
	struct tree tree = make_tree();
	struct tune_facts facts;

	put_file(&tree, "/proc/self/cgroup", cgroup);
	for (; *files; files += 2)
		put_file(&tree, files[0], files[1]);
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	assert_fact(&facts, "MemoryMax", expected);
	tune_facts_done(&facts);
	remove_tree(&tree);
}

static void
the_limit_of_a_control_group_of_version_2(void **state)
{
	static const char cgroup[] = "0::/system.slice/millgate.service\n";
	static const char path[] = "/sys/fs/cgroup/system.slice/millgate.service/memory.max";
	static const char above[] = "/sys/fs/cgroup/system.slice/memory.max";

	(void)state;
	assert_memory_max(cgroup, (const char *const[]){path, "1073741824\n", NULL}, "1073741824");
	assert_memory_max(cgroup, (const char *const[]){path, "max\n", NULL}, TUNE_NO_LIMIT);
	assert_memory_max(cgroup, (const char *const[]){NULL}, TUNE_NO_LIMIT);
	assert_memory_max(cgroup,
		(const char *const[]){path, "1073741824\n", above, "536870912\n", NULL},
		"536870912");
	assert_memory_max(cgroup, (const char *const[]){path, "5\n", above, "max\n", NULL}, "5");
}

static void
the_limit_of_a_control_group_of_version_1(void **state)
{
	static const char cgroup[] = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n";
	static const char path[] = "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes";
	static const char root[] = "/sys/fs/cgroup/memory/memory.limit_in_bytes";

	(void)state;
	assert_memory_max(cgroup,
		(const char *const[]){path, "1000000\n", root, "9223372036854771712\n", NULL},
		"1000000");
	assert_memory_max(cgroup,
		(const char *const[]){
			path, "9223372036854771712\n", root, "9223372036854771712\n", NULL},
		TUNE_NO_LIMIT);
	/* Version 2 has no memory limits here, whatever lies there. */
	assert_memory_max(cgroup,
		(const char *const[]){path, "1000000\n", "/sys/fs/cgroup/memory.max", "5\n", NULL},
		"1000000");
}

static void
the_order_of_the_versions_does_not_matter(void **state)
{
	static const char path[] = "/sys/fs/cgroup/memory/a/memory.limit_in_bytes";

	(void)state;
	assert_memory_max("0::/x\n4:memory:/a\n",
		(const char *const[]){path, "77\n", "/sys/fs/cgroup/x/memory.max", "5\n", NULL},
		"77");
}

static void
a_control_group_at_the_root(void **state)
{
	(void)state;
	assert_memory_max(
		"0::/\n", (const char *const[]){"/sys/fs/cgroup/memory.max", "123\n", NULL}, "123");
}

static void
odd_lines_among_the_control_groups(void **state)
{
	(void)state;
	assert_memory_max("\n:\nnonsense\n1:cpu\n0::/a:b\n",
		(const char *const[]){"/sys/fs/cgroup/a:b/memory.max", "9\n", NULL}, "9");
	assert_memory_max("1:cpu:/\n", (const char *const[]){NULL}, NULL);
}

static void
what_is_no_utf8_is_not_known(void **state)
{
	struct tree tree = make_tree();
	struct tune_facts facts;

	(void)state;
	put_file(&tree, "/proc/sys/fs/nr_open", "\xff\xfe\n");
	facts = read_facts(&tree, "{ " ONE_LISTENER " }");
	assert_fact(&facts, "fs.nr_open", NULL);
	tune_facts_done(&facts);
	remove_tree(&tree);
}

static void
this_machine_can_be_read(void **state)
{
	struct tree here = {""};
	struct tune_facts facts = read_facts(&here, "{ " ONE_LISTENER " }");
	struct sysctl_numbers numbers;

	(void)state;
	assert_true(tune_fact_numbers(&facts, "fs.nr_open", &numbers));
	assert_true(tune_fact_numbers(&facts, "MemTotal", &numbers));
	assert_true(numbers.at[0] > 1024 * 1024);
	tune_facts_done(&facts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_are_read_as_text),
		cmocka_unit_test(every_key_of_the_table_is_read),
		cmocka_unit_test(a_table_that_is_shared_with_the_machine_is_as_large),
		cmocka_unit_test(what_the_configuration_wants_is_read),
		cmocka_unit_test(an_empty_machine_has_the_limits_of_this_process),
		cmocka_unit_test(what_a_restart_may_pass_on),
		cmocka_unit_test(the_memory_is_counted_in_bytes),
		cmocka_unit_test(the_limit_of_a_control_group_of_version_2),
		cmocka_unit_test(the_limit_of_a_control_group_of_version_1),
		cmocka_unit_test(the_order_of_the_versions_does_not_matter),
		cmocka_unit_test(a_control_group_at_the_root),
		cmocka_unit_test(odd_lines_among_the_control_groups),
		cmocka_unit_test(what_is_no_utf8_is_not_known),
		cmocka_unit_test(this_machine_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
