/* conf_check: see conf_check.h. */
#include "conf_check.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "addr.h"
#include "conf_check_private.h"
#include "conf_field.h"
#include "conf_unit.h"
#include "conf_value.h"

bool
conf_check_is_good(const struct conf_part *part, const char *a, const char *b)
{
	uint64_t keys = conf_scope_below(part->scope, a) | conf_scope_below(part->scope, b);

	return (part->bad & keys) == 0;
}

void
conf_check_fail(struct conf_draft *draft, const struct conf_part *part, const char *path,
	const char *message)
{
	const struct conf_key *key = conf_scope_find(part->scope, path);
	char full[CONF_PREFIX_MAX + CONF_KEY_PATH_MAX], found[CONF_VALUE_SHOW_MAX];
	json_t *json;

	assert(key);
	json = conf_field_to_json(key, conf_key_field(key, part->structure));
	if (!json) {
		draft->report.no_memory = true;
		return;
	}
	snprintf(full, sizeof(full), "%s%s", part->prefix, path);
	conf_report_add(
		&draft->report, full, "found %s, %s", conf_value_show(json, found), message);
	json_decref(json);
}

void
conf_check_fail_element(struct conf_draft *draft, const struct conf_part *part, const char *path,
	size_t index, const char *text)
{
	char full[CONF_PREFIX_MAX + CONF_KEY_PATH_MAX + 24];

	snprintf(full, sizeof(full), "%s%s[%zu]", part->prefix, path, index);
	conf_report_add(&draft->report, full, "%s", text);
}

static void
conf_check_burst(
	struct conf_draft *draft, const struct conf_part *part, uint64_t rate, uint64_t burst)
{
	if (rate == 0 && burst != 0 &&
		conf_check_is_good(part, "limits.accept_rate", "limits.accept_burst"))
		conf_check_fail(draft, part, "limits.accept_burst",
			"allowed is only 0 while accept_rate is 0");
}

/* A listener that has the global value of queued_bytes_per_connection is not blamed for it. */
static void
conf_check_queue(struct conf_draft *draft, const struct conf_part *part, uint64_t per_connection)
{
	static const char path[] = "limits.queued_bytes_per_connection";
	char total[CONF_UNIT_TEXT_MAX], message[128];

	if (per_connection <= draft->conf->queued_total || !conf_check_is_good(part, path, path) ||
		!conf_check_is_good(&draft->global, "limits.queued_bytes", "limits.queued_bytes"))
		return;
	if (part != &draft->global && !(part->set & conf_scope_below(part->scope, path)))
		return;
	snprintf(message, sizeof(message), "allowed is at most limits.queued_bytes, \"%s\"",
		conf_unit_format_size(draft->conf->queued_total, total));
	conf_check_fail(draft, part, path, message);
}

static void
conf_check_heartbeat(struct conf_draft *draft, const struct conf_part *part)
{
	static const char interval[] = "heartbeat.interval", payload[] = "heartbeat.payload";
	const struct conf_listener *listener = part->structure;

	if (listener->heartbeat_interval != 0 && listener->service != CONF_SERVICE_HOLD) {
		if (conf_check_is_good(part, interval, "service"))
			conf_check_fail(draft, part, interval,
				"allowed is only 0 unless service is \"hold\"");
		return;
	}
	if (!conf_check_is_good(part, interval, payload))
		return;
	if (listener->heartbeat_interval != 0 && *listener->heartbeat_payload == '\0')
		conf_check_fail(draft, part, payload,
			"allowed are texts of 1 byte and more while heartbeat.interval is set");
	if (listener->heartbeat_interval == 0 && *listener->heartbeat_payload != '\0')
		conf_check_fail(
			draft, part, payload, "allowed is only \"\" while heartbeat.interval is 0");
}

static void
conf_check_framing(struct conf_draft *draft, const struct conf_part *part)
{
	const struct conf_listener *listener = part->structure;

	if (listener->framing != CONF_FRAMING_NONE && listener->protocol != CONF_PROTOCOL_RAW &&
		conf_check_is_good(part, "framing", "protocol"))
		conf_check_fail(draft, part, "framing",
			"allowed is only \"none\" unless protocol is \"raw\"");
}

/* Compares as the kernel will: "[::0]:7000" is "[::]:7000". */
static bool
conf_check_is_same_address(const char *a, const char *b)
{
	struct sockaddr_storage sa_a, sa_b;
	socklen_t length_a, length_b;

	if (*a == '\0' || *b == '\0')
		return false;
	memset(&sa_a, 0, sizeof(sa_a));
	memset(&sa_b, 0, sizeof(sa_b));
	if (addr_parse_listen(a, &sa_a, &length_a, NULL) < 0 ||
		addr_parse_listen(b, &sa_b, &length_b, NULL) < 0)
		return false;
	return length_a == length_b && memcmp(&sa_a, &sa_b, length_a) == 0;
}

static void
conf_check_not_admin(struct conf_draft *draft, const struct conf_part *part, const char *path,
	const char *address)
{
	const char *admin_socket = draft->conf->admin_socket;
	char admin[sizeof("unix:") + sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	if (*admin_socket == '\0')
		return;
	snprintf(admin, sizeof(admin), "unix:%s", admin_socket);
	if (conf_check_is_same_address(admin, address))
		conf_check_fail(draft, part, path,
			"allowed are addresses of its own (admin.socket is the same)");
}

static void
conf_check_address(struct conf_draft *draft, size_t index)
{
	const struct conf *conf = draft->conf;
	const struct conf_part *part = &draft->listeners[index];
	const char *address = conf->listeners[index].address;
	char message[CONF_PREFIX_MAX + 128];

	for (size_t i = 0; i < index; i++)
		if (conf_check_is_same_address(conf->listeners[i].address, address)) {
			snprintf(message, sizeof(message),
				"allowed are addresses of its own (%saddress is the same)",
				draft->listeners[i].prefix);
			conf_check_fail(draft, part, "address", message);
			return;
		}
	conf_check_not_admin(draft, part, "address", address);
	if (conf_check_is_same_address(conf->metrics_address, address))
		conf_check_fail(draft, part, "address",
			"allowed are addresses of its own (metrics.address is the same)");
}

void
conf_check(struct conf_draft *draft)
{
	const struct conf *conf = draft->conf;

	conf_check_burst(draft, &draft->global, conf->accept_rate, conf->accept_burst);
	conf_check_queue(draft, &draft->global, conf->queued_per_connection);
	conf_check_not_admin(draft, &draft->global, "metrics.address", conf->metrics_address);
	conf_check_nameservers(draft);
	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];
		const struct conf_part *part = &draft->listeners[i];

		conf_check_address(draft, i);
		conf_check_heartbeat(draft, part);
		conf_check_framing(draft, part);
		conf_check_websocket(draft, part);
		conf_check_relay(draft, part);
		conf_check_burst(draft, part, listener->accept_rate, listener->accept_burst);
		conf_check_queue(draft, part, listener->queued_per_connection);
	}
	conf_check_servers(draft);
}
