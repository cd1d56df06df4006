/*
 * keepalive: how soon a TCP connection whose other end has vanished is noticed.
 *
 * Process: both.
 */
#ifndef MILLGATE_KEEPALIVE_H
#define MILLGATE_KEEPALIVE_H

#include <stdint.h>

#define KEEPALIVE_PROBES 4 /* unanswered, after which the other end is gone */

/* The first probe after so long a silence (tcp(7), TCP_KEEPIDLE; whole seconds count), the others a
 * quarter of that apart; 0: none. What the socket refuses it goes without. */
void keepalive_set(int fd, uint64_t after_usec);

#endif
