/* ctl_view: see ctl_view.h. */
#include "ctl_view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "close_reason.h"
#include "ctl_admin.h"

#define LABEL_COLUMNS 14
#define BAR_COLUMN 40

static void
view_sentences(struct ctl_text *text, const json_t *list, enum ctl_style style, const char *mark)
{
	json_t *sentence;
	size_t i;

	json_array_foreach(list, i, sentence) {
		ctl_text_put(text, style, "  %s %s", mark,
			json_is_string(sentence) ? json_string_value(sentence) : "-");
		ctl_text_end_line(text);
	}
}

void
ctl_view_problems(struct ctl_text *text, const json_t *health)
{
	view_sentences(text, json_object_get(health, "problems"), CTL_BAD, "!");
	view_sentences(text, json_object_get(health, "warnings"), CTL_WARN, "warning:");
}

void
ctl_view_headline(struct ctl_text *text, const json_t *stats)
{
	const char *status = ctl_json_text(stats, "status");
	bool ok = strcmp(status, "ok") == 0;

	ctl_text_put(text, CTL_BOLD, "millgate %s", ctl_json_text(stats, "version"));
	ctl_text_put(text, CTL_PLAIN, " is ");
	ctl_text_put(text, ok ? CTL_GOOD : CTL_BAD, "%s", status);
	if (json_is_true(json_object_get(stats, "draining")))
		ctl_text_put(text, CTL_WARN, ", draining");
	ctl_text_put(text, CTL_DIM, "  pid %s, up %s",
		ctl_term_id(ctl_json_real(stats, "pid")).text,
		ctl_term_duration(ctl_json_real(stats, "uptime_seconds")).text);
	ctl_text_end_line(text);
	ctl_view_problems(text, stats);
}

/* "Connections   5 of 100  [#....]  5%  note". A limit of 0 is none. */
static void
view_limit(struct ctl_text *text, const char *label, double used, double limit,
	struct ctl_number (*format)(double), unsigned bar_width, const char *note)
{
	ctl_text_put(text, CTL_PLAIN, "%s", label);
	ctl_text_pad(text, LABEL_COLUMNS);
	ctl_text_put(text, CTL_BOLD, "%s", format(used).text);
	if (limit > 0) {
		ctl_text_put(text, CTL_PLAIN, " of %s", format(limit).text);
		ctl_text_pad(text, BAR_COLUMN);
		ctl_text_bar(text, used / limit, bar_width);
		ctl_text_put(text, ctl_text_fill_style(used / limit), " %4s",
			ctl_term_percent(used, limit).text);
	} else if (limit == 0) {
		ctl_text_put(text, CTL_DIM, ", no limit");
	}
	ctl_text_put(text, CTL_DIM, "%s%s", note[0] ? "  " : "", note);
	ctl_text_end_line(text);
}

static void
view_source_limit(
	struct ctl_text *text, const json_t *stats, const json_t *sources, unsigned bar_width)
{
	double limit = ctl_json_real(json_object_get(stats, "limits"), "connections_per_source");
	const json_t *first = json_array_get(json_object_get(sources, "sources"), 0);

	if (limit > 0 && first)
		view_limit(text, "Top source", ctl_json_real(first, "connections"), limit,
			ctl_term_count, bar_width, ctl_json_text(first, "source"));
	ctl_text_put(text, CTL_PLAIN, "Sources");
	ctl_text_pad(text, LABEL_COLUMNS);
	ctl_text_put(
		text, CTL_BOLD, "%s", ctl_term_count(ctl_json_real(stats, "sources_current")).text);
	if (limit > 0)
		ctl_text_put(text, CTL_PLAIN, ", at most %s connections each",
			ctl_term_count(limit).text);
	else
		ctl_text_put(text, CTL_DIM, ", no limit each");
	ctl_text_end_line(text);
}

void
ctl_view_limits(
	struct ctl_text *text, const json_t *stats, const json_t *sources, unsigned bar_width)
{
	const json_t *limits = json_object_get(stats, "limits");
	const json_t *metrics = json_object_get(stats, "metrics");
	double connections = ctl_json_real(metrics, "connections_current");

	view_limit(text, "Connections", connections, ctl_json_real(limits, "connections"),
		ctl_term_count, bar_width, "");
	view_limit(text, "In workers", connections, ctl_json_real(limits, "worker_connections"),
		ctl_term_count, bar_width, "");
	view_limit(text, "Queued", ctl_json_real(metrics, "queued_bytes_current"),
		ctl_json_real(limits, "queued_bytes"), ctl_term_bytes, bar_width, "");
	view_source_limit(text, stats, sources, bar_width);
}

void
ctl_view_sources(struct ctl_text *text, const json_t *sources, unsigned max)
{
	static const struct ctl_column columns[] = {{"SOURCE", false}, {"CONNECTIONS", true}};
	struct ctl_table table;
	json_t *source;
	size_t i;

	ctl_table_init(&table, columns, 2);
	json_array_foreach(json_object_get(sources, "sources"), i, source) {
		if (i == max)
			break;
		ctl_table_add(&table, CTL_PLAIN, "%s", ctl_json_text(source, "source"));
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_count(ctl_json_real(source, "connections")).text);
	}
	ctl_table_print(&table, text);
	ctl_table_done(&table);
}

