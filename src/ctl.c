/*
 * ctl: millgatectl, the control program: finds the verb and runs it.
 *
 * Process: millgatectl. It talks to the admin socket only, and knows nothing of the gateway's
 * files or processes.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "ctl.h"

#include <assert.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_admin.h"
#include "ctl_list.h"
#include "ctl_status.h"
#include "ctl_top.h"
#include "ctl_tune.h"
#include "ctl_verbs.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

#define HELP_WIDTH 78u

struct verb {
	enum ctl_exit (*run)(const struct ctl *ctl);
	unsigned options; /* enum ctl_option that it takes */
	int min_args, max_args;
};

static enum ctl_exit help_run(const struct ctl *ctl);

static const struct verb VERBS[COMMAND_COUNT] = {
	[COMMAND_STATUS] = {ctl_status_run, 0, 0, 0},
	[COMMAND_HEALTH] = {ctl_verb_health, 0, 0, 0},
	[COMMAND_TOP] = {ctl_top_run, CTL_OPTION_INTERVAL | CTL_OPTION_COUNT, 0, 0},
	[COMMAND_STATS] = {ctl_verb_stats, 0, 0, 0},
	[COMMAND_METRICS] = {ctl_verb_metrics, 0, 0, 0},
	[COMMAND_LIST] = {ctl_list_run,
		CTL_OPTION_SOURCE | CTL_OPTION_LISTENER | CTL_OPTION_WORKER | CTL_OPTION_LIMIT, 0,
		0},
	[COMMAND_SHOW] = {ctl_verb_show, 0, 1, 1},
	[COMMAND_SOURCES] = {ctl_verb_sources, CTL_OPTION_LIMIT, 0, 0},
	[COMMAND_UPSTREAMS] = {ctl_verb_upstreams, 0, 0, 0},
	[COMMAND_UPSTREAM_DISABLE] = {ctl_verb_upstream, CTL_OPTION_LISTENER, 2, 2},
	[COMMAND_KILL] = {ctl_verb_kill, CTL_OPTION_SOURCE | CTL_OPTION_LISTENER, 0, 1},
	[COMMAND_DRAIN] = {ctl_verb_drain, CTL_OPTION_OVER, 0, 0},
	[COMMAND_RESUME] = {ctl_verb_resume, 0, 0, 0},
	[COMMAND_RELOAD] = {ctl_verb_reload, 0, 0, 0},
	[COMMAND_UPGRADE] = {ctl_verb_upgrade, 0, 0, 0},
	[COMMAND_CONFIG] = {ctl_verb_config, 0, 0, 0},
	[COMMAND_TUNE] = {ctl_tune_run, CTL_OPTION_SYSCTL | CTL_OPTION_UNIT | CTL_OPTION_APPLY, 0,
		0},
	[COMMAND_HELP] = {help_run, 0, 0, 1},
};

/* Words of a text, in lines that are indented. */
static void
print_wrapped(FILE *out, const char *text, unsigned indent)
{
	unsigned column = 0;
	size_t length;

	for (; *text != '\0'; text += length + strspn(text + length, " ")) {
		length = strcspn(text, " ");
		if (column > 0 && column + 1 + length > HELP_WIDTH) {
			fputc('\n', out);
			column = 0;
		}
		column += (unsigned)fprintf(
			out, "%*s%.*s", column == 0 ? (int)indent : 1, "", (int)length, text);
	}
	fputc('\n', out);
}

static void
help_print(FILE *out)
{
	const struct command_info *info;
	unsigned i;

	fputs("Usage: millgatectl [-s PATH] [--json] [--timeout SECONDS] VERB ...\n"
	      "\n"
	      "Shows and steers a running millgate through its admin socket.\n"
	      "\n"
	      "Verbs:\n",
		out);
	for (i = 0; i < COMMAND_COUNT; i++) {
		info = commands_info(i);
		if (info->verb[0] == '\0')
			continue;
		fprintf(out, "  %s\n", info->usage);
		print_wrapped(out, info->help, 6);
	}
	fputs("\n"
	      "Options:\n"
	      "  -s, --socket PATH    the admin socket; if not given, MILLGATE_ADMIN_SOCKET\n"
	      "                       in the environment, or /run/millgate/admin.sock\n"
	      "  --json               print the gateway's JSON as it is\n"
	      "  --timeout SECONDS    how long to wait for an answer; 10 if not given\n"
	      "  --no-color           no colours, as with NO_COLOR in the environment\n"
	      "  -h, --help           print this help, or that of a verb\n"
	      "  -V, --version        print the version\n"
	      "\n"
	      "Exit status: 0 done; 1 refused, failed or degraded; 2 wrong usage;\n"
	      "3 the gateway cannot be reached.\n",
		out);
}

static enum ctl_exit
help_run(const struct ctl *ctl)
{
	const char *topic = ctl->n_args > 1 ? ctl->args[1] : NULL;
	enum command command;

	if (!topic) {
		help_print(stdout);
		return CTL_EXIT_OK;
	}
	command = commands_find_verb(topic);
	if (command == COMMAND_COUNT)
		return ctl_usage_error(NULL, "there is no verb '%s'", topic);
	printf("Usage:\n  millgatectl %s\n\n", commands_info(command)->usage);
	print_wrapped(stdout, commands_info(command)->help, 0);
	return CTL_EXIT_OK;
}

static enum ctl_exit
verb_run(const struct ctl *ctl)
{
	const struct verb *verb;
	enum command command;
	int n_args = ctl->n_args - 1;

	if (ctl->n_args == 0)
		return ctl_usage_error(NULL, "say what to do, such as 'millgatectl status'");
	command = commands_find_verb(ctl->args[0]);
	if (command == COMMAND_COUNT)
		return ctl_usage_error(NULL, "there is no verb '%s'", ctl->args[0]);
	verb = &VERBS[command];
	assert(verb->run);
	if (ctl_options_refuse(ctl, verb->options, ctl->args[0]) != 0)
		return CTL_EXIT_USAGE;
	if (n_args < verb->min_args || n_args > verb->max_args)
		return ctl_usage_error(
			ctl->args[0], "usage: millgatectl %s", commands_info(command)->usage);
	return verb->run(ctl);
}

static enum ctl_exit
ctl_run(struct ctl *ctl, int argc, char **argv)
{
	enum ctl_exit r = ctl_options_parse(ctl, argc, argv);

	if (r != CTL_EXIT_OK)
		return r;
	if (ctl->want_version) {
		puts("millgatectl " PACKAGE_VERSION);
		return CTL_EXIT_OK;
	}
	if (!ctl->want_help)
		return verb_run(ctl);
	/* "millgatectl list --help" is "millgatectl help list". */
	ctl->args--;
	ctl->n_args = ctl->n_args > 0 ? 2 : 1;
	return help_run(ctl);
}

int
main(int argc, char **argv)
{
	struct ctl ctl;
	enum ctl_exit r;

	setlocale(LC_CTYPE, "");
	r = ctl_run(&ctl, argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		ctl_complain("the output cannot be written: %s", strerror(errno));
		return CTL_EXIT_FAILED;
	}
	return (int)r;
}
