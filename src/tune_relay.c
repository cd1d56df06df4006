/* tune_relay: see tune_relay.h. */
#include "tune_relay.h"

#include <string.h>

#include "tune_listener.h"

#define PORT_MAX 65535
#define PORT_FIRST_MIN 10240 /* no advice goes below: there are the ports of services */

/* All ports, and which of them no outgoing connection gets. */
struct tune_ports {
	uint64_t first, last;
	bool taken[PORT_MAX + 1];
};

static bool
tune_relay_is_tcp(const char *server)
{
	return strncmp(server, "unix:", strlen("unix:")) != 0;
}

static bool
tune_relay_has_tcp(const struct conf_listener *listener)
{
	for (size_t i = 0; i < listener->upstream_servers.n; i++)
		if (tune_relay_is_tcp(listener->upstream_servers.items[i]))
			return true;
	return false;
}

static uint64_t
tune_relay_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Clients of a listener, as far as its servers may have them. */
static uint64_t
tune_relay_clients(const struct conf *conf, const struct conf_listener *listener)
{
	uint64_t all = tune_listener_connections(conf, listener);

	if (listener->upstream_max == 0)
		return all;
	return tune_relay_min(all, listener->upstream_max * listener->upstream_servers.n);
}

/* Source addresses for a server: those that are of IPv6 if it is, or of IPv4; of a name it may be
 * either. */
static uint64_t
tune_relay_sources_for(const struct conf_listener *listener, const char *server)
{
	size_t n[2] = {0, 0};

	for (size_t i = 0; i < listener->upstream_sources.n; i++)
		n[strchr(listener->upstream_sources.items[i], ':') != NULL]++;
	if (*server == '[')
		return n[1] > 0 ? n[1] : 1;
	if (strspn(server, "0123456789.:") == strlen(server))
		return n[0] > 0 ? n[0] : 1;
	if (n[0] > 0 && n[1] > 0)
		return tune_relay_min(n[0], n[1]);
	return n[0] + n[1] > 0 ? n[0] + n[1] : 1;
}

/* The fewest that one of its TCP servers has. */
static uint64_t
tune_relay_sources(const struct conf_listener *listener)
{
	uint64_t fewest = UINT64_MAX;

	for (size_t i = 0; i < listener->upstream_servers.n; i++)
		if (tune_relay_is_tcp(listener->upstream_servers.items[i]))
			fewest = tune_relay_min(
				fewest, tune_relay_sources_for(
						listener, listener->upstream_servers.items[i]));
	return fewest == UINT64_MAX ? 1 : fewest;
}

static bool
tune_relay_texts_share(const struct conf_texts *a, const struct conf_texts *b)
{
	for (size_t i = 0; i < a->n; i++)
		for (size_t k = 0; k < b->n; k++)
			if (tune_relay_is_tcp(a->items[i]) && strcmp(a->items[i], b->items[k]) == 0)
				return true;
	return false;
}

static bool
tune_relay_texts_equal(const struct conf_texts *a, const struct conf_texts *b)
{
	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return a->n == b->n;
}

/* Do connections for these two compete for ports? */
static bool
tune_relay_compete(const struct conf_listener *a, const struct conf_listener *b)
{
	return b->service == CONF_SERVICE_RELAY &&
	       tune_relay_texts_equal(&a->upstream_sources, &b->upstream_sources) &&
	       tune_relay_texts_share(&a->upstream_servers, &b->upstream_servers);
}

/* Its clients, and as many of others' as come to each of its servers from them. */
static uint64_t
tune_relay_competing(const struct conf *conf, const struct conf_listener *listener)
{
	uint64_t sum = tune_relay_clients(conf, listener);

	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *other = &conf->listeners[i];

		if (other != listener && tune_relay_compete(listener, other))
			sum += tune_relay_clients(conf, other) * listener->upstream_servers.n /
			       other->upstream_servers.n;
	}
	return tune_relay_min(sum, conf->limit_connections * listener->upstream_servers.n);
}

