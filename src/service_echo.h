/*
 * service_echo: sends back what comes.
 *
 * Process: W.
 */
#ifndef MILLGATE_SERVICE_ECHO_H
#define MILLGATE_SERVICE_ECHO_H

#include "conn.h"

extern const struct service_ops SERVICE_ECHO;

#endif
