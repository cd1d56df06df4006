/*
 * supervisor_upstreams: the servers behind relay listeners, as an operator sees and steers them.
 *
 * Process: S.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "supervisor_private.h"
#include "upstream_source.h"

#define SERVER_WARNINGS_MAX 8 /* that are told one by one */

size_t
supervisor_list_upstreams(
	const struct supervisor *supervisor, uint16_t ret_numbers[static UPSTREAM_MAX])
{
	const struct upstream *items = supervisor->upstreams->items;
	size_t n = 0;

	for (unsigned listener = 0; listener < supervisor->conf->n_listeners; listener++)
		for (uint16_t i = 0; i < UPSTREAM_MAX; i++)
			if (items[i].in_use && items[i].listener == listener)
				ret_numbers[n++] = i;
	return n;
}

bool
supervisor_upstream_is(const struct supervisor *supervisor, uint16_t number, int listener,
	const char *name_or_address)
{
	const struct upstream *upstream = &supervisor->upstreams->items[number];

	return (listener < 0 || listener == upstream->listener) &&
	       upstream_is_called(upstream, name_or_address);
}

static const char *
supervisor_listener_name(const struct supervisor *supervisor, const struct upstream *upstream)
{
	return supervisor->conf->listeners[upstream->listener].name;
}

static void
supervisor_log_disabled(
	const struct supervisor *supervisor, const struct upstream *upstream, bool disabled)
{
	struct log_context context = {.listener = supervisor_listener_name(supervisor, upstream)};
	char server[UPSTREAM_LABEL_MAX];

	log_info(&context, "%s: server %s is %s", context.listener,
		upstream_label(upstream, server),
		disabled ? "disabled: it gets no new clients" : "enabled");
}

unsigned
supervisor_disable_upstreams(
	struct supervisor *supervisor, int listener, const char *name_or_address, bool disabled)
{
	for (uint16_t i = 0; i < UPSTREAM_MAX; i++)
		if (supervisor_upstream_is(supervisor, i, listener, name_or_address) &&
			supervisor->upstreams->items[i].disabled != disabled)
			supervisor_log_disabled(
				supervisor, &supervisor->upstreams->items[i], disabled);
	return upstream_watch_set_disabled(
		&supervisor->upstream_watch, listener, name_or_address, disabled);
}

/* How the servers of a listener are. */
struct supervisor_servers {
	unsigned up, down, disabled, unresolved;
};

static struct supervisor_servers
supervisor_count_servers(const struct supervisor *supervisor, unsigned listener)
{
	struct supervisor_servers count = {0};

	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		const struct upstream *upstream = &supervisor->upstreams->items[i];

		if (!upstream->in_use || !upstream->wanted || upstream->listener != listener)
			continue;
		count.up += upstream_is_up(upstream);
		count.disabled += upstream->disabled;
		count.unresolved += upstream->unresolved && !upstream->disabled;
		count.down += upstream->down && !upstream->disabled;
	}
	return count;
}

static json_t *
supervisor_no_server(const char *listener, const struct supervisor_servers *count)
{
	char unresolved[48] = "";

	if (count->down + count->disabled == 0)
		return json_sprintf("listener %s has no server: no name of upstream.servers has an "
				    "address",
			listener);
	if (count->unresolved > 0)
		snprintf(unresolved, sizeof(unresolved), ", %u without an address",
			count->unresolved);
	return json_sprintf("listener %s has no server that is up: %u down, %u disabled%s",
		listener, count->down, count->disabled, unresolved);
}

void
supervisor_add_upstream_problems(const struct supervisor *supervisor, json_t *list)
{
	for (unsigned i = 0; i < supervisor->conf->n_listeners; i++) {
		const struct conf_listener *listener = &supervisor->conf->listeners[i];
		struct supervisor_servers count;

		if (listener->service != CONF_SERVICE_RELAY)
			continue;
		count = supervisor_count_servers(supervisor, i);
		if (count.up > 0)
			continue;
		json_array_append_new(list, supervisor_no_server(listener->name, &count));
	}
}

