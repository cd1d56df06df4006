/* bench_options: see bench_options.h. */
#include "bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_unit.h"

#define CHURN_RATE_DEFAULT 100
#define ECHO_SIZE_DEFAULT 32
#define RATE_MAX 1e8
#define DURATION_MAX_USEC (UINT64_C(1000000) * 86400 * 365)

enum option_symbol {
	OPTION_FIRST = 256, /* above every letter */
#define BENCH_GROUP(title)
#define BENCH_OPTION(symbol, name, letter, argument, help) OPTION_##symbol,
#include "bench_option.def"
#undef BENCH_OPTION
	OPTION_END,
};

struct option_row {
	enum option_symbol symbol;
	const char *name, *argument, *help; /* no name: a heading */
	char letter;
};

static const struct option_row OPTION_ROWS[] = {
#undef BENCH_GROUP
#define BENCH_GROUP(title) {.help = title},
#define BENCH_OPTION(symbol, name, letter, argument, help) \
	{OPTION_##symbol, name, argument, help, letter},
#include "bench_option.def"
#undef BENCH_OPTION
#undef BENCH_GROUP
};

#define N_OPTION_ROWS (sizeof(OPTION_ROWS) / sizeof(OPTION_ROWS[0]))

static const char *const WORKLOAD_NAMES[BENCH_WORKLOAD_COUNT] = {
	[BENCH_WORKLOAD_IDLE] = "idle",
	[BENCH_WORKLOAD_RECEIVE] = "receive",
	[BENCH_WORKLOAD_ECHO] = "echo",
	[BENCH_WORKLOAD_SLOW] = "slow",
	[BENCH_WORKLOAD_CHURN] = "churn",
	[BENCH_WORKLOAD_STORM] = "storm",
};

const char *
bench_workload_name(enum bench_workload workload)
{
	return WORKLOAD_NAMES[workload];
}

/* "1000", "100k", "1.5M": a number that may be followed by a multiplier. */
static bool
parse_number(const char *text, double max, double *ret_value)
{
	double value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtod(text, &end);
	if (*end == 'k' || *end == 'M')
		value *= *end++ == 'k' ? 1e3 : 1e6;
	if (errno || *end || !isfinite(value) || value > max)
		return false;
	*ret_value = value;
	return true;
}

static bool
parse_count(const char *text, uint32_t min, uint32_t max, uint32_t *ret_count)
{
	double value;

	if (!parse_number(text, max, &value) || value < min || value != (uint32_t)value)
		return false;
	*ret_count = (uint32_t)value;
	return true;
}

/* A plain number, which may have a fraction, is seconds. */
static bool
parse_duration(const char *text, uint64_t *ret_usec)
{
	double seconds;
	uint64_t usec;

	if (parse_number(text, 1e9, &seconds))
		usec = (uint64_t)(seconds * 1e6);
	else if (conf_unit_parse_duration(text, &usec) < 0)
		return false;
	if (usec > DURATION_MAX_USEC)
		return false;
	*ret_usec = usec;
	return true;
}

static bool
parse_size(const char *text, uint32_t max, uint32_t *ret_bytes)
{
	uint64_t bytes;

	if (parse_count(text, 1, max, ret_bytes))
		return true;
	if (conf_unit_parse_size(text, &bytes) < 0 || bytes < 1 || bytes > max)
		return false;
	*ret_bytes = (uint32_t)bytes;
	return true;
}

static bool
parse_backoff(const char *text, struct bench_options *options)
{
	const char *colon = strchr(text, ':');
	char min[CONF_UNIT_TEXT_MAX];

	if (!colon || (size_t)(colon - text) >= sizeof(min))
		return false;
	memcpy(min, text, (size_t)(colon - text));
	min[colon - text] = '\0';
	return parse_duration(min, &options->backoff_min_usec) &&
	       parse_duration(colon + 1, &options->backoff_max_usec) &&
	       options->backoff_min_usec > 0 &&
	       options->backoff_min_usec <= options->backoff_max_usec;
}

static bool
parse_workload(const char *text, enum bench_workload *ret_workload)
{
	for (unsigned i = 0; i < BENCH_WORKLOAD_COUNT; i++)
		if (strcmp(text, WORKLOAD_NAMES[i]) == 0) {
			*ret_workload = (enum bench_workload)i;
			return true;
		}
	return false;
}

static bool
parse_pid(const char *text, pid_t *ret_pid)
{
	uint32_t pid;
	char path[32];

	if (!parse_count(text, 1, INT32_MAX, &pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%" PRIu32, pid);
	*ret_pid = (pid_t)pid;
	return access(path, F_OK) == 0;
}

/* Those with an argument. False: it is not of the right form. */
static bool
bench_options_set(struct bench_options *options, int symbol, const char *text)
{
	struct mg_error error;

	switch (symbol) {
	case OPTION_CONNECTIONS:
		return parse_count(text, 1, BENCH_CONNECTIONS_MAX, &options->connections);
	case OPTION_PROCESSES:
		return parse_count(text, 1, BENCH_PROCESSES_MAX, &options->processes);
	case OPTION_RATE:
		return parse_number(text, RATE_MAX, &options->rate);
	case OPTION_IN_FLIGHT:
		return parse_count(text, 1, BENCH_CONNECTIONS_MAX, &options->in_flight);
	case OPTION_CONNECT_TIMEOUT:
		return parse_duration(text, &options->connect_timeout_usec);
	case OPTION_SOURCE:
		options->has_source = true;
		return cidr_parse(text, &options->source, &error) == 0;
	case OPTION_BACKOFF:
		return parse_backoff(text, options);
	case OPTION_RECEIVE_BUFFER:
		return parse_size(text, INT32_MAX, &options->receive_buffer_bytes);
	case OPTION_WORKLOAD:
		return parse_workload(text, &options->workload);
	case OPTION_DURATION:
		return parse_duration(text, &options->duration_usec);
	case OPTION_SIZE:
		return parse_size(text, BENCH_SIZE_MAX, &options->size_bytes);
	case OPTION_RATE_ECHO:
		return parse_number(text, RATE_MAX, &options->echo_rate);
	case OPTION_CONCURRENCY:
		return parse_count(text, 1, BENCH_CONNECTIONS_MAX, &options->concurrency);
	case OPTION_HEARTBEAT_INTERVAL:
		return parse_duration(text, &options->heartbeat_interval_usec) &&
		       options->heartbeat_interval_usec > 0;
	case OPTION_COALESCE:
		return parse_duration(text, &options->coalesce_usec);
	case OPTION_CHURN_RATE:
		return parse_number(text, RATE_MAX, &options->churn_rate);
	case OPTION_CHURN_FRACTION:
		return parse_number(text, 1, &options->churn_fraction);
	case OPTION_PID:
		return parse_pid(text, &options->pid);
	case OPTION_CSV:
		options->csv_path = text;
		return true;
	case OPTION_READY_FILE:
		options->ready_path = text;
		return true;
	default:
		return false;
	}
}

static void
bench_options_set_flag(struct bench_options *options, int symbol)
{
	if (symbol == OPTION_RECONNECT)
		options->reconnect = true;
	else if (symbol == OPTION_RESET)
		options->reset = true;
	else if (symbol == OPTION_HOLD)
		options->hold = true;
	else if (symbol == OPTION_SLOW_SEND)
		options->slow_send = true;
	else if (symbol == OPTION_JSON)
		options->json = true;
	else if (symbol == OPTION_ALLOW_LOSS)
		options->allow_loss = true;
	else if (symbol == OPTION_QUIET)
		options->quiet = true;
}

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
	if (options->workload == BENCH_WORKLOAD_STORM && options->churn_rate > 0)
		return mg_error_set(reterr_error, -EINVAL, "a storm does not churn");
	return 0;
}

/* What getopt_long() wants, made of the rows. */
static void
bench_options_getopt(struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (size_t i = 0; i < N_OPTION_ROWS; i++) {
		const struct option_row *row = &OPTION_ROWS[i];

		if (!row->name)
			continue;
		*longs++ = (struct option){.name = row->name,
			.has_arg = row->argument ? required_argument : no_argument,
			.val = (int)row->symbol};
		if (!row->letter)
			continue;
		*shorts++ = row->letter;
		if (row->argument)
			*shorts++ = ':';
	}
	*longs = (struct option){0};
	*shorts = '\0';
}

/* The row of what getopt_long() gave, a symbol or a letter; NULL: it is ':' or '?'. */
static const struct option_row *
bench_options_find(int value)
{
	for (size_t i = 0; i < N_OPTION_ROWS; i++)
		if (OPTION_ROWS[i].name &&
			((int)OPTION_ROWS[i].symbol == value || OPTION_ROWS[i].letter == value))
			return &OPTION_ROWS[i];
	return NULL;
}

enum bench_options_result
bench_options_parse(
	int argc, char **argv, struct bench_options *ret_options, struct mg_error *reterr_error)
{
	struct bench_options options = {
		.connections = 1000,
		.in_flight = 256,
		.connect_timeout_usec = 10000000,
		.duration_usec = 10000000,
		.churn_fraction = 1,
	};
	struct option longs[N_OPTION_ROWS + 1];
	char shorts[2 * N_OPTION_ROWS + 2];
	int value;

	bench_options_getopt(longs, shorts);
	while ((value = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct option_row *row = bench_options_find(value);

		if (!row) {
			mg_error_set(reterr_error, -EINVAL, "%s: %s", argv[optind - 1],
				value == ':' ? "an argument is missing" : "unknown option");
			return BENCH_OPTIONS_WRONG;
		}
		if (row->symbol == OPTION_HELP)
			return BENCH_OPTIONS_HELP;
		if (row->symbol == OPTION_VERSION)
			return BENCH_OPTIONS_VERSION;
		if (!row->argument) {
			bench_options_set_flag(&options, row->symbol);
		} else if (!bench_options_set(&options, row->symbol, optarg)) {
			mg_error_set(reterr_error, -EINVAL, "--%s: found \"%s\": %s", row->name,
				optarg, row->help);
			return BENCH_OPTIONS_WRONG;
		}
	}
	if (bench_options_targets(&options, argv + optind, argc - optind, reterr_error) < 0 ||
		bench_options_finish(&options, reterr_error) < 0)
		return BENCH_OPTIONS_WRONG;
	*ret_options = options;
	return BENCH_OPTIONS_RUN;
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
	for (size_t i = 0; i < N_OPTION_ROWS; i++) {
		const struct option_row *row = &OPTION_ROWS[i];
		char left[64];

		if (!row->name) {
			fprintf(out, "\n%s:\n", row->help);
			continue;
		}
		snprintf(left, sizeof(left), "%c%c%s --%s %s", row->letter ? '-' : ' ',
			row->letter ? row->letter : ' ', row->letter ? "," : " ", row->name,
			row->argument ? row->argument : "");
		fprintf(out, "  %-29s %s\n", left, row->help);
	}
}
