/* sysctl: names, numbers and files of kernel settings. */
#include <errno.h>

#include "fixture_tree.h"
#include "sysctl.h"

static void
keys_are_words_between_dots(void **state)
{
	static const char *const good[] = {"a.b", "net.core.somaxconn", "fs.file-max",
		"net.ipv4.conf.eth0_1.rp_filter", "A.0"};
	static const char *const bad[] = {"", ".", "a", "a.", ".a", "a..b", "a/b", "a.b/c",
		"../a.b", "a. b", "a.b\n", "a.b=c", "a.\xc3\xa4", "a.*"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!sysctl_is_key(good[i]))
			fail_msg("\"%s\" is refused", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (sysctl_is_key(bad[i]))
			fail_msg("\"%s\" is taken", bad[i]);
}

static void
the_length_of_a_key(void **state)
{
	char key[SYSCTL_KEY_MAX + 2] = "a.";

	(void)state;
	memset(key + 2, 'b', SYSCTL_KEY_MAX - 2);
	assert_true(sysctl_is_key(key));
	key[SYSCTL_KEY_MAX] = 'b';
	assert_false(sysctl_is_key(key));
}

static void
assert_numbers(const char *text, const char *canonical)
{
	char buf[SYSCTL_TEXT_MAX];
	struct sysctl_numbers numbers;

	assert_int_equal(sysctl_parse(text, &numbers), 0);
	assert_string_equal(sysctl_format(&numbers, buf), canonical);
}

static void
numbers_there_and_back(void **state)
{
	(void)state;
	assert_numbers("0", "0");
	assert_numbers("4096\t87380\t6291456", "4096 87380 6291456");
	assert_numbers("  1   2 ", "1 2");
	assert_numbers("007", "7");
	assert_numbers("9223372036854775807", "9223372036854775807");
	assert_numbers("1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 8");
	assert_numbers("9223372036854775807 9223372036854775807 9223372036854775807 "
		       "9223372036854775807 9223372036854775807 9223372036854775807 "
		       "9223372036854775807 9223372036854775807",
		"9223372036854775807 9223372036854775807 9223372036854775807 "
		"9223372036854775807 9223372036854775807 9223372036854775807 "
		"9223372036854775807 9223372036854775807");
}

static void
what_is_no_number(void **state)
{
	static const char *const bad[] = {
		"", " ", "-1", "+1", "1,2", "a", "1 a", "1a", "0x10", "1.5", "1 2 3 4 5 6 7 8 9"};
	struct sysctl_numbers numbers = {.n = 77};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (sysctl_parse(bad[i], &numbers) != -EINVAL)
			fail_msg("\"%s\" is taken", bad[i]);
	assert_int_equal(sysctl_parse("9223372036854775808", &numbers), -ERANGE);
	assert_int_equal(sysctl_parse("99999999999999999999999", &numbers), -ERANGE);
	assert_int_equal(numbers.n, 77);
}

static void
a_setting_is_read_and_written(void **state)
{
	struct tree tree = make_tree();
	char *text;

	(void)state;
	put_file(&tree, "/proc/sys/net/ipv4/tcp_mem", "1\t2\t3\n");
	assert_int_equal(sysctl_read(tree.root, "net.ipv4.tcp_mem", &text), 0);
	assert_string_equal(text, "1 2 3");
	free(text);
	assert_int_equal(sysctl_write(tree.root, "net.ipv4.tcp_mem", "4 5 6"), 0);
	assert_int_equal(sysctl_read(tree.root, "net.ipv4.tcp_mem", &text), 0);
	assert_string_equal(text, "4 5 6");
	free(text);
	remove_tree(&tree);
}

static void
what_cannot_be_read_or_written(void **state)
{
	struct tree tree = make_tree();
	char *text;

	(void)state;
	put_file(&tree, "/proc/sys/a/b/c", "1\n");
	assert_int_equal(sysctl_read(tree.root, "a.none", &text), -ENOENT);
	assert_int_equal(sysctl_write(tree.root, "a.none", "1"), -ENOENT);
	assert_int_equal(sysctl_read(tree.root, "a.b", &text), -EISDIR);
	assert_int_equal(sysctl_read(tree.root, "a.b.c.d", &text), -ENOTDIR);
	assert_int_equal(sysctl_read(tree.root, "../../etc/passwd", &text), -EINVAL);
	assert_int_equal(sysctl_write(tree.root, "..", "1"), -EINVAL);
	remove_tree(&tree);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_words_between_dots),
		cmocka_unit_test(the_length_of_a_key),
		cmocka_unit_test(numbers_there_and_back),
		cmocka_unit_test(what_is_no_number),
		cmocka_unit_test(a_setting_is_read_and_written),
		cmocka_unit_test(what_cannot_be_read_or_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