static int
close_compare(const void *left, const void *right)
{
	const struct ctl_close *a = left, *b = right;
	double a_since = isnan(a->since) ? 0 : a->since, b_since = isnan(b->since) ? 0 : b->since;

	if (a_since != b_since)
		return a_since < b_since ? 1 : -1;
	if (a->total != b->total)
		return a->total < b->total ? 1 : -1;
	return strcmp(a->name, b->name);
}

static void
close_explain(struct ctl_close *close)
{
	const struct close_reason_info *info;
	unsigned reason;

	close->class = close->text = "";
	for (reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
		info = close_reason_info(reason);
		if (strcmp(info->name, close->name) != 0)
			continue;
		close->class = close_class_name(info->class);
		close->text = info->text;
		close->is_normal = info->class == CLOSE_CLASS_NORMAL;
		close->is_refused = info->class == CLOSE_CLASS_REFUSED;
	}
}

unsigned
ctl_view_closes(const json_t *closed, const json_t *before, struct ctl_close closes[CTL_CLOSES_MAX])
{
	struct ctl_close close;
	unsigned n = 0;
	json_t *value;

	json_object_foreach((json_t *)closed, close.name, value) {
		if (n == CTL_CLOSES_MAX || !(json_number_value(value) > 0))
			continue;
		close.is_normal = close.is_refused = false;
		close.total = json_number_value(value);
		close.since = close.total - ctl_json_real(before, close.name);
		if (close.since < 0)
			close.since = NAN;
		close_explain(&close);
		closes[n++] = close;
	}
	qsort(closes, n, sizeof(*closes), close_compare);
	return n;
}

enum ctl_style
ctl_view_close_style(const struct ctl_close *close)
{
	if (close->is_refused)
		return CTL_BAD;
	return close->is_normal ? CTL_PLAIN : CTL_WARN;
}

enum ctl_style
ctl_view_state_style(const char *state)
{
	static const struct {
		const char *state;
		enum ctl_style style;
	} styles[] = {{"accepting", CTL_GOOD}, {"up", CTL_GOOD}, {"full", CTL_BAD},
		{"no_server", CTL_BAD}, {"down", CTL_BAD}, {"unresolved", CTL_BAD},
		{"paused", CTL_BAD}};
	size_t i;

	for (i = 0; i < sizeof(styles) / sizeof(*styles); i++)
		if (strcmp(styles[i].state, state) == 0)
			return styles[i].style;
	return CTL_WARN;
}

void
ctl_view_listener(struct ctl_table *table, const char *name, const json_t *listener)
{
	const char *state = ctl_json_text(listener, "state");
	double connections = ctl_json_real(listener, "connections");
	double limit = ctl_json_real(listener, "connections_limit");

	ctl_table_add(table, CTL_BOLD, "%s", name);
	ctl_table_add(table, CTL_PLAIN, "%s", ctl_json_text(listener, "service"));
	ctl_table_add(table, ctl_view_state_style(state), "%s", state);
	ctl_table_add(table, CTL_PLAIN, "%s", ctl_term_count(connections).text);
	ctl_table_add(table, CTL_PLAIN, "%s", limit == 0 ? "none" : ctl_term_count(limit).text);
	ctl_table_add(table, ctl_text_fill_style(limit > 0 ? connections / limit : 0), "%s",
		ctl_term_percent(connections, limit).text);
}

void
ctl_view_upstreams(struct ctl_text *text, const json_t *upstreams, unsigned max)
{
	static const struct ctl_column columns[] = {{"UPSTREAM", false}, {"ADDRESS", false},
		{"LISTENER", false}, {"STATE", false}, {"CONNECTIONS", true}, {"LIMIT", true},
		{"CONNECTS", true}, {"FAILED", true}, {"CONNECT TIME", true}};
	struct ctl_table table;
	json_t *upstream;
	size_t i;

	ctl_table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	json_array_foreach(upstreams, i, upstream) {
		const char *state = ctl_json_text(upstream, "state");
		const char *address = ctl_json_text(upstream, "address");
		double limit = ctl_json_real(upstream, "max_connections");
		double failed = ctl_json_real(upstream, "connect_failures_total");

		if (i == max)
			break;
		ctl_table_add(&table, CTL_BOLD, "%s", ctl_json_text(upstream, "name"));
		/* A name may have none yet. */
		ctl_table_add(&table, CTL_PLAIN, "%s", address[0] != '\0' ? address : "-");
		ctl_table_add(&table, CTL_PLAIN, "%s", ctl_json_text(upstream, "listener"));
		ctl_table_add(&table, ctl_view_state_style(state), "%s", state);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_count(ctl_json_real(upstream, "connections")).text);
		ctl_table_add(
			&table, CTL_PLAIN, "%s", limit == 0 ? "none" : ctl_term_count(limit).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_count(ctl_json_real(upstream, "connects_total")).text);
		ctl_table_add(&table, failed > 0 ? CTL_WARN : CTL_PLAIN, "%s",
			ctl_term_count(failed).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_duration(ctl_json_real(upstream, "connect_seconds_average")).text);
	}
	ctl_table_print(&table, text);
	ctl_table_done(&table);
}
