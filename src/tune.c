/* tune: see tune.h. */
#include "tune.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "metrics.h"
#include "roster.h"
#include "tune_listener.h"
#include "tune_relay.h"

#define TUNE_PAGES_MAX (UINT64_C(1) << 40) /* more is not believed, and could overflow */

/* What a check goes by, and where it reports. */
struct tune_run {
	const struct conf *conf;
	const struct tune_facts *facts;
	struct tune_needs needs;
	struct tune_demand demands[TUNE_ROW_COUNT];
	struct tune_report report;
};

static uint64_t
min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

const char *
tune_fact_text(const struct tune_facts *facts, const char *key)
{
	return json_string_value(json_object_get(facts->values, key));
}

bool
tune_fact_numbers(
	const struct tune_facts *facts, const char *key, struct sysctl_numbers *ret_numbers)
{
	const char *text = tune_fact_text(facts, key);

	if (text && strcmp(text, TUNE_NO_LIMIT) == 0) {
		*ret_numbers = (struct sysctl_numbers){.at = {UINT64_MAX}, .n = 1};
		return true;
	}
	return text && sysctl_parse(text, ret_numbers) == 0;
}

unsigned
tune_worker_count(const struct conf *conf, unsigned cpus)
{
	uint64_t n = conf->workers ? conf->workers : cpus;

	return (unsigned)min(n, METRICS_WORKERS_MAX);
}

uint32_t
tune_worker_capacity(uint64_t nofile)
{
	if (nofile <= TUNE_RESERVED_FDS)
		return 1;
	return (uint32_t)min(nofile - TUNE_RESERVED_FDS, ROSTER_FD_MAX);
}

uint64_t
tune_client_capacity(const struct conf *conf, unsigned workers, uint64_t capacity)
{
	struct tune_needs needs = {0};
	uint64_t relayed;

	tune_relay_give(conf, &needs);
	if (workers == 0)
		return 0;
	relayed = (needs.relayed + workers - 1) / workers;
	if (relayed > capacity / 2 || needs.relayed >= conf->limit_connections)
		return workers * (capacity / 2);
	return workers * (capacity - relayed);
}

/* The number `index` of a fact that is known; otherwise 0. */
static uint64_t
tune_number(const struct tune_facts *facts, const char *key, size_t index)
{
	struct sysctl_numbers numbers;

	if (!tune_fact_numbers(facts, key, &numbers) || index >= numbers.n)
		return 0;
	return numbers.at[index];
}

/* TCP connections that the listeners let in together. */
static uint64_t
tune_tcp_connections(const struct conf *conf)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < conf->n_listeners; i++)
		if (tune_listener_is_tcp(&conf->listeners[i]))
			sum += tune_listener_connections(conf, &conf->listeners[i]);
	return min(sum, conf->limit_connections);
}

static uint64_t
tune_largest_backlog(const struct conf *conf)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < conf->n_listeners; i++)
		largest = max(largest, conf->listeners[i].backlog);
	return largest;
}

static struct tune_needs
tune_needs_given(const struct conf *conf, const struct tune_facts *facts)
{
	uint64_t pressure = tune_number(facts, tune_row_info(TUNE_ROW_TCP_MEM_PRESSURE)->key, 1);
	uint64_t memory =
		tune_number(facts, tune_row_info(TUNE_ROW_MEMORY)->key, 0) / facts->page_bytes;
	struct sysctl_numbers ignored;
	struct tune_needs needs = {
		.connections = conf->limit_connections,
		.tcp_connections = tune_tcp_connections(conf),
		.workers = tune_worker_count(conf, facts->cpus),
		.listeners = conf->n_listeners,
		.queued_bytes = conf->queued_total,
		.largest_backlog = tune_largest_backlog(conf),
		.in_flight_limited = facts->in_flight_limited,
		.has_store = tune_fact_numbers(facts, tune_row_info(TUNE_ROW_STORE)->key, &ignored),
		.reserved_fds = TUNE_RESERVED_FDS,
		.page_bytes = facts->page_bytes,
		.memory_pages = min(memory, TUNE_PAGES_MAX),
		.tcp_pressure_pages = min(pressure, TUNE_PAGES_MAX),
		.conntrack =
			tune_fact_numbers(facts, tune_row_info(TUNE_ROW_CONNTRACK)->key, &ignored),
	};

	tune_relay_give(conf, &needs);
	return needs;
}

