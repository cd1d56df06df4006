/* bench_describe: see bench_describe.h. */
#include "bench_describe.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "bench_option_row.h"

#define LINE_MAX_BYTES 512

/* The one line of a table as a sentence. Returns buf. */
static const char *
describe_sentence(const char *text, char buf[static LINE_MAX_BYTES])
{
	snprintf(buf, LINE_MAX_BYTES, "%c%s.", toupper((unsigned char)*text), text + 1);
	return buf;
}

static void
describe_option(const struct reference *reference, const struct bench_option_row *row)
{
	char usage[LINE_MAX_BYTES], help[LINE_MAX_BYTES], facts[LINE_MAX_BYTES];
	char letter[] = {'-', row->letter, ',', ' ', '\0'}, allowed[BENCH_OPTION_ALLOWED_MAX];
	bool has_default = *row->default_text != '\0';

	bench_option_allowed(row, allowed);
	snprintf(usage, sizeof(usage), "%s--%s %s", row->letter ? letter : "", row->name,
		row->argument ? row->argument : "");
	snprintf(facts, sizeof(facts), "%s%s%s%s%s%s", has_default ? "Default: " : "",
		row->default_text, has_default ? ". " : "", *allowed ? "Allowed: " : "", allowed,
		*allowed ? "." : "");
	reference_put(reference, &(struct reference_entry){REFERENCE_USAGE, usage,
					 {describe_sentence(row->help, help), facts}});
}

static void
describe_options(const struct reference *reference)
{
	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++)
		if (BENCH_OPTION_ROWS[i].name)
			describe_option(reference, &BENCH_OPTION_ROWS[i]);
}

static void
describe_counter(
	const struct reference *reference, const char *name, const char *kind, const char *help)
{
	char line[LINE_MAX_BYTES];

	reference_put(reference, &(struct reference_entry){REFERENCE_NAME, name,
					 {kind, describe_sentence(help, line)}});
}

static void
describe_counters(const struct reference *reference)
{
#define GAUGE "How many there are at that moment."
#define COUNT "How many came in that second."
#define BENCH_COUNTER(symbol, name, kind, help) describe_counter(reference, name, kind, help);
#include "bench_counter.def"
#undef BENCH_COUNTER
#undef COUNT
#undef GAUGE
}

static void
describe_hint(const struct reference *reference, const char *error, const char *text)
{
	char line[LINE_MAX_BYTES];

	reference_put(reference,
		&(struct reference_entry){REFERENCE_ERROR, error, {describe_sentence(text, line)}});
}

static void
describe_hints(const struct reference *reference)
{
#define BENCH_HINT(error, text) describe_hint(reference, #error, text);
#include "bench_hint.def"
#undef BENCH_HINT
}

int
bench_describe(const char *name, const struct reference *reference)
{
	static const struct {
		const char *name;
		void (*describe)(const struct reference *reference);
	} tables[] = {
		{"options", describe_options},
		{"counters", describe_counters},
		{"hints", describe_hints},
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcmp(name, tables[i].name) == 0) {
			reference_begin(reference);
			tables[i].describe(reference);
			reference_end(reference);
			return 0;
		}
	return -ENOENT;
}
