/* ctl_verbs: see ctl_verbs.h. */
#include "ctl_verbs.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_admin.h"
#include "ctl_view.h"

#define ID_MAX ((1ull << 53) - 1) /* the contract's */
#define SOURCES_MAX 1000u

/* Asks, and prints with --json. *ret_done: nothing is left to do but to leave. */
static enum ctl_exit
ask(const struct ctl *ctl, const struct ctl_call *call, struct ctl_answer *ret_answer,
	bool *ret_done)
{
	enum ctl_exit r = ctl_admin_call(ctl, call, ret_answer);

	*ret_done = true;
	if (r != CTL_EXIT_OK)
		return r;
	*ret_done = ctl->json;
	if (ctl->json) {
		ctl_print_json(ctl, ret_answer);
		ctl_answer_done(ret_answer);
	}
	return CTL_EXIT_OK;
}

/* The answer was an error, or says that the gateway is degraded. */
static bool
answer_is_bad(const struct ctl_answer *answer)
{
	return answer->reply.status >= 300 ||
	       strcmp(ctl_json_text(answer->json, "status"), "ok") != 0;
}

enum ctl_exit
ctl_verb_health(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_HEALTH, .any_status = true};
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	enum ctl_exit r = ctl_admin_call(ctl, &call, &answer);
	const char *status;

	if (r != CTL_EXIT_OK)
		return r;
	status = json_string_value(json_object_get(answer.json, "status"));
	if (answer_is_bad(&answer))
		r = CTL_EXIT_FAILED;
	if (ctl->json) {
		ctl_print_json(ctl, &answer);
	} else if (!status) {
		ctl_complain("the gateway answered with status %u: %s", answer.reply.status,
			ctl_json_text(answer.json, "error"));
		r = CTL_EXIT_FAILED;
	} else {
		ctl_text_put(&text, r == CTL_EXIT_OK ? CTL_GOOD : CTL_BAD, "%s", status);
		if (json_is_true(json_object_get(answer.json, "draining")))
			ctl_text_put(&text, CTL_WARN, ", draining");
		ctl_text_end_line(&text);
		ctl_view_problems(&text, answer.json);
	}
	ctl_answer_done(&answer);
	return r;
}

