/* describe: see describe.h. */
#include "describe.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "close_reason.h"
#include "commands.h"
#include "conf.h"
#include "metrics.h"
#include "tune_table.h"

#define TERM_MAX 256
#define FACTS_MAX 256

static void
describe_metric(
	const struct reference *reference, const char *prefix, const struct metric_info *info)
{
	char name[TERM_MAX], facts[FACTS_MAX];
	const char *kind = info->kind == METRIC_KIND_COUNTER ? "Counter" : "Gauge";

	snprintf(name, sizeof(name), "%s%s%s%s%s", prefix, info->name, *info->labels ? "{" : "",
		info->labels, *info->labels ? "}" : "");
	snprintf(facts, sizeof(facts), "%s, %s.", kind, *info->unit ? info->unit : "no unit");
	reference_put(
		reference, &(struct reference_entry){REFERENCE_NAME, name, {facts, info->help}});
}

static void
describe_metrics(const struct reference *reference)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		describe_metric(reference, "", metric_info(i));
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		describe_metric(reference, "listener_", listener_metric_info(i));
	for (unsigned i = 0; i < UPSTREAM_METRIC_COUNT; i++)
		describe_metric(reference, "upstream_", upstream_metric_info(i));
	for (unsigned i = 0; i < SPLIT_METRIC_COUNT; i++)
		describe_metric(reference, "", split_metric_info(i));
}

static const char *
describe_access(enum command_access access)
{
	static const char *const names[] = {
		[COMMAND_ACCESS_PUBLIC] = "public",
		[COMMAND_ACCESS_READ] = "read",
		[COMMAND_ACCESS_WRITE] = "write",
	};
	return names[access];
}

/* A verb of millgatectl with its route, or a route that is a verb's further way. */
static void
describe_command(const struct reference *reference, const struct command_info *info)
{
	char route[128], facts[FACTS_MAX] = "No route of its own.";
	bool has_verb = *info->usage != '\0', has_route = *info->method != '\0';

	snprintf(route, sizeof(route), "%s %s", info->method, info->path);
	if (has_route)
		snprintf(facts, sizeof(facts), "%s%sAccess: %s.%s", has_verb ? route : "",
			has_verb ? ". " : "", describe_access(info->access),
			info->body == COMMAND_BODY_BODY ? " Takes a JSON object." : "");
	reference_put(
		reference, &(struct reference_entry){has_verb ? REFERENCE_USAGE : REFERENCE_WORD,
				   has_verb ? info->usage : route, {facts, info->help}});
}

static void
describe_commands(const struct reference *reference)
{
	for (unsigned i = 0; i < COMMAND_COUNT; i++)
		describe_command(reference, commands_info(i));
}

static void
describe_close_reason(const struct reference *reference, const struct close_reason_info *info)
{
	char facts[FACTS_MAX], code[32] = "";

	if (info->websocket_code)
		snprintf(code, sizeof(code), ", WebSocket %u", info->websocket_code);
	snprintf(facts, sizeof(facts), "Class: %s%s.", close_class_name(info->class), code);
	reference_put(reference, &(struct reference_entry){REFERENCE_WORD, info->name,
					 {facts, info->text, info->advice}});
}

static void
describe_close_reasons(const struct reference *reference)
{
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		describe_close_reason(reference, close_reason_info(i));
}

int
describe_table(const char *name, const struct reference *reference)
{
	static const struct {
		const char *name;
		void (*describe)(const struct reference *reference);
	} tables[] = {
		{"conf", conf_describe},
		{"metrics", describe_metrics},
		{"commands", describe_commands},
		{"close_reasons", describe_close_reasons},
		{"sysctl", tune_describe},
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcmp(name, tables[i].name) == 0) {
			reference_begin(reference);
			tables[i].describe(reference);
			reference_end(reference);
			return 0;
		}
	return -ENOENT;
}
