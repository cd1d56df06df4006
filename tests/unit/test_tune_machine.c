/* tune_machine: a machine of which a file tells. */
#include <errno.h>

#include "fixture_tree.h"
#include "fixture_tune.h"
#include "tune_facts.h"
#include "tune_machine.h"

/* Reads a file of this text; returns what tune_machine_load() does. */
static int
load(const char *text, struct tune_facts *ret_facts, struct mg_error *reterr_error)
{
	struct tree tree = make_tree();
	char path[512];
	int r;

	put_file(&tree, "/machine", text);
	snprintf(path, sizeof(path), "%s/machine", tree.root);
	r = tune_machine_load(path, ret_facts, reterr_error);
	remove_tree(&tree);
	return r;
}

static struct tune_facts
load_good(const char *text)
{
	struct mg_error error = {0};
	struct tune_facts facts;

	if (load(text, &facts, &error) < 0)
		fail_msg("%s", error.text);
	return facts;
}

static void
assert_bad(const char *text, int expected, const char *message)
{
	struct mg_error error = {0};
	struct tune_facts facts;

	assert_int_equal(load(text, &facts, &error), expected);
	if (!strstr(error.text, message))
		fail_msg("\"%s\" lacks \"%s\"", error.text, message);
}

static void
settings_are_read_as_sysctl_prints_them(void **state)
{
	struct tune_facts facts = load_good(
		"fs.nr_open = 1048576\nnet.ipv4.tcp_mem = 1\t2\t3\nkernel.domainname = (none)\n"
		"net.ipv4.ip_local_reserved_ports = \nnet.core.somaxconn=4096");

	(void)state;
	assert_string_equal(tune_fact_text(&facts, "fs.nr_open"), "1048576");
	assert_string_equal(tune_fact_text(&facts, "net.ipv4.tcp_mem"), "1 2 3");
	assert_string_equal(tune_fact_text(&facts, "kernel.domainname"), "(none)");
	assert_string_equal(tune_fact_text(&facts, TUNE_RESERVED_PORTS_KEY), "");
	assert_string_equal(tune_fact_text(&facts, "net.core.somaxconn"), "4096");
	assert_null(tune_fact_text(&facts, "fs.file-max"));
	tune_facts_done(&facts);
}

static void
comments_and_blank_lines_are_nothing(void **state)
{
	struct tune_facts facts = load_good("# a = 1\n\n  ; b = 2\n   \n  c = 3\n");

	(void)state;
	assert_int_equal(json_object_size(facts.values), 1);
	assert_string_equal(tune_fact_text(&facts, "c"), "3");
	tune_facts_done(&facts);
}

static void
nothing_of_this_machine_is_read(void **state)
{
	struct tune_facts facts = load_good("");

	(void)state;
	assert_int_equal(json_object_size(facts.values), 0);
	assert_int_equal(facts.page_bytes, 4096);
	assert_int_equal(facts.cpus, 1);
	tune_facts_done(&facts);
}

static void
the_machine_itself_can_be_told_of(void **state)
{
	struct tune_facts facts = load_good("CPUs = 8\nPageSize = 65536\nMemTotal = 16GiB\n"
					    "LimitNOFILE = 524288\nMemoryMax = max\n");
	struct sysctl_numbers numbers;

	(void)state;
	assert_int_equal(facts.cpus, 8);
	assert_int_equal(facts.page_bytes, 65536);
	assert_true(tune_fact_numbers(&facts, "MemTotal", &numbers));
	assert_int_equal(numbers.at[0], 17179869184);
	assert_true(tune_fact_numbers(&facts, "LimitNOFILE", &numbers));
	assert_int_equal(numbers.at[0], 524288);
	assert_true(tune_fact_numbers(&facts, "MemoryMax", &numbers));
	assert_true(numbers.at[0] == UINT64_MAX);
	tune_facts_done(&facts);
}

static void
the_later_line_of_a_key_counts(void **state)
{
	struct tune_facts facts = load_good("a.b = 1\na.b = 2\n");

	(void)state;
	assert_string_equal(tune_fact_text(&facts, "a.b"), "2");
	tune_facts_done(&facts);
}

static void
what_is_no_such_line_is_named(void **state)
{
	(void)state;
	assert_bad("a.b = 1\nnonsense\n", -EINVAL, "/machine:2: is no line");
	assert_bad("a.b = \xff\n", -EINVAL, "/machine:1: ");
	assert_bad("CPUs = 0\n", -EINVAL, ":1: ");
	assert_bad("CPUs = 4294967296\n", -EINVAL, ":1: ");
	assert_bad("CPUs = many\n", -EINVAL, ":1: ");
	assert_bad("PageSize = 0\n", -EINVAL, ":1: ");
	assert_bad("PageSize = 1048577\n", -EINVAL, ":1: ");
}

static void
the_lines_of_a_file_are_limited(void **state)
{
	static char text[2 * (TUNE_MACHINE_LINES_MAX + 1) + 1];
	struct tune_facts facts;

	(void)state;
	for (size_t i = 0; i < TUNE_MACHINE_LINES_MAX + 1; i++)
		memcpy(text + 2 * i, "#\n", 2);
	assert_bad(text, -E2BIG, "is too large");
	text[2 * TUNE_MACHINE_LINES_MAX] = '\0';
	facts = load_good(text);
	tune_facts_done(&facts);
}

static void
a_file_that_is_not_there(void **state)
{
	struct mg_error error = {0};
	struct tune_facts facts;

	(void)state;
	assert_int_equal(tune_machine_load("/nowhere/machine", &facts, &error), -ENOENT);
	assert_string_equal(
		error.text, "/nowhere/machine: cannot be read: No such file or directory");
	assert_int_equal(tune_machine_load("/", &facts, &error), -EISDIR);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_are_read_as_sysctl_prints_them),
		cmocka_unit_test(comments_and_blank_lines_are_nothing),
		cmocka_unit_test(nothing_of_this_machine_is_read),
		cmocka_unit_test(the_machine_itself_can_be_told_of),
		cmocka_unit_test(the_later_line_of_a_key_counts),
		cmocka_unit_test(what_is_no_such_line_is_named),
		cmocka_unit_test(the_lines_of_a_file_are_limited),
		cmocka_unit_test(a_file_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
