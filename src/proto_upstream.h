/*
 * proto_upstream: what a relay speaks with servers: bytes, and no framing.
 *
 * Process: W.
 */
#ifndef MILLGATE_PROTO_UPSTREAM_H
#define MILLGATE_PROTO_UPSTREAM_H

#include "conn.h"

extern const struct proto_ops PROTO_UPSTREAM;

#endif
