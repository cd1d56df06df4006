/*
 * conn_timer: the deadlines of a connection, all on one node of the wheel.
 *
 * Process: W. The node is set to the earliest of them. A byte that comes moves none: the node
 * expires at a deadline that has been put off, finds out, and is set anew. That costs a timer once
 * in an idle_timeout, instead of at every byte.
 */
#include "conn.h"

#include <stddef.h>

#include "conn_private.h"

/* How often it is asked whether all was acknowledged. */
#define CONN_TAKEN_USEC 50000

/* 64-bit multiplication by the golden ratio: ids that count up give values spread evenly over the
 * whole range, any stretch of them too (Knuth, TAOCP 6.4). */
uint32_t
conn_spread(uint64_t id)
{
	return (uint32_t)((id * 0x9e3779b97f4a7c15u) >> 32);
}

uint64_t
conn_served_usec(const struct conns *conns)
{
	return conns->now_usec / WHEEL_TICK_USEC * WHEEL_TICK_USEC;
}

/* The moment of the last byte; the 32-bit tick is unambiguous for 497 days. */
uint64_t
conn_active_usec(const struct conns *conns, const struct conn *conn)
{
	uint64_t tick = conns->now_usec / WHEEL_TICK_USEC;

	tick -= (uint32_t)((uint32_t)tick - conn->active);
	return tick * WHEEL_TICK_USEC;
}

static uint64_t
conn_lifetime_end(const struct conns *conns, const struct conn *conn)
{
	const struct conn_listener *listener = conn_listener(conns, conn);
	uint64_t jitter = listener->lifetime_usec / 100 * listener->lifetime_jitter;

	/* A year is less than 2^45 microseconds, so 16 bits of spread fit. */
	jitter = jitter * (conn_spread(conn->id) >> 16) >> 16;
	return conn->opened_usec + listener->lifetime_usec - jitter;
}

struct conn_deadline {
	uint64_t at_usec;         /* UINT64_MAX: none */
	enum close_reason reason; /* CLOSE_NONE: the service's timer */
};

static void
conn_deadline_min(struct conn_deadline *deadline, uint64_t at_usec, enum close_reason reason)
{
	if (at_usec < deadline->at_usec)
		*deadline = (struct conn_deadline){at_usec, reason};
}

/* The earliest reason to close. */
static struct conn_deadline
conn_next_close(const struct conns *conns, const struct conn *conn)
{
	const struct conn_listener *listener = conn_listener(conns, conn);
	struct conn_deadline deadline = {UINT64_MAX, CLOSE_NONE};

	if (conn->state == CONN_CLOSING) {
		conn_deadline_min(&deadline, conn_active_usec(conns, conn) + listener->linger_usec,
			conn->close_reason);
		return deadline;
	}
	if (conn->state == CONN_CONNECTING) {
		conn_deadline_min(&deadline, conn->opened_usec + listener->connect_timeout_usec,
			CLOSE_UPSTREAM_FAILED);
		return deadline;
	}
	if (conn->state == CONN_PROXY && !(conn->flags & CONN_HELD))
		conn_deadline_min(&deadline, conn->opened_usec + listener->proxy_timeout_usec,
			CLOSE_PROXY_TIMEOUT);
	if (conn->state == CONN_HANDSHAKE && listener->handshake_timeout_usec)
		conn_deadline_min(&deadline, conn->opened_usec + listener->handshake_timeout_usec,
			CLOSE_HANDSHAKE_TIMEOUT);
	if (listener->first_byte_timeout_usec && !(conn->flags & CONN_GOT_BYTES))
		conn_deadline_min(&deadline, conn->opened_usec + listener->first_byte_timeout_usec,
			CLOSE_FIRST_BYTE_TIMEOUT);
	if (listener->idle_timeout_usec)
		/* The tick of the last byte began before it: one more, so as not to be early. */
		conn_deadline_min(&deadline,
			conn_active_usec(conns, conn) + WHEEL_TICK_USEC +
				listener->idle_timeout_usec,
			CLOSE_IDLE_TIMEOUT);
	if (listener->lifetime_usec)
		conn_deadline_min(&deadline, conn_lifetime_end(conns, conn), CLOSE_LIFETIME);
	return deadline;
}

/*
 * Ids that count up are spread evenly over the interval. So a million beats are an even stream
 * whenever their clients came, no state is kept for it, and the phase is the same after a restart.
 */
uint64_t
conn_next_beat(const struct conn *conn, uint64_t interval_usec, uint64_t after_usec)
{
	uint64_t phase, beats;

	if (!interval_usec)
		return 0;
	/* A day is less than 2^37 microseconds, so 16 bits of spread fit, and more: 24. */
	phase = interval_usec * (conn_spread(conn->id) >> 8) >> 24;
	beats = after_usec < phase ? 0 : (after_usec - phase) / interval_usec + 1;
	return beats * interval_usec + phase;
}

