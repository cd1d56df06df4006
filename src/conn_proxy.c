/*
 * conn_proxy: a connection that begins with a header of the PROXY protocol, until it may come in.
 *
 * Process: W. What came stays in `in` until the supervisor has said yes: so a restart meanwhile finds
 * all of it there, and asks again.
 */
#include <assert.h>
#include <stdlib.h>

#include "conn_private.h"
#include "proxy_header.h"

/* As proxy_header_parse() does with what came so far. */
static ssize_t
conn_proxy_parse(const struct conn *conn, struct proxy_header *ret_header)
{
	uint8_t head[PROXY_HEADER_MAX];
	size_t length = conn->in->length_bytes;

	if (length > sizeof(head))
		length = sizeof(head);
	iobuf_copy(conn->in, head, length);
	return proxy_header_parse(head, length, ret_header, NULL);
}

static void
conn_proxy_judge(struct conns *conns, struct conn *conn)
{
	struct proxy_header header;
	ssize_t length = conn_proxy_parse(conn, &header);
	struct conn_question question = {.admission = true};

	if (length < 0)
		conn_close(conns, conn, CLOSE_PROXY_ERROR);
	if (length <= 0 || conn_hold(conns, conn) < 0)
		return;
	question.peer = header.source;
	if (question.peer.family == ADDR_NONE)
		question.peer = conn_socket_peer(conns, conn);
	conns->ask(conns->context, conn, &question);
}

void
conn_proxy_input(struct conns *conns, struct conn *conn, const uint8_t *data, size_t length)
{
	if (conn_keep(conns, conn, data, length) == 0)
		conn_proxy_judge(conns, conn);
}

/* What came behind the header is for the protocol. */
static void
conn_proxy_go_on(struct conns *conns, struct conn *conn)
{
	const struct proto_ops *proto = conn_listener(conns, conn)->proto;
	size_t length = conn->in ? conn->in->length_bytes : 0;
	uint8_t *rest = NULL;

	if (conn->in) {
		rest = conn_take_kept(conns, conn, 0, "", 0);
		if (!rest)
			return;
	}
	if (conn_release(conns, conn) == 0 && rest)
		proto->input(conns, conn, rest, length);
	free(rest);
}

void
conn_proxy_assigned(struct conns *conns, struct conn *conn, uint16_t server)
{
	const struct conn_listener *listener = conn_listener(conns, conn);
	int fd = conn_fd(conns, conn);
	uint32_t generation = conn->generation;
	struct proxy_header header;
	ssize_t length = conn_proxy_parse(conn, &header);

	assert(length > 0);
	if (header.source.family != ADDR_NONE)
		conns->proxied[fd] = header;
	iobuf_consume(&conns->iobufs, conn->in, (size_t)length);
	if (conn->in->length_bytes == 0) {
		conn_drop_kept(conns, conn);
		conn->flags &= (uint8_t)~CONN_GOT_BYTES; /* the client itself sent none yet */
	}
	if (listener->service->relays)
		conns->links[fd].server = server;
	if (listener->proto->shakes_hands)
		conn_set_state(conns, conn, CONN_HANDSHAKE);
	else
		conn_open(conns, conn);
	if (conn->generation != generation)
		return;
	/* A relay takes it up when there is somebody to send it on to. */
	if (conn->state == CONN_HANDSHAKE || !listener->service->relays)
		conn_proxy_go_on(conns, conn);
	if (conn->generation == generation)
		conn_set_timer(conns, conn);
}

void
conn_proxy_skip(struct conns *conns, struct conn *conn)
{
	struct proxy_header header;

	if (conn_proxy_parse(conn, &header) > 0 && header.source.family != ADDR_NONE)
		conns->proxied[conn_fd(conns, conn)] = header;
	conn_set_state(conns, conn, CONN_HANDSHAKE);
}

void
conn_proxy_restored(struct conns *conns, struct conn *conn)
{
	if (conn->in)
		conn_proxy_judge(conns, conn);
}