/* One line for each value below `json`: its path, with dots, and the value. */
static void
print_flat(struct ctl_text *text, const char *path, json_t *json)
{
	char *inner = NULL, *dump;
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach(json, key, value) {
		if (asprintf(&inner, "%s%s%s", path, path[0] ? "." : "", key) < 0)
			return;
		print_flat(text, inner, value);
		free(inner);
	}
	json_array_foreach(json, i, value) {
		if (asprintf(&inner, "%s.%zu", path, i) < 0)
			return;
		print_flat(text, inner, value);
		free(inner);
	}
	if (json_is_object(json) || json_is_array(json))
		return;
	dump = json_is_string(json) ? NULL
				    : json_dumps(json, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	ctl_text_put(text, CTL_PLAIN, "%s ", path);
	ctl_text_put(text, CTL_BOLD, "%s", dump ? dump : json_string_value(json));
	ctl_text_end_line(text);
	free(dump);
}

static enum ctl_exit
ask_and_print_flat(const struct ctl *ctl, const struct ctl_call *call)
{
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	bool done;
	enum ctl_exit r = ask(ctl, call, &answer, &done);

	if (done)
		return r;
	print_flat(&text, "", answer.json);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

enum ctl_exit
ctl_verb_stats(const struct ctl *ctl)
{
	return ask_and_print_flat(ctl, &(struct ctl_call){.command = COMMAND_STATS});
}

enum ctl_exit
ctl_verb_metrics(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_METRICS, .text = true};
	struct ctl_answer answer;
	enum ctl_exit r;

	if (ctl->json)
		return ctl_usage_error("metrics",
			"metrics are not JSON; 'millgatectl --json stats' has the same numbers");
	r = ctl_admin_call(ctl, &call, &answer);
	if (r != CTL_EXIT_OK)
		return r;
	if (ctl->tty)
		ctl_term_write(stdout, answer.reply.body, answer.reply.length);
	else
		fwrite(answer.reply.body, 1, answer.reply.length, stdout);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

/* The id among the arguments, or NULL, which was complained about. */
static const char *
id_argument(const struct ctl *ctl)
{
	uint64_t id;

	if (ctl_term_parse_number(ctl->args[1], ID_MAX, &id) == 0)
		return ctl->args[1];
	ctl_usage_error(ctl->args[0], "'%s' is not the id of a connection", ctl->args[1]);
	return NULL;
}

enum ctl_exit
ctl_verb_show(const struct ctl *ctl)
{
	const char *id = id_argument(ctl);

	if (!id)
		return CTL_EXIT_USAGE;
	return ask_and_print_flat(ctl, &(struct ctl_call){.command = COMMAND_SHOW, .id = id});
}

enum ctl_exit
ctl_verb_sources(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_SOURCES};
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	char query[32];
	bool done;
	enum ctl_exit r;

	if (ctl->given & CTL_OPTION_LIMIT) {
		if (ctl->limit < 1 || ctl->limit > SOURCES_MAX)
			return ctl_usage_error("sources", "--limit is 1 to %u here", SOURCES_MAX);
		snprintf(query, sizeof(query), "limit=%" PRIu64, ctl->limit);
		call.query = query;
	}
	r = ask(ctl, &call, &answer, &done);
	if (done)
		return r;
	ctl_view_sources(&text, answer.json, SOURCES_MAX);
	ctl_text_put(&text, CTL_DIM, "of %s sources",
		ctl_term_count(ctl_json_real(answer.json, "sources_current")).text);
	ctl_text_end_line(&text);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

static enum ctl_exit
ask_and_print_closed(const struct ctl *ctl, const struct ctl_call *call)
{
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	bool done;
	enum ctl_exit r = ask(ctl, call, &answer, &done);
	double closed;

	if (done)
		return r;
	closed = ctl_json_real(answer.json, "closed");
	ctl_text_put(&text, CTL_PLAIN, "Closed %s connection%s.", ctl_term_count(closed).text,
		closed == 1 ? "" : "s");
	ctl_text_end_line(&text);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

enum ctl_exit
ctl_verb_kill(const struct ctl *ctl)
{
	const char *pairs[][2] = {{"source", ctl->source}, {"listener", ctl->listener}};
	struct ctl_call call = {.command = COMMAND_KILL_SOURCE};
	enum ctl_exit r;
	char *query;

	if ((ctl->n_args == 2) == !!ctl->source || (ctl->listener && !ctl->source))
		return ctl_usage_error("kill", "kill takes either an id or --source");
	if (!ctl->source) {
		call.command = COMMAND_KILL;
		call.id = id_argument(ctl);
		return call.id ? ask_and_print_closed(ctl, &call) : CTL_EXIT_USAGE;
	}
	query = ctl_admin_query(pairs, 2);
	call.query = query;
	r = ask_and_print_closed(ctl, &call);
	free(query);
	return r;
}

enum ctl_exit
ctl_verb_upstreams(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_UPSTREAMS};
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	bool done;
	enum ctl_exit r = ask(ctl, &call, &answer, &done);

	if (done)
		return r;
	ctl_view_upstreams(&text, json_object_get(answer.json, "upstreams"), UINT_MAX);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

/* {"server":"app.example:80","listener":"public"}; to be freed, or NULL. */
static char *
upstream_body(const struct ctl *ctl)
{
	json_t *object = json_pack("{s:s}", "server", ctl->args[2]);
	char *body = NULL;

	if (object && (!ctl->listener || json_object_set_new(object, "listener",
						 json_string(ctl->listener)) == 0))
		body = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return body;
}

enum ctl_exit
ctl_verb_upstream(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_UPSTREAM_DISABLE};
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	char *body;
	bool done;
	enum ctl_exit r;

	if (strcmp(ctl->args[1], "enable") == 0)
		call.command = COMMAND_UPSTREAM_ENABLE;
	else if (strcmp(ctl->args[1], "disable") != 0)
		return ctl_usage_error("upstream", "say disable or enable, not '%s'", ctl->args[1]);
	body = upstream_body(ctl);
	if (!body) /* what is not UTF-8 is no JSON string */
		return ctl_usage_error("upstream", "there is no such server");
	call.body = body;
	r = ask(ctl, &call, &answer, &done);
	free(body);
	if (done)
		return r;
	ctl_view_upstreams(&text, json_object_get(answer.json, "servers"), UINT_MAX);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

/* {"over":"10m"}, or {"over":600} for what is seconds alone; to be freed, or NULL. */
static char *
drain_body(const char *over)
{
	bool seconds = over && *over && over[strspn(over, "0123456789")] == '\0';
	json_t *object = NULL;
	char *body;

	if (seconds)
		object = json_pack("{s:I}", "over", (json_int_t)strtoll(over, NULL, 10));
	else if (over)
		object = json_pack("{s:s}", "over", over);
	body = object ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	return body;
}

enum ctl_exit
ctl_verb_drain(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_DRAIN};
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	char *body = drain_body(ctl->over);
	bool done;
	enum ctl_exit r;
	double over;

	if (ctl->over && !body) /* what is not UTF-8 is no JSON string */
		return ctl_usage_error("drain", "--over takes a duration, such as 90s or 10m");
	call.body = body;
	r = ask(ctl, &call, &answer, &done);
	free(body);
	if (done)
		return r;
	over = ctl_json_real(answer.json, "over_seconds");
	ctl_text_put(&text, CTL_PLAIN, "Draining %s connections %s%s.",
		ctl_term_count(ctl_json_real(answer.json, "connections")).text,
		over > 0 ? "over " : "at once", over > 0 ? ctl_term_duration(over).text : "");
	ctl_text_end_line(&text);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

enum ctl_exit
ctl_verb_resume(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_RESUME};
	struct ctl_answer answer;
	bool done;
	enum ctl_exit r = ask(ctl, &call, &answer, &done);

	if (done)
		return r;
	puts("Accepting connections.");
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

enum ctl_exit
ctl_verb_upgrade(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_UPGRADE};
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer answer;
	bool done;
	enum ctl_exit r = ask(ctl, &call, &answer, &done);

	if (done)
		return r;
	ctl_text_put(&text, CTL_PLAIN, "%s takes over.", ctl_json_text(answer.json, "program"));
	ctl_text_end_line(&text);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}

/* The items of a list of texts, one a line. */
static void
print_items(struct ctl_text *text, const char *title, const json_t *items)
{
	json_t *item;
	size_t i;

	if (json_array_size(items) > 0) {
		ctl_text_put(text, CTL_PLAIN, "%s", title);
		ctl_text_end_line(text);
	}
	json_array_foreach(items, i, item) {
		ctl_text_put(text, CTL_PLAIN, "  %s",
			json_is_string(item) ? json_string_value(item) : "-");
		ctl_text_end_line(text);
	}
}

static enum ctl_exit
reload_refused(const struct ctl *ctl, const struct ctl_answer *answer)
{
	struct ctl_text text = {.out = stderr};

	if (ctl->json)
		ctl_print_json(ctl, answer);
	ctl_complain("%s", ctl_json_text(answer->json, "error"));
	print_items(&text, "", json_object_get(answer->json, "errors"));
	return CTL_EXIT_FAILED;
}

static void
reload_print(const struct ctl *ctl, const json_t *json)
{
	const json_t *changed = json_object_get(json, "changed");
	const json_t *needs_restart = json_object_get(json, "needs_restart");
	struct ctl_text text = ctl_text_stdout(ctl);

	if (json_array_size(changed) == 0 && json_array_size(needs_restart) == 0)
		puts("Nothing changed.");
	print_items(&text, "Changed:", changed);
	print_items(&text, "Changed in the file, but needs a restart:", needs_restart);
}

enum ctl_exit
ctl_verb_reload(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_RELOAD, .any_status = true};
	struct ctl_answer answer;
	enum ctl_exit r = ctl_admin_call(ctl, &call, &answer);

	if (r != CTL_EXIT_OK)
		return r;
	if (answer.reply.status >= 300)
		r = reload_refused(ctl, &answer);
	else if (ctl->json)
		ctl_print_json(ctl, &answer);
	else
		reload_print(ctl, answer.json);
	ctl_answer_done(&answer);
	return r;
}

enum ctl_exit
ctl_verb_config(const struct ctl *ctl)
{
	struct ctl_call call = {.command = COMMAND_CONFIG};
	struct ctl_answer answer;
	enum ctl_exit r = ctl_admin_call(ctl, &call, &answer);

	if (r != CTL_EXIT_OK)
		return r;
	ctl_print_json(ctl, &answer);
	ctl_answer_done(&answer);
	return CTL_EXIT_OK;
}
