/* tune_table: see tune_table.h. */
#include "tune_table.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static const struct tune_name {
	const char *name;
	const char *expression; /* NULL: it is given */
	const char *help;
	size_t offset;
} NAMES[] = {
#define TUNE_GIVEN(name, help) {#name, NULL, help, offsetof(struct tune_needs, name)},
#define TUNE_DERIVED(name, expression, help) \
	{#name, #expression, help, offsetof(struct tune_needs, name)},
#define TUNE(...)
#include "sysctl.def"
#undef TUNE_GIVEN
#undef TUNE_DERIVED
#undef TUNE
};
#define N_NAMES (sizeof(NAMES) / sizeof(NAMES[0]))

static const struct tune_row_info ROWS[TUNE_ROW_COUNT] = {
#define TUNE_GIVEN(...)
#define TUNE_DERIVED(...)
#define TUNE(symbol, where, key, index, part, rule, verdict, applies, wanted, why, how)     \
	[TUNE_ROW_##symbol] = {TUNE_##where, key, index, part, TUNE_##rule, TUNE_##verdict, \
		#applies, #wanted, why, how},
#include "sysctl.def"
#undef TUNE_GIVEN
#undef TUNE_DERIVED
#undef TUNE
};

static uint64_t
min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* In the order of the table. */
void
tune_evaluate(struct tune_needs *needs, struct tune_demand demands[static TUNE_ROW_COUNT])
{
#define TUNE_GIVEN(name, help) const uint64_t name __attribute__((unused)) = needs->name;
#define TUNE_DERIVED(name, expression, help) \
	const uint64_t name __attribute__((unused)) = needs->name = (expression);
#define TUNE(symbol, where, key, index, part, rule, verdict, applies_here, wanted_here, ...) \
	demands[TUNE_ROW_##symbol] =                                                         \
		(struct tune_demand){.applies = (applies_here), .wanted = (wanted_here)};
#include "sysctl.def"
#undef TUNE_GIVEN
#undef TUNE_DERIVED
#undef TUNE
}

const struct tune_row_info *
tune_row_info(enum tune_row row)
{
	return &ROWS[row];
}

static const struct tune_name *
tune_find_name(const char *text, size_t length)
{
	for (size_t i = 0; i < N_NAMES; i++)
		if (strlen(NAMES[i].name) == length && memcmp(NAMES[i].name, text, length) == 0)
			return &NAMES[i];
	return NULL;
}

static uint64_t
tune_name_value(const struct tune_name *name, const struct tune_needs *needs)
{
	return *(const uint64_t *)((const char *)needs + name->offset);
}

/* Takes a name, a number or a character off the text; *ret_name is NULL if it is no name. */
static size_t
tune_take_word(const char *text, const struct tune_name **ret_name)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz_");

	*ret_name = tune_find_name(text, length);
	return length > 0 ? length : 1;
}

static bool
tune_has_names(const char *expression)
{
	const struct tune_name *name = NULL;

	while (*expression != '\0' && !name)
		expression += tune_take_word(expression, &name);
	return name != NULL;
}

/* Writes the expression with numbers for its names. */
static void
tune_put_numbers(FILE *out, const char *expression, const struct tune_needs *needs)
{
	const struct tune_name *name;
	size_t length;

	for (; *expression != '\0'; expression += length) {
		length = tune_take_word(expression, &name);
		if (name)
			fprintf(out, "%" PRIu64, tune_name_value(name, needs));
		else
			fprintf(out, "%.*s", (int)length, expression);
	}
}

/* " (connections / 50 = 1000000 / 50 = 20000)"; nothing of what has no names. */
static void
tune_put_arithmetic(
	FILE *out, const char *expression, const struct tune_needs *needs, uint64_t wanted)
{
	const struct tune_name *name = tune_find_name(expression, strlen(expression));

	if (!tune_has_names(expression))
		return;
	fprintf(out, " (%s = ", expression);
	if (name && name->expression)
		fprintf(out, "%s = ", name->expression);
	if (!name || name->expression) {
		tune_put_numbers(out, name ? name->expression : expression, needs);
		fputs(" = ", out);
	}
	fprintf(out, "%" PRIu64 ")", wanted);
}

void
tune_explain(enum tune_row row, const struct tune_needs *needs, uint64_t wanted, FILE *out)
{
	fputs(ROWS[row].why, out);
	if (ROWS[row].rule != TUNE_UNUSED)
		tune_put_arithmetic(out, ROWS[row].wanted, needs, wanted);
	fputc('.', out);
}

#define LINE_MAX_BYTES 1024

static void
tune_describe_row(const struct reference *reference, const struct tune_row_info *info)
{
	char key[TUNE_KEY_MAX], wanted[LINE_MAX_BYTES] = "", applies[LINE_MAX_BYTES] = "";
	char why[TUNE_WHY_MAX];

	snprintf(key, sizeof(key), "%s%s%s%s", info->key, *info->part ? " (" : "", info->part,
		*info->part ? ")" : "");
	if (info->rule != TUNE_UNUSED)
		snprintf(wanted, sizeof(wanted), "Wanted: %s%s. Otherwise: %s.",
			tune_rule_words(info->rule), info->wanted, tune_status_name(info->verdict));
	if (strcmp(info->applies, "true") != 0)
		snprintf(applies, sizeof(applies), "If: %s.", info->applies);
	snprintf(why, sizeof(why), "%s.", info->why);
	reference_put(
		reference, &(struct reference_entry){REFERENCE_NAME, key, {wanted, applies, why}});
}

static void
tune_describe_name(const struct reference *reference, const struct tune_name *name)
{
	char expression[LINE_MAX_BYTES] = "", help[LINE_MAX_BYTES];

	if (name->expression)
		snprintf(expression, sizeof(expression), "Is %s.", name->expression);
	snprintf(help, sizeof(help), "%s.", name->help);
	reference_put(reference,
		&(struct reference_entry){REFERENCE_NAME, name->name, {expression, help}});
}

void
tune_describe(const struct reference *reference)
{
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++)
		tune_describe_row(reference, &ROWS[row]);
	for (size_t i = 0; i < N_NAMES; i++)
		tune_describe_name(reference, &NAMES[i]);
}
