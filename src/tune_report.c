/* tune_report: see tune_report.h. */
#include "tune_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
tune_report_done(struct tune_report *report)
{
	free(report->findings);
	free(report->settings);
	*report = (struct tune_report){0};
}

/* Room for one more of them, or NULL. */
static void *
tune_report_grow(struct tune_report *report, void *items, size_t n, size_t size)
{
	void *grown = reallocarray(items, n + 1, size);

	if (grown)
		memset((char *)grown + n * size, 0, size);
	else
		report->no_memory = true;
	return grown;
}

struct tune_finding *
tune_report_add(struct tune_report *report, enum tune_where where, const char *key)
{
	struct tune_finding *findings =
		tune_report_grow(report, report->findings, report->n_findings, sizeof(*findings));
	struct tune_finding *finding;

	if (!findings)
		return NULL;
	report->findings = findings;
	finding = &findings[report->n_findings++];
	finding->where = where;
	finding->part = finding->hint = "";
	snprintf(finding->key, sizeof(finding->key), "%s", key);
	return finding;
}

bool
tune_rule_holds(enum tune_rule rule, uint64_t now, uint64_t wanted)
{
	switch (rule) {
	case TUNE_AT_LEAST:
		return now >= wanted;
	case TUNE_AT_MOST:
		return now <= wanted;
	case TUNE_EXACTLY:
		return now == wanted;
	case TUNE_UNUSED:
		break;
	}
	return true;
}

static struct tune_setting *
tune_report_find(const struct tune_report *report, enum tune_where where, const char *key)
{
	for (size_t i = 0; i < report->n_settings; i++)
		if (report->settings[i].where == where && strcmp(report->settings[i].key, key) == 0)
			return &report->settings[i];
	return NULL;
}

/* The setting of the key, made if there is none; NULL: no memory. */
static struct tune_setting *
tune_report_need(struct tune_report *report, enum tune_where where, const char *key)
{
	struct tune_setting *setting = tune_report_find(report, where, key), *settings;

	if (setting)
		return setting;
	settings =
		tune_report_grow(report, report->settings, report->n_settings, sizeof(*settings));
	if (!settings)
		return NULL;
	report->settings = settings;
	setting = &settings[report->n_settings++];
	setting->where = where;
	snprintf(setting->key, sizeof(setting->key), "%s", key);
	return setting;
}

static void
tune_setting_explain(struct tune_setting *setting, const char *why)
{
	size_t used = strlen(setting->why);

	/* Two rows may have one reason. */
	if (!strstr(setting->why, why))
		snprintf(setting->why + used, sizeof(setting->why) - used, "%s%s",
			used > 0 ? " " : "", why);
}

/* Neighbours follow: what is raised does not pass the next one, nor the other way round. */
static void
tune_numbers_ascend(struct sysctl_numbers *numbers, size_t index)
{
	for (size_t i = index + 1; i < numbers->n; i++)
		if (numbers->at[i] < numbers->at[index])
			numbers->at[i] = numbers->at[index];
}

static void
tune_numbers_descend(struct sysctl_numbers *numbers, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (numbers->at[i] > numbers->at[index])
			numbers->at[i] = numbers->at[index];
}

void
tune_report_set(struct tune_report *report, const struct tune_change *change)
{
	bool holds = tune_rule_holds(change->rule, change->now->at[change->index], change->wanted);
	bool just = change->now->at[change->index] == change->wanted;
	struct tune_setting *setting;
	uint64_t *number;

	if (holds && !just)
		return;
	setting = tune_report_need(report, change->where, change->key);
	if (!setting)
		return;
	if (setting->numbers.n == 0)
		setting->numbers = *change->now;
	number = &setting->numbers.at[change->index];
	tune_setting_explain(setting, change->why);
	setting->needed |= !holds;
	/* Another demand may have moved it already. */
	if (tune_rule_holds(change->rule, *number, change->wanted))
		return;
	*number = change->wanted;
	if (change->ascending && change->rule == TUNE_AT_LEAST)
		tune_numbers_ascend(&setting->numbers, change->index);
	if (change->ascending && change->rule == TUNE_AT_MOST)
		tune_numbers_descend(&setting->numbers, change->index);
}

void
tune_report_set_text(
	struct tune_report *report, const char *key, const char *value, const char *why)
{
	struct tune_setting *setting = tune_report_need(report, TUNE_SYSCTL, key);

	if (!setting)
		return;
	setting->needed = true;
	snprintf(setting->value, sizeof(setting->value), "%s", value);
	tune_setting_explain(setting, why);
}

struct sysctl_numbers
tune_report_numbers(
	const struct tune_report *report, const char *key, const struct sysctl_numbers *now)
{
	const struct tune_setting *setting = tune_report_find(report, TUNE_SYSCTL, key);

	return setting && setting->numbers.n > 0 ? setting->numbers : *now;
}

