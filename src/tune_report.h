/*
 * tune_report: what tune found: findings, and the settings that would mend them.
 *
 * Process: both. Pure. Several findings may concern one key; its setting does justice to all.
 */
#ifndef MILLGATE_TUNE_REPORT_H
#define MILLGATE_TUNE_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "sysctl.h"

enum tune_where {
	TUNE_SYSCTL,
	TUNE_UNIT,    /* a directive of the systemd unit */
	TUNE_BOOT,    /* as TUNE_SYSCTL, but set by the kernel's command line alone */
	TUNE_MACHINE, /* none of them can help */
	TUNE_CONFIG,  /* a key of the configuration */
};

enum tune_rule {
	TUNE_AT_LEAST,
	TUNE_AT_MOST,
	TUNE_EXACTLY,
	TUNE_UNUSED, /* nothing is asked */
};

/* From the worst on. */
enum tune_status {
	TUNE_HARMFUL,
	TUNE_SHORT,
	TUNE_UNKNOWN, /* it cannot be read */
	TUNE_OK,
	TUNE_STATUS_COUNT,
};

#define TUNE_KEY_MAX 160
#define TUNE_VALUE_MAX 256
#define TUNE_WHY_MAX 768

struct tune_finding {
	enum tune_where where;
	enum tune_rule rule;
	enum tune_status status;
	bool is_want; /* of sysctl.want */
	char key[TUNE_KEY_MAX];
	const char *part;         /* of a value with several numbers: the one meant, or "" */
	char now[TUNE_VALUE_MAX]; /* "" when it is unknown */
	char wanted[TUNE_VALUE_MAX];
	char why[TUNE_WHY_MAX];
	char how[TUNE_VALUE_MAX + TUNE_KEY_MAX + 128]; /* "" when nothing is to be done */
	const char *hint; /* what to do beside setting the key; a constant, or "" */
};

struct tune_setting {
	enum tune_where where; /* TUNE_SYSCTL or TUNE_UNIT */
	char key[TUNE_KEY_MAX];
	char value[TUNE_VALUE_MAX];
	bool needed; /* false: the machine has just what is wanted, probably because we said so */
	char why[2 * TUNE_WHY_MAX];
	struct sysctl_numbers numbers; /* of which the value is made, unless n is 0 */
};

struct tune_report {
	struct tune_finding *findings; /* in order of their status once it is finished */
	size_t n_findings;
	struct tune_setting *settings;
	size_t n_settings;
	bool no_memory;
};

void tune_report_done(struct tune_report *report);

/* A new finding, zeroed but for its key and with "" for texts; NULL if there is no memory, which
 * is remembered. Valid until the next one. */
struct tune_finding *tune_report_add(
	struct tune_report *report, enum tune_where where, const char *key) MG_MUST_CHECK;

/* Does the number keep to the rule? */
bool tune_rule_holds(enum tune_rule rule, uint64_t now, uint64_t wanted);

/*
 * Makes the setting of a key keep to the rule: the number `index` of those that it has now. The
 * numbers of an ascending value are made to ascend. `why` is a sentence, for who reads the setting.
 */
struct tune_change {
	enum tune_where where;
	const char *key;
	const struct sysctl_numbers *now;
	size_t index;
	enum tune_rule rule;
	uint64_t wanted;
	bool ascending;
	const char *why;
};
void tune_report_set(struct tune_report *report, const struct tune_change *change);

/* The same for a value that is no list of numbers. */
void tune_report_set_text(
	struct tune_report *report, const char *key, const char *value, const char *why);

/* The numbers that a setting of the kernel is to have, or else those that it has now. */
struct sysctl_numbers tune_report_numbers(
	const struct tune_report *report, const char *key, const struct sysctl_numbers *now);

/* To be called once, after the last finding: sorts, forgets settings that nobody needs, says how.
 * -ENOMEM. */
int tune_report_finish(struct tune_report *report) MG_MUST_CHECK;

/* How many findings are harmful or fall short. */
size_t tune_report_count_bad(const struct tune_report *report);

/* One line for the log: "KEY is NOW, wanted is at least X: WHY". Returns buf. */
#define TUNE_LINE_MAX (TUNE_KEY_MAX + 2 * TUNE_VALUE_MAX + TUNE_WHY_MAX + 64)
const char *tune_finding_line(const struct tune_finding *finding, char buf[static TUNE_LINE_MAX]);

/* "harmful", "short", "unknown", "ok"; "at_least" and so on; "sysctl", "unit", "machine",
 * "config". */
const char *tune_status_name(enum tune_status status);
const char *tune_rule_name(enum tune_rule rule);
const char *tune_where_name(enum tune_where where);

/* "at least ", "at most ", "": to be said before a wanted value. */
const char *tune_rule_words(enum tune_rule rule);

#endif
