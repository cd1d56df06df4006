/*
 * tune_print: the tuning advice as JSON, and that JSON as text for a person, for sysctl(8) and for
 * systemd.
 *
 * Process: all. Pure. What is printed may come from elsewhere: it is made harmless, and keys and
 * values that are none are left out.
 */
#ifndef MILLGATE_TUNE_PRINT_H
#define MILLGATE_TUNE_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

struct tune_report;

/* What GET /tuning answers; NULL: no memory. */
json_t *tune_to_json(const struct tune_report *report);

/* All of these take such an answer. */

/* Findings that are harmful or fall short. */
size_t tune_count_bad(const json_t *tuning);

/* A table, the worst first, with a sentence for each and a last line that sums up. */
void tune_print_table(FILE *out, const json_t *tuning, bool color);

/* Drop-ins for /etc/sysctl.d and for the unit: what falls short, or is just what is wanted now. */
void tune_print_sysctl(FILE *out, const json_t *tuning);
void tune_print_unit(FILE *out, const json_t *tuning);

/* Reads one of "settings". False: it is not for `where` ("sysctl", "unit"), or its key or value is
 * none that we would give. The texts are borrowed. */
bool tune_setting_read(
	const json_t *setting, const char *where, const char **ret_key, const char **ret_value);

#endif
