/* proto_raw: see proto_raw.h. */
#include "proto_raw.h"

#include <stdlib.h>

void
proto_raw_input(struct conns *conns, struct conn *conn, uint8_t *data, size_t length)
{
	const struct conn_message message = {
		.data = data, .length = length, .flags = MESSAGE_WHOLE};

	conn_deliver(conns, conn, &message);
}

/* What came with a PROXY header, before there was a server. */
static void
proto_raw_resume(struct conns *conns, struct conn *conn)
{
	size_t length = conn->in->length_bytes;
	uint8_t *whole = conn_take_kept(conns, conn, 0, "", 0);

	if (whole)
		proto_raw_input(conns, conn, whole, length);
	free(whole);
}

int
proto_raw_send(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	return conn_write(conns, conn, message->data, message->length);
}

const struct proto_ops PROTO_RAW = {
	.name = "raw",
	.tag = 1,
	.plain = true,
	.input = proto_raw_input,
	.send = proto_raw_send,
	.resume = proto_raw_resume,
};
