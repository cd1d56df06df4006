/* proto_upstream: see proto_upstream.h. */
#include "proto_upstream.h"

#include <errno.h>

static void
proto_upstream_input(struct conns *conns, struct conn *conn, uint8_t *data, size_t length)
{
	const struct conn_message message = {
		.data = data, .length = length, .flags = MESSAGE_WHOLE};

	conn_deliver(conns, conn, &message);
}

static int
proto_upstream_send(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	return conn_write(conns, conn, message->data, message->length);
}

/* A server has one deadline, that of its connect; then its client may get another one. */
static void
proto_upstream_end(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	if (conn->state == CONN_CONNECTING)
		conn_connect_failed(conns, conn, ETIMEDOUT);
	else
		conn_close(conns, conn, reason);
}

const struct proto_ops PROTO_UPSTREAM = {
	.name = "upstream",
	.tag = 7,
	.plain = true,
	.input = proto_upstream_input,
	.send = proto_upstream_send,
	.end = proto_upstream_end,
};
