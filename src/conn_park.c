/*
 * conn_park: a connection leaves this process for another, with all that is known of it.
 *
 * Process: W. What is written down here is all of a connection that the kernel does not keep.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn_private.h"

#define PARK_TAG (PARKFILE_PROTO_BYTES - 1) /* in the record's proto */

_Static_assert(CONN_PROTO_BYTES <= PARK_TAG, "it is parked whole, and the protocol's tag with it");

/* Flags that are the same in another process; what is watched for follows from the rest. */
static const struct {
	uint8_t conn, record;
} CONN_FLAGS_PARKED[] = {
	{CONN_GOT_BYTES, PARKFILE_GOT_BYTES},
	{CONN_PAUSED, PARKFILE_PAUSED},
	{CONN_LINGERS, PARKFILE_LINGERS},
	{CONN_DEAF, PARKFILE_DEAF},
	{CONN_HELD, PARKFILE_HELD},
	{CONN_EOF, PARKFILE_EOF},
	{CONN_UPSTREAM, PARKFILE_UPSTREAM},
};

#define N_FLAGS (sizeof(CONN_FLAGS_PARKED) / sizeof(CONN_FLAGS_PARKED[0]))

static const uint8_t CONN_STATES_PARKED[CONN_STATE_COUNT] = {
	[CONN_PROXY] = PARKFILE_PROXY,
	[CONN_HANDSHAKE] = PARKFILE_HANDSHAKE,
	[CONN_CONNECTING] = PARKFILE_CONNECTING,
	[CONN_OPEN] = PARKFILE_OPEN,
	[CONN_CLOSING] = PARKFILE_CLOSING,
};

int
conns_prepare_park(struct conns *conns)
{
	conns->known = calloc(conns->fd_end, sizeof(*conns->known));
	conns->n_known = conns->known ? conns->fd_end : 0;
	return conns->known || conns->fd_end == 0 ? 0 : -ENOMEM;
}

void
conn_prepare_park(struct conns *conns, const struct conn *conn)
{
	uint32_t fd = (uint32_t)conn_fd(conns, conn);

	/* Who is behind a load balancer may still be told. */
	if (fd < conns->n_known && conn->state != CONN_PROXY)
		conns->known[fd] = (struct conn_known){conn->generation, conn_peer(conns, conn)};
}

static struct addr
conn_parked_peer(const struct conns *conns, const struct conn *conn)
{
	uint32_t fd = (uint32_t)conn_fd(conns, conn);
	const struct conn_known *known = fd < conns->n_known ? &conns->known[fd] : NULL;

	if (known && known->generation == conn->generation && known->peer.family != ADDR_NONE)
		return known->peer;
	return conn_peer(conns, conn);
}

static uint32_t
conn_waiting_bytes(const struct iobuf *buf)
{
	return buf ? (uint32_t)buf->length_bytes : 0;
}

static void
conn_park_link(const struct conns *conns, const struct conn *conn, struct parkfile_record *record)
{
	const struct conn_link *link = conn_link(conns, conn);

	if (!conn_listener(conns, conn)->service->relays)
		return;
	record->server = link->server;
	if (conn_is_orphan(conn) && !conn_keeps_server(conns, conn))
		record->server = UPSTREAM_NONE;
	record->tries = link->tries;
	record->more_flags |= PARKFILE_RELAYED;
	if (link->flags & CONN_LINK_EOF_FIRST)
		record->more_flags |= PARKFILE_EOF_FIRST;
	if (link->other && !(conn->flags & CONN_UPSTREAM))
		record->flags |= PARKFILE_LINKED;
}

