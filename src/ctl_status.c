/* ctl_status: see ctl_status.h. */
#include "ctl_status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_admin.h"
#include "ctl_view.h"

#define BAR_WIDTH 22
#define WORKER_ROWS_MAX 8
#define UPSTREAM_ROWS_MAX 16
#define WORKERS_MAX 256 /* more of them are not believed */

static void
status_listeners(struct ctl_text *text, const json_t *stats)
{
	static const struct ctl_column columns[] = {{"LISTENER", false}, {"SERVICE", false},
		{"STATE", false}, {"CONNECTIONS", true}, {"LIMIT", true}, {"FULL", true},
		{"ACCEPTED", true}, {"REFUSED", true}, {"ADDRESSES", false}};
	struct ctl_table table;
	const char *name;
	json_t *listener, *address;
	char addresses[256];
	size_t i, used;

	ctl_table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	json_object_foreach(json_object_get(stats, "listeners"), name, listener) {
		addresses[0] = '\0';
		json_array_foreach(json_object_get(listener, "addresses"), i, address) {
			used = strlen(addresses);
			snprintf(addresses + used, sizeof(addresses) - used, "%s%s", i ? " " : "",
				json_is_string(address) ? json_string_value(address) : "-");
		}
		ctl_view_listener(&table, name, listener);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_count(ctl_json_real(listener, "accepted_total")).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_count(ctl_json_real(listener, "refused_total")).text);
		ctl_table_add(&table, CTL_PLAIN, "%s", addresses);
	}
	ctl_table_print(&table, text);
	ctl_table_done(&table);
}

static void
status_worker_rows(struct ctl_text *text, const json_t *workers, bool all)
{
	static const struct ctl_column columns[] = {{"WORKER", false}, {"STATE", false},
		{"PID", true}, {"CONNECTIONS", true}, {"QUEUED", true}, {"RECEIVED", true},
		{"SENT", true}, {"RESTARTS", true}};
	struct ctl_table table;
	const char *state;
	json_t *worker;
	double restarts;
	size_t i;

	ctl_table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	json_array_foreach(workers, i, worker) {
		state = ctl_json_text(worker, "state");
		if (i == WORKERS_MAX)
			break;
		if (!all && strcmp(state, "up") == 0)
			continue;
		restarts = ctl_json_real(worker, "restarts");
		ctl_table_add(
			&table, CTL_BOLD, "%s", ctl_term_id(ctl_json_real(worker, "worker")).text);
		ctl_table_add(&table, ctl_view_state_style(state), "%s", state);
		ctl_table_add(
			&table, CTL_PLAIN, "%s", ctl_term_id(ctl_json_real(worker, "pid")).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_count(ctl_json_real(worker, "connections")).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_bytes(ctl_json_real(worker, "queued_bytes")).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_bytes(ctl_json_real(worker, "bytes_received_total")).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_bytes(ctl_json_real(worker, "bytes_sent_total")).text);
		ctl_table_add(&table, restarts > 0 ? CTL_WARN : CTL_PLAIN, "%s",
			ctl_term_count(restarts).text);
	}
	if (table.n_cells > 0)
		ctl_table_print(&table, text);
	ctl_table_done(&table);
}

static int
real_compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

/* A row of min, median and max of one member of all workers. */
static void
summary_row(struct ctl_table *table, const json_t *workers, const char *label, const char *key,
	struct ctl_number (*format)(double))
{
	double values[WORKERS_MAX], value;
	json_t *worker;
	size_t i, n = 0;

	json_array_foreach(workers, i, worker) {
		value = ctl_json_real(worker, key);
		if (n < WORKERS_MAX && !isnan(value))
			values[n++] = value;
	}
	qsort(values, n, sizeof(*values), real_compare);
	ctl_table_add(table, CTL_PLAIN, "%s", label);
	ctl_table_add(table, CTL_PLAIN, "%s", format(n ? values[0] : NAN).text);
	ctl_table_add(table, CTL_PLAIN, "%s",
		format(n ? (values[(n - 1) / 2] + values[n / 2]) / 2 : NAN).text);
	ctl_table_add(table, CTL_PLAIN, "%s", format(n ? values[n - 1] : NAN).text);
}

static void
status_worker_summary(struct ctl_text *text, const json_t *workers)
{
	static const struct ctl_column columns[] = {
		{"PER WORKER", false}, {"MIN", true}, {"MEDIAN", true}, {"MAX", true}};
	struct ctl_table table;
	json_t *worker;
	size_t i, up = 0;

	json_array_foreach(workers, i, worker)
		up += strcmp(ctl_json_text(worker, "state"), "up") == 0;
	ctl_text_put(text, CTL_BOLD, "%zu workers", json_array_size(workers));
	ctl_text_put(text, up == json_array_size(workers) ? CTL_GOOD : CTL_BAD, ", %zu up", up);
	ctl_text_end_line(text);
	ctl_table_init(&table, columns, 4);
	summary_row(&table, workers, "connections", "connections", ctl_term_count);
	summary_row(&table, workers, "queued", "queued_bytes", ctl_term_bytes);
	summary_row(&table, workers, "received", "bytes_received_total", ctl_term_bytes);
	summary_row(&table, workers, "sent", "bytes_sent_total", ctl_term_bytes);
	summary_row(&table, workers, "restarts", "restarts", ctl_term_count);
	ctl_table_print(&table, text);
	ctl_table_done(&table);
}

