/* proto_framed: see proto_framed.h. */
#include "proto_framed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 4

static size_t
proto_framed_kept(const struct conn *conn)
{
	return conn->in ? conn->in->length_bytes : 0;
}

/* Whether a message of so many bytes, `extra` of framing not counted, is allowed; otherwise it is
 * the last that was heard of the connection. */
static bool
proto_framed_fits(struct conns *conns, struct conn *conn, uint64_t length, size_t extra)
{
	const struct conn_listener *listener = conn_listener(conns, conn);

	if (length <= listener->message_max && length + extra <= listener->queued_max)
		return true;
	conn_close(conns, conn, CLOSE_MESSAGE_TOO_BIG);
	return false;
}

/* Hands on what was kept, and `data` behind it, all but the first `skip` bytes and the last `drop`.
 * False: no more input is to be looked at. */
static bool
proto_framed_deliver(struct conns *conns, struct conn *conn, const uint8_t *data, size_t length,
	size_t skip, size_t drop)
{
	uint32_t generation = conn->generation;
	size_t kept = proto_framed_kept(conn);
	uint8_t *whole = kept ? conn_take_kept(conns, conn, 0, data, length) : NULL;
	const struct conn_message message = {
		.data = (whole ? whole : data) + skip,
		.length = kept + length - skip - drop,
		.flags = MESSAGE_WHOLE,
	};

	if (kept && !whole)
		return false;
	conn_deliver(conns, conn, &message);
	free(whole);
	return conn->generation == generation && conn->state == CONN_OPEN;
}

static void
proto_line_input(struct conns *conns, struct conn *conn, uint8_t *data, size_t length)
{
	while (length > 0) {
		const uint8_t *end = memchr(data, '\n', length);
		size_t taken = end ? (size_t)(end - data) + 1 : length;

		if (!proto_framed_fits(conns, conn,
			    (uint64_t)proto_framed_kept(conn) + taken - (end != NULL), 1))
			return;
		if (!end) {
			(void)conn_keep(conns, conn, data, length);
			return;
		}
		if (!proto_framed_deliver(conns, conn, data, taken, 0, 1))
			return;
		data += taken;
		length -= taken;
	}
}

static int
proto_line_send(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	const struct iovec vectors[] = {
		{.iov_base = (void *)message->data, .iov_len = message->length},
		{.iov_base = (void *)"\n", .iov_len = 1},
	};

	assert((message->flags & MESSAGE_WHOLE) == MESSAGE_WHOLE);
	return conn_write_vectors(conns, conn, vectors, 2);
}

/* A line that is there whole would have been handed on. */
static bool
proto_line_is_sound(const struct conn *conn)
{
	size_t kept = proto_framed_kept(conn);
	char *bytes = malloc(kept + 1);
	bool sound;

	if (!bytes)
		return false;
	if (kept > 0)
		iobuf_copy(conn->in, bytes, kept);
	sound = !memchr(bytes, '\n', kept);
	free(bytes);
	return sound;
}

/* The length at the front of what is kept and `data`, which are LENGTH_BYTES together at least. */
static uint32_t
proto_length_read(const struct conn *conn, const uint8_t *data)
{
	uint8_t bytes[LENGTH_BYTES];
	size_t kept = proto_framed_kept(conn);

	if (kept > LENGTH_BYTES)
		kept = LENGTH_BYTES;
	if (kept > 0)
		iobuf_copy(conn->in, bytes, kept);
	memcpy(bytes + kept, data, LENGTH_BYTES - kept);
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static void
proto_length_input(struct conns *conns, struct conn *conn, uint8_t *data, size_t length)
{
	while (length > 0) {
		size_t kept = proto_framed_kept(conn), whole = LENGTH_BYTES;

		if (kept + length >= LENGTH_BYTES) {
			uint32_t payload = proto_length_read(conn, data);

			if (!proto_framed_fits(conns, conn, payload, LENGTH_BYTES))
				return;
			whole += payload;
		}
		if (kept + length < whole || kept + length < LENGTH_BYTES) {
			(void)conn_keep(conns, conn, data, length);
			return;
		}
		if (!proto_framed_deliver(conns, conn, data, whole - kept, LENGTH_BYTES, 0))
			return;
		data += whole - kept;
		length -= whole - kept;
	}
}

/* So would a message of which as many bytes are there as it says. */
static bool
proto_length_is_sound(const struct conn *conn)
{
	static const uint8_t nothing[LENGTH_BYTES];
	size_t kept = proto_framed_kept(conn);

	return kept < LENGTH_BYTES || kept - LENGTH_BYTES < proto_length_read(conn, nothing);
}

static int
proto_length_send(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	uint8_t head[LENGTH_BYTES] = {(uint8_t)(message->length >> 24),
		(uint8_t)(message->length >> 16), (uint8_t)(message->length >> 8),
		(uint8_t)message->length};
	const struct iovec vectors[] = {
		{.iov_base = head, .iov_len = sizeof(head)},
		{.iov_base = (void *)message->data, .iov_len = message->length},
	};

	assert((message->flags & MESSAGE_WHOLE) == MESSAGE_WHOLE && message->length <= UINT32_MAX);
	return conn_write_vectors(conns, conn, vectors, 2);
}

const struct proto_ops PROTO_LINE = {
	.name = "line",
	.tag = 2,
	.input = proto_line_input,
	.is_sound = proto_line_is_sound,
	.send = proto_line_send,
};

const struct proto_ops PROTO_LENGTH32 = {
	.name = "length32",
	.tag = 3,
	.input = proto_length_input,
	.is_sound = proto_length_is_sound,
	.send = proto_length_send,
};
