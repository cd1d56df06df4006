/* conn_private: what conn.c and conn_timer.c share. Process: W. */
#ifndef MILLGATE_CONN_PRIVATE_H
#define MILLGATE_CONN_PRIVATE_H

#include "conn.h"

/* Spreads ids evenly over 32 bits. */
uint32_t conn_spread(uint64_t id);
/* wheel_expire()'s callback. */
void conn_on_timer(void *context, uint32_t index);

#endif
