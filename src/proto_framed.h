/*
 * proto_framed: messages on a plain stream of bytes, as lines or each with its length before it.
 *
 * Process: W. Messages are handed on whole: a longer one than limits.message_bytes, or than may
 * wait, closes the connection. What is here of a message that is not whole is in conn->in.
 */
#ifndef MILLGATE_PROTO_FRAMED_H
#define MILLGATE_PROTO_FRAMED_H

#include "conn.h"

/* Ends with LF, which is not part of the message; CR before it is. */
extern const struct proto_ops PROTO_LINE;
/* Begins with its length, 32 bits in network order. */
extern const struct proto_ops PROTO_LENGTH32;

#endif
