/* ctl_options: the command line of millgatectl. See ctl.h. */
#include "ctl.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/millgate/admin.sock"
#define SOCKET_VARIABLE "MILLGATE_ADMIN_SOCKET"
#define TIMEOUT_DEFAULT_USEC 10000000u
#define TIMEOUT_MIN_USEC 1000u
#define TIMEOUT_MAX_USEC 86400000000u
#define INTERVAL_DEFAULT_USEC 1000000u
#define INTERVAL_MIN_USEC 100000u
#define INTERVAL_MAX_USEC 86400000000u
#define WORKER_MAX 255u
#define LIMIT_MAX 1000000000u

enum {
	LONG_JSON = 256,
	LONG_TIMEOUT,
	LONG_NO_COLOR,
	LONG_SOURCE,
	LONG_LISTENER,
	LONG_WORKER,
	LONG_LIMIT,
	LONG_OVER,
	LONG_INTERVAL,
	LONG_COUNT,
	LONG_SYSCTL,
	LONG_UNIT,
	LONG_APPLY,
};

static const struct option LONG_OPTIONS[] = {
	{"socket", required_argument, NULL, 's'},
	{"json", no_argument, NULL, LONG_JSON},
	{"timeout", required_argument, NULL, LONG_TIMEOUT},
	{"no-color", no_argument, NULL, LONG_NO_COLOR},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{"source", required_argument, NULL, LONG_SOURCE},
	{"listener", required_argument, NULL, LONG_LISTENER},
	{"worker", required_argument, NULL, LONG_WORKER},
	{"limit", required_argument, NULL, LONG_LIMIT},
	{"over", required_argument, NULL, LONG_OVER},
	{"interval", required_argument, NULL, LONG_INTERVAL},
	{"count", required_argument, NULL, LONG_COUNT},
	{"sysctl", no_argument, NULL, LONG_SYSCTL},
	{"unit", no_argument, NULL, LONG_UNIT},
	{"apply", no_argument, NULL, LONG_APPLY},
	{NULL, 0, NULL, 0},
};

enum ctl_exit
ctl_usage_error(const char *verb, const char *format, ...)
{
	va_list args;

	fputs("millgatectl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nTry 'millgatectl help%s%s'.\n", verb ? " " : "", verb ? verb : "");
	return CTL_EXIT_USAGE;
}

static enum ctl_exit
parse_number(const char *option, const char *text, uint64_t max, uint64_t *ret_number)
{
	if (ctl_term_parse_number(text, max, ret_number) == 0)
		return CTL_EXIT_OK;
	return ctl_usage_error(
		NULL, "--%s takes a number from 0 to %" PRIu64 ", not '%s'", option, max, text);
}

static enum ctl_exit
parse_duration(const char *option, const char *text, uint64_t min_usec, uint64_t max_usec,
	uint64_t *ret_usec)
{
	if (ctl_term_parse_duration(text, min_usec, max_usec, ret_usec) == 0)
		return CTL_EXIT_OK;
	return ctl_usage_error(NULL,
		"--%s takes seconds, such as 2, 0.5 or 500ms, from %g to %g, not '%s'", option,
		(double)min_usec / 1e6, (double)max_usec / 1e6, text);
}

static enum ctl_exit
parse_verb_option(struct ctl *ctl, int option, const char *value)
{
	switch (option) {
	case LONG_SOURCE:
		ctl->given |= CTL_OPTION_SOURCE;
		ctl->source = value;
		return CTL_EXIT_OK;
	case LONG_LISTENER:
		ctl->given |= CTL_OPTION_LISTENER;
		ctl->listener = value;
		return CTL_EXIT_OK;
	case LONG_WORKER:
		ctl->given |= CTL_OPTION_WORKER;
		return parse_number("worker", value, WORKER_MAX, &ctl->worker);
	case LONG_LIMIT:
		ctl->given |= CTL_OPTION_LIMIT;
		return parse_number("limit", value, LIMIT_MAX, &ctl->limit);
	case LONG_OVER:
		ctl->given |= CTL_OPTION_OVER;
		ctl->over = value;
		return CTL_EXIT_OK;
	case LONG_INTERVAL:
		ctl->given |= CTL_OPTION_INTERVAL;
		return parse_duration("interval", value, INTERVAL_MIN_USEC, INTERVAL_MAX_USEC,
			&ctl->interval_usec);
	case LONG_COUNT:
		ctl->given |= CTL_OPTION_COUNT;
		return parse_number("count", value, LIMIT_MAX, &ctl->count);
	case LONG_SYSCTL:
		ctl->given |= CTL_OPTION_SYSCTL;
		return CTL_EXIT_OK;
	case LONG_UNIT:
		ctl->given |= CTL_OPTION_UNIT;
		return CTL_EXIT_OK;
	case LONG_APPLY:
		ctl->given |= CTL_OPTION_APPLY;
		return CTL_EXIT_OK;
	default:
		return ctl_usage_error(NULL, "an option is unknown or lacks its value");
	}
}

