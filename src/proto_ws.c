/* proto_ws: see proto_ws.h. The numbers are sections of RFC 6455. */
#include "proto_ws.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto_ws_private.h"
#include "ws_frame.h"

/* Of a message that does not come at once, so much is gathered before a service that takes parts
 * gets the first one: small messages stay whole, large ones do not wait. */
#define GATHER_BYTES 16384

static void
proto_ws_count(struct conns *conns, const struct conn *conn, enum listener_metric metric)
{
	metrics_add(&conns->slot->listener[conn->listener][metric], 1);
}

static int
proto_ws_write_frame(struct conns *conns, struct conn *conn, enum ws_opcode opcode, bool last,
	const void *payload, size_t length)
{
	uint8_t head[WS_HEAD_MAX];
	const struct iovec vectors[] = {
		{.iov_base = head, .iov_len = ws_frame_put_head(head, opcode, last, length, NULL)},
		{.iov_base = (void *)payload, .iov_len = length},
	};

	return conn_write_vectors(conns, conn, vectors, 2);
}

static int
proto_ws_send(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	enum ws_opcode opcode = message->flags & MESSAGE_TEXT ? WS_TEXT : WS_BINARY;

	assert(conn->state == CONN_OPEN);
	if (!(message->flags & MESSAGE_FIRST))
		opcode = WS_CONTINUATION;
	return proto_ws_write_frame(
		conns, conn, opcode, message->flags & MESSAGE_LAST, message->data, message->length);
}

/* Ends. */

static int
proto_ws_write_close(struct conns *conns, struct conn *conn, uint16_t code, const char *reason)
{
	uint8_t payload[WS_CONTROL_MAX];
	size_t length = ws_close_put(payload, code, reason);

	return proto_ws_write_frame(conns, conn, WS_CLOSE, true, payload, length);
}

/* What is answered to a handshake that is ended. */
static enum ws_outcome
proto_ws_end_outcome(enum close_reason reason)
{
	switch (reason) {
	case CLOSE_HANDSHAKE_TIMEOUT:
	case CLOSE_FIRST_BYTE_TIMEOUT:
	case CLOSE_IDLE_TIMEOUT:
		return WS_OUTCOME_TIMEOUT;
	default:
		return WS_OUTCOME_UNAVAILABLE;
	}
}

/* The closing handshake from our side (7.1.2); where there is no code for the reason, there is
 * nobody to tell it. */
static void
proto_ws_end(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	const struct close_reason_info *info = close_reason_info(reason);

	if (conn->state == CONN_HANDSHAKE) {
		proto_ws_refuse(conns, conn, proto_ws_end_outcome(reason), reason);
		return;
	}
	if (info->websocket_code == 0)
		conn_close(conns, conn, reason);
	else if (proto_ws_write_close(conns, conn, (uint16_t)info->websocket_code, info->name) == 0)
		conn_await_close(conns, conn, reason);
}

/* 7.1.7: nothing that comes after a mistake can be understood. */
static void
proto_ws_fail(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	const struct close_reason_info *info = close_reason_info(reason);

	if (proto_ws_write_close(conns, conn, (uint16_t)info->websocket_code, info->name) == 0)
		conn_finish(conns, conn, reason);
}

static enum close_reason
proto_ws_error_reason(uint16_t code)
{
	switch (code) {
	case WS_CODE_BAD_TEXT:
		return CLOSE_BAD_TEXT;
	case WS_CODE_TOO_BIG:
		return CLOSE_MESSAGE_TOO_BIG;
	default:
		return CLOSE_PROTOCOL_ERROR;
	}
}

/* Codes by which a client says that all is well, or that which is its own affair (7.4.2). */
static enum close_reason
proto_ws_client_reason(uint16_t code)
{
	switch (code) {
	case WS_CODE_NORMAL:
	case WS_CODE_GOING_AWAY:
	case WS_CODE_NONE:
	case 3000 ... 4999:
		return CLOSE_CLIENT_CLOSED;
	default:
		return CLOSE_CLIENT_FAILED;
	}
}

/* Messages. */

/* What is kept of the message behind the reader. */
static size_t
proto_ws_gathered(const struct conn *conn)
{
	return conn->in ? conn->in->length_bytes - sizeof(struct ws_reader) : 0;
}

/* How much of a message may be gathered before it is handed on. */
static uint64_t
proto_ws_gather_max(const struct conns *conns, const struct conn *conn)
{
	const struct conn_listener *listener = conn_listener(conns, conn);

	if (!listener->service->streams)
		return listener->queued_max;
	return GATHER_BYTES < listener->queued_max / 2 ? GATHER_BYTES : listener->queued_max / 2;
}

static void
proto_ws_gather(struct conns *conns, struct conn *conn, const void *data, size_t length)
{
	static const struct ws_reader none;

	/* The place of the reader, which is written when all that was read is done with. */
	if (conn->in || conn_keep(conns, conn, &none, sizeof(none)) == 0)
		(void)conn_keep(conns, conn, data, length);
}

