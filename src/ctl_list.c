/* ctl_list: see ctl_list.h. */
#include "ctl_list.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_admin.h"

#define LIMIT_DEFAULT 100u
#define PAGE_MAX 1000u /* the contract's */
#define COLUMN_UPSTREAM 5
#define PAGES_MAX (1u << 20) /* a server that never ends is not believed */

struct list {
	const struct ctl *ctl;
	uint64_t wanted; /* rows; 0: all */
	uint64_t shown;
	bool opened;     /* the JSON array, or the table */
	json_int_t next; /* of the last page; -1: there is no more */
	bool upstreams;  /* connections have an upstream: there is a column for it */
	struct ctl_text text;
	struct ctl_column columns[CTL_TABLE_COLUMNS_MAX];
	struct ctl_table table;
};

static void
list_add_upstream(struct ctl_table *table, const json_t *connection)
{
	const json_t *upstream = json_object_get(connection, "upstream");
	bool connecting = strcmp(ctl_json_text(upstream, "state"), "connecting") == 0;

	ctl_table_add(table, connecting ? CTL_WARN : CTL_PLAIN, "%s%s",
		ctl_json_text(upstream, "address"), connecting ? " (connecting)" : "");
}

static void
list_add_row(struct ctl_table *table, const json_t *connection, bool upstreams)
{
	const char *state = ctl_json_text(connection, "state");

	ctl_table_add(table, CTL_BOLD, "%s", ctl_term_id(ctl_json_real(connection, "id")).text);
	ctl_table_add(table, CTL_PLAIN, "%s", ctl_json_text(connection, "listener"));
	ctl_table_add(table, CTL_PLAIN, "%s", ctl_json_text(connection, "service"));
	ctl_table_add(
		table, CTL_PLAIN, "%s", ctl_term_count(ctl_json_real(connection, "worker")).text);
	ctl_table_add(table, CTL_PLAIN, "%s", ctl_json_text(connection, "peer"));
	if (upstreams)
		list_add_upstream(table, connection);
	ctl_table_add(table, CTL_PLAIN, "%s",
		ctl_term_duration(ctl_json_real(connection, "age_seconds")).text);
	ctl_table_add(table, CTL_PLAIN, "%s",
		ctl_term_duration(ctl_json_real(connection, "idle_seconds")).text);
	ctl_table_add(table, CTL_PLAIN, "%s",
		ctl_term_bytes(ctl_json_real(connection, "bytes_received")).text);
	ctl_table_add(table, CTL_PLAIN, "%s",
		ctl_term_bytes(ctl_json_real(connection, "bytes_sent")).text);
	ctl_table_add(table, CTL_PLAIN, "%s",
		ctl_term_duration(ctl_json_real(connection, "rtt_seconds")).text);
	ctl_table_add(table, CTL_PLAIN, "%s",
		ctl_term_bytes(ctl_json_real(connection, "queued_bytes")).text);
	ctl_table_add(table, strcmp(state, "open") == 0 ? CTL_PLAIN : CTL_WARN, "%s", state);
}

/* Members of the one big array, one a line. */
static void
list_print_json_row(const struct list *list, const json_t *connection)
{
	char *text = json_dumps(connection, JSON_COMPACT | JSON_REAL_PRECISION(12));

	if (!text)
		return;
	fputs(list->shown > 0 ? ",\n" : "\n", stdout);
	ctl_term_write(stdout, text, strlen(text));
	free(text);
}

/* The columns follow from the first page; later ones have the same. */
static void
list_begin_table(struct list *list, const json_t *connections)
{
	static const struct ctl_column columns[] = {{"ID", true}, {"LISTENER", false},
		{"SERVICE", false}, {"WORKER", true}, {"PEER", false}, {"UPSTREAM", false},
		{"AGE", true}, {"IDLE", true}, {"RECEIVED", true}, {"SENT", true}, {"RTT", true},
		{"QUEUED", true}, {"STATE", false}};
	json_t *connection;
	unsigned n = 0;
	size_t i;

	json_array_foreach(connections, i, connection)
		list->upstreams |= json_is_object(json_object_get(connection, "upstream"));
	for (i = 0; i < sizeof(columns) / sizeof(*columns); i++)
		if (i != COLUMN_UPSTREAM || list->upstreams)
			list->columns[n++] = columns[i];
	ctl_table_init(&list->table, list->columns, n);
}

