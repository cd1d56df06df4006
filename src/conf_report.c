/* conf_report: see conf_report.h. */
#include "conf_report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Takes ownership of `message`; NULL means that there was no memory for it. */
static void
conf_report_take(struct conf_report *report, char *message)
{
	struct conf_errors *errors = report->errors;

	if (message && !errors->items)
		/* One more for the line that says how many were dropped. */
		errors->items = calloc(CONF_ERRORS_MAX + 1, sizeof(*errors->items));
	if (!message || !errors->items) {
		free(message);
		report->no_memory = true;
		return;
	}
	errors->items[errors->n++] = message;
}

static char *
conf_report_join(const char *head, const char *format, va_list args)
{
	char *message, *line;

	if (vasprintf(&message, format, args) < 0)
		return NULL;
	if (asprintf(&line, "%s: %s", head, message) < 0)
		line = NULL;
	free(message);
	return line;
}

void
conf_report_add(struct conf_report *report, const char *path, const char *format, ...)
{
	va_list args;
	char *head;

	if (conf_report_is_full(report)) {
		report->errors->n_dropped++;
		return;
	}
	if (asprintf(&head, "%s%s%s", report->origin, *path != '\0' ? ": " : "", path) < 0) {
		report->no_memory = true;
		return;
	}
	va_start(args, format);
	conf_report_take(report, conf_report_join(head, format, args));
	va_end(args);
	free(head);
}

void
conf_report_add_at(struct conf_report *report, int line, int column, const char *format, ...)
{
	va_list args;
	char *head;

	if (asprintf(&head, "%s:%d:%d", report->origin, line, column) < 0) {
		report->no_memory = true;
		return;
	}
	va_start(args, format);
	conf_report_take(report, conf_report_join(head, format, args));
	va_end(args);
	free(head);
}

bool
conf_report_is_full(const struct conf_report *report)
{
	return report->errors->n >= CONF_ERRORS_MAX;
}

int
conf_report_finish(struct conf_report *report)
{
	char *last;

	if (report->errors->n_dropped > 0) {
		if (asprintf(&last, "%s: and %zu more errors", report->origin,
			    report->errors->n_dropped) < 0)
			last = NULL;
		conf_report_take(report, last);
	}
	if (report->no_memory)
		return -ENOMEM;
	return report->errors->n > 0 ? -EINVAL : 0;
}

void
conf_errors_done(struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		free(errors->items[i]);
	free(errors->items);
	*errors = (struct conf_errors){0};
}
