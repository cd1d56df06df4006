/*
 * bench: main of millgate-bench, the load generator.
 *
 * Process: bench, parent. Exit status: 0 all went well, 1 it did not, 2 the command line is wrong.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench_describe.h"
#include "bench_options.h"
#include "bench_plan.h"
#include "bench_report.h"
#include "bench_run.h"

#define STATUS_GOOD 0
#define STATUS_BAD 1
#define STATUS_USAGE 2

/* The soft limit is raised to the hard one; returns what the limit then is. */
static uint64_t
bench_raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		rlim_t soft = limit.rlim_cur;

		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			limit.rlim_cur = soft;
	}
	return limit.rlim_cur;
}

/* How many local ports the kernel chooses from, ip(7); its default if nobody can tell. */
static uint32_t
bench_read_ports(void)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned low, high;
	uint32_t ports = 28232;

	if (!file)
		return ports;
	if (fscanf(file, "%u %u", &low, &high) == 2 && low <= high && high <= UINT16_MAX)
		ports = high - low + 1;
	(void)fclose(file);
	return ports;
}

static int
bench_report(const struct bench_options *options, const struct bench_plan *plan,
	const struct bench_result *result)
{
	char problem[BENCH_PROBLEM_MAX];

	if (!options->json) {
		bench_report_table(stdout, options, plan, result);
	} else if (bench_report_json(stdout, options, plan, result) < 0) {
		fprintf(stderr, "millgate-bench: the report could not be written\n");
		return STATUS_BAD;
	}
	if (bench_result_is_good(options, result, problem))
		return STATUS_GOOD;
	(void)fflush(stdout);
	fprintf(stderr, "millgate-bench: %s\n", problem);
	return STATUS_BAD;
}

static int
bench_main(const struct bench_options *options)
{
	struct bench_plan plan = {
		.connections = options->connections,
		.processes = options->processes,
		.targets = options->targets,
		.n_targets = options->n_targets,
		.has_source = options->has_source,
		.source = options->source,
		.fd_limit = bench_raise_fd_limit(),
		.ports = bench_read_ports(),
	};
	struct bench_result *result;
	struct mg_error error;
	int status;

	if (bench_plan_make(&plan, &error) < 0) {
		fprintf(stderr, "millgate-bench: %s\n", error.text);
		return STATUS_USAGE;
	}
	error.text[0] = '\0';
	status = bench_run(options, &plan, &result, &error);
	if (status < 0) {
		fprintf(stderr, "millgate-bench: %s\n",
			error.text[0] ? error.text : strerror(-status));
		return STATUS_BAD;
	}
	status = bench_report(options, &plan, result);
	free(result);
	return status;
}

static int
bench_show_table(const struct bench_options *options)
{
	const struct reference reference = {
		.out = stdout, .form = options->mdoc ? REFERENCE_MDOC : REFERENCE_TEXT};

	if (bench_describe(options->describe, &reference) == 0)
		return STATUS_GOOD;
	fprintf(stderr,
		"millgate-bench: --describe: no table '%s'; there are options, counters, hints\n",
		options->describe);
	return STATUS_USAGE;
}

int
main(int argc, char **argv)
{
	struct bench_options options;
	struct mg_error error;

	switch (bench_options_parse(argc, argv, &options, &error)) {
	case BENCH_OPTIONS_RUN:
		return bench_main(&options);
	case BENCH_OPTIONS_DESCRIBE:
		return bench_show_table(&options);
	case BENCH_OPTIONS_HELP:
		bench_options_help(stdout);
		return STATUS_GOOD;
	case BENCH_OPTIONS_VERSION:
		printf("millgate-bench %s\n", PACKAGE_VERSION);
		return STATUS_GOOD;
	case BENCH_OPTIONS_WRONG:
		break;
	}
	fprintf(stderr, "millgate-bench: %s\nTry \"millgate-bench --help\".\n", error.text);
	return STATUS_USAGE;
}
