/*
 * proto_ws_handshake: the connection while it is no WebSocket yet.
 *
 * Process: W. A head that comes in one piece, as most do, is judged where it was read.
 */
#include "proto_ws_private.h"

#include <stdlib.h>

static const enum listener_metric PROTO_WS_METRICS[] = {
#define WS_OUTCOME(symbol, status, phrase, metric, fields) LISTENER_METRIC_##metric,
#include "ws_outcome.def"
#undef WS_OUTCOME
};

static void
proto_ws_count_outcome(struct conns *conns, const struct conn *conn, enum ws_outcome outcome)
{
	metrics_add(&conns->slot->listener[conn->listener][PROTO_WS_METRICS[outcome]], 1);
}

void
proto_ws_refuse(
	struct conns *conns, struct conn *conn, enum ws_outcome outcome, enum close_reason reason)
{
	char answer[WS_ANSWER_MAX];
	size_t length = ws_handshake_refuse(outcome, answer);

	proto_ws_count_outcome(conns, conn, outcome);
	if (conn_write(conns, conn, answer, length) == 0)
		conn_finish(conns, conn, reason);
}

/* A whole head is here. True: the connection is open. */
static bool
proto_ws_answer(struct conns *conns, struct conn *conn, const uint8_t *head, size_t length)
{
	uint32_t generation = conn->generation;
	struct ws_handshake handshake;
	char answer[WS_ANSWER_MAX];

	ws_handshake_judge(
		conn_listener(conns, conn)->ws_policy, (const char *)head, length, &handshake);
	if (handshake.outcome != WS_OUTCOME_ACCEPTED) {
		proto_ws_refuse(conns, conn, handshake.outcome,
			handshake.outcome == WS_OUTCOME_HEALTHY ? CLOSE_HEALTH_PROBED
								: CLOSE_HANDSHAKE_REFUSED);
		return false;
	}
	length = ws_handshake_answer(&handshake, answer);
	proto_ws_count_outcome(conns, conn, WS_OUTCOME_ACCEPTED);
	if (conn_write(conns, conn, answer, length) < 0)
		return false;
	conn_open(conns, conn);
	/* The service may have had to close it at once. */
	return conn->generation == generation && conn->state == CONN_OPEN;
}

size_t
proto_ws_shake_hands(struct conns *conns, struct conn *conn, const uint8_t *data, size_t length)
{
	size_t kept = conn->in ? conn->in->length_bytes : 0, taken;
	long end = http_head_find_end(&conn->proto[PROTO_WS_HEAD_END], data, length);
	uint8_t *whole = NULL;
	bool opened;

	taken = end > 0 ? (size_t)end : length;
	if (end < 0) {
		proto_ws_refuse(conns, conn, WS_OUTCOME_BAD_REQUEST, CLOSE_HANDSHAKE_REFUSED);
		return 0;
	}
	if (kept + taken > conn_listener(conns, conn)->ws_head_max) {
		proto_ws_refuse(conns, conn, WS_OUTCOME_TOO_LARGE, CLOSE_HANDSHAKE_REFUSED);
		return 0;
	}
	if (end == 0) {
		(void)conn_keep(conns, conn, data, length);
		return 0;
	}
	if (kept) {
		whole = conn_take_kept(conns, conn, 0, data, taken);
		if (!whole)
			return 0;
	}
	opened = proto_ws_answer(conns, conn, whole ? whole : data, kept + taken);
	free(whole);
	return opened ? taken : 0;
}
