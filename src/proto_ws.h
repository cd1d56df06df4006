/*
 * proto_ws: WebSocket (RFC 6455), the server's side.
 *
 * Process: W. Frames are read by ws_frame, the handshake by ws_handshake; here is what they do to a
 * connection. Extensions are not offered: permessage-deflate keeps a window of up to 32 KiB for
 * each direction of each connection, several hundred times what the rest of one costs.
 *
 * What is kept between two events:
 *   in HANDSHAKE  conn->in: what has come of the head
 *   while OPEN    nothing between two messages. Otherwise conn->in: a struct ws_reader, and behind it
 *                 what has come of a message that is not handed on yet
 *   conn->proto   enum proto_ws_byte
 */
#ifndef MILLGATE_PROTO_WS_H
#define MILLGATE_PROTO_WS_H

#include "conn.h"

extern const struct proto_ops PROTO_WS;

#endif
