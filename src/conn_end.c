/*
 * conn_end: the ways in which a connection comes to its end, all but the end itself, which is
 * conn_close().
 *
 * Process: W.
 */
#include "conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "conn_private.h"

static void conn_cut(struct conns *conns, struct conn *conn, enum close_reason reason, bool ended);

/* Bytes are under way that its peer has not acknowledged. */
static uint32_t
conn_unacked(const struct conns *conns, const struct conn *conn)
{
	int bytes;

	return ioctl(conn_fd(conns, conn), SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint32_t)bytes
									       : 0;
}

void
conn_mark_progress(struct conns *conns, struct conn *conn)
{
	conn->active = wheel_tick(conns->now_usec);
	conn->unacked = conn_unacked(conns, conn);
}

bool
conn_has_progressed(const struct conns *conns, const struct conn *conn)
{
	uint32_t unacked = conn_unacked(conns, conn);

	return conn->state == CONN_CLOSING && unacked > 0 && unacked < conn->unacked;
}

/* What the server of this client has got is no whole stream, and must not look like one. */
static void
conn_cut_off(struct conns *conns, struct conn *client, struct conn *upstream)
{
	conn_unlink(conns, client, upstream);
	conn_remember_server(conns, upstream);
	conn_cut(conns, upstream, CLOSE_CLIENT_RESET, false);
}

/* close(2) would lose nothing: all is acknowledged that was sent, all is read that has come. */
static bool
conn_is_quiet(const struct conns *conns, const struct conn *conn)
{
	return !conn->out && conn_unacked(conns, conn) == 0 &&
	       !conn_has_unread(conn_fd(conns, conn));
}

/* A close while something comes is a reset, which takes along what is still under way (RFC 2525,
 * section 2.17): so what comes is read, and thrown away, until the server has got all. */
void
conn_part(struct conns *conns, struct conn *client)
{
	const struct proto_ops *proto = conn_listener(conns, client)->proto;
	struct conn *upstream = conn_other(conns, client);

	if (upstream->state == CONN_OPEN && proto->amid && proto->amid(client)) {
		conn_cut_off(conns, client, upstream);
		return;
	}
	conn_unlink(conns, client, upstream);
	conn_remember_server(conns, upstream);
	if (upstream->state != CONN_OPEN)
		conn_free(conns, upstream);
	else if (upstream->flags & CONN_EOF || conn_is_quiet(conns, upstream))
		conn_close_flushed(conns, upstream, CLOSE_CLIENT_CLOSED);
	else
		conn_finish(conns, upstream, CLOSE_CLIENT_CLOSED);
}