static void
list_print_page(struct list *list, const json_t *connections)
{
	json_t *connection;
	size_t i;

	if (list->ctl->json && !list->opened)
		fputs("{\"connections\":[", stdout);
	if (!list->ctl->json && !list->opened)
		list_begin_table(list, connections);
	list->opened = true;
	json_array_foreach(connections, i, connection) {
		if (list->wanted > 0 && list->shown == list->wanted)
			break;
		if (list->ctl->json)
			list_print_json_row(list, connection);
		else
			list_add_row(&list->table, connection, list->upstreams);
		list->shown++;
	}
	if (!list->ctl->json)
		ctl_table_print(&list->table, &list->text);
}

static enum ctl_exit
list_ask(const struct list *list, struct ctl_answer *ret_answer)
{
	uint64_t left = list->wanted > 0 ? list->wanted - list->shown : PAGE_MAX;
	char limit[32], after[32], worker[32];
	const struct ctl *ctl = list->ctl;
	const char *pairs[][2] = {
		{"source", ctl->source},
		{"listener", ctl->listener},
		{"worker", ctl->given & CTL_OPTION_WORKER ? worker : NULL},
		{"limit", limit},
		{"after", list->next > 0 ? after : NULL},
	};
	struct ctl_call call = {.command = COMMAND_LIST};
	char *query;
	enum ctl_exit r;

	snprintf(limit, sizeof(limit), "%" PRIu64, left < PAGE_MAX ? left : PAGE_MAX);
	snprintf(after, sizeof(after), "%" JSON_INTEGER_FORMAT, list->next);
	snprintf(worker, sizeof(worker), "%" PRIu64, ctl->worker);
	query = ctl_admin_query(pairs, sizeof(pairs) / sizeof(*pairs));
	call.query = query;
	r = ctl_admin_call(ctl, &call, ret_answer);
	free(query);
	return r;
}

/* Keeps where the next page starts. A page without a list, or one that leads nowhere new, is a
 * fault of the server. */
static enum ctl_exit
list_check_page(struct list *list, const json_t *json)
{
	const json_t *next = json_object_get(json, "next");
	json_int_t after = json_is_integer(next) ? json_integer_value(next) : -1;

	if (!json_is_array(json_object_get(json, "connections")) ||
		(after >= 0 && (after == 0 || after == list->next))) {
		ctl_complain("%s: the answer is not a page of connections",
			list->ctl->server.socket_path);
		return CTL_EXIT_FAILED;
	}
	list->next = after;
	return CTL_EXIT_OK;
}

static enum ctl_exit
list_pages(struct list *list)
{
	struct ctl_answer answer;
	unsigned page;
	enum ctl_exit r;

	for (page = 0; page < PAGES_MAX; page++) {
		r = list_ask(list, &answer);
		if (r != CTL_EXIT_OK)
			return r;
		r = list_check_page(list, answer.json);
		if (r == CTL_EXIT_OK)
			list_print_page(list, json_object_get(answer.json, "connections"));
		ctl_answer_done(&answer);
		if (r != CTL_EXIT_OK || list->next < 0 || ferror(stdout) ||
			(list->wanted > 0 && list->shown >= list->wanted))
			return r;
	}
	ctl_complain("%s: the list does not end", list->ctl->server.socket_path);
	return CTL_EXIT_FAILED;
}

/* One page is shown as the server wrote it. */
static enum ctl_exit
list_run_json_page(struct list *list)
{
	struct ctl_answer answer;
	enum ctl_exit r = list_ask(list, &answer);

	if (r != CTL_EXIT_OK)
		return r;
	ctl_print_json(list->ctl, &answer);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

static enum ctl_exit
list_run_json(struct list *list)
{
	enum ctl_exit r;

	if (list->wanted > 0 && list->wanted <= PAGE_MAX)
		return list_run_json_page(list);
	r = list_pages(list);
	/* What was cut short shall not look whole. */
	if (r == CTL_EXIT_OK)
		fputs("\n]}\n", stdout);
	return r;
}

enum ctl_exit
ctl_list_run(const struct ctl *ctl)
{
	struct list list = {.ctl = ctl, .next = -1, .text = ctl_text_stdout(ctl)};
	enum ctl_exit r;

	list.wanted = ctl->given & CTL_OPTION_LIMIT ? ctl->limit : LIMIT_DEFAULT;
	if (ctl->json)
		return list_run_json(&list);
	r = list_pages(&list);
	ctl_table_done(&list.table);
	if (r == CTL_EXIT_OK && list.next >= 0)
		ctl_complain("there are more connections; --limit 0 lists all");
	return r;
}
