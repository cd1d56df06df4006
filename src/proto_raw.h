/*
 * proto_raw: the protocol without a protocol: what is read is a message, a message is its bytes.
 *
 * Process: W.
 */
#ifndef MILLGATE_PROTO_RAW_H
#define MILLGATE_PROTO_RAW_H

#include "conn.h"

extern const struct proto_ops PROTO_RAW;

#endif
