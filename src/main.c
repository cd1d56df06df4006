/* main: the arguments of millgated. Process: before there is one. */
#include "config.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "describe.h"
#include "supervisor.h"

#define MAIN_USAGE_ERROR 2

enum main_action {
	MAIN_RUN,
	MAIN_CHECK,
	MAIN_PRINT_CONFIG,
	MAIN_JSON_SCHEMA,
	MAIN_DESCRIBE,
};

struct main_arguments {
	enum main_action action;
	const char *conf_path;
	const char *table; /* --describe */
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
		"      --print-config     print the effective configuration, every key with its value\n"
		"      --json-schema      print a JSON Schema of the configuration, for editors\n"
		"      --describe=TABLE   print a reference: conf, metrics, commands, close_reasons\n"
		"  -V, --version          print the version\n"
		"  -h, --help             print this\n"
		"\n"
		"SIGHUP reads the configuration again. millgatectl shows and steers the gateway.\n",
		MILLGATE_CONF_PATH);
}

/* -1: go on. Otherwise the exit status. */
static int
main_parse(int argc, char **argv, struct main_arguments *arguments)
{
	enum {
		OPTION_CHECK = 256,
		OPTION_PRINT,
		OPTION_SCHEMA,
		OPTION_DESCRIBE
	};
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", required_argument, NULL, OPTION_CHECK},
		{"print-config", no_argument, NULL, OPTION_PRINT},
		{"json-schema", no_argument, NULL, OPTION_SCHEMA},
		{"describe", required_argument, NULL, OPTION_DESCRIBE},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1)
		switch (option) {
		case OPTION_CHECK:
			arguments->action = MAIN_CHECK;
			/* fall through */
		case 'c':
			arguments->conf_path = optarg;
			break;
		case OPTION_PRINT:
			arguments->action = MAIN_PRINT_CONFIG;
			break;
		case OPTION_SCHEMA:
			arguments->action = MAIN_JSON_SCHEMA;
			break;
		case OPTION_DESCRIBE:
			arguments->action = MAIN_DESCRIBE;
			arguments->table = optarg;
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
	if (optind == argc)
		return -1;
	fprintf(stderr, "millgated: unexpected argument '%s'\nTry 'millgated --help'.\n",
		argv[optind]);
	return MAIN_USAGE_ERROR;
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
main_with_conf(const struct main_arguments *arguments)
{
	struct conf *conf = main_load(arguments->conf_path);
	int status = EXIT_SUCCESS;

	if (!conf)
		return EXIT_FAILURE;
	if (arguments->action == MAIN_RUN)
		return supervisor_run(arguments->conf_path, conf);
	if (arguments->action == MAIN_PRINT_CONFIG)
		status = main_print(conf_print(conf));
	conf_free(conf);
	return status;
}

int
main(int argc, char **argv)
{
	struct main_arguments arguments = {.action = MAIN_RUN, .conf_path = MILLGATE_CONF_PATH};
	int status = main_parse(argc, argv, &arguments);

	if (status >= 0)
		return status;
	switch (arguments.action) {
	case MAIN_JSON_SCHEMA:
		status = main_print(conf_schema());
		break;
	case MAIN_DESCRIBE:
		status = describe_table(arguments.table, stdout) < 0 ? MAIN_USAGE_ERROR
								     : EXIT_SUCCESS;
		if (status == MAIN_USAGE_ERROR)
			fprintf(stderr,
				"millgated: --describe: no table '%s'; there are conf, metrics, "
				"commands, close_reasons\n",
				arguments.table);
		break;
	default:
		status = main_with_conf(&arguments);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("millgated: standard output");
		return EXIT_FAILURE;
	}
	return status;
}