struct parkfile_record
conn_park(const struct conns *conns, const struct conn *conn)
{
	struct parkfile_record record = {
		.id = conn->id,
		.opened_usec = conn->opened_usec,
		.active_usec = conn_active_usec(conns, conn),
		.out_bytes = conn_waiting_bytes(conn->out),
		.in_bytes = conn_waiting_bytes(conn->in),
		.peer = conn_parked_peer(conns, conn),
		.listener = conn->listener,
		.state = CONN_STATES_PARKED[conn->state],
		.reason = conn->close_reason,
		.watched = conn_wanted_events(conn->flags),
		.fd = (uint32_t)conn_fd(conns, conn),
		.generation = conn->generation,
	};

	for (size_t i = 0; i < N_FLAGS; i++)
		if (conn->flags & CONN_FLAGS_PARKED[i].conn)
			record.flags |= CONN_FLAGS_PARKED[i].record;
	memcpy(record.proto, conn->proto, sizeof(conn->proto));
	record.proto[PARK_TAG] = conn_listener(conns, conn)->proto->tag;
	if (conns->proxied[conn_fd(conns, conn)].source.family != ADDR_NONE) {
		record.more_flags |= PARKFILE_PROXIED;
		record.destination = conns->proxied[conn_fd(conns, conn)].destination;
	}
	conn_park_link(conns, conn, &record);
	return record;
}

static uint8_t
conn_flags_of(const struct parkfile_record *record)
{
	bool writes = record->out_bytes || record->state == PARKFILE_CONNECTING;
	uint8_t flags = writes ? CONN_WANTS_WRITE : 0;

	for (size_t i = 0; i < N_FLAGS; i++)
		if (record->flags & CONN_FLAGS_PARKED[i].record)
			flags |= CONN_FLAGS_PARKED[i].conn;
	return flags;
}

static uint8_t
conn_state_of(const struct parkfile_record *record)
{
	uint8_t state = CONN_STATE_COUNT - 1;

	while (state > CONN_FREE + 1 && CONN_STATES_PARKED[state] != record->state)
		state--;
	return state;
}

/* What waited there waits here now. */
static int
conn_restore_bytes(struct conns *conns, const struct conn *conn, const char *waiting,
	uint32_t length, struct iobuf **ret_buf)
{
	if (length == 0)
		return 0;
	*ret_buf = iobuf_new(&conns->iobufs, (uint32_t)conn_fd(conns, conn));
	if (!*ret_buf || iobuf_append(&conns->iobufs, *ret_buf, waiting, length) < 0)
		return -ENOMEM;
	conn_queue_changed(conns);
	return 0;
}

static int
conn_restore_queues(struct conns *conns, struct conn *conn, const struct parkfile_record *record,
	const char *waiting)
{
	int r = conn_restore_bytes(conns, conn, waiting, record->out_bytes, &conn->out);

	if (r == 0)
		r = conn_restore_bytes(
			conns, conn, waiting + record->out_bytes, record->in_bytes, &conn->in);
	return r;
}

/* All but the socket. CLOSE_NONE, or why it cannot be. */
static enum close_reason
conn_restore_rest(struct conns *conns, struct conn *conn, const struct parkfile_record *record,
	const char *waiting)
{
	const struct conn_listener *listener = conn_listener(conns, conn);
	const struct proto_ops *proto = listener->proto;
	bool bound = record->flags & PARKFILE_LINKED ||
		     (record->flags & PARKFILE_EOF && record->state == PARKFILE_OPEN);

	conn->close_reason = record->reason;
	memcpy(conn->proto, record->proto, sizeof(conn->proto));
	if (conn_restore_queues(conns, conn, record, waiting) < 0)
		return CLOSE_NO_MEMORY;
	/* The listener of this name speaks something else now, or leads nowhere any more. */
	if (record->proto[PARK_TAG] != proto->tag || (bound && !listener->service->relays))
		return CLOSE_LISTENER_REMOVED;
	if (conn->state == CONN_HANDSHAKE && !proto->shakes_hands)
		return CLOSE_PARK_FAILED;
	return !proto->is_sound || proto->is_sound(conn) ? CLOSE_NONE : CLOSE_PARK_FAILED;
}

static struct conn
conn_as_parked(const struct parkfile_record *record)
{
	return (struct conn){
		.id = record->id,
		.opened_usec = record->opened_usec,
		.active = wheel_tick(record->active_usec),
		.listener = record->listener,
		.generation = record->generation,
		.flags = conn_flags_of(record),
		.state = conn_state_of(record),
		.unacked = UINT32_MAX,
	};
}

