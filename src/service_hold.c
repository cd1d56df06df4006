/* service_hold: see service_hold.h. */
#include "service_hold.h"

#include "conn_private.h"

static void
service_hold_input(struct conns *conns, struct conn *conn, const void *data, size_t length)
{
	(void)conns;
	(void)conn;
	(void)data;
	(void)length;
}

static void
service_hold_eof(struct conns *conns, struct conn *conn)
{
	conn_close(conns, conn, CLOSE_CLIENT_CLOSED);
}

/*
 * Each connection has a phase of its own in the interval, which follows from its id; ids that count
 * up are spread evenly over it. So a million heartbeats are an even stream whenever their clients
 * came, no state is kept for it, and the phase is the same after a restart.
 */
static uint64_t
service_hold_next_timer(const struct conns *conns, const struct conn *conn, uint64_t after_usec)
{
	uint64_t interval = conn_listener(conns, conn)->heartbeat_usec;
	uint64_t phase, beats;

	if (!interval)
		return 0;
	/* A day is less than 2^37 microseconds, so 16 bits of spread fit, and more: 24. */
	phase = interval * (conn_spread(conn->id) >> 8) >> 24;
	beats = after_usec < phase ? 0 : (after_usec - phase) / interval + 1;
	return beats * interval + phase;
}

static void
service_hold_timer(struct conns *conns, struct conn *conn)
{
	const struct conn_listener *listener = conn_listener(conns, conn);

	if (conn_send(conns, conn, listener->heartbeat, listener->heartbeat_length) == 0)
		metrics_add(&conns->slot->value[METRIC_HEARTBEATS], 1);
}

const struct service_ops SERVICE_HOLD = {
	.name = "hold",
	.input = service_hold_input,
	.eof = service_hold_eof,
	.next_timer = service_hold_next_timer,
	.timer = service_hold_timer,
};