/* The row's reason, as a whole sentence. */
static void
tune_say_why(struct tune_run *run, enum tune_row row, struct tune_finding *finding)
{
	FILE *out = fmemopen(finding->why, sizeof(finding->why), "w");

	if (!out) {
		run->report.no_memory = true;
		return;
	}
	tune_explain(row, &run->needs, run->demands[row].wanted, out);
	fclose(out);
}

static const struct conf_sysctl *
tune_find_want(const struct conf *conf, const char *key)
{
	for (size_t i = 0; i < conf->sysctl_want.n; i++)
		if (strcmp(conf->sysctl_want.items[i].key, key) == 0)
			return &conf->sysctl_want.items[i];
	return NULL;
}

static void
tune_say_now(const struct tune_run *run, struct tune_finding *finding)
{
	const char *text = tune_fact_text(run->facts, finding->key);

	snprintf(finding->now, sizeof(finding->now), "%s", text ? text : "");
}

/* The number that a row is about. False: it is not known. */
static bool
tune_row_number(const struct tune_run *run, const struct tune_row_info *info, uint64_t *ret_number)
{
	struct sysctl_numbers now;

	if (info->index == TUNE_PORTS)
		return tune_relay_count_ports(run->conf, run->facts, ret_number);
	if (!tune_fact_numbers(run->facts, info->key, &now) || info->index >= now.n)
		return false;
	*ret_number = now.at[info->index];
	return true;
}

/* What would mend it, of a row whose value is known. */
static void
tune_set_row(struct tune_run *run, const struct tune_row_info *info, uint64_t wanted,
	const struct tune_finding *finding)
{
	struct sysctl_numbers now;

	if (info->where != TUNE_SYSCTL && info->where != TUNE_UNIT)
		return;
	if (info->index == TUNE_PORTS)
		tune_relay_widen_ports(&run->report, run->conf, run->facts, wanted, finding->why);
	else if (tune_fact_numbers(run->facts, info->key, &now))
		tune_report_set(&run->report, &(struct tune_change){.where = info->where,
						      .key = info->key,
						      .now = &now,
						      .index = info->index,
						      .rule = info->rule,
						      .wanted = wanted,
						      .ascending = true,
						      .why = finding->why});
}

static void
tune_run_row(struct tune_run *run, enum tune_row row)
{
	const struct tune_row_info *info = tune_row_info(row);
	uint64_t wanted = run->demands[row].wanted, now = 0;
	bool known, holds;
	bool optional = info->verdict == TUNE_HARMFUL || info->rule == TUNE_UNUSED ||
			info->where == TUNE_BOOT;
	struct tune_finding *finding;

	known = tune_row_number(run, info, &now);
	holds = known && tune_rule_holds(info->rule, now, wanted);
	if (!run->demands[row].applies || (!known && optional) ||
		(holds && info->verdict == TUNE_HARMFUL))
		return;
	/* A ceiling is a matter of judgement, and theirs goes before ours. */
	if (info->rule == TUNE_AT_MOST && info->verdict == TUNE_SHORT &&
		tune_find_want(run->conf, info->key))
		return;
	finding = tune_report_add(&run->report, info->where, info->key);
	if (!finding)
		return;
	finding->rule = info->rule;
	finding->part = info->part;
	finding->hint = info->how;
	finding->status = !known ? TUNE_UNKNOWN : holds ? TUNE_OK : info->verdict;
	tune_say_now(run, finding);
	if (info->index == TUNE_PORTS && known)
		snprintf(finding->now + strlen(finding->now),
			sizeof(finding->now) - strlen(finding->now), " (%" PRIu64 " ports)", now);
	if (info->rule != TUNE_UNUSED)
		snprintf(finding->wanted, sizeof(finding->wanted), "%" PRIu64, wanted);
	tune_say_why(run, row, finding);
	if (known)
		tune_set_row(run, info, wanted, finding);
}

