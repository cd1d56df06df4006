/* bench_option_row: see bench_option_row.h. */
#include "bench_option_row.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_unit.h"

#define BENCH_DURATION_MAX_USEC (UINT64_C(1000000) * 86400 * 365)
#define BENCH_RATE_MAX 100000000

const struct bench_option_row BENCH_OPTION_ROWS[] = {
#define BENCH_GROUP(title) {.help = title},
#define BENCH_OPTION(symbol, name, letter, argument, field, type, default_text, min, max, help) \
	{name, argument, help, default_text, min, max, offsetof(struct bench_options, field),   \
		BENCH_OPTION_##type, letter},
#include "bench_option.def"
#undef BENCH_OPTION
#undef BENCH_GROUP
};
const unsigned BENCH_OPTION_ROW_COUNT = sizeof(BENCH_OPTION_ROWS) / sizeof(BENCH_OPTION_ROWS[0]);

static const char *const PROTOCOL_NAMES[BENCH_PROTOCOL_COUNT] = {
	[BENCH_PROTOCOL_RAW] = "raw",
	[BENCH_PROTOCOL_WEBSOCKET] = "websocket",
};

static const char *const WORKLOAD_NAMES[BENCH_WORKLOAD_COUNT] = {
	[BENCH_WORKLOAD_IDLE] = "idle",
	[BENCH_WORKLOAD_RECEIVE] = "receive",
	[BENCH_WORKLOAD_ECHO] = "echo",
	[BENCH_WORKLOAD_SLOW] = "slow",
	[BENCH_WORKLOAD_CHURN] = "churn",
	[BENCH_WORKLOAD_STORM] = "storm",
};

const char *
bench_protocol_name(enum bench_protocol protocol)
{
	return PROTOCOL_NAMES[protocol];
}

const char *
bench_workload_name(enum bench_workload workload)
{
	return WORKLOAD_NAMES[workload];
}

/* "1000", "100k", "1.5M": a number that may be followed by a multiplier. */
static bool
parse_number(const char *text, double min, double max, double *ret_value)
{
	double value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtod(text, &end);
	if (*end == 'k' || *end == 'M')
		value *= *end++ == 'k' ? 1e3 : 1e6;
	if (errno || *end || !isfinite(value) || value < min || value > max)
		return false;
	*ret_value = value;
	return true;
}

static bool
parse_count(const char *text, uint64_t min, uint64_t max, uint32_t *ret_count)
{
	double value;

	if (!parse_number(text, (double)min, (double)max, &value) || value != (uint32_t)value)
		return false;
	*ret_count = (uint32_t)value;
	return true;
}

/* A plain number, which may have a fraction, is seconds. */
static bool
parse_duration(const char *text, uint64_t min, uint64_t max, uint64_t *ret_usec)
{
	double seconds;
	uint64_t usec;

	if (parse_number(text, 0, 1e9, &seconds))
		usec = (uint64_t)(seconds * 1e6);
	else if (conf_unit_parse_duration(text, &usec) < 0)
		return false;
	if (usec < min || usec > max)
		return false;
	*ret_usec = usec;
	return true;
}

static bool
parse_size(const char *text, uint64_t min, uint64_t max, uint32_t *ret_bytes)
{
	uint64_t bytes;

	if (parse_count(text, min, max, ret_bytes))
		return true;
	if (conf_unit_parse_size(text, &bytes) < 0 || bytes < min || bytes > max)
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
	return parse_duration(min, 1, BENCH_DURATION_MAX_USEC, &options->backoff_min_usec) &&
	       parse_duration(colon + 1, options->backoff_min_usec, BENCH_DURATION_MAX_USEC,
		       &options->backoff_max_usec);
}

/* What goes into the head of a handshake as it is. */
static bool
parse_visible(const char *text, uint64_t min, uint64_t max, const char **ret_text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	*ret_text = text;
	return length >= min && length <= max;
}

static bool
parse_protocol(const char *text, enum bench_protocol *ret_protocol)
{
	for (unsigned i = 0; i < BENCH_PROTOCOL_COUNT; i++)
		if (strcmp(text, PROTOCOL_NAMES[i]) == 0) {
			*ret_protocol = (enum bench_protocol)i;
			return true;
		}
	return false;
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
parse_source(const char *text, struct bench_options *options)
{
	struct mg_error error;

	options->has_source = true;
	return cidr_parse(text, &options->source, &error) == 0;
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

/* False: it is not of the right form, or out of range. */
static bool
bench_option_parse(
	const struct bench_option_row *row, const char *text, struct bench_options *options)
{
	void *field = (char *)options + row->offset;

	switch (row->type) {
	case BENCH_OPTION_FLAG:
		*(bool *)field = true;
		return true;
	case BENCH_OPTION_COUNT:
		return parse_count(text, row->min, row->max, field);
	case BENCH_OPTION_NUMBER:
		return parse_number(text, (double)row->min, (double)row->max, field);
	case BENCH_OPTION_DURATION:
		return parse_duration(text, row->min, row->max, field);
	case BENCH_OPTION_SIZE:
		return parse_size(text, row->min, row->max, field);
	case BENCH_OPTION_TEXT:
		*(const char **)field = text;
		return true;
	case BENCH_OPTION_VISIBLE:
		return parse_visible(text, row->min, row->max, field);
	case BENCH_OPTION_PROTOCOL:
		return parse_protocol(text, field);
	case BENCH_OPTION_SOURCE:
		return parse_source(text, options);
	case BENCH_OPTION_BACKOFF:
		return parse_backoff(text, options);
	case BENCH_OPTION_WORKLOAD:
		return parse_workload(text, field);
	case BENCH_OPTION_PID:
		return parse_pid(text, field);
	}
	return false;
}

int
bench_option_set(const struct bench_option_row *row, const char *text,
	struct bench_options *options, struct mg_error *reterr_error)
{
	char allowed[BENCH_OPTION_ALLOWED_MAX];

	if (bench_option_parse(row, text, options))
		return 0;
	bench_option_allowed(row, allowed);
	return mg_error_set(reterr_error, -EINVAL, "--%s: found \"%s\"%s%s: %s", row->name, text,
		*allowed ? ", allowed are " : "", allowed, row->help);
}

const char *
bench_option_allowed(const struct bench_option_row *row, char buf[static BENCH_OPTION_ALLOWED_MAX])
{
	char min[CONF_UNIT_TEXT_MAX] = "", max[CONF_UNIT_TEXT_MAX] = "";

	switch (row->type) {
	case BENCH_OPTION_COUNT:
	case BENCH_OPTION_NUMBER:
		snprintf(min, sizeof(min), "%" PRIu64, row->min);
		snprintf(max, sizeof(max), "%" PRIu64, row->max);
		break;
	case BENCH_OPTION_DURATION:
		conf_unit_format_duration(row->min, min);
		conf_unit_format_duration(row->max, max);
		break;
	case BENCH_OPTION_SIZE:
		conf_unit_format_size(row->min, min);
		conf_unit_format_size(row->max, max);
		break;
	default:
		break;
	}
	snprintf(buf, BENCH_OPTION_ALLOWED_MAX, "%s%s%s", min, *max ? " to " : "", max);
	return buf;
}
