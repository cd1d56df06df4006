/* tune_machine: see tune_machine.h. */
#include "tune_machine.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "conf_unit.h"
#include "tune_facts.h"

#define BLANKS " \t\n"
#define PAGE_BYTES_DEFAULT 4096
#define PAGE_BYTES_MAX (1 << 20)

/* The text without blanks around it and with one kind of them inside. Changes it. */
static char *
tune_machine_trim(char *text)
{
	size_t length;

	text += strspn(text, BLANKS);
	for (length = strlen(text); length > 0 && strchr(BLANKS, text[length - 1]);)
		text[--length] = '\0';
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\t')
			*p = ' ';
	return text;
}

/* A number from 1 to max. */
static int
tune_machine_count(const char *value, uint64_t max, uint64_t *ret_count)
{
	struct sysctl_numbers numbers;

	if (sysctl_parse(value, &numbers) < 0 || numbers.n != 1 || numbers.at[0] < 1 ||
		numbers.at[0] > max)
		return -EINVAL;
	*ret_count = numbers.at[0];
	return 0;
}

static int
tune_machine_put(struct tune_facts *facts, const char *key, const char *value)
{
	char digits[32];
	uint64_t number;
	json_t *text;

	if (strcmp(key, TUNE_MACHINE_PAGE) == 0)
		return tune_machine_count(value, PAGE_BYTES_MAX, &facts->page_bytes);
	if (strcmp(key, TUNE_MACHINE_CPUS) == 0) {
		if (tune_machine_count(value, UINT_MAX, &number) < 0)
			return -EINVAL;
		facts->cpus = (unsigned)number;
		return 0;
	}
	if (conf_unit_parse_size(value, &number) == 0) {
		snprintf(digits, sizeof(digits), "%" PRIu64, number);
		value = digits;
	}
	text = json_string(value);
	if (!text)
		return -EINVAL; /* not even UTF-8 */
	return json_object_set_new(facts->values, key, text) < 0 ? -ENOMEM : 0;
}

static int
tune_machine_read_line(struct tune_facts *facts, char *line)
{
	char *equals = strchr(line, '=');

	line += strspn(line, BLANKS);
	if (strchr("#;", *line)) /* or nothing */
		return 0;
	if (!equals)
		return -EINVAL;
	*equals = '\0';
	return tune_machine_put(facts, tune_machine_trim(line), tune_machine_trim(equals + 1));
}

static int
tune_machine_read(
	FILE *file, const char *path, struct tune_facts *facts, struct mg_error *reterr_error)
{
	char *line = NULL;
	size_t size = 0;
	unsigned n = 0;
	int r = 0;

	while (r == 0 && getline(&line, &size, file) >= 0)
		r = ++n > TUNE_MACHINE_LINES_MAX ? -E2BIG : tune_machine_read_line(facts, line);
	if (r == -EINVAL)
		mg_error_set(
			reterr_error, r, "%s:%u: is no line \"KEY = VALUE\" of sysctl -a", path, n);
	else if (r == -E2BIG)
		mg_error_set(reterr_error, r, "%s: is too large, allowed are %d lines", path,
			TUNE_MACHINE_LINES_MAX);
	else if (r < 0)
		mg_error_set(reterr_error, r, "out of memory");
	else if (ferror(file))
		r = mg_error_set(
			reterr_error, -errno, "%s: cannot be read: %s", path, strerror(errno));
	free(line);
	return r;
}

int
tune_machine_load(const char *path, struct tune_facts *ret_facts, struct mg_error *reterr_error)
{
	struct tune_facts facts = {
		.values = json_object(),
		.page_bytes = PAGE_BYTES_DEFAULT,
		.cpus = 1,
		.in_flight_limited = true, /* as the unit has it: without capabilities */
	};
	FILE *file = fopen(path, "re");
	int r;

	if (!file) {
		r = mg_error_set(
			reterr_error, -errno, "%s: cannot be read: %s", path, strerror(errno));
	} else {
		r = tune_machine_read(file, path, &facts, reterr_error);
		fclose(file);
	}
	if (r < 0)
		tune_facts_done(&facts);
	else
		*ret_facts = facts;
	return r;
}