/* The command or the line that does it. */
static void
tune_finding_say_how(struct tune_finding *finding, const struct tune_setting *setting)
{
	const char *quote = setting && strchr(setting->value, ' ') ? "'" : "";
	const char *hint = finding->hint;
	size_t size = sizeof(finding->how), used;

	if (finding->how[0] != '\0') /* somebody knew better */
		return;
	if (setting && setting->where == TUNE_SYSCTL)
		snprintf(finding->how, size, "sysctl -w %s%s=%s%s", quote, setting->key,
			setting->value, quote);
	else if (setting)
		snprintf(finding->how, size, "%s=%s in the unit (systemctl edit millgate)",
			setting->key, setting->value);
	used = strlen(finding->how);
	if (*hint != '\0')
		snprintf(finding->how + used, size - used, "%s%s", used > 0 ? "; " : "", hint);
	used = strlen(finding->how);
	if (finding->status == TUNE_HARMFUL)
		snprintf(finding->how + used, size - used,
			"; and take it out of the file below /etc that sets it");
}

static void
tune_report_say_how(struct tune_report *report)
{
	for (size_t i = 0; i < report->n_findings; i++) {
		struct tune_finding *finding = &report->findings[i];

		if (finding->status == TUNE_UNKNOWN && finding->where == TUNE_SYSCTL)
			snprintf(finding->how, sizeof(finding->how),
				"it cannot be read here; if this is a container, look on its host");
		else if (finding->status < TUNE_UNKNOWN)
			tune_finding_say_how(
				finding, tune_report_find(report, finding->where, finding->key));
	}
}

static void
tune_report_make_values(struct tune_report *report)
{
	for (size_t i = 0; i < report->n_settings; i++) {
		struct tune_setting *setting = &report->settings[i];

		if (setting->numbers.n > 0)
			sysctl_format(&setting->numbers, setting->value);
	}
}

static int
tune_report_sort(struct tune_report *report)
{
	struct tune_finding *sorted = calloc(report->n_findings + 1, sizeof(*sorted));
	size_t n = 0;

	if (!sorted)
		return -ENOMEM;
	for (enum tune_status status = 0; status < TUNE_STATUS_COUNT; status++)
		for (size_t i = 0; i < report->n_findings; i++)
			if (report->findings[i].status == status)
				sorted[n++] = report->findings[i];
	free(report->findings);
	report->findings = sorted;
	return 0;
}

int
tune_report_finish(struct tune_report *report)
{
	if (report->no_memory)
		return -ENOMEM;
	tune_report_make_values(report);
	tune_report_say_how(report);
	return tune_report_sort(report);
}

size_t
tune_report_count_bad(const struct tune_report *report)
{
	size_t n = 0;

	while (n < report->n_findings && report->findings[n].status < TUNE_UNKNOWN)
		n++;
	return n;
}

const char *
tune_finding_line(const struct tune_finding *finding, char buf[static TUNE_LINE_MAX])
{
	bool has_part = finding->part[0] != '\0';

	snprintf(buf, TUNE_LINE_MAX, "%s%s%s%s is %s, wanted is %s%s: %s", finding->key,
		has_part ? " (" : "", finding->part, has_part ? ")" : "",
		finding->now[0] != '\0' ? finding->now : "unknown", tune_rule_words(finding->rule),
		finding->wanted, finding->why);
	return buf;
}

const char *
tune_status_name(enum tune_status status)
{
	static const char *const names[TUNE_STATUS_COUNT] = {
		[TUNE_HARMFUL] = "harmful",
		[TUNE_SHORT] = "short",
		[TUNE_UNKNOWN] = "unknown",
		[TUNE_OK] = "ok",
	};
	return names[status];
}

const char *
tune_rule_name(enum tune_rule rule)
{
	static const char *const names[] = {
		[TUNE_AT_LEAST] = "at_least",
		[TUNE_AT_MOST] = "at_most",
		[TUNE_EXACTLY] = "exactly",
		[TUNE_UNUSED] = "unused",
	};
	return names[rule];
}

const char *
tune_rule_words(enum tune_rule rule)
{
	switch (rule) {
	case TUNE_AT_LEAST:
		return "at least ";
	case TUNE_AT_MOST:
		return "at most ";
	default:
		return "";
	}
}

const char *
tune_where_name(enum tune_where where)
{
	static const char *const names[] = {
		[TUNE_SYSCTL] = "sysctl",
		[TUNE_UNIT] = "unit",
		[TUNE_BOOT] = "boot",
		[TUNE_MACHINE] = "machine",
		[TUNE_CONFIG] = "config",
	};
	return names[where];
}