void
tune_relay_give(const struct conf *conf, struct tune_needs *needs)
{
	uint64_t relayed = 0, tcp_relayed = 0, most = 0;

	needs->port_servers = needs->port_sources = 1;
	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];
		uint64_t clients, pairs;

		if (listener->service != CONF_SERVICE_RELAY || listener->upstream_servers.n == 0)
			continue;
		relayed += tune_relay_clients(conf, listener);
		if (!tune_relay_has_tcp(listener))
			continue;
		tcp_relayed += tune_relay_clients(conf, listener);
		clients = tune_relay_competing(conf, listener);
		pairs = listener->upstream_servers.n * tune_relay_sources(listener);
		if ((clients + pairs - 1) / pairs <= most)
			continue;
		most = (clients + pairs - 1) / pairs;
		needs->port_clients = clients;
		needs->port_servers = listener->upstream_servers.n;
		needs->port_sources = tune_relay_sources(listener);
	}
	needs->relayed = tune_relay_min(relayed, conf->limit_connections);
	needs->tcp_relayed = tune_relay_min(tcp_relayed, conf->limit_connections);
}

/* False: the machine does not say. */
static bool
tune_relay_read_ports(
	const struct conf *conf, const struct tune_facts *facts, struct tune_ports *ret_ports)
{
	const char *reserved = tune_fact_text(facts, TUNE_RESERVED_PORTS_KEY);
	struct tune_port_span span;
	struct sysctl_numbers range;

	if (!tune_fact_numbers(facts, TUNE_PORT_RANGE_KEY, &range) || range.n != 2 ||
		range.at[1] > PORT_MAX)
		return false;
	*ret_ports = (struct tune_ports){.first = range.at[0], .last = range.at[1]};
	while (reserved && tune_listener_next_ports(&reserved, &span))
		for (unsigned long port = span.first; port <= span.last && port <= PORT_MAX; port++)
			ret_ports->taken[port] = true;
	for (size_t i = 0; i < conf->n_listeners; i++)
		ret_ports->taken[tune_listener_port(&conf->listeners[i])] = true;
	return true;
}

static uint64_t
tune_relay_count_free(const struct tune_ports *ports)
{
	uint64_t n = 0;

	for (uint64_t port = ports->first; port <= ports->last; port++)
		n += !ports->taken[port];
	return n;
}

bool
tune_relay_count_ports(const struct conf *conf, const struct tune_facts *facts, uint64_t *ret_ports)
{
	struct tune_ports ports;

	if (!tune_relay_read_ports(conf, facts, &ports))
		return false;
	*ret_ports = tune_relay_count_free(&ports);
	return true;
}

void
tune_relay_widen_ports(struct tune_report *report, const struct conf *conf,
	const struct tune_facts *facts, uint64_t wanted, const char *why)
{
	struct sysctl_numbers range;
	struct tune_ports ports;
	uint64_t n;

	if (!tune_relay_read_ports(conf, facts, &ports) ||
		!tune_fact_numbers(facts, TUNE_PORT_RANGE_KEY, &range))
		return;
	n = tune_relay_count_free(&ports);
	if (n > wanted)
		return;
	while (n < wanted && ports.last < PORT_MAX)
		n += !ports.taken[++ports.last];
	while (n < wanted && ports.first > PORT_FIRST_MIN)
		n += !ports.taken[--ports.first];
	if (n < wanted) /* the range cannot do it */
		return;
	tune_report_set(report, &(struct tune_change){.where = TUNE_SYSCTL,
					.key = TUNE_PORT_RANGE_KEY,
					.now = &range,
					.index = 0,
					.rule = TUNE_EXACTLY,
					.wanted = ports.first,
					.why = why});
	tune_report_set(report, &(struct tune_change){.where = TUNE_SYSCTL,
					.key = TUNE_PORT_RANGE_KEY,
					.now = &range,
					.index = 1,
					.rule = TUNE_EXACTLY,
					.wanted = ports.last,
					.why = why});
}
