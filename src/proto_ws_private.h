/* proto_ws_private: what the files of proto_ws share. Process: W. */
#ifndef MILLGATE_PROTO_WS_PRIVATE_H
#define MILLGATE_PROTO_WS_PRIVATE_H

#include "conn.h"
#include "ws_handshake.h"

/* What is in conn->proto. */
enum proto_ws_byte {
	PROTO_WS_HEAD_END,  /* the state of http_head_find_end() */
	PROTO_WS_PONG_DUE,  /* the last ping must be answered by the so many-th moment; 0: it is */
	PROTO_WS_STREAMING, /* bool: the service has got a first part of the message under way */
	PROTO_WS_EARLY,     /* bool: what came while it was held waits in `in` */
	PROTO_WS_BYTES,
};

_Static_assert(PROTO_WS_BYTES <= CONN_PROTO_BYTES, "there is no other place");

/* Goes on with the handshake. Returns how many bytes were part of it once the connection is open;
 * 0: it is not yet, or it is closing or closed. */
size_t proto_ws_shake_hands(
	struct conns *conns, struct conn *conn, const uint8_t *data, size_t length);

/* Answers, and ends the connection for this reason. */
void proto_ws_refuse(
	struct conns *conns, struct conn *conn, enum ws_outcome outcome, enum close_reason reason);

#endif