/* From here on it is not read for its own sake. */
static void
conn_begin_closing(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	struct conn *other = conn_other(conns, conn);

	conn->close_reason = (uint8_t)reason;
	conn_mark_progress(conns, conn);
	if (other && !(conn->flags & CONN_UPSTREAM) && other->state == CONN_OPEN &&
		close_reason_info(reason)->class == CLOSE_CLASS_ERROR)
		conn_cut_off(conns, conn, other);
	else if (other && !(conn->flags & CONN_UPSTREAM))
		conn_part(conns, conn);
	else if (!other)
		conn_give_up_server(conns, conn);
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

void
conn_send_last(struct conns *conns, struct conn *conn)
{
	conn_send_fin(conns, conn);
	conn_mark_progress(conns, conn);
	conn_set_timer(conns, conn);
}

/* It goes on when the queue is sent. */
static void
conn_begin_lingering(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	conn->flags |= CONN_LINGERS;
	conns->lingering += !(conn->flags & CONN_UPSTREAM);
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
		conn_send_last(conns, conn);
	(void)conn_release(conns, conn);
}

void
conn_end(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	const struct proto_ops *proto = conn_listener(conns, conn)->proto;

	/* Its header was good, so that it will understand an answer. */
	if (conn->state == CONN_PROXY && conn->flags & CONN_HELD && proto->shakes_hands)
		conn_proxy_skip(conns, conn);
	if (conn->state != CONN_CLOSING && conn->state != CONN_PROXY && proto->end)
		proto->end(conns, conn, reason);
	else
		conn_close(conns, conn, reason);
}

/* One side fails: the other one gets what that had sent before. */

static enum close_reason
conn_error_reason(const struct conn *conn, int error)
{
	bool upstream = conn->flags & CONN_UPSTREAM;

	switch (error) {
	case ECONNRESET:
	case EPIPE:
		return upstream ? CLOSE_UPSTREAM_RESET : CLOSE_CLIENT_RESET;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return upstream ? CLOSE_UPSTREAM_LOST : CLOSE_CLIENT_LOST;
	case ENOMEM:
	case ENOBUFS:
		return CLOSE_NO_MEMORY;
	default:
		return CLOSE_IO_ERROR;
	}
}

static bool
conn_is_lost(enum close_reason reason)
{
	return reason == CLOSE_UPSTREAM_RESET || reason == CLOSE_UPSTREAM_LOST ||
	       reason == CLOSE_CLIENT_RESET || reason == CLOSE_CLIENT_LOST;
}

bool
conn_is_cut(const struct conn *conn)
{
	return conn->state == CONN_CLOSING && !(conn->flags & CONN_LINGERS) &&
	       conn_is_lost(conn->close_reason);
}

bool
conn_awaits_acks(const struct conn *conn)
{
	bool orphan = conn_is_orphan(conn) && conn->flags & CONN_LINGERS;

	return (orphan || conn_is_cut(conn)) && !conn->out;
}

bool
conn_is_taken(const struct conns *conns, const struct conn *conn)
{
	return conn_awaits_acks(conn) && conn_unacked(conns, conn) == 0;
}

void
conn_close_sent(struct conns *conns, struct conn *conn)
{
	if (conn_is_cut(conn) && conn->flags & CONN_DEAF)
		conn_send_fin(conns, conn);
	if (conn_is_cut(conn) && !conn_is_taken(conns, conn))
		conn_set_timer(conns, conn);
	else
		conn_close(conns, conn, conn->close_reason);
}

/* The kernel keeps what had come before an error, and the other side is to have all of that, whatever
 * may be queued for it otherwise. False: there is more than may be queued for all, or the other side is
 * closed; otherwise `*ret_ended` tells whether an end of file was behind it. */
static bool
conn_read_rest(struct conns *conns, struct conn *conn, uint8_t *buffer, bool *ret_ended)
{
	const struct conn *other = conn_other(conns, conn);
	uint32_t generation = other->generation;

	while (metrics_sum(conns->metrics, METRIC_QUEUED_BYTES) < conns->queued_limit) {
		ssize_t n = recv(conn_fd(conns, conn), buffer, CONNS_SCRATCH_BYTES, MSG_DONTWAIT);

		if (n <= 0) {
			*ret_ended = n == 0;
			return true;
		}
		conn_count_received(conns, conn, (size_t)n);
		conn_listener(conns, conn)->proto->input(conns, conn, buffer, (size_t)n);
		if (other->generation != generation)
			return false;
	}
	return false;
}

/* True: its stream was whole, up to an end. The scratch buffer may be in use by whoever wrote to it. */
static bool
conn_pass_rest(struct conns *conns, struct conn *conn, int error)
{
	uint8_t *buffer;
	bool ended = false;

	if (conn->flags & CONN_EOF)
		return true;
	if (conn->in || !conn_listener(conns, conn)->proto->plain)
		return false;
	buffer = malloc(CONNS_SCRATCH_BYTES);
	conns->breaking_up = true;
	/* Only EPIPE tells that an end had come before the reset: reading has no error to tell then. */
	if (buffer && conn_read_rest(conns, conn, buffer, &ended))
		ended = ended && error == EPIPE;
	conns->breaking_up = false;
	free(buffer);
	return ended;
}

/* The other side of it has failed, and is no more. It is not read from any more, gets what waits for it,
 * and is reset when its peer has acknowledged that. */
static void
conn_cut(struct conns *conns, struct conn *conn, enum close_reason reason, bool ended)
{
	uint8_t flags = conn->flags | CONN_HELD;

	conn_drop_kept(conns, conn);
	conn->close_reason = (uint8_t)reason;
	conn_mark_progress(conns, conn);
	conn_set_state(conns, conn, CONN_CLOSING);
	if (conn_watch(conns, conn, ended ? flags | CONN_DEAF : flags) < 0)
		return;
	if (conn->out)
		conn_set_timer(conns, conn);
	else
		conn_close_sent(conns, conn);
}

static void
conn_break_up(struct conns *conns, struct conn *conn, enum close_reason reason, int error)
{
	struct conn *other = conn_other(conns, conn);
	uint32_t generation = other->generation;
	bool upstream = conn->flags & CONN_UPSTREAM;
	uint64_t id = conn->id;
	bool ended = conn_pass_rest(conns, conn, error);

	if (other->generation != generation)
		return;
	conn_unlink(conns, conn, other);
	if (!upstream)
		conn_remember_server(conns, other);
	conn_free(conns, conn);
	if (!upstream)
		conns->closed(conns->context, id, reason);
	if (upstream && conn_listener(conns, other)->proto->end)
		conn_end(conns, other, reason);
	else
		conn_cut(conns, other, reason, ended);
}

int
conn_fail(struct conns *conns, struct conn *conn, int error)
{
	enum close_reason reason = conn_error_reason(conn, error);
	const struct conn *other = conn_other(conns, conn);

	if (conn->state == CONN_CLOSING)
		reason = conn->close_reason;
	if (conn->state == CONN_OPEN && other && other->state == CONN_OPEN &&
		conn_is_lost(reason) && !conns->breaking_up)
		conn_break_up(conns, conn, reason, error);
	else
		conn_close(conns, conn, reason);
	return -ECONNRESET;
}
