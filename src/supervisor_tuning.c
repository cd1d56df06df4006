/*
 * supervisor_tuning: whether the machine allows what the configuration allows.
 *
 * Process: S. Changes nothing of the machine.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "supervisor_private.h"
#include "tune_facts.h"
#include "tune_print.h"

#define TUNING_LINES_MAX 16 /* in the log */

static int
supervisor_tune(const struct conf *conf, struct tune_report *ret_report)
{
	struct tune_facts facts;
	int r = tune_facts_read("", conf, &facts);

	if (r < 0)
		return r;
	r = tune_check(conf, &facts, ret_report);
	tune_facts_done(&facts);
	return r;
}

json_t *
supervisor_tuning(const struct supervisor *supervisor)
{
	struct tune_report report;
	json_t *tuning;

	if (supervisor_tune(supervisor->conf, &report) < 0)
		return NULL;
	tuning = tune_to_json(&report);
	tune_report_done(&report);
	return tuning;
}

/* The limit of descriptors has warnings of its own, since it can only be mended by a restart. */
static bool
supervisor_has_own_warning(const struct tune_finding *finding)
{
	return strcmp(finding->key, tune_row_info(TUNE_ROW_NOFILE)->key) == 0;
}

static void
supervisor_log_tuning(const struct tune_report *report)
{
	size_t n = tune_report_count_bad(report), n_logged = 0;
	char line[TUNE_LINE_MAX];

	for (size_t i = 0; i < n && n_logged < TUNING_LINES_MAX; i++) {
		if (supervisor_has_own_warning(&report->findings[i]))
			continue;
		log_warning(NULL, "tuning: %s", tune_finding_line(&report->findings[i], line));
		n_logged++;
	}
	if (n_logged == TUNING_LINES_MAX && n > TUNING_LINES_MAX)
		log_warning(NULL, "tuning: there is more");
	if (n_logged > 0)
		log_warning(NULL, "tuning: 'millgatectl tune' says how to set it; sysctl.mode "
				  "\"off\" ends these warnings");
}

/* A setting that is wanted and cannot be read is none that was reached. */
static int
supervisor_require(const struct tune_report *report, struct mg_error *reterr_error)
{
	const struct tune_finding *first = NULL;
	size_t n = 0;

	for (size_t i = 0; i < report->n_findings; i++) {
		const struct tune_finding *finding = &report->findings[i];

		if (!finding->is_want || finding->status == TUNE_OK)
			continue;
		if (n++ == 0)
			first = finding;
		else
			log_error(NULL, "sysctl.want: %s is %s, wanted is %s%s", finding->key,
				finding->now[0] ? finding->now : "unknown",
				tune_rule_words(finding->rule), finding->wanted);
	}
	if (!first)
		return 0;
	return mg_error_set(reterr_error, -ERANGE,
		"not started: sysctl.mode is \"require\", and of sysctl.want %s is %s, wanted is "
		"%s%s (%zu in all fall short): %s",
		first->key, first->now[0] ? first->now : "unknown", tune_rule_words(first->rule),
		first->wanted, n, first->how);
}

int
supervisor_check_tuning(const struct conf *conf, struct mg_error *reterr_error)
{
	struct tune_report report;
	int r;

	if (conf->sysctl_mode == CONF_SYSCTL_OFF)
		return 0;
	r = supervisor_tune(conf, &report);
	if (r < 0)
		return r;
	supervisor_log_tuning(&report);
	if (conf->sysctl_mode == CONF_SYSCTL_REQUIRE)
		r = supervisor_require(&report, reterr_error);
	tune_report_done(&report);
	return r;
}

/* A row of the limit of descriptors alone, with the limit that the workers have. */
static int
supervisor_tune_descriptors(
	const struct supervisor *supervisor, enum tune_row row, struct tune_report *ret_report)
{
	uint64_t limit = (uint64_t)supervisor->crew.capacity + TUNE_RESERVED_FDS;
	struct tune_facts facts = {
		.values = json_pack("{s:o}", tune_row_info(TUNE_ROW_NOFILE)->key,
			json_sprintf("%" PRIu64, limit)),
		.page_bytes = 1, /* of no account here */
		.cpus = supervisor->crew.n_members,
		.in_flight_limited = tune_facts_in_flight_limited(""),
	};
	int r = facts.values ? tune_check_row(row, supervisor->conf, &facts, ret_report) : -ENOMEM;

	tune_facts_done(&facts);
	return r;
}

static bool
supervisor_has_relay(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (conf->listeners[i].service == CONF_SERVICE_RELAY)
			return true;
	return false;
}

/* Do the workers have descriptors enough to hold what they are to? */
static void
supervisor_add_capacity_warning(const struct supervisor *supervisor, json_t *list)
{
	uint64_t capacity = supervisor_capacity(supervisor);
	uint64_t limit = supervisor->conf->limit_connections;
	struct tune_report report;

	if (supervisor_tune_descriptors(supervisor, TUNE_ROW_NOFILE, &report) < 0)
		return;
	if (tune_report_count_bad(&report) > 0 && capacity < limit)
		json_array_append_new(
			list, json_sprintf("%u workers with %s file descriptors each hold %" PRIu64
					   " connections%s, fewer than limits.connections (%" PRIu64
					   "): %s",
				      supervisor->crew.n_members, report.findings[0].now, capacity,
				      supervisor_has_relay(supervisor->conf)
					      ? " (a client of a relay needs two descriptors)"
					      : "",
				      limit, report.findings[0].how));
	else if (tune_report_count_bad(&report) > 0)
		json_array_append_new(list,
			json_sprintf("the supervisor may run out of its %s file descriptors: %s",
				report.findings[0].now, report.findings[0].how));
	tune_report_done(&report);
}

/* Would all of them outlast a restart? */
static void
supervisor_add_in_flight_warning(const struct supervisor *supervisor, json_t *list)
{
	struct tune_report report;

	if (supervisor_tune_descriptors(supervisor, TUNE_ROW_IN_FLIGHT, &report) < 0)
		return;
	if (tune_report_count_bad(&report) > 0)
		json_array_append_new(list,
			json_sprintf("a restart passes on %s of %s connections, those to servers "
				     "included, and closes the rest: %s",
				report.findings[0].now, report.findings[0].wanted,
				report.findings[0].how));
	tune_report_done(&report);
}

json_t *
supervisor_warnings(const struct supervisor *supervisor)
{
	json_t *list = json_array();

	supervisor_add_upstream_warnings(supervisor, list);
	supervisor_add_capacity_warning(supervisor, list);
	supervisor_add_in_flight_warning(supervisor, list);
	return list;
}
