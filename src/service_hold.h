/*
 * service_hold: keeps connections open, discards what comes, sends heartbeats.
 *
 * Process: W.
 */
#ifndef MILLGATE_SERVICE_HOLD_H
#define MILLGATE_SERVICE_HOLD_H

#include "conn.h"

extern const struct service_ops SERVICE_HOLD;

#endif