/* Servers of a family that the sources of their listener have nothing of. */
static void
supervisor_add_family_warnings(const struct supervisor *supervisor, json_t *list)
{
	unsigned n = 0;

	for (unsigned i = 0; i < UPSTREAM_MAX && n < SERVER_WARNINGS_MAX; i++) {
		const struct upstream *upstream = &supervisor->upstreams->items[i];
		const struct upstream_sources *sources =
			&supervisor->upstream_watch.check.policies[upstream->listener].sources;
		char server[UPSTREAM_LABEL_MAX];

		if (!upstream->in_use || !upstream->wanted || upstream->unresolved ||
			upstream_sources_suit(sources, &upstream->address))
			continue;
		n++;
		json_array_append_new(
			list, json_sprintf("listener %s: connections to %s come from an address "
					   "of the kernel's choice: upstream.source_addresses "
					   "has none of its family",
				      supervisor_listener_name(supervisor, upstream),
				      upstream_label(upstream, server)));
	}
}

/* Addresses that connections to servers cannot come from. */
static void
supervisor_add_source_warnings(const struct supervisor *supervisor, json_t *list)
{
	for (size_t i = 0; i < supervisor->conf->n_listeners; i++) {
		const struct conf_listener *listener = &supervisor->conf->listeners[i];

		for (size_t k = 0; k < listener->upstream_sources.n; k++) {
			const char *source = listener->upstream_sources.items[k];
			int r = upstream_source_try(source);

			if (r < 0)
				json_array_append_new(list,
					json_sprintf("listener %s: no connection can come from %s "
						     "(upstream.source_addresses): %s",
						listener->name, source,
						r == -EADDRNOTAVAIL
							? "it is no address of this machine"
							: strerror(-r)));
		}
	}
}

static void
supervisor_add_name_warnings(const struct supervisor *supervisor, json_t *list)
{
	const char *name, *problem;
	unsigned listener, n = 0;

	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		if (!upstream_resolve_trouble(
			    &supervisor->upstream_watch.resolve, i, &listener, &name, &problem))
			continue;
		if (n++ < SERVER_WARNINGS_MAX)
			json_array_append_new(list,
				json_sprintf("listener %s: server %s cannot be resolved: %s",
					supervisor->conf->listeners[listener].name, name, problem));
	}
	if (n > SERVER_WARNINGS_MAX)
		json_array_append_new(list,
			json_sprintf("%u more names cannot be resolved", n - SERVER_WARNINGS_MAX));
}

void
supervisor_add_upstream_warnings(const struct supervisor *supervisor, json_t *list)
{
	uint16_t numbers[UPSTREAM_MAX];
	size_t n = supervisor_list_upstreams(supervisor, numbers), n_down = 0;

	for (size_t i = 0; i < n; i++) {
		const struct upstream *upstream = &supervisor->upstreams->items[numbers[i]];
		char server[UPSTREAM_LABEL_MAX];

		if (!upstream->wanted || upstream->disabled || !upstream->down)
			continue;
		if (n_down++ < SERVER_WARNINGS_MAX)
			json_array_append_new(
				list, json_sprintf("listener %s: server %s is down",
					      supervisor_listener_name(supervisor, upstream),
					      upstream_label(upstream, server)));
	}
	if (n_down > SERVER_WARNINGS_MAX)
		json_array_append_new(list,
			json_sprintf("%zu more servers are down: millgatectl upstreams lists them",
				n_down - SERVER_WARNINGS_MAX));
	supervisor_add_name_warnings(supervisor, list);
	supervisor_add_source_warnings(supervisor, list);
	supervisor_add_family_warnings(supervisor, list);
}

void
supervisor_refresh_upstreams(struct supervisor *supervisor)
{
	struct metrics_slot *slot = &supervisor->metrics->slots[0];

	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		const struct upstream *upstream = &supervisor->upstreams->items[i];

		metrics_write(&slot->upstream[i][UPSTREAM_METRIC_CONNECTIONS],
			upstream->in_use ? upstream->connections : 0);
		metrics_write(&slot->upstream[i][UPSTREAM_METRIC_UP], upstream_is_up(upstream));
		metrics_write(&slot->upstream[i][UPSTREAM_METRIC_DISABLED],
			upstream->in_use && (upstream->disabled || !upstream->wanted));
		metrics_write(&slot->upstream[i][UPSTREAM_METRIC_LIMIT],
			upstream->in_use ? supervisor->upstreams->policies[upstream->listener]
						   .max_connections
					 : 0);
	}
}