static void
proto_ws_hand_on(struct conns *conns, struct conn *conn, const struct ws_event *event)
{
	struct conn_message message = {.data = event->data, .length = event->length};
	size_t gathered = proto_ws_gathered(conn);
	uint8_t *whole = NULL;

	if (event->opcode == WS_TEXT)
		message.flags |= MESSAGE_TEXT;
	if (!conn->proto[PROTO_WS_STREAMING])
		message.flags |= MESSAGE_FIRST;
	if (event->last)
		message.flags |= MESSAGE_LAST;
	if (gathered > 0) {
		whole = conn_take_kept(
			conns, conn, sizeof(struct ws_reader), event->data, event->length);
		if (!whole)
			return;
		message.data = whole;
		message.length += gathered;
	}
	conn->proto[PROTO_WS_STREAMING] = !event->last;
	conn_deliver(conns, conn, &message);
	free(whole);
}

static void
proto_ws_on_data(struct conns *conns, struct conn *conn, const struct ws_event *event)
{
	uint64_t gathered = (uint64_t)proto_ws_gathered(conn) + event->length;

	if (conn->state != CONN_OPEN)
		return; /* 1.4: after our close frame data is of no interest */
	if (event->last || conn->proto[PROTO_WS_STREAMING])
		proto_ws_hand_on(conns, conn, event);
	else if (gathered <= proto_ws_gather_max(conns, conn))
		proto_ws_gather(conns, conn, event->data, event->length);
	else if (conn_listener(conns, conn)->service->streams)
		proto_ws_hand_on(conns, conn, event);
	else
		proto_ws_fail(conns, conn, CLOSE_MESSAGE_TOO_BIG);
}

/* A client that does not read its pongs is not read from either. */
static void
proto_ws_on_ping(struct conns *conns, struct conn *conn, const struct ws_event *event)
{
	proto_ws_count(conns, conn, LISTENER_METRIC_PINGS_RECEIVED);
	if (conn->state == CONN_OPEN &&
		proto_ws_write_frame(conns, conn, WS_PONG, true, event->data, event->length) == 0)
		(void)conn_pause(conns, conn);
}

static void
proto_ws_on_pong(struct conns *conns, struct conn *conn)
{
	proto_ws_count(conns, conn, LISTENER_METRIC_PONGS_RECEIVED);
	conn->proto[PROTO_WS_PONG_DUE] = 0;
}

/* 5.5.1: the answer to our close frame, or the client's, which is answered with its code. */
static void
proto_ws_on_close(struct conns *conns, struct conn *conn, uint16_t code)
{
	if (conn->state == CONN_CLOSING)
		conn_close(conns, conn, conn->close_reason);
	else if (proto_ws_write_close(conns, conn, code, "") == 0)
		conn_close_flushed(conns, conn, proto_ws_client_reason(code));
}

static void
proto_ws_on_error(struct conns *conns, struct conn *conn, uint16_t code)
{
	if (conn->state == CONN_CLOSING)
		conn_close(conns, conn, conn->close_reason);
	else
		proto_ws_fail(conns, conn, proto_ws_error_reason(code));
}

static void
proto_ws_on_event(struct conns *conns, struct conn *conn, const struct ws_event *event)
{
	switch (event->type) {
	case WS_EVENT_MORE:
		break;
	case WS_EVENT_DATA:
		proto_ws_on_data(conns, conn, event);
		break;
	case WS_EVENT_PING:
		proto_ws_on_ping(conns, conn, event);
		break;
	case WS_EVENT_PONG:
		proto_ws_on_pong(conns, conn);
		break;
	case WS_EVENT_CLOSE:
		proto_ws_on_close(conns, conn, event->code);
		break;
	case WS_EVENT_ERROR:
		proto_ws_on_error(conns, conn, event->code);
		break;
	}
}

/* Between two messages nothing is kept; otherwise the reader is. */
static void
proto_ws_put_away(struct conns *conns, struct conn *conn, const struct ws_reader *reader)
{
	if (ws_reader_is_idle(reader))
		conn_drop_kept(conns, conn);
	else if (conn->in)
		iobuf_overwrite(conn->in, reader, sizeof(*reader));
	else
		(void)conn_keep(conns, conn, reader, sizeof(*reader));
}

/* Whether what comes next is still of interest: as long as it is open, or our close frame has not
 * been answered. */
static bool
proto_ws_reads_on(const struct conn *conn, uint32_t generation)
{
	if (conn->generation != generation)
		return false;
	return conn->state == CONN_OPEN ||
	       (conn->flags & (CONN_LINGERS | CONN_DEAF)) == CONN_LINGERS;
}

