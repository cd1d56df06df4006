/* main: the arguments of millgated. Process: before there is one. */
#include "config.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "describe.h"
#include "park_store.h"
#include "supervisor.h"
#include "tune_show.h"

#define MAIN_USAGE_ERROR 2

enum main_action {
	MAIN_RUN,
	MAIN_CHECK,
	MAIN_PRINT_CONFIG,
	MAIN_JSON_SCHEMA,
	MAIN_DESCRIBE,
	MAIN_TUNE,
};

struct main_arguments {
	enum main_action action;
	const char *conf_path;
	const char *table; /* --describe */
	enum reference_form reference_form;
	enum tune_form tune_form; /* --tune */
	const char *machine_path; /* NULL: this one */
};

static void
main_help(FILE *out)
{
	fprintf(out,
		"Usage: millgated [OPTION]\n"
		"\n"
		"Holds client connections, in the foreground, until SIGTERM or SIGINT.\n"
		"\n"
		"  -c, --config FILE      the configuration (%s)\n"
		"      --check FILE       check a configuration: exit with 0, or name every error\n"
		"                         and exit with 1\n"
		"      --print-config     print the effective configuration, every key and value\n"
		"      --json-schema      print a JSON Schema of the configuration, for editors\n"
		"      --describe=TABLE   print a reference: conf, metrics, commands,\n"
		"                         close_reasons or sysctl\n"
		"      --mdoc             with --describe: as a part of a manual page\n"
		"      --tune             compare what the machine allows with what the\n"
		"                         configuration needs, and exit with 1 when something\n"
		"                         falls short or harms\n"
		"      --sysctl, --unit, --json\n"
		"                         with --tune: print a file for /etc/sysctl.d, a drop-in\n"
		"                         of the systemd unit, or JSON\n"
		"      --machine FILE     with --tune: of another machine, as sysctl -a prints it\n"
		"  -V, --version          print the version\n"
		"  -h, --help             print this\n"
		"\n"
		"SIGHUP reads the configuration again. millgatectl shows and steers the gateway.\n",
		MILLGATE_CONF_PATH);
}

static int main_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int
main_usage_error(const char *format, ...)
{
	va_list args;

	fputs("millgated: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\nTry 'millgated --help'.\n", stderr);
	return MAIN_USAGE_ERROR;
}

/* Options that qualify another one stand beside it. -1: go on. Otherwise the exit status. */
static int
main_check_combination(const struct main_arguments *arguments)
{
	if (arguments->tune_form != TUNE_FORM_TABLE && arguments->action != MAIN_TUNE)
		return main_usage_error("--sysctl, --unit and --json go with --tune");
	if (arguments->machine_path && arguments->action != MAIN_TUNE)
		return main_usage_error("--machine goes with --tune");
	if (arguments->reference_form != REFERENCE_TEXT && arguments->action != MAIN_DESCRIBE)
		return main_usage_error("--mdoc goes with --describe");
	return -1;
}

/* -1: go on. Otherwise the exit status. */
static int
main_parse(int argc, char **argv, struct main_arguments *arguments)
{
	int action = MAIN_RUN, option, reference = REFERENCE_TEXT, form = TUNE_FORM_TABLE;
	const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", required_argument, NULL, 'C'},
		{"print-config", no_argument, &action, MAIN_PRINT_CONFIG},
		{"json-schema", no_argument, &action, MAIN_JSON_SCHEMA},
		{"describe", required_argument, NULL, 'D'},
		{"mdoc", no_argument, &reference, REFERENCE_MDOC},
		{"tune", no_argument, &action, MAIN_TUNE},
		{"sysctl", no_argument, &form, TUNE_FORM_SYSCTL},
		{"unit", no_argument, &form, TUNE_FORM_UNIT},
		{"json", no_argument, &form, TUNE_FORM_JSON},
		{"machine", required_argument, NULL, 'M'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};

	while ((option = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1)
		switch (option) {
		case 0: /* getopt has set action or form */
			break;
		case 'C':
			action = MAIN_CHECK;
			/* fall through */
		case 'c':
			arguments->conf_path = optarg;
			break;
		case 'D':
			action = MAIN_DESCRIBE;
			arguments->table = optarg;
			break;
		case 'M':
			arguments->machine_path = optarg;
			break;
		case 'V':
			puts("millgated " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			main_help(stdout);
			return EXIT_SUCCESS;
		default: /* getopt has said why */
			fputs("Try 'millgated --help'.\n", stderr);
			return MAIN_USAGE_ERROR;
		}
	if (optind < argc)
		return main_usage_error("unexpected argument '%s'", argv[optind]);
	arguments->action = (enum main_action)action;
	arguments->reference_form = (enum reference_form)reference;
	arguments->tune_form = (enum tune_form)form;
	return main_check_combination(arguments);
}

static struct conf *
main_load(const char *path)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	if (conf_load(path, &conf, &errors) < 0) {
		for (size_t i = 0; i < errors.n; i++)
			fprintf(stderr, "millgated: %s\n", errors.items[i]);
		if (errors.n == 0)
			fputs("millgated: out of memory\n", stderr);
	}
	conf_errors_done(&errors);
	return conf;
}

static int
main_print(char *text)
{
	if (!text) {
		fputs("millgated: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	fputs(text, stdout);
	free(text);
	return EXIT_SUCCESS;
}

static int
main_tune(const struct conf *conf, const struct main_arguments *arguments)
{
	struct mg_error error = {0};
	bool good;

	if (tune_show(conf, arguments->machine_path, arguments->tune_form, &good, &error) < 0) {
		fprintf(stderr, "millgated: %s\n", error.text);
		return EXIT_FAILURE;
	}
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
main_with_conf(const struct main_arguments *arguments)
{
	struct conf *conf = main_load(arguments->conf_path);
	int status = EXIT_SUCCESS;

	if (!conf)
		return arguments->action == MAIN_RUN && park_is_passed() ? PARK_TRY_AGAIN
									 : EXIT_FAILURE;
	if (arguments->action == MAIN_RUN)
		return supervisor_run(arguments->conf_path, conf);
	if (arguments->action == MAIN_PRINT_CONFIG)
		status = main_print(conf_print(conf));
	if (arguments->action == MAIN_TUNE)
		status = main_tune(conf, arguments);
	conf_free(conf);
	return status;
}

static int
main_describe(const char *table, enum reference_form form)
{
	const struct reference reference = {.out = stdout, .form = form};

	if (describe_table(table, &reference) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr,
		"millgated: --describe: no table '%s'; there are conf, metrics, commands, "
		"close_reasons, sysctl\n",
		table);
	return MAIN_USAGE_ERROR;
}

static int
main_act(const struct main_arguments *arguments)
{
	switch (arguments->action) {
	case MAIN_JSON_SCHEMA:
		return main_print(conf_schema());
	case MAIN_DESCRIBE:
		return main_describe(arguments->table, arguments->reference_form);
	default:
		return main_with_conf(arguments);
	}
}

/* Takes the descriptors 0 to 2 if they are closed, so that no client's connection becomes standard
 * error. Read-only: what is written there is not to look as if it arrived. */
static void
main_take_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

int
main(int argc, char **argv)
{
	struct main_arguments arguments = {.action = MAIN_RUN, .conf_path = MILLGATE_CONF_PATH};
	int status;

	main_take_standard_fds();
	status = main_parse(argc, argv, &arguments);
	if (status < 0)
		status = main_act(&arguments);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("millgated: standard output");
		return EXIT_FAILURE;
	}
	return status;
}
