/*
 * conf_report: collects what is wrong with a configuration.
 *
 * Process: both. Pure. Out of memory is remembered, so that callers need not check each message.
 */
#ifndef MILLGATE_CONF_REPORT_H
#define MILLGATE_CONF_REPORT_H

#include <stdbool.h>

#include "conf.h"

struct conf_report {
	const char *origin; /* borrowed */
	struct conf_errors *errors;
	bool no_memory;
};

/* Adds "ORIGIN: PATH: message", or "ORIGIN: message" when the path is empty. */
void conf_report_add(struct conf_report *report, const char *path, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds "ORIGIN:LINE:COLUMN: message". */
void conf_report_add_at(struct conf_report *report, int line, int column, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Whether a further message would only be counted. */
bool conf_report_is_full(const struct conf_report *report);

/* To be called once, after the last message. 0, or -EINVAL if there are any, or -ENOMEM. */
int conf_report_finish(struct conf_report *report) MG_MUST_CHECK;

#endif
