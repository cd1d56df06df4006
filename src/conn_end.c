/*
 * conn_end: the ways in which a connection comes to its end, all but the end itself, which is
 * conn_close().
 *
 * Process: W.
 */
#include "conn.h"

#include <sys/socket.h>

#include "conn_private.h"

/* From here on it is not read for its own sake. */
static void
conn_begin_closing(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	conn->close_reason = (uint8_t)reason;
	conn->active = wheel_tick(conns->now_usec);
	if (conn_other(conns, conn) && !(conn->flags & CONN_UPSTREAM))
		conn_part(conns, conn);
	conn_set_state(conns, conn, CONN_CLOSING);
}

void
conn_close_flushed(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	if (!conn->out) {
		conn_close(conns, conn, reason);
		return;
	}
	conn_begin_closing(conns, conn, reason);
	if (conn_pause(conns, conn) == 0)
		conn_set_timer(conns, conn);
}

void
conn_send_fin(struct conns *conns, struct conn *conn)
{
	/* What can fail is that the client is gone, and reading will tell. */
	(void)shutdown(conn_fd(conns, conn), SHUT_WR);
}

/* It goes on when the queue is sent. */
static void
conn_begin_lingering(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	conn->flags |= CONN_LINGERS;
	conns->lingering++;
	conn_begin_closing(conns, conn, reason);
	conn_set_timer(conns, conn);
}

/* Who was held has no other side any more to be held for, and its end is to be heard: so both of
 * these release it. */
void
conn_await_close(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	conn_begin_lingering(conns, conn, reason);
	(void)conn_release(conns, conn);
}

void
conn_finish(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	conn_drop_kept(conns, conn);
	conn_begin_lingering(conns, conn, reason);
	conn->flags |= CONN_DEAF;
	if (!conn->out)
		conn_send_fin(conns, conn);
	(void)conn_release(conns, conn);
}

void
conn_end(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	const struct proto_ops *proto = conn_listener(conns, conn)->proto;

	if (conn->state != CONN_CLOSING && conn->state != CONN_PROXY && proto->end)
		proto->end(conns, conn, reason);
	else
		conn_close(conns, conn, reason);
}