/* The next moments of service and protocol after `after_usec`; UINT64_MAX: none. */
static uint64_t
conn_next_service(const struct conns *conns, const struct conn *conn, uint64_t after_usec)
{
	const struct service_ops *service = conn_listener(conns, conn)->service;
	uint64_t at = 0;

	if (service->next_timer && conn->state == CONN_OPEN)
		at = service->next_timer(conns, conn, after_usec);
	return at ? at : UINT64_MAX;
}

static uint64_t
conn_next_proto(const struct conns *conns, const struct conn *conn, uint64_t after_usec)
{
	const struct proto_ops *proto = conn_listener(conns, conn)->proto;
	uint64_t at = 0;

	if (proto->next_timer && conn->state == CONN_OPEN)
		at = proto->next_timer(conns, conn, after_usec);
	return at ? at : UINT64_MAX;
}

void
conn_set_timer(struct conns *conns, struct conn *conn)
{
	uint32_t index = (uint32_t)conn_fd(conns, conn);
	uint64_t at = conn_next_close(conns, conn).at_usec;
	uint64_t service_at = conn_next_service(conns, conn, conn_served_usec(conns));
	uint64_t proto_at = conn_next_proto(conns, conn, conn_served_usec(conns));
	uint64_t ahead = 0;

	if (service_at < at)
		at = service_at;
	if (proto_at < at)
		at = proto_at;
	if (conn_awaits_acks(conn) && conns->now_usec + CONN_TAKEN_USEC < at)
		at = conns->now_usec + CONN_TAKEN_USEC;
	if (at == UINT64_MAX) {
		wheel_clear(&conns->wheel, index);
		return;
	}
	if (at > conns->now_usec)
		ahead = (at + WHEEL_TICK_USEC - 1) / WHEEL_TICK_USEC -
			conns->now_usec / WHEEL_TICK_USEC;
	if (ahead > WHEEL_SPAN_MAX)
		ahead = WHEEL_SPAN_MAX; /* expires early, and is set again */
	wheel_set(&conns->wheel, index, wheel_tick(conns->now_usec) + (uint32_t)ahead);
}

void
conn_catch_up(struct conns *conns, struct conn *conn, uint64_t since_usec)
{
	uint64_t served_usec = since_usec / WHEEL_TICK_USEC * WHEEL_TICK_USEC;
	uint64_t now_usec = conn_served_usec(conns);
	uint32_t generation = conn->generation;

	if (conn_next_service(conns, conn, served_usec) <= now_usec)
		conn_listener(conns, conn)->service->timer(conns, conn);
	if (conn->generation == generation && conn_next_proto(conns, conn, served_usec) <= now_usec)
		conn_listener(conns, conn)->proto->timer(conns, conn);
}

/* One that is held is not read, while its server is being connected, say; but it may have sent. */
static bool
conn_has_sent(const struct conns *conns, const struct conn *conn)
{
	return conn->flags & CONN_HELD && conn_has_unread(conn_fd(conns, conn));
}

/* Could what the worker has not heard yet put this deadline off? */
static bool
conn_may_be_in_time(const struct conn *conn, enum close_reason reason)
{
	return conn->state != CONN_CLOSING && reason != CLOSE_LIFETIME;
}

/* The node of a connection expired: at this tick a deadline was set. It may have been put off, and
 * if the loop was late, several moments of the service may have passed: it gets one call, and so does
 * the protocol. */
void
conn_on_timer(void *context, uint32_t index)
{
	struct conns *conns = context;
	struct conn *conn = &conns->table[index];
	struct conn_deadline deadline = conn_next_close(conns, conn);
	uint32_t late = wheel_tick(conns->now_usec) - conn->timer.due;
	uint64_t due_usec = conn_served_usec(conns) - (uint64_t)late * WHEEL_TICK_USEC;
	uint32_t generation = conn->generation;

	if (deadline.at_usec <= conns->now_usec && conn_may_be_in_time(conn, deadline.reason)) {
		if (!conn_hear(conns, conn))
			return;
		if (conn_has_sent(conns, conn))
			conn->flags |= CONN_GOT_BYTES;
		deadline = conn_next_close(conns, conn);
	}
	if (deadline.at_usec <= conns->now_usec && conn_has_progressed(conns, conn)) {
		conn_mark_progress(conns, conn);
		deadline = conn_next_close(conns, conn);
	}
	if (deadline.at_usec <= conns->now_usec || conn_is_taken(conns, conn)) {
		conn_end(conns, conn, deadline.reason);
		return;
	}
	conn_catch_up(conns, conn, due_usec - WHEEL_TICK_USEC);
	if (conn->state != CONN_FREE && conn->generation == generation)
		conn_set_timer(conns, conn);
}

bool
conns_run_timers(struct conns *conns, uint64_t *ret_next_usec)
{
	uint32_t next;

	wheel_expire(&conns->wheel, wheel_tick(conns->now_usec), conn_on_timer, conns);
	if (!wheel_next(&conns->wheel, &next))
		return false;
	*ret_next_usec = (conns->now_usec / WHEEL_TICK_USEC +
				 (uint32_t)(next - wheel_tick(conns->now_usec))) *
			 WHEEL_TICK_USEC;
	return true;
}
