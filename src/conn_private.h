/* conn_private: what the files of conn share. Process: W. */
#ifndef MILLGATE_CONN_PRIVATE_H
#define MILLGATE_CONN_PRIVATE_H

#include "conn.h"

/* The sole change of state. */
void conn_set_state(struct conns *conns, struct conn *conn, enum conn_state state);
/* The bytes that wait in this worker have become more or fewer. */
void conn_queue_changed(struct conns *conns);
/* Takes over a socket that is as `as` says (id, times, listener, flags): its entry, open and watched,
 * no timer set. NULL: fd is closed and `closed` was called with the reason. */
struct conn *conn_enter(struct conns *conns, int fd, const struct conn *as) MG_MUST_CHECK;
/* Gives service and protocol one call each if a moment of theirs has passed since then. */
void conn_catch_up(struct conns *conns, struct conn *conn, uint64_t since_usec);
/* Tells whoever can free some if all workers' queues are over the limit together. */
void conn_check_queues(struct conns *conns);
/* No more will be written. */
void conn_send_fin(struct conns *conns, struct conn *conn);
/* Spreads ids evenly over 32 bits. */
uint32_t conn_spread(uint64_t id);
/* wheel_expire()'s callback. */
void conn_on_timer(void *context, uint32_t index);

#endif
