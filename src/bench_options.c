/* bench_options: see bench_options.h. */
#include "bench_options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench_option_row.h"

#define CHURN_RATE_DEFAULT 100
#define ECHO_SIZE_DEFAULT 32
#define OPTION_ROWS_MAX 64
#define OPTION_FIRST 256 /* above every letter; then the index of the row */

static int
bench_options_targets(
	struct bench_options *options, char **texts, int n, struct mg_error *reterr_error)
{
	struct mg_error error;

	if (n < 1 || n > (int)BENCH_TARGETS_MAX)
		return mg_error_set(reterr_error, -EINVAL, "found %d targets, allowed are 1 to %u",
			n, BENCH_TARGETS_MAX);
	for (int i = 0; i < n; i++) {
		struct bench_target *target = &options->targets[i];

		if (addr_parse_listen(texts[i], &target->address, &target->length, &error) < 0)
			return mg_error_set(reterr_error, -EINVAL, "%s: %s", texts[i], error.text);
		options->target_names[i] = texts[i];
	}
	options->n_targets = (uint32_t)n;
	return 0;
}

static int
bench_options_finish(struct bench_options *options, struct mg_error *reterr_error)
{
	bool receives = options->workload == BENCH_WORKLOAD_RECEIVE;

	if (options->workload == BENCH_WORKLOAD_CHURN && options->churn_rate == 0)
		options->churn_rate = CHURN_RATE_DEFAULT;
	if (options->workload == BENCH_WORKLOAD_ECHO && options->size_bytes == 0)
		options->size_bytes = ECHO_SIZE_DEFAULT;
	if (options->heartbeat_interval_usec && !receives)
		return mg_error_set(
			reterr_error, -EINVAL, "--heartbeat-interval is for --workload receive");
	if (options->coalesce_usec && !receives)
		return mg_error_set(reterr_error, -EINVAL, "--coalesce is for --workload receive");
	if (*options->path != '/')
		return mg_error_set(reterr_error, -EINVAL,
			"--path: found \"%s\", allowed are paths "
			"that begin with /",
			options->path);
	if (options->workload == BENCH_WORKLOAD_STORM && options->churn_rate > 0)
		return mg_error_set(reterr_error, -EINVAL, "a storm does not churn");
	return 0;
}

/* What getopt_long() wants, made of the rows. */
static void
bench_options_getopt(struct option longs[static OPTION_ROWS_MAX + 1],
	char shorts[static 2 * OPTION_ROWS_MAX + 2])
{
	assert(BENCH_OPTION_ROW_COUNT <= OPTION_ROWS_MAX);
	*shorts++ = ':';
	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++) {
		const struct bench_option_row *row = &BENCH_OPTION_ROWS[i];

		if (!row->name)
			continue;
		*longs++ = (struct option){.name = row->name,
			.has_arg = row->argument ? required_argument : no_argument,
			.val = OPTION_FIRST + (int)i};
		if (!row->letter)
			continue;
		*shorts++ = row->letter;
		if (row->argument)
			*shorts++ = ':';
	}
	*longs = (struct option){0};
	*shorts = '\0';
}

/* The row of what getopt_long() gave, an index or a letter; NULL: it is ':' or '?'. */
static const struct bench_option_row *
bench_options_find(int value)
{
	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++) {
		const struct bench_option_row *row = &BENCH_OPTION_ROWS[i];

		if (row->name && (OPTION_FIRST + (int)i == value || row->letter == value))
			return row;
	}
	return NULL;
}

static struct bench_options
bench_options_defaults(void)
{
	struct bench_options options = {0};

	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++) {
		const struct bench_option_row *row = &BENCH_OPTION_ROWS[i];
		int r = 0;

		if (row->name && *row->default_text != '\0')
			r = bench_option_set(row, row->default_text, &options, NULL);
		assert(r == 0);
	}
	return options;
}

enum bench_options_result
bench_options_parse(
	int argc, char **argv, struct bench_options *ret_options, struct mg_error *reterr_error)
{
	struct bench_options options = bench_options_defaults();
	struct option longs[OPTION_ROWS_MAX + 1];
	char shorts[2 * OPTION_ROWS_MAX + 2];
	int value;

	bench_options_getopt(longs, shorts);
	while ((value = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct bench_option_row *row = bench_options_find(value);

		if (!row) {
			mg_error_set(reterr_error, -EINVAL, "%s: %s", argv[optind - 1],
				value == ':' ? "an argument is missing" : "unknown option");
			return BENCH_OPTIONS_WRONG;
		}
		if (bench_option_set(row, optarg, &options, reterr_error) < 0)
			return BENCH_OPTIONS_WRONG;
		if (options.help)
			return BENCH_OPTIONS_HELP;
		if (options.version)
			return BENCH_OPTIONS_VERSION;
	}
	if (!options.describe &&
		(bench_options_targets(&options, argv + optind, argc - optind, reterr_error) < 0 ||
			bench_options_finish(&options, reterr_error) < 0))
		return BENCH_OPTIONS_WRONG;
	*ret_options = options;
	return options.describe ? BENCH_OPTIONS_DESCRIBE : BENCH_OPTIONS_RUN;
}

static void
bench_options_help_row(FILE *out, const struct bench_option_row *row)
{
	bool has_default = *row->default_text != '\0';
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s --%s %s", row->letter ? '-' : ' ',
		row->letter ? row->letter : ' ', row->letter ? "," : " ", row->name,
		row->argument ? row->argument : "");
	fprintf(out, "  %-29s %s%s%s%s\n", left, row->help, has_default ? " (" : "",
		row->default_text, has_default ? ")" : "");
}

void
bench_options_help(FILE *out)
{
	fputs("usage: millgate-bench [options] TARGET...\n"
	      "\n"
	      "Opens many connections to a server and measures what becomes of them. A TARGET is\n"
	      "127.0.0.1:7000, [::1]:7000 or unix:/path. TIME is 10s, 250ms, 1h30m or plain\n"
	      "seconds, SIZE is 64KiB or plain bytes.\n",
		out);
	for (unsigned i = 0; i < BENCH_OPTION_ROW_COUNT; i++) {
		const struct bench_option_row *row = &BENCH_OPTION_ROWS[i];

		if (row->name)
			bench_options_help_row(out, row);
		else
			fprintf(out, "\n%s:\n", row->help);
	}
}
