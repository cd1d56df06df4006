/* proto_raw: see proto_raw.h. */
#include "proto_raw.h"

static void
proto_raw_input(struct conns *conns, struct conn *conn, const void *data, size_t length)
{
	conn_listener(conns, conn)->service->input(conns, conn, data, length);
}

const struct proto_ops PROTO_RAW = {
	.name = "raw",
	.input = proto_raw_input,
	.send = conn_write,
};
