/*
 * proto_raw: the protocol without a protocol: what is read is a message, a message is its bytes.
 *
 * Process: W.
 */
#ifndef MILLGATE_PROTO_RAW_H
#define MILLGATE_PROTO_RAW_H

#include "conn.h"

extern const struct proto_ops PROTO_RAW;

/* Its `input` and `send`, for another protocol that frames nothing. */
void proto_raw_input(struct conns *conns, struct conn *conn, uint8_t *data, size_t length);
int proto_raw_send(
	struct conns *conns, struct conn *conn, const struct conn_message *message) MG_MUST_CHECK;

#endif
