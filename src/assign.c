/* assign: see assign.h. */
#include "assign.h"

#include <errno.h>
#include <string.h>

#include "clock.h"

#define ASSIGN_ASKS_MAX (CONTROL_MESSAGE_MAX / sizeof(struct control_ask))

_Static_assert(sizeof(struct control_assign) <= sizeof(struct control_ask),
	"what answers a message fits one");

/* What it takes to answer one. */
struct assign_case {
	const struct control_ask *ask;
	struct roster_entry *entry;
	const struct conf_listener *conf;
	uint64_t now_usec;
};

/* No server, for now: it waits inside, or that was it. */
static enum close_reason
assign_without(const struct conf_listener *conf, enum close_reason reason)
{
	return conf->upstream_when_down == CONF_WHEN_FULL_WAIT ? CLOSE_NONE : reason;
}

static uint16_t
assign_pick(struct assign *assign, const struct assign_case *one, uint16_t not_this)
{
	uint16_t server = upstreams_pick(
		assign->upstreams, one->entry->listener, &one->ask->peer, not_this, one->now_usec);

	roster_set_server(assign->roster, one->ask->id, server);
	return server;
}

static void
assign_log_refused(struct assign *assign, const struct assign_case *one, enum close_reason reason)
{
	const struct close_reason_info *info = close_reason_info(reason);
	char text[ADDR_TEXT_MAX];
	unsigned dropped;
	struct log_context context = {
		.listener = one->conf->name,
		.peer = addr_format(&one->ask->peer, text),
		.reason = info->name,
	};

	if (log_limit_pass(&assign->refused_log, one->now_usec, &dropped))
		log_info(&context, "%s: refused %s: %s (%u more since the last message)",
			context.listener, text, info->text, dropped);
}

static enum close_reason
assign_identified(struct assign *assign, const struct assign_case *one, uint16_t *ret_server)
{
	enum close_reason reason;
	uint32_t source;

	if (one->entry->source != SOURCE_NONE ||
		roster_server(assign->roster, one->ask->id) != UPSTREAM_NONE)
		return CLOSE_PROXY_ERROR; /* no worker asks twice */
	reason = admit_identify(assign->admit, &one->ask->peer, &source);
	if (reason != CLOSE_NONE) {
		assign_log_refused(assign, one, reason);
		return reason;
	}
	one->entry->source = source;
	one->entry->flags &= (unsigned)~ROSTER_OLD_SOURCE & ROSTER_FLAGS;
	if (one->conf->service != CONF_SERVICE_RELAY)
		return CLOSE_NONE;
	*ret_server = assign_pick(assign, one, UPSTREAM_NONE);
	return *ret_server == UPSTREAM_NONE ? assign_without(one->conf, CLOSE_REFUSED_UPSTREAM)
					    : CLOSE_NONE;
}

/* What is ours to mend, and no fault of the server. */
static bool
assign_is_own_error(int error)
{
	switch (error) {
	case EADDRNOTAVAIL:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return true;
	default:
		return false;
	}
}

static void
assign_log_failed(struct assign *assign, const struct assign_case *one)
{
	const struct upstream *upstream = &assign->upstreams->items[one->ask->server];
	struct log_context context = {.listener = one->conf->name, .connection = one->ask->id};
	char address[UPSTREAM_ADDRESS_TEXT_MAX];
	int error = (int)one->ask->error;
	unsigned dropped;

	if (log_limit_pass(&assign->failed_log, one->now_usec, &dropped))
		log_warning(&context,
			"%s: cannot connect to %s (%s): %s%s (%u more since the last "
			"message)",
			context.listener, upstream->name, upstream_format(upstream, address),
			strerror(error),
			error == EADDRNOTAVAIL
				? ": no port is left (millgatectl tune), or no such source address (millgatectl health)"
				: "",
			dropped);
}

static void
assign_count_failure(struct assign *assign, const struct assign_case *one)
{
	assign_log_failed(assign, one);
	if (!assign_is_own_error((int)one->ask->error))
		assign->failed(assign->context, one->ask->server, (int)one->ask->error);
}

static enum close_reason
assign_unserved(struct assign *assign, const struct assign_case *one, uint16_t *ret_server)
{
	uint16_t before = roster_server(assign->roster, one->ask->id);

	if (one->ask->error && one->ask->server == before && before != UPSTREAM_NONE)
		assign_count_failure(assign, one);
	(void)upstreams_release(assign->upstreams, before);
	roster_set_server(assign->roster, one->ask->id, UPSTREAM_NONE);
	if (one->ask->tries > one->conf->upstream_retries)
		return assign_without(one->conf, CLOSE_UPSTREAM_FAILED);
	*ret_server = assign_pick(assign, one, before);
	return *ret_server == UPSTREAM_NONE ? assign_without(one->conf, CLOSE_UPSTREAM_FAILED)
					    : CLOSE_NONE;
}

/* It ends, and takes its time for that: nobody is to wait behind it meanwhile. */
static void
assign_give_up(struct assign *assign, uint64_t id)
{
	(void)upstreams_release(assign->upstreams, roster_server(assign->roster, id));
	roster_set_server(assign->roster, id, UPSTREAM_NONE);
}

/* It is inside and waits for a server, and so goes before those who come. A WebSocket does so only
 * from its handshake on, when it asks; until then it may be one that never says anything. */
static bool
assign_waits(const struct assign_case *one, enum control_type question)
{
	if (one->conf->service != CONF_SERVICE_RELAY)
		return false;
	return question == CONTROL_UNSERVED || one->conf->protocol != CONF_PROTOCOL_WEBSOCKET;
}

static void
assign_answer(struct assign *assign, struct crew_member *member,
	const struct control_message *message,
	enum close_reason (*decide)(
		struct assign *assign, const struct assign_case *one, uint16_t *ret_server))
{
	struct control_assign answers[ASSIGN_ASKS_MAX];
	struct control_header header = {.type = CONTROL_ASSIGN};
	const struct control_ask *asks = message->records;
	struct assign_case one = {.now_usec = clock_now_usec()};

	for (unsigned i = 0; i < message->header.count; i++) {
		struct control_assign *answer = &answers[header.count];

		one.ask = &asks[i];
		one.entry = roster_find(assign->roster, asks[i].id);
		if (!one.entry || one.entry->worker != member->index)
			continue;
		if (asks[i].gives_up) {
			assign_give_up(assign, asks[i].id);
			continue;
		}
		one.conf = &(*assign->conf)->listeners[one.entry->listener];
		*answer = (struct control_assign){
			.id = asks[i].id, .fd = asks[i].fd, .server = UPSTREAM_NONE};
		answer->reason = (uint8_t)decide(assign, &one, &answer->server);
		if (answer->reason == CLOSE_NONE && answer->server == UPSTREAM_NONE &&
			assign_waits(&one, message->header.type))
			roster_set_waiting(assign->roster, asks[i].id);
		header.count++;
	}
	if (header.count > 0)
		crew_send(member, &header, answers);
}

void
assign_on_identified(
	struct assign *assign, struct crew_member *member, const struct control_message *message)
{
	assign_answer(assign, member, message, assign_identified);
}

void
assign_on_unserved(
	struct assign *assign, struct crew_member *member, const struct control_message *message)
{
	assign_answer(assign, member, message, assign_unserved);
}