static struct conn_link
conn_link_as_parked(const struct parkfile_record *record, uint16_t server)
{
	struct conn_link link = {.server = server, .tries = record->tries};

	if (record->more_flags & PARKFILE_EOF_FIRST)
		link.flags |= CONN_LINK_EOF_FIRST;
	if (record->flags & PARKFILE_LINKED)
		link.flags |= CONN_LINK_AWAITED;
	return link;
}

void
conn_restore(struct conns *conns, int fd, const struct parkfile_record *record, const char *waiting,
	uint16_t server)
{
	bool relays = conns->listeners[record->listener].service->relays;
	struct conn as = conn_as_parked(record);
	enum close_reason wrong;
	struct conn *conn;

	/* Nobody would release it. */
	if (!relays && as.state != CONN_PROXY)
		as.flags &= (uint8_t) ~(CONN_HELD | CONN_EOF);
	conn = conn_enter_watched(conns, fd, &as, record->watched, &wrong);
	if (!conn) {
		conns->closed(conns->context, as.id, wrong);
		return;
	}
	if (conn->flags & CONN_LINGERS)
		conns->lingering++;
	if (relays)
		conns->links[fd] = conn_link_as_parked(record, server);
	if (record->more_flags & PARKFILE_PROXIED)
		conns->proxied[fd] = (struct proxy_header){record->peer, record->destination};
	wrong = conn_restore_rest(conns, conn, record, waiting);
	if (wrong != CLOSE_NONE)
		conn_close(conns, conn, wrong);
}

void
conn_restore_upstream(struct conns *conns, int fd, struct conn *client,
	const struct parkfile_record *record, const char *waiting)
{
	struct conn as = conn_as_parked(record);
	struct conn_link *link = conn_link(conns, client);
	enum close_reason wrong;
	struct conn *conn;

	as.id = client->id;
	as.listener = client->listener;
	as.flags |= CONN_UPSTREAM;
	conn = conn_enter_watched(conns, fd, &as, record->watched, &wrong);
	if (!conn) {
		conn_close(conns, client, wrong);
		return;
	}
	link->flags &= (uint8_t)~CONN_LINK_AWAITED;
	link->other = (uint32_t)fd;
	conns->links[fd] = conn_link_as_parked(record, link->server);
	conns->links[fd].other = (uint32_t)conn_fd(conns, client);
	if (conn_restore_queues(conns, conn, record, waiting) < 0)
		conn_close(conns, client, CLOSE_NO_MEMORY);
	else
		conn_set_timer(conns, conn);
}

void
conn_restore_orphan(struct conns *conns, int fd, const struct parkfile_record *record,
	const char *waiting, uint16_t server)
{
	struct conn as = conn_as_parked(record);
	enum close_reason wrong;
	struct conn *conn = conn_enter_watched(conns, fd, &as, record->watched, &wrong);

	if (!conn)
		return;
	conn->close_reason = record->reason;
	conns->links[fd] = conn_link_as_parked(record, server);
	conn_remember_server(conns, conn);
	if (conn_restore_queues(conns, conn, record, waiting) < 0)
		conn_close(conns, conn, CLOSE_NO_MEMORY);
	else
		conn_set_timer(conns, conn);
}

/* Asks again what was not answered, and begins what was not begun. */
static void
conn_go_on(struct conns *conns, struct conn *client)
{
	const struct service_ops *service = conn_listener(conns, client)->service;

	if (client->state == CONN_PROXY)
		conn_proxy_restored(conns, client);
	else if (client->state == CONN_OPEN && service->relays && !conn_other(conns, client))
		service->open(conns, client);
}

void
conn_restored(struct conns *conns, struct conn *client, uint64_t parked_usec)
{
	uint32_t generation = client->generation;

	if (conn_listener(conns, client)->service->relays &&
		conn_link(conns, client)->flags & CONN_LINK_AWAITED) {
		conn_close(conns, client, CLOSE_PARK_FAILED);
		return;
	}
	conn_go_on(conns, client);
	if (client->generation == generation)
		conn_catch_up(conns, client, parked_usec);
	if (client->state != CONN_FREE && client->generation == generation)
		conn_set_timer(conns, client);
}
