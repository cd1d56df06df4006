/* reference: entries as text and as mdoc, with what roff would take for its own. */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "reference.h"

/* What is written for one entry, without the list around it. */
static void
assert_entry(enum reference_form form, const struct reference_entry *entry, const char *expected)
{
	char *text;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	reference_put(&(struct reference){.out = out, .form = form}, entry);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

static void
assert_mdoc_line(const char *line, const char *expected)
{
	char whole[4096];

	snprintf(whole, sizeof(whole), ".It Cm term\n%s\n", expected);
	assert_entry(
		REFERENCE_MDOC, &(struct reference_entry){REFERENCE_WORD, "term", {line}}, whole);
}

static void
assert_mdoc_term(enum reference_term kind, const char *term, const char *expected)
{
	char whole[4096];

	snprintf(whole, sizeof(whole), ".It %s\nx\n", expected);
	assert_entry(REFERENCE_MDOC, &(struct reference_entry){kind, term, {"x"}}, whole);
}

static void
text_has_a_term_lines_and_a_blank(void **state)
{
	(void)state;
	assert_entry(REFERENCE_TEXT,
		&(struct reference_entry){REFERENCE_USAGE, "list [--limit N]", {"One.", "Two."}},
		"list [--limit N]\n    One.\n    Two.\n\n");
}

static void
lines_that_are_empty_are_left_out(void **state)
{
	(void)state;
	assert_entry(REFERENCE_TEXT,
		&(struct reference_entry){REFERENCE_WORD, "a", {"", NULL, "b"}}, "a\n    b\n\n");
	assert_entry(REFERENCE_MDOC,
		&(struct reference_entry){REFERENCE_WORD, "term", {"", "b", NULL, "c"}},
		".It Cm term\nb\n.br\nc\n");
	assert_entry(
		REFERENCE_TEXT, &(struct reference_entry){REFERENCE_WORD, "a", {NULL}}, "a\n\n");
}

/* Two words that come to a line of 77, 78 and 79 columns with the indent. */
static void
text_is_broken_at_78_columns(void **state)
{
	char line[128], expected[128];

	(void)state;
	for (size_t columns = 77; columns <= 79; columns++) {
		size_t first = columns - 4 - 2;

		memset(line, 'a', first);
		strcpy(line + first, " b");
		snprintf(expected, sizeof(expected), "t\n    %.*s%sb\n\n", (int)first, line,
			columns > 78 ? "\n    " : " ");
		assert_entry(REFERENCE_TEXT, &(struct reference_entry){REFERENCE_WORD, "t", {line}},
			expected);
	}
}

static void
a_word_that_is_longer_than_a_line_stands_alone(void **state)
{
	char line[128] = "a ", expected[160];

	(void)state;
	memset(line + 2, 'b', 100);
	strcpy(line + 102, " c");
	snprintf(expected, sizeof(expected), "t\n    a\n    %.100s\n    c\n\n", line + 2);
	assert_entry(
		REFERENCE_TEXT, &(struct reference_entry){REFERENCE_WORD, "t", {line}}, expected);
}

static void
sentences_of_mdoc_begin_on_lines_of_their_own(void **state)
{
	(void)state;
	assert_mdoc_line("One. Two? Three (a.) Four \"b.\" Five.",
		"One.\nTwo?\nThree (a.)\nFour \"b.\"\nFive.");
	assert_mdoc_line("Since 4.12 it is.", "Since \\%4.12 it is.");
}

static void
names_are_not_hyphenated(void **state)
{
	(void)state;
	assert_mdoc_line("net.ipv4.tcp_mem, idle_timeout and hyphenation.",
		"\\%net.ipv4.tcp_mem, \\%idle_timeout and hyphenation.");
}

static void
what_roff_would_take_for_its_own_is_escaped(void **state)
{
	(void)state;
	assert_mdoc_line(".TH is no request", "\\&.TH is no request");
	assert_mdoc_line("'tis none. 'Tis.", "\\&'tis none.\n\\&'Tis.");
	assert_mdoc_line("tick\\n", "tick\\en");
	assert_mdoc_line("^ ~ `", "\\(ha \\(ti \\(ga");
	assert_mdoc_line("say \"yes\"", "say \"yes\"");
	assert_mdoc_line("with --limit, [-n] or \"-n\", well-known",
		"with \\-\\-limit, [\\-n] or \"\\-n\", well-known");
}

static void
a_line_of_mdoc_that_is_broken_before_a_dot_is_no_request(void **state)
{
	char line[128], expected[160];

	(void)state;
	memset(line, 'a', 77);
	strcpy(line + 77, " .b");
	snprintf(expected, sizeof(expected), "%.77s\n\\&.b", line);
	assert_mdoc_line(line, expected);
}

static void
words_of_terms_are_no_macros(void **state)
{
	(void)state;
	assert_mdoc_term(REFERENCE_WORD, "limits.connections", "Cm limits.connections");
	assert_mdoc_term(REFERENCE_WORD, "DELETE /x", "Cm DELETE\\ /x");
	assert_mdoc_term(REFERENCE_NAME, "Ar", "Va \\&Ar");
	assert_mdoc_term(REFERENCE_NAME, "say \"a b\"", "Va say\\ \\(dqa\\ b\\(dq");
	assert_mdoc_term(REFERENCE_ERROR, "EMFILE", "Er EMFILE");
	assert_mdoc_term(REFERENCE_WORD, "a\\b", "Cm \\&a\\eb");
}

static void
usages_are_taken_apart(void **state)
{
	(void)state;
	assert_mdoc_term(REFERENCE_USAGE, "status", "Cm status");
	assert_mdoc_term(REFERENCE_USAGE, "show ID", "Cm show Ar \\&ID");
	assert_mdoc_term(REFERENCE_USAGE, "-n, --connections N", "Fl n , Fl -connections Ar \\&N");
	assert_mdoc_term(REFERENCE_USAGE, "--backoff MIN:MAX", "Fl -backoff Ar MIN:MAX");
	assert_mdoc_term(REFERENCE_USAGE, "list [--source CIDR] [--limit N]",
		"Cm list Oo Fl -source Ar CIDR Oc Oo Fl -limit Ar \\&N Oc");
	assert_mdoc_term(
		REFERENCE_USAGE, "tune [--sysctl | --unit]", "Cm tune Oo Fl -sysctl | Fl -unit Oc");
	assert_mdoc_term(REFERENCE_USAGE, "kill [[a] b]", "Cm kill Oo Oo Cm \\&a Oc Cm \\&b Oc");
	assert_mdoc_term(REFERENCE_USAGE, "cat -", "Cm \\&cat Cm \\&\\-");
}

static void
a_list_is_around_the_entries_of_mdoc_alone(void **state)
{
	char *text;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	(void)state;
	for (enum reference_form form = REFERENCE_TEXT; form <= REFERENCE_MDOC; form++) {
		const struct reference reference = {.out = out, .form = form};

		reference_begin(&reference);
		reference_put(&reference, &(struct reference_entry){REFERENCE_WORD, "term", {"x"}});
		reference_end(&reference);
	}
	fclose(out);
	assert_string_equal(text, "term\n    x\n\n.Bl -tag -width Ds\n.It Cm term\nx\n.El\n");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_has_a_term_lines_and_a_blank),
		cmocka_unit_test(lines_that_are_empty_are_left_out),
		cmocka_unit_test(text_is_broken_at_78_columns),
		cmocka_unit_test(a_word_that_is_longer_than_a_line_stands_alone),
		cmocka_unit_test(sentences_of_mdoc_begin_on_lines_of_their_own),
		cmocka_unit_test(names_are_not_hyphenated),
		cmocka_unit_test(what_roff_would_take_for_its_own_is_escaped),
		cmocka_unit_test(a_line_of_mdoc_that_is_broken_before_a_dot_is_no_request),
		cmocka_unit_test(words_of_terms_are_no_macros),
		cmocka_unit_test(usages_are_taken_apart),
		cmocka_unit_test(a_list_is_around_the_entries_of_mdoc_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