static void
status_workers(struct ctl_text *text, const json_t *stats)
{
	const json_t *workers = json_object_get(stats, "workers");
	bool few = json_array_size(workers) <= WORKER_ROWS_MAX;

	if (!few)
		status_worker_summary(text, workers);
	status_worker_rows(text, workers, few);
}

static void
status_upstreams(struct ctl_text *text, const json_t *stats)
{
	const json_t *upstreams = json_object_get(stats, "upstreams");

	if (json_array_size(upstreams) == 0)
		return;
	ctl_view_upstreams(text, upstreams, UPSTREAM_ROWS_MAX);
	if (json_array_size(upstreams) > UPSTREAM_ROWS_MAX) {
		ctl_text_put(text, CTL_DIM, "of %zu servers; 'millgatectl upstreams' lists all",
			json_array_size(upstreams));
		ctl_text_end_line(text);
	}
	ctl_text_end_line(text);
}

static void
status_closes(struct ctl_text *text, const json_t *stats)
{
	static const struct ctl_column columns[] = {{"CLOSED", false}, {"COUNT", true},
		{"SHARE", true}, {"CLASS", false}, {"WHY", false}};
	struct ctl_close closes[CTL_CLOSES_MAX];
	unsigned n = ctl_view_closes(json_object_get(stats, "closed"), NULL, closes), i;
	struct ctl_table table;
	double all = 0;

	for (i = 0; i < n; i++)
		all += closes[i].total;
	ctl_table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	for (i = 0; i < n; i++) {
		ctl_table_add(&table, ctl_view_close_style(&closes[i]), "%s", closes[i].name);
		ctl_table_add(&table, CTL_PLAIN, "%s", ctl_term_count(closes[i].total).text);
		ctl_table_add(&table, CTL_PLAIN, "%s", ctl_term_percent(closes[i].total, all).text);
		ctl_table_add(&table, CTL_PLAIN, "%s", closes[i].class);
		ctl_table_add(&table, CTL_DIM, "%s", closes[i].text);
	}
	if (n > 0)
		ctl_table_print(&table, text);
	else
		ctl_text_put(text, CTL_DIM, "No connection was closed yet.");
	if (n == 0)
		ctl_text_end_line(text);
	ctl_table_done(&table);
}

static void
status_traffic(struct ctl_text *text, const json_t *stats)
{
	const json_t *metrics = json_object_get(stats, "metrics");

	ctl_text_put(text, CTL_PLAIN, "Since start   %s accepted, %s refused, %s received, %s sent",
		ctl_term_count(ctl_json_real(metrics, "connections_accepted_total")).text,
		ctl_term_count(ctl_json_real(metrics, "connections_refused_total")).text,
		ctl_term_bytes(ctl_json_real(metrics, "bytes_received_total")).text,
		ctl_term_bytes(ctl_json_real(metrics, "bytes_sent_total")).text);
	ctl_text_end_line(text);
}

static void
status_print(const struct ctl *ctl, const json_t *stats, const json_t *sources)
{
	struct ctl_text text = ctl_text_stdout(ctl);

	ctl_view_headline(&text, stats);
	ctl_text_end_line(&text);
	ctl_view_limits(&text, stats, sources, BAR_WIDTH);
	status_traffic(&text, stats);
	ctl_text_end_line(&text);
	status_listeners(&text, stats);
	ctl_text_end_line(&text);
	status_upstreams(&text, stats);
	status_workers(&text, stats);
	ctl_text_end_line(&text);
	status_closes(&text, stats);
}

/* The fullest source, if there is a limit to hold it against; no loss when it cannot be had. */
static void
status_ask_source(const struct ctl *ctl, const json_t *stats, struct ctl_answer *answer)
{
	const struct ctl_call call = {.command = COMMAND_SOURCES, .query = "limit=1"};

	if (ctl_json_real(json_object_get(stats, "limits"), "connections_per_source") > 0 &&
		ctl_admin_try(ctl, &call, answer, NULL) != CTL_EXIT_OK)
		answer->json = NULL;
}

enum ctl_exit
ctl_status_run(const struct ctl *ctl)
{
	const struct ctl_call call = {.command = COMMAND_STATS};
	struct ctl_answer stats, sources = {0};
	enum ctl_exit r = ctl_admin_call(ctl, &call, &stats);

	if (r != CTL_EXIT_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(ctl, &stats);
	} else {
		status_ask_source(ctl, stats.json, &sources);
		status_print(ctl, stats.json, sources.json);
	}
	if (strcmp(ctl_json_text(stats.json, "status"), "ok") != 0)
		r = CTL_EXIT_FAILED;
	ctl_answer_done(&sources);
	ctl_answer_done(&stats);
	return r;
}
