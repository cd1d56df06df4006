/* service_hold: see service_hold.h. */
#include "service_hold.h"

static void
service_hold_message(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	(void)conns;
	(void)conn;
	(void)message;
}

static void
service_hold_eof(struct conns *conns, struct conn *conn)
{
	conn_close(conns, conn, CLOSE_CLIENT_CLOSED);
}

static uint64_t
service_hold_next_timer(const struct conns *conns, const struct conn *conn, uint64_t after_usec)
{
	return conn_next_beat(conn, conn_listener(conns, conn)->heartbeat_usec, after_usec);
}

/* The payload comes from a JSON file, and so is UTF-8. */
static void
service_hold_timer(struct conns *conns, struct conn *conn)
{
	const struct conn_listener *listener = conn_listener(conns, conn);
	const struct conn_message heartbeat = {
		.data = listener->heartbeat,
		.length = listener->heartbeat_length,
		.flags = MESSAGE_TEXT | MESSAGE_WHOLE,
	};

	if (conn_send(conns, conn, &heartbeat) == 0)
		metrics_add(&conns->slot->value[METRIC_HEARTBEATS], 1);
}

const struct service_ops SERVICE_HOLD = {
	.name = "hold",
	.streams = true,
	.message = service_hold_message,
	.eof = service_hold_eof,
	.next_timer = service_hold_next_timer,
	.timer = service_hold_timer,
};