static enum ctl_exit
parse_option(struct ctl *ctl, int option, const char *value)
{
	switch (option) {
	case 's':
		ctl->server.socket_path = value;
		return CTL_EXIT_OK;
	case LONG_JSON:
		ctl->json = true;
		return CTL_EXIT_OK;
	case LONG_TIMEOUT:
		return parse_duration("timeout", value, TIMEOUT_MIN_USEC, TIMEOUT_MAX_USEC,
			&ctl->server.timeout_usec);
	case LONG_NO_COLOR:
		ctl->color = false;
		return CTL_EXIT_OK;
	case 'h':
		ctl->want_help = true;
		return CTL_EXIT_OK;
	case 'V':
		ctl->want_version = true;
		return CTL_EXIT_OK;
	default:
		return parse_verb_option(ctl, option, value);
	}
}

/* https://no-color.org: any value but the empty one. */
static bool
color_wanted(bool tty)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return tty && !(no_color && no_color[0] != '\0') && term && strcmp(term, "dumb") != 0;
}

static void
options_init(struct ctl *ctl)
{
	const char *path = getenv(SOCKET_VARIABLE);

	memset(ctl, 0, sizeof(*ctl));
	ctl->server.socket_path = path && path[0] != '\0' ? path : DEFAULT_SOCKET;
	ctl->server.timeout_usec = TIMEOUT_DEFAULT_USEC;
	ctl->server.cancel_fd = -1;
	ctl->interval_usec = INTERVAL_DEFAULT_USEC;
	ctl->tty = isatty(STDOUT_FILENO);
	ctl->color = color_wanted(ctl->tty);
}

enum ctl_exit
ctl_options_parse(struct ctl *ctl, int argc, char **argv)
{
	enum ctl_exit r;
	int option;

	options_init(ctl);
	while ((option = getopt_long(argc, argv, "s:hV", LONG_OPTIONS, NULL)) != -1) {
		r = parse_option(ctl, option, optarg);
		if (r != CTL_EXIT_OK)
			return r;
	}
	ctl->args = argv + optind;
	ctl->n_args = argc - optind;
	if (ctl->server.socket_path[0] == '\0')
		return ctl_usage_error(NULL, "--socket needs a path");
	return CTL_EXIT_OK;
}

unsigned
ctl_options_refuse(const struct ctl *ctl, unsigned allowed, const char *verb)
{
	static const struct {
		enum ctl_option option;
		const char *name;
	} names[] = {
		{CTL_OPTION_SOURCE, "source"},
		{CTL_OPTION_LISTENER, "listener"},
		{CTL_OPTION_WORKER, "worker"},
		{CTL_OPTION_LIMIT, "limit"},
		{CTL_OPTION_OVER, "over"},
		{CTL_OPTION_INTERVAL, "interval"},
		{CTL_OPTION_COUNT, "count"},
		{CTL_OPTION_SYSCTL, "sysctl"},
		{CTL_OPTION_UNIT, "unit"},
		{CTL_OPTION_APPLY, "apply"},
	};
	unsigned refused = ctl->given & ~allowed;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!(refused & names[i].option))
			continue;
		ctl_usage_error(verb, "%s does not take --%s", verb, names[i].name);
		break;
	}
	return refused;
}

struct ctl_text
ctl_text_stdout(const struct ctl *ctl)
{
	return (struct ctl_text){.out = stdout, .color = ctl->color};
}
