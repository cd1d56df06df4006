/*
 * service_relay: each client has a connection of its own to a server; what one of the two sends, the
 * other one gets.
 *
 * Process: W. It serves both sides alike. Nothing is kept here: what one side does not take waits in
 * its queue, and the other side is not read from meanwhile. So a queue holds at most one read.
 */
#ifndef MILLGATE_SERVICE_RELAY_H
#define MILLGATE_SERVICE_RELAY_H

#include "conn.h"

extern const struct service_ops SERVICE_RELAY;

#endif
