/* tune_listener: see tune_listener.h. */
#include "tune_listener.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG_MAX 65535 /* conf.def's */

bool
tune_listener_is_tcp(const struct conf_listener *listener)
{
	return strncmp(listener->address, "unix:", strlen("unix:")) != 0;
}

uint64_t
tune_listener_connections(const struct conf *conf, const struct conf_listener *listener)
{
	uint64_t own = listener->limit_connections, all = conf->limit_connections;

	return own > 0 && own < all ? own : all;
}

static struct tune_finding *
tune_listener_add(struct tune_report *report, const struct conf_listener *listener, const char *key)
{
	char path[TUNE_KEY_MAX];

	snprintf(path, sizeof(path), "listeners.%s.%s", listener->name, key);
	return tune_report_add(report, TUNE_CONFIG, path);
}

static void
tune_listener_check_backlog(
	struct tune_report *report, const struct conf *conf, const struct conf_listener *listener)
{
	uint64_t connections = tune_listener_connections(conf, listener);
	uint64_t wanted = connections / 50 < BACKLOG_MAX ? connections / 50 : BACKLOG_MAX;
	struct tune_finding *finding = tune_listener_add(report, listener, "backlog");

	if (!finding)
		return;
	finding->status = listener->backlog < wanted ? TUNE_SHORT : TUNE_OK;
	finding->hint = "set it in the configuration, and Backlog= in a socket unit";
	snprintf(finding->now, sizeof(finding->now), "%" PRIu64, listener->backlog);
	snprintf(finding->wanted, sizeof(finding->wanted), "%" PRIu64, wanted);
	snprintf(finding->why, sizeof(finding->why),
		"Clients that come within 200 ms wait there while the gateway is busy, when all of "
		"them come back within 10 s (connections / 50 = %" PRIu64 " / 50 = %" PRIu64
		", of which %d are possible).",
		connections, connections / 50, BACKLOG_MAX);
}

/* Only a connection to which nothing is ever sent, and which never has to send, can stay for good
 * after its client has vanished. */
static void
tune_listener_check_keepalive(struct tune_report *report, const struct conf_listener *listener)
{
	struct tune_finding *finding;

	if (listener->keepalive || listener->idle_timeout || listener->lifetime ||
		listener->heartbeat_interval)
		return;
	finding = tune_listener_add(report, listener, "keepalive");
	if (!finding)
		return;
	finding->rule = TUNE_EXACTLY;
	finding->status = TUNE_SHORT;
	finding->hint = "set it, or limits.idle_timeout, in the configuration";
	strcpy(finding->now, "0s");
	strcpy(finding->wanted, "5m");
	snprintf(finding->why, sizeof(finding->why),
		"With neither keepalive nor heartbeat, idle timeout or lifetime a client that "
		"vanished without a word keeps its place for good.");
}

void
tune_listener_check(
	struct tune_report *report, const struct conf *conf, const struct conf_listener *listener)
{
	tune_listener_check_backlog(report, conf, listener);
	if (tune_listener_is_tcp(listener))
		tune_listener_check_keepalive(report, listener);
}

unsigned
tune_listener_port(const struct conf_listener *listener)
{
	const char *colon = strrchr(listener->address, ':');

	if (!colon || !tune_listener_is_tcp(listener))
		return 0;
	return (unsigned)strtoul(colon + 1, NULL, 10);
}

bool
tune_listener_next_ports(const char **list, struct tune_port_span *ret_span)
{
	char *end;

	if (**list == '\0')
		return false;
	ret_span->first = ret_span->last = strtoul(*list, &end, 10);
	if (*end == '-')
		ret_span->last = strtoul(end + 1, &end, 10);
	if (end == *list) /* no number */
		*ret_span = (struct tune_port_span){.first = 1, .last = 0};
	*list = *end == '\0' ? end : end + 1;
	return true;
}

static bool
tune_list_has(const char *list, unsigned port)
{
	struct tune_port_span span;

	while (tune_listener_next_ports(&list, &span))
		if (port >= span.first && port <= span.last)
			return true;
	return false;
}

/* Puts the port behind the others; false if there is no room. */
static bool
tune_list_add(char list[static TUNE_VALUE_MAX], unsigned port)
{
	size_t used = strlen(list), room = TUNE_VALUE_MAX - used;
	int n = snprintf(list + used, room, "%s%u", used > 0 ? "," : "", port);

	return n < (int)room;
}

static void
tune_listener_say_port(struct tune_report *report, const struct conf_listener *listener,
	const char *range, unsigned port)
{
	struct tune_finding *finding = tune_report_add(report, TUNE_SYSCTL, TUNE_PORT_RANGE_KEY);

	if (!finding)
		return;
	finding->rule = TUNE_EXACTLY;
	finding->status = TUNE_SHORT;
	snprintf(finding->now, sizeof(finding->now), "%s", range);
	snprintf(finding->wanted, sizeof(finding->wanted), "one without %u", port);
	snprintf(finding->why, sizeof(finding->why),
		"The port of the listener \"%s\" lies in it, so that an outgoing connection may "
		"have taken it when millgate starts.",
		listener->name);
	snprintf(finding->how, sizeof(finding->how),
		"another port, or add %u to " TUNE_RESERVED_PORTS_KEY, port);
}

static bool
tune_range_has(const struct sysctl_numbers *range, unsigned port)
{
	return port >= range->at[0] && port <= range->at[1];
}

void
tune_listener_check_ports(
	struct tune_report *report, const struct conf *conf, const struct tune_facts *facts)
{
	const char *reserved = tune_fact_text(facts, TUNE_RESERVED_PORTS_KEY);
	struct sysctl_numbers now, range;
	char list[TUNE_VALUE_MAX];
	bool fits, any = false;

	if (!tune_fact_numbers(facts, TUNE_PORT_RANGE_KEY, &now) || now.n != 2 || !reserved)
		return;
	range = tune_report_numbers(report, TUNE_PORT_RANGE_KEY, &now);
	fits = strlen(reserved) < sizeof(list);
	snprintf(list, sizeof(list), "%s", reserved);
	for (size_t i = 0; i < conf->n_listeners; i++) {
		unsigned port = tune_listener_port(&conf->listeners[i]);

		if (!tune_range_has(&range, port) || tune_list_has(list, port))
			continue;
		if (tune_range_has(&now, port))
			tune_listener_say_port(report, &conf->listeners[i],
				tune_fact_text(facts, TUNE_PORT_RANGE_KEY), port);
		fits = fits && tune_list_add(list, port);
		any = true;
	}
	/* Half a list would give ports free that somebody has reserved. */
	if (any && fits)
		tune_report_set_text(report, TUNE_RESERVED_PORTS_KEY, list,
			"Ports of listeners that lie in " TUNE_PORT_RANGE_KEY " are kept from "
			"outgoing connections.");
}
