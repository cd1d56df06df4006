/*
 * golden: each tests/conf/good/NAME.json gives the configuration in NAME.expected, and each
 * tests/conf/bad/NAME.json the errors. The files are looked for below $srcdir (default "."); with
 * UPDATE_GOLDEN=1 the expected ones are written instead of compared.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf.h"

#define CASES_MAX 256
#define PATH_BYTES 4096
#define EXTENSION ".json"

struct golden_case {
	char path[PATH_BYTES];     /* of the .json file */
	char expected[PATH_BYTES]; /* of the .expected file */
	char name[300];            /* "bad/NAME.json" */
	bool is_good;
};

static char *
read_file(const char *path)
{
	char *text = calloc(1, CONF_FILE_MAX + 1);
	FILE *file = fopen(path, "re");

	assert_non_null(text);
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	(void)!fread(text, 1, CONF_FILE_MAX, file);
	fclose(file);
	return text;
}

static void
write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void
compare(const struct golden_case *golden, const char *text)
{
	const char *update = getenv("UPDATE_GOLDEN");
	char *expected;

	if (update && strcmp(update, "1") == 0) {
		write_file(golden->expected, text);
		return;
	}
	expected = read_file(golden->expected);
	assert_string_equal(text, expected);
	free(expected);
}

/* One error a line. */
static char *
join_errors(const struct conf_errors *errors)
{
	char *text;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	assert_non_null(stream);
	for (size_t i = 0; i < errors->n; i++)
		fprintf(stream, "%s\n", errors->items[i]);
	assert_int_equal(fclose(stream), 0);
	return text;
}

static void
check_good(const struct golden_case *golden, const char *text)
{
	struct conf_errors errors = {0};
	struct conf *conf, *again;
	char *printed, *reprinted;

	if (conf_parse(text, strlen(text), golden->name, &conf, &errors) < 0)
		fail_msg("%s", errors.items[0]);
	printed = conf_print(conf);
	assert_int_equal(conf_parse(printed, strlen(printed), "printed", &again, &errors), 0);
	reprinted = conf_print(again);
	assert_string_equal(reprinted, printed);
	compare(golden, printed);
	free(printed);
	free(reprinted);
	conf_free(conf);
	conf_free(again);
}

static void
check_bad(const struct golden_case *golden, const char *text)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	char *joined;

	assert_int_equal(
		conf_parse(text, strlen(text), strrchr(golden->name, '/') + 1, &conf, &errors),
		-EINVAL);
	assert_null(conf);
	joined = join_errors(&errors);
	compare(golden, joined);
	free(joined);
	conf_errors_done(&errors);
}

static void
test_golden(void **state)
{
	const struct golden_case *golden = *state;
	char *text = read_file(golden->path);

	if (golden->is_good)
		check_good(golden, text);
	else
		check_bad(golden, text);
	free(text);
}

static int
is_input(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > strlen(EXTENSION) &&
	       strcmp(entry->d_name + length - strlen(EXTENSION), EXTENSION) == 0;
}

static void
fill_case(struct golden_case *golden, const char *srcdir, const char *kind, const char *file)
{
	int stem = (int)(strlen(file) - strlen(EXTENSION));

	snprintf(golden->path, sizeof(golden->path), "%s/tests/conf/%s/%s", srcdir, kind, file);
	snprintf(golden->expected, sizeof(golden->expected), "%s/tests/conf/%s/%.*s.expected",
		srcdir, kind, stem, file);
	snprintf(golden->name, sizeof(golden->name), "%s/%s", kind, file);
	golden->is_good = strcmp(kind, "good") == 0;
}

/* The cases of one directory; returns how many. */
static size_t
find_cases(const char *srcdir, const char *kind, struct golden_case *cases, size_t max)
{
	char path[PATH_BYTES];
	struct dirent **entries;
	int n;

	snprintf(path, sizeof(path), "%s/tests/conf/%s", srcdir, kind);
	n = scandir(path, &entries, is_input, alphasort);
	if (n < 0 || (size_t)n > max) {
		fprintf(stderr, "%s: %s\n", path, n < 0 ? strerror(errno) : "too many files");
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		fill_case(&cases[i], srcdir, kind, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return (size_t)n;
}

int
main(void)
{
	const char *srcdir = getenv("srcdir") ? getenv("srcdir") : ".";
	struct golden_case *cases = calloc(CASES_MAX, sizeof(*cases));
	struct CMUnitTest *tests = calloc(CASES_MAX, sizeof(*tests));
	size_t n;
	int r;

	if (!cases || !tests)
		return 1;
	n = find_cases(srcdir, "good", cases, CASES_MAX);
	n += find_cases(srcdir, "bad", cases + n, CASES_MAX - n);
	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].name,
			.test_func = test_golden,
			.initial_state = &cases[i]};
	r = _cmocka_run_group_tests("golden", tests, n, NULL, NULL);
	free(tests);
	free(cases);
	return r;
}
