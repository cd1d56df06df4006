/*
 * ctl: what millgatectl was asked to do. Process: millgatectl.
 */
#ifndef MILLGATE_CTL_H
#define MILLGATE_CTL_H

#include "commands.h"
#include "ctl_http.h"
#include "ctl_text.h"

enum ctl_exit {
	CTL_EXIT_OK = 0,
	CTL_EXIT_FAILED = 1,      /* refused, failed, or not well */
	CTL_EXIT_USAGE = 2,       /* asked for wrongly */
	CTL_EXIT_UNREACHABLE = 3, /* nobody answers on the socket */
};

/* Options that only some verbs take. */
enum ctl_option {
	CTL_OPTION_SOURCE = 1 << 0,
	CTL_OPTION_LISTENER = 1 << 1,
	CTL_OPTION_WORKER = 1 << 2,
	CTL_OPTION_LIMIT = 1 << 3,
	CTL_OPTION_OVER = 1 << 4,
	CTL_OPTION_INTERVAL = 1 << 5,
	CTL_OPTION_COUNT = 1 << 6,
	CTL_OPTION_SYSCTL = 1 << 7,
	CTL_OPTION_UNIT = 1 << 8,
	CTL_OPTION_APPLY = 1 << 9,
};

struct ctl {
	struct ctl_http_server server;
	bool json;
	bool tty; /* stdout is a terminal */
	bool color;
	bool want_help, want_version;
	unsigned given; /* enum ctl_option */
	const char *source, *listener, *over;
	uint64_t worker, limit, count, interval_usec;
	char **args; /* the verb and what follows it, without options */
	int n_args;
};

/* Fills ctl from the command line. CTL_EXIT_USAGE: it made no sense, and stderr says so. */
enum ctl_exit ctl_options_parse(struct ctl *ctl, int argc, char **argv);

/* The options that a verb was given but does not take; 0: none, otherwise told on stderr. */
unsigned ctl_options_refuse(const struct ctl *ctl, unsigned allowed, const char *verb);

/* Ends a run that was asked for wrongly: the text, and where help is. */
enum ctl_exit ctl_usage_error(const char *verb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Text for stdout, as ctl wants it. */
struct ctl_text ctl_text_stdout(const struct ctl *ctl);

#endif
