/*
 * admin_actions: requests that change something: reload, drain, resume, upgrade.
 *
 * Process: S.
 */
#include <errno.h>
#include <event2/http.h>
#include <string.h>

#include "admin_routes.h"
#include "conf_unit.h"
#include "supervisor.h"

#define ADMIN_UNPROCESSABLE 422            /* RFC 9110 section 15.5.21 */
#define ADMIN_DRAIN_MAX_USEC 604800000000u /* a week */

static void
admin_reply_reload_failed(
	struct admin_request *request, int error, const struct conf_errors *errors)
{
	json_t *list = json_array();

	if (error == -EBUSY)
		json_array_append_new(list,
			json_string(
				"connections are still being taken up, or counted after the last "
				"reload; try again in a moment"));
	else if (errors->n == 0)
		json_array_append_new(list, json_string(strerror(-error)));
	for (size_t i = 0; i < errors->n; i++)
		json_array_append_new(list, json_string(errors->items[i]));
	admin_reply(request, ADMIN_UNPROCESSABLE,
		json_pack("{s:s, s:o}", "error", "the configuration was not changed", "errors",
			list));
}

void
admin_post_reload(void *context, struct admin_request *request)
{
	struct conf_errors errors = {0};
	struct supervisor_changes changes;
	int r = supervisor_reload(context, &changes, &errors);

	if (r < 0)
		admin_reply_reload_failed(request, r, &errors);
	else
		admin_reply(request, HTTP_OK,
			json_pack("{s:o, s:o}", "changed", changes.changed, "needs_restart",
				changes.needs_restart));
	conf_errors_done(&errors);
}

/* A duration: "10m", or a number of seconds. */
static bool
admin_read_duration(const json_t *value, uint64_t *ret_usec)
{
	double seconds = json_number_value(value);
	uint64_t usec;

	if (json_is_string(value)) {
		if (conf_unit_parse_duration(json_string_value(value), &usec) < 0)
			return false;
	} else {
		if (!json_is_number(value) || seconds < 0 || seconds > ADMIN_DRAIN_MAX_USEC / 1e6)
			return false;
		usec = (uint64_t)(seconds * 1e6);
	}
	if (usec > ADMIN_DRAIN_MAX_USEC)
		return false;
	*ret_usec = usec;
	return true;
}

/* {"over": "10m"}; absent: at once. False: it is something else, and the request is answered. */
static bool
admin_read_over(struct admin_request *request, uint64_t *ret_over_usec)
{
	const char *key;
	json_t *value;

	json_object_foreach(request->body, key, value) {
		if (strcmp(key, "over") != 0) {
			admin_reply_error(request, HTTP_BADREQUEST,
				"unknown key \"%s\"; allowed is: over", key);
			return false;
		}
		if (!admin_read_duration(value, ret_over_usec)) {
			admin_reply_error(request, HTTP_BADREQUEST,
				"over: allowed are durations from 0s to 7d, such as \"10m\"");
			return false;
		}
	}
	return true;
}

void
admin_post_drain(void *context, struct admin_request *request)
{
	struct supervisor *supervisor = context;
	uint64_t over_usec = 0;

	if (!admin_read_over(request, &over_usec))
		return;
	supervisor_drain(supervisor, over_usec);
	admin_reply(request, HTTP_OK,
		json_pack("{s:b, s:f, s:I}", "draining", 1, "over_seconds", (double)over_usec / 1e6,
			"connections", (json_int_t)admit_connections(supervisor->admit)));
}

void
admin_post_resume(void *context, struct admin_request *request)
{
	supervisor_resume(context);
	admin_reply(request, HTTP_OK, json_pack("{s:b}", "draining", 0));
}

/* `context` is the request. */
static void
admin_on_upgrade_checked(void *context, bool good, const char *text)
{
	struct admin_request *request = context;

	if (good)
		admin_reply(request, HTTP_OK, json_pack("{s:s}", "program", text));
	else
		admin_reply_error(request, ADMIN_UNPROCESSABLE, "no upgrade: %s", text);
}

void
admin_post_upgrade(void *context, struct admin_request *request)
{
	struct mg_error error;

	if (supervisor_upgrade(context, admin_on_upgrade_checked, request, &error) < 0)
		admin_reply_error(request, HTTP_SERVUNAVAIL, "no upgrade: %s", error.text);
}
