/* describe: see describe.h. */
#include "describe.h"

#include <errno.h>
#include <string.h>

#include "close_reason.h"
#include "commands.h"
#include "conf.h"
#include "metrics.h"
#include "tune_table.h"

static void
describe_metric(FILE *out, const char *prefix, const struct metric_info *info)
{
	fprintf(out, "%s%s\n    %s%s%s\n    %s\n\n", prefix, info->name,
		metric_kind_name(info->kind), info->unit[0] ? ", " : "", info->unit, info->help);
}

static void
describe_metrics(FILE *out)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		describe_metric(out, "", metric_info(i));
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		describe_metric(out, "listener_", listener_metric_info(i));
}

static void
describe_commands(FILE *out)
{
	for (unsigned i = 0; i < COMMAND_COUNT; i++) {
		const struct command_info *info = commands_info(i);

		if (info->usage[0])
			fprintf(out, "millgatectl %s\n", info->usage);
		if (info->method[0])
			fprintf(out, "    %s %s\n", info->method, info->path);
		fprintf(out, "    %s\n\n", info->help);
	}
}

static void
describe_close_reasons(FILE *out)
{
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *info = close_reason_info(i);

		fprintf(out, "%s\n    %s", info->name, close_class_name(info->class));
		if (info->websocket_code)
			fprintf(out, ", WebSocket %u", info->websocket_code);
		fprintf(out, "\n    %s\n\n", info->text);
	}
}

int
describe_table(const char *name, FILE *out)
{
	static const struct {
		const char *name;
		void (*describe)(FILE *out);
	} tables[] = {
		{"conf", conf_describe},
		{"metrics", describe_metrics},
		{"commands", describe_commands},
		{"close_reasons", describe_close_reasons},
		{"sysctl", tune_describe},
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcmp(name, tables[i].name) == 0) {
			tables[i].describe(out);
			return 0;
		}
	return -ENOENT;
}