static void
proto_ws_read(struct conns *conns, struct conn *conn, uint8_t *data, size_t length)
{
	const struct ws_rules rules = {
		.message_max = conn_listener(conns, conn)->message_max, .masked = true};
	uint32_t generation = conn->generation;
	struct ws_reader reader = {0};
	struct ws_event event;

	if (conn->in)
		iobuf_copy(conn->in, &reader, sizeof(reader));
	do {
		size_t taken = ws_reader_next(&reader, &rules, data, length, &event);

		data += taken;
		length -= taken;
		proto_ws_on_event(conns, conn, &event);
		if (!proto_ws_reads_on(conn, generation))
			return;
	} while (event.type != WS_EVENT_MORE);
	proto_ws_put_away(conns, conn, &reader);
}

static void
proto_ws_input(struct conns *conns, struct conn *conn, uint8_t *data, size_t length)
{
	size_t taken = 0;

	if (conn->state == CONN_HANDSHAKE) {
		taken = proto_ws_shake_hands(conns, conn, data, length);
		if (taken == 0)
			return;
	}
	if (length > taken && conn->flags & CONN_HELD) {
		conn->proto[PROTO_WS_EARLY] = true;
		(void)conn_keep(conns, conn, data + taken, length - taken);
	} else if (length > taken) {
		proto_ws_read(conns, conn, data + taken, length - taken);
	}
}

/* What came right behind the handshake, before there was a server. */
static void
proto_ws_resume(struct conns *conns, struct conn *conn)
{
	size_t length = conn->in->length_bytes;
	uint8_t *early;

	if (!conn->proto[PROTO_WS_EARLY])
		return;
	conn->proto[PROTO_WS_EARLY] = false;
	early = conn_take_kept(conns, conn, 0, "", 0);
	if (early)
		proto_ws_read(conns, conn, early, length);
	free(early);
}

/* What was parked by an earlier version may be of another form. */
static bool
proto_ws_is_sound(const struct conn *conn)
{
	struct ws_reader reader;

	if (!conn->in || conn->state != CONN_OPEN || conn->proto[PROTO_WS_EARLY])
		return true;
	if (conn->in->length_bytes < sizeof(reader))
		return false;
	iobuf_copy(conn->in, &reader, sizeof(reader));
	return ws_reader_is_sound(&reader);
}

/* What of it was kept before there was a server is no message yet. */
static bool
proto_ws_amid(const struct conn *conn)
{
	return conn->proto[PROTO_WS_STREAMING] ||
	       (!conn->proto[PROTO_WS_EARLY] && proto_ws_gathered(conn) > 0);
}

/* Pings. */

static uint64_t
proto_ws_next_timer(const struct conns *conns, const struct conn *conn, uint64_t after_usec)
{
	return conn_next_beat(conn, conn_listener(conns, conn)->ping_usec, after_usec);
}

/* A client cannot answer where it is not read from, nor in the middle of a frame of its own that it
 * is sending still. */
static bool
proto_ws_could_answer(const struct conns *conns, const struct conn *conn)
{
	uint64_t ping_usec = conn_listener(conns, conn)->ping_usec;
	bool sends = conn->in && conn_active_usec(conns, conn) + ping_usec > conns->now_usec;

	return !(conn->flags & (CONN_PAUSED | CONN_HELD)) && !sends;
}

/* A ping that is sent late, after a restart say, has the next moment before it too soon to count. */
static uint8_t
proto_ws_pong_due(const struct conns *conns, const struct conn *conn)
{
	uint64_t ping_usec = conn_listener(conns, conn)->ping_usec;
	uint64_t served_usec = conn_served_usec(conns);

	return conn_next_beat(conn, ping_usec, served_usec) - served_usec < ping_usec / 2 ? 2 : 1;
}

/* There is one ping on its way at most, so that none pile up. */
static void
proto_ws_timer(struct conns *conns, struct conn *conn)
{
	uint8_t *due = &conn->proto[PROTO_WS_PONG_DUE];

	if (*due && (!conn_hear(conns, conn) || conn->state != CONN_OPEN))
		return;
	if (*due) {
		if (*due > 1)
			(*due)--;
		else if (proto_ws_could_answer(conns, conn))
			conn_end(conns, conn, CLOSE_PONG_TIMEOUT);
		return;
	}
	if (proto_ws_write_frame(conns, conn, WS_PING, true, "", 0) < 0)
		return;
	*due = proto_ws_pong_due(conns, conn);
	proto_ws_count(conns, conn, LISTENER_METRIC_PINGS_SENT);
}

const struct proto_ops PROTO_WS = {
	.name = "websocket",
	.tag = 4,
	.shakes_hands = true,
	.input = proto_ws_input,
	.is_sound = proto_ws_is_sound,
	.send = proto_ws_send,
	.resume = proto_ws_resume,
	.amid = proto_ws_amid,
	.end = proto_ws_end,
	.next_timer = proto_ws_next_timer,
	.timer = proto_ws_timer,
};
