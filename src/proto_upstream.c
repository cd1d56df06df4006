/* proto_upstream: see proto_upstream.h. */
#include "proto_upstream.h"

#include <errno.h>

#include "proto_raw.h"

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
	.input = proto_raw_input,
	.send = proto_raw_send,
	.end = proto_upstream_end,
};
