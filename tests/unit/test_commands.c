/* The table of commands: what its users rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "commands.h"

static bool
is_one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

static void
every_row_has_a_route_or_a_verb(void **state)
{
	const struct command_info *info;
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++) {
		info = commands_info(i);
		assert_true(info->method[0] != '\0' || info->verb[0] != '\0');
		assert_int_equal(info->method[0] == '\0', info->path[0] == '\0');
		assert_int_equal(info->verb[0] == '\0', info->usage[0] == '\0');
	}
}

static void
routes_are_unique(void **state)
{
	const struct command_info *a, *b;
	unsigned i, j;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++)
		for (j = 0; j < i; j++) {
			a = commands_info(i);
			b = commands_info(j);
			assert_false(a->method[0] != '\0' && strcmp(a->method, b->method) == 0 &&
				     strcmp(a->path, b->path) == 0);
		}
}

static void
verbs_are_unique(void **state)
{
	const char *verb;
	unsigned i, j;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++)
		for (j = 0; j < i; j++) {
			verb = commands_info(i)->verb;
			assert_false(verb[0] != '\0' && strcmp(verb, commands_info(j)->verb) == 0);
		}
}

static void
methods_and_paths_are_those_of_http(void **state)
{
	static const char *const methods[] = {"GET", "POST", "DELETE", NULL};
	const struct command_info *info;
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++) {
		info = commands_info(i);
		if (info->method[0] == '\0')
			continue;
		assert_true(is_one_of(info->method, methods));
		assert_int_equal(info->path[0], '/');
		assert_true(strlen(info->path) > 1);
		assert_null(strpbrk(info->path, "?# %"));
	}
}

static void
an_id_stands_at_the_end_of_a_path_only(void **state)
{
	const char *id;
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++) {
		id = strstr(commands_info(i)->path, "/ID");
		assert_true(!id || strcmp(id, "/ID") == 0);
	}
}

static void
only_get_reads_and_only_post_has_a_body(void **state)
{
	const struct command_info *info;
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++) {
		info = commands_info(i);
		if (info->method[0] != '\0')
			assert_int_equal(info->access < COMMAND_ACCESS_WRITE,
				strcmp(info->method, "GET") == 0);
		if (info->body == COMMAND_BODY_BODY)
			assert_string_equal(info->method, "POST");
	}
}

static void
public_are_health_and_metrics_alone(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++)
		assert_int_equal(commands_info(i)->access == COMMAND_ACCESS_PUBLIC,
			i == COMMAND_HEALTH || i == COMMAND_METRICS);
}

static void
usage_begins_with_the_verb(void **state)
{
	const struct command_info *info;
	size_t length;
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++) {
		info = commands_info(i);
		length = strlen(info->verb);
		assert_memory_equal(info->usage, info->verb, length);
		assert_true(info->usage[length] == ' ' || info->usage[length] == '\0');
	}
}

static void
help_is_whole_sentences(void **state)
{
	const char *help;
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++) {
		help = commands_info(i)->help;
		assert_true(strlen(help) > 10);
		assert_int_equal(help[strlen(help) - 1], '.');
		assert_null(strstr(help, "  "));
	}
}

static void
every_verb_is_found(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < COMMAND_COUNT; i++)
		if (commands_info(i)->verb[0] != '\0')
			assert_int_equal(commands_find_verb(commands_info(i)->verb), i);
}

static void
what_is_no_verb_is_not_found(void **state)
{
	(void)state;
	assert_int_equal(commands_find_verb(""), COMMAND_COUNT);
	assert_int_equal(commands_find_verb("stat"), COMMAND_COUNT);
	assert_int_equal(commands_find_verb("STATUS"), COMMAND_COUNT);
	assert_int_equal(commands_find_verb("/stats"), COMMAND_COUNT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_has_a_route_or_a_verb),
		cmocka_unit_test(routes_are_unique),
		cmocka_unit_test(verbs_are_unique),
		cmocka_unit_test(methods_and_paths_are_those_of_http),
		cmocka_unit_test(an_id_stands_at_the_end_of_a_path_only),
		cmocka_unit_test(only_get_reads_and_only_post_has_a_body),
		cmocka_unit_test(public_are_health_and_metrics_alone),
		cmocka_unit_test(usage_begins_with_the_verb),
		cmocka_unit_test(help_is_whole_sentences),
		cmocka_unit_test(every_verb_is_found),
		cmocka_unit_test(what_is_no_verb_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
