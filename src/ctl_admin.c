/* ctl_admin: see ctl_admin.h. */
#include "ctl_admin.h"

#include <errno.h>
#include <grp.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define JSON_INDENT_COLUMNS 2

void
ctl_complain(const char *format, ...)
{
	char *text = NULL, *harmless;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&text, format, args);
	va_end(args);
	harmless = r < 0 ? NULL : ctl_term_escape(text);
	fflush(stdout);
	fprintf(stderr, "millgatectl: %s\n", harmless ? harmless : "no memory");
	free(harmless);
	if (r >= 0)
		free(text);
}

void
ctl_answer_done(struct ctl_answer *answer)
{
	if (!answer)
		return;
	json_decref(answer->json);
	answer->json = NULL;
	ctl_http_reply_done(&answer->reply);
}

static int
explain_denied(const char *path, struct mg_error *reterr_error)
{
	struct stat st;
	struct group *group = NULL;

	if (stat(path, &st) == 0)
		group = getgrgid(st.st_gid);
	if (group)
		return mg_error_set(reterr_error, CTL_EXIT_UNREACHABLE,
			"%s: permission denied; root and the members of group %s may use it", path,
			group->gr_name);
	return mg_error_set(reterr_error, CTL_EXIT_UNREACHABLE,
		"%s: permission denied; root and the members of the socket's group (usually "
		"millgate) may use it",
		path);
}

/* What an exchange's errno means to the person who waits, and the exit code it stands for. */
static enum ctl_exit
explain_failure(const struct ctl *ctl, int error, const char *text, struct mg_error *reterr_error)
{
	const char *path = ctl->server.socket_path;

	switch (-error) {
	case ECANCELED:
		return mg_error_set(reterr_error, CTL_EXIT_UNREACHABLE, "%s", "");
	case ENOENT:
		return mg_error_set(reterr_error, CTL_EXIT_UNREACHABLE,
			"%s: there is no such socket; is millgated running? (--socket names "
			"another)",
			path);
	case ECONNREFUSED:
		return mg_error_set(reterr_error, CTL_EXIT_UNREACHABLE,
			"%s: nobody listens there; is millgated running?", path);
	case EACCES:
	case EPERM:
		return explain_denied(path, reterr_error);
	case EBADMSG:
	case EFBIG:
	case ENOMEM:
		return mg_error_set(reterr_error, CTL_EXIT_FAILED, "%s: %s", path, text);
	case ENAMETOOLONG:
		return mg_error_set(reterr_error, CTL_EXIT_USAGE, "%s: %s", path, text);
	default:
		return mg_error_set(reterr_error, CTL_EXIT_UNREACHABLE, "%s: %s", path, text);
	}
}

/* "/connections/ID" with the id; to be freed. */
static char *
format_target(const struct ctl_call *call)
{
	const char *path = commands_info(call->command)->path;
	size_t length = strlen(path);
	char *target = NULL;

	if (call->id)
		length -= strlen("ID");
	if (asprintf(&target, "%.*s%s%s%s", (int)length, path, call->id ? call->id : "",
		    call->query ? "?" : "", call->query ? call->query : "") < 0)
		return NULL;
	return target;
}

/* The server's own words for an error status. */
static enum ctl_exit
explain_refusal(const struct ctl_answer *answer, struct mg_error *reterr_error)
{
	const char *error = json_string_value(json_object_get(answer->json, "error"));

	if (!error || error[0] == '\0')
		return mg_error_set(reterr_error, CTL_EXIT_FAILED,
			"the gateway answered with status %u", answer->reply.status);
	return mg_error_set(reterr_error, CTL_EXIT_FAILED, "%s", error);
}

/* Sorts a whole reply into an answer or an error. */
static enum ctl_exit
judge_answer(const struct ctl *ctl, const struct ctl_call *call, struct ctl_answer *answer,
	struct mg_error *reterr_error)
{
	bool success = answer->reply.status >= 200 && answer->reply.status <= 299;
	json_error_t error;

	if (call->text && success)
		return CTL_EXIT_OK;
	answer->json = json_loadb(
		answer->reply.body, answer->reply.length, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(answer->json) && (success || call->any_status))
		return CTL_EXIT_OK;
	if (success)
		return mg_error_set(reterr_error, CTL_EXIT_FAILED,
			"%s: the answer is not a JSON object", ctl->server.socket_path);
	return explain_refusal(answer, reterr_error);
}

enum ctl_exit
ctl_admin_try(const struct ctl *ctl, const struct ctl_call *call, struct ctl_answer *ret_answer,
	struct mg_error *reterr_error)
{
	struct ctl_http_request request = {
		.method = commands_info(call->command)->method, .body = call->body};
	struct ctl_answer answer = {0};
	struct mg_error error = {""};
	char *target = format_target(call);
	enum ctl_exit exit_code;
	int r;

	request.target = target;
	r = target ? ctl_http_exchange(&ctl->server, &request, &answer.reply, &error) : -ENOMEM;
	free(target);
	if (r < 0)
		return explain_failure(ctl, r, error.text, reterr_error);
	exit_code = judge_answer(ctl, call, &answer, reterr_error);
	if (exit_code == CTL_EXIT_OK) {
		*ret_answer = answer;
		return CTL_EXIT_OK;
	}
	if (ctl->json && json_is_object(answer.json))
		ctl_print_json(ctl, &answer);
	ctl_answer_done(&answer);
	return exit_code;
}

enum ctl_exit
ctl_admin_call(const struct ctl *ctl, const struct ctl_call *call, struct ctl_answer *ret_answer)
{
	struct mg_error error = {""};
	enum ctl_exit r = ctl_admin_try(ctl, call, ret_answer, &error);

	if (r != CTL_EXIT_OK)
		ctl_complain("%s", error.text);
	return r;
}

/* Everything but the unreserved characters of RFC 3986. */
static void
write_encoded(FILE *out, const char *text)
{
	static const char unreserved[] = "-._~0123456789abcdefghijklmnopqrstuvwxyz"
					 "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (; *text != '\0'; text++) {
		if (strchr(unreserved, *text))
			fputc(*text, out);
		else
			fprintf(out, "%%%02X", (unsigned)(unsigned char)*text);
	}
}

char *
ctl_admin_query(const char *const (*pairs)[2], unsigned n_pairs)
{
	char *query = NULL;
	size_t size;
	FILE *out = open_memstream(&query, &size);
	unsigned i;

	if (!out)
		return NULL;
	for (i = 0; i < n_pairs; i++) {
		if (!pairs[i][1])
			continue;
		fprintf(out, "%s%s=", ftell(out) > 0 ? "&" : "", pairs[i][0]);
		write_encoded(out, pairs[i][1]);
	}
	if (fclose(out) != 0) {
		free(query);
		return NULL;
	}
	return query;
}

void
ctl_print_json(const struct ctl *ctl, const struct ctl_answer *answer)
{
	const struct ctl_http_reply *reply = &answer->reply;
	char *text;

	if (!ctl->tty) {
		fwrite(reply->body, 1, reply->length, stdout);
		if (reply->length == 0 || reply->body[reply->length - 1] != '\n')
			fputc('\n', stdout);
		return;
	}
	text = json_dumps(answer->json, JSON_INDENT(JSON_INDENT_COLUMNS));
	if (!text)
		return;
	ctl_term_write(stdout, text, strlen(text));
	fputc('\n', stdout);
	free(text);
}

double
ctl_json_real(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *
ctl_json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}
