/*
 * conn_state: what a client connection is at. Workers keep it (conn.h) and report it (control.h);
 * the admin interface names it.
 *
 * Process: both. Pure.
 */
#ifndef MILLGATE_CONN_STATE_H
#define MILLGATE_CONN_STATE_H

enum conn_state {
	CONN_FREE = 0, /* no connection on this fd */
	CONN_OPEN,
	CONN_CLOSING, /* sends what is queued, reads no more, then closes */
	CONN_STATE_COUNT,
};

#endif
