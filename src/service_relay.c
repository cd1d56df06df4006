/* service_relay: see service_relay.h. */
#include "service_relay.h"

#include <assert.h>

#define RELAY_ASK_USEC 250000 /* how often a client that waits for a server asks for one */

/* Its server was chosen when the client came, and it may have taken its time for a handshake. */
static void
service_relay_open(struct conns *conns, struct conn *conn)
{
	if (conn_hold(conns, conn) < 0)
		return;
	if (conn_server_is_up(conns, conn))
		conn_connect(conns, conn, conn_server(conns, conn));
	else
		conn_ask_server(conns, conn, 0);
}

/* Without a server it asks again, as if for the first time. */
static void
service_relay_assigned(struct conns *conns, struct conn *conn, uint16_t server)
{
	if (server == UPSTREAM_NONE)
		conn_set_timer(conns, conn);
	else
		conn_connect(conns, conn, server);
}

static uint64_t
service_relay_next_timer(const struct conns *conns, const struct conn *conn, uint64_t after_usec)
{
	return conn_lacks_server(conns, conn) ? conn_next_beat(conn, RELAY_ASK_USEC, after_usec)
					      : 0;
}

static void
service_relay_timer(struct conns *conns, struct conn *conn)
{
	if (conn_has_left(conns, conn))
		conn_close(conns, conn, CLOSE_CLIENT_CLOSED);
	else
		conn_ask_server(conns, conn, 0);
}

static void
service_relay_message(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	struct conn *other = conn_other(conns, conn);

	assert(other); /* until there is one, it is held */
	if (conn_send(conns, other, message) == 0 && other->out)
		conn_hold(conns, conn);
}

const struct service_ops SERVICE_RELAY = {
	.name = "relay",
	.streams = true,
	.relays = true,
	.open = service_relay_open,
	.assigned = service_relay_assigned,
	.message = service_relay_message,
	.eof = conn_pass_eof,
	.flushed = conn_pass_on,
	.next_timer = service_relay_next_timer,
	.timer = service_relay_timer,
};
