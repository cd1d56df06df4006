/*
 * conf_check_relay: what keys of relay listeners must be to each other; see conf_check.h.
 *
 * Process: both. Pure.
 */
#include "conf_check_private.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conf_texts.h"
#include "conf_unit.h"
#include "upstream_name.h"

#define CONF_RELAY_QUEUE_MIN 4096 /* bytes: a PROXY header, and what a client may send with it */
#define CONF_SERVERS "upstream.servers"
#define CONF_SOURCES "upstream.source_addresses"

_Static_assert(CONF_TEXT_MAX == UPSTREAM_NAME_MAX, "the table of servers has room for a text");

static void
conf_check_fail_twice(struct conf_draft *draft, const struct conf_part *part, const char *path,
	const char *what, const struct conf_texts *texts, size_t first, size_t second)
{
	char text[2 * UPSTREAM_NAME_MAX + 128];

	snprintf(text, sizeof(text), "found \"%s\", allowed is each %s once (%s[%zu] is \"%s\")",
		texts->items[second], what, path, first, texts->items[first]);
	conf_check_fail_element(draft, part, path, second, text);
}

/* Two texts of one server would count its connections apart. */
static bool
conf_check_is_same_server(const struct upstream_name *a, const struct upstream_name *b)
{
	if (a->address.length != 0 || b->address.length != 0)
		return upstream_address_equal(&a->address, &b->address);
	return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

static void
conf_check_server_twice(struct conf_draft *draft, const struct conf_part *part,
	const struct conf_texts *servers, size_t index, const struct upstream_name *name)
{
	struct upstream_name other;

	for (size_t i = 0; i < index; i++)
		if (upstream_parse_name(servers->items[i], &other, NULL) == 0 &&
			conf_check_is_same_server(name, &other)) {
			conf_check_fail_twice(
				draft, part, CONF_SERVERS, "server", servers, i, index);
			return;
		}
}

static void
conf_check_source_twice(struct conf_draft *draft, const struct conf_part *part,
	const struct conf_texts *sources, size_t index, const struct upstream_address *address)
{
	struct upstream_address other;

	for (size_t i = 0; i < index; i++)
		if (upstream_parse_source(sources->items[i], &other, NULL) == 0 &&
			upstream_address_equal(address, &other)) {
			conf_check_fail_twice(
				draft, part, CONF_SOURCES, "address", sources, i, index);
			return;
		}
}

static const struct {
	const char *is, *server, *source; /* what is allowed instead; NULL: this is */
} KINDS[] = {
	[UPSTREAM_KIND_OWN] = {NULL, NULL, NULL},
	[UPSTREAM_KIND_UNSPECIFIED] = {"the unspecified address", NULL,
		"addresses of this machine"},
	[UPSTREAM_KIND_MULTICAST] = {"a multicast address", "addresses of one machine",
		"addresses of this machine"},
	[UPSTREAM_KIND_BROADCAST] = {"the broadcast address", "addresses of one machine",
		"addresses of this machine"},
	[UPSTREAM_KIND_LINK_LOCAL] = {"a link-local address",
		"addresses that need no zone id, which is not supported",
		"addresses that need no zone id, which is not supported"},
};

/* Could there be a connection to or from such an address? False after a message. */
static bool
conf_check_kind(struct conf_draft *draft, const struct conf_part *part, const char *path,
	const struct conf_texts *texts, size_t index, const struct upstream_address *address)
{
	enum upstream_kind kind = upstream_address_kind(address);
	const char *allowed =
		strcmp(path, CONF_SOURCES) == 0 ? KINDS[kind].source : KINDS[kind].server;
	char message[UPSTREAM_NAME_MAX + 128];

	if (!allowed)
		return true;
	snprintf(message, sizeof(message), "found \"%s\", %s, allowed are %s", texts->items[index],
		KINDS[kind].is, allowed);
	conf_check_fail_element(draft, part, path, index, message);
	return false;
}

static bool
conf_check_is_any(const struct upstream_address *address)
{
	return upstream_address_kind(address) == UPSTREAM_KIND_UNSPECIFIED;
}

/* Would who connects to one of these get to the other? To connect to the unspecified address is to
 * connect to loopback, and to listen on it is to listen on loopback too. */
static bool
conf_check_meets(const struct upstream_address *a, const struct upstream_address *b)
{
	const struct sockaddr_in *in_a = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in *in_b = (const struct sockaddr_in *)&b->sa;
	bool any_a = conf_check_is_any(a), any_b = conf_check_is_any(b);

	if (upstream_address_equal(a, b))
		return true;
	/* Neither is a Unix socket then; sin6_port is where sin_port is. */
	return (any_a || any_b) && (any_a || upstream_address_is_loopback(a)) &&
	       (any_b || upstream_address_is_loopback(b)) && in_a->sin_port == in_b->sin_port;
}

/* A listener that is its own server makes of one client as many as there may be. */
static void
conf_check_loop(struct conf_draft *draft, const struct conf_part *part, size_t index,
	const struct upstream_address *server)
{
	const struct conf_listener *listener = part->structure;
	char message[2 * UPSTREAM_NAME_MAX + 128];
	struct upstream_name own;

	if (server->length == 0 || upstream_parse_name(listener->address, &own, NULL) < 0 ||
		!conf_check_meets(server, &own.address))
		return;
	snprintf(message, sizeof(message),
		"found \"%s\", allowed are others than the listener itself (address is \"%s\")",
		listener->upstream_servers.items[index], listener->address);
	conf_check_fail_element(draft, part, CONF_SERVERS, index, message);
}

static void
conf_check_server_texts(struct conf_draft *draft, const struct conf_part *part)
{
	const struct conf_listener *listener = part->structure;
	const struct conf_texts *servers = &listener->upstream_servers;
	struct upstream_name name;
	struct mg_error error;

	for (size_t i = 0; i < servers->n; i++)
		if (upstream_parse_name(servers->items[i], &name, &error) < 0) {
			conf_check_fail_element(draft, part, CONF_SERVERS, i, error.text);
		} else if (conf_check_kind(draft, part, CONF_SERVERS, servers, i, &name.address)) {
			conf_check_server_twice(draft, part, servers, i, &name);
			conf_check_loop(draft, part, i, &name.address);
		}
}

static void
conf_check_sources(struct conf_draft *draft, const struct conf_part *part)
{
	const struct conf_listener *listener = part->structure;
	const struct conf_texts *sources = &listener->upstream_sources;
	struct upstream_address address;
	struct mg_error error;

	for (size_t i = 0; i < sources->n; i++)
		if (upstream_parse_source(sources->items[i], &address, &error) < 0)
			conf_check_fail_element(draft, part, CONF_SOURCES, i, error.text);
		else if (conf_check_kind(draft, part, CONF_SOURCES, sources, i, &address))
			conf_check_source_twice(draft, part, sources, i, &address);
}

static void
conf_check_health(struct conf_draft *draft, const struct conf_part *part)
{
	static const char interval[] = "upstream.health.interval",
			  timeout[] = "upstream.health.timeout";
	const struct conf_listener *listener = part->structure;
	char text[CONF_UNIT_TEXT_MAX], message[128];

	if (listener->upstream_health_interval == 0 ||
		listener->upstream_health_timeout <= listener->upstream_health_interval ||
		!conf_check_is_good(part, interval, timeout))
		return;
	snprintf(message, sizeof(message), "allowed is at most %s, \"%s\"", interval,
		conf_unit_format_duration(listener->upstream_health_interval, text));
	conf_check_fail(draft, part, timeout, message);
}

static void
conf_check_relay_keys(struct conf_draft *draft, const struct conf_part *part)
{
	static const char queue[] = "limits.queued_bytes_per_connection";
	const struct conf_listener *listener = part->structure;

	if (listener->upstream_servers.n == 0 && conf_check_is_good(part, CONF_SERVERS, "service"))
		conf_check_fail(draft, part, CONF_SERVERS,
			"allowed are lists of 1 server and more if service is \"relay\"");
	if (listener->framing != CONF_FRAMING_NONE &&
		conf_check_is_good(part, "framing", "service"))
		conf_check_fail(
			draft, part, "framing", "allowed is only \"none\" if service is \"relay\"");
	if (listener->queued_per_connection < CONF_RELAY_QUEUE_MIN &&
		conf_check_is_good(part, queue, "service"))
		conf_check_fail(
			draft, part, queue, "allowed is at least \"4KiB\" if service is \"relay\"");
}

void
conf_check_relay(struct conf_draft *draft, const struct conf_part *part)
{
	const struct conf_listener *listener = part->structure;

	if (listener->service == CONF_SERVICE_RELAY)
		conf_check_relay_keys(draft, part);
	else if (listener->upstream_servers.n > 0 &&
		 conf_check_is_good(part, CONF_SERVERS, "service"))
		conf_check_fail(draft, part, CONF_SERVERS,
			"allowed is only [] unless service is \"relay\"");
	conf_check_server_texts(draft, part);
	conf_check_sources(draft, part);
	conf_check_health(draft, part);
}

void
conf_check_nameservers(struct conf_draft *draft)
{
	const struct conf_texts *nameservers = &draft->conf->nameservers;
	struct upstream_address address;
	struct mg_error error;

	for (size_t i = 0; i < nameservers->n; i++)
		if (upstream_parse_nameserver(nameservers->items[i], &address, &error) < 0)
			conf_check_fail_element(
				draft, &draft->global, "resolver.nameservers", i, error.text);
}

void
conf_check_servers(struct conf_draft *draft)
{
	size_t n = 0;

	for (size_t i = 0; i < draft->conf->n_listeners; i++)
		n += draft->conf->listeners[i].upstream_servers.n;
	if (n > UPSTREAM_MAX)
		conf_report_add(&draft->report, "listeners",
			"found %zu " CONF_SERVERS ", allowed are %d in all", n, UPSTREAM_MAX);
}