/* Most settings are limits that must be reached. The table knows those that are not. */
static enum tune_rule
tune_want_rule(const struct conf_sysctl *want)
{
	/* A range that is wanted from 10240 on is not reached by one from 32768 on. */
	if (strcmp(want->key, TUNE_PORT_RANGE_KEY) == 0)
		return TUNE_EXACTLY;
	if (want->wanted.n > 1)
		return TUNE_AT_LEAST;
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++) {
		const struct tune_row_info *info = tune_row_info(row);

		if (strcmp(info->key, want->key) == 0 && info->rule != TUNE_UNUSED)
			return info->rule;
	}
	return want->wanted.at[0] == 0 ? TUNE_EXACTLY : TUNE_AT_LEAST;
}

static enum tune_status
tune_want_status(
	const struct conf_sysctl *want, enum tune_rule rule, const struct sysctl_numbers *now)
{
	if (now->n < want->wanted.n)
		return TUNE_SHORT;
	for (size_t i = 0; i < want->wanted.n; i++)
		if (!tune_rule_holds(rule, now->at[i], want->wanted.at[i]))
			return TUNE_SHORT;
	return TUNE_OK;
}

static void
tune_run_want(struct tune_run *run, const struct conf_sysctl *want)
{
	enum tune_rule rule = tune_want_rule(want);
	struct tune_finding *finding = tune_report_add(&run->report, TUNE_SYSCTL, want->key);
	struct sysctl_numbers now;
	bool known = tune_fact_numbers(run->facts, want->key, &now);

	if (!finding)
		return;
	finding->is_want = true;
	finding->rule = rule;
	finding->status = known ? tune_want_status(want, rule, &now) : TUNE_UNKNOWN;
	tune_say_now(run, finding);
	sysctl_format(&want->wanted, finding->wanted);
	snprintf(finding->why, sizeof(finding->why), "%s",
		"The configuration wants it (sysctl.want).");
	for (size_t i = 0; known && i < want->wanted.n && i < now.n; i++)
		tune_report_set(&run->report, &(struct tune_change){.where = TUNE_SYSCTL,
						      .key = want->key,
						      .now = &now,
						      .index = i,
						      .rule = rule,
						      .wanted = want->wanted.at[i],
						      .why = finding->why});
}

static void
tune_run_init(struct tune_run *run, const struct conf *conf, const struct tune_facts *facts)
{
	*run = (struct tune_run){
		.conf = conf, .facts = facts, .needs = tune_needs_given(conf, facts)};
	tune_evaluate(&run->needs, run->demands);
}

static int
tune_run_finish(struct tune_run *run, struct tune_report *ret_report)
{
	int r = tune_report_finish(&run->report);

	if (r < 0)
		tune_report_done(&run->report);
	else
		*ret_report = run->report;
	return r;
}

int
tune_check(const struct conf *conf, const struct tune_facts *facts, struct tune_report *ret_report)
{
	struct tune_run run;

	tune_run_init(&run, conf, facts);
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++)
		tune_run_row(&run, row);
	for (size_t i = 0; i < conf->n_listeners; i++)
		tune_listener_check(&run.report, conf, &conf->listeners[i]);
	tune_listener_check_ports(&run.report, conf, facts);
	for (size_t i = 0; i < conf->sysctl_want.n; i++)
		tune_run_want(&run, &conf->sysctl_want.items[i]);
	return tune_run_finish(&run, ret_report);
}

int
tune_check_row(enum tune_row row, const struct conf *conf, const struct tune_facts *facts,
	struct tune_report *ret_report)
{
	struct tune_run run;

	tune_run_init(&run, conf, facts);
	tune_run_row(&run, row);
	return tune_run_finish(&run, ret_report);
}
