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
	CONN_PROXY, /* a load balancer's: it has not told, or we not heard, whether it may come in */
	CONN_HANDSHAKE,  /* what its protocol wants before anything else is under way */
	CONN_CONNECTING, /* to a server, which has not accepted it yet */
	CONN_OPEN,
	CONN_CLOSING, /* sends what is queued, may wait for the client's farewell, then closes */
	CONN_STATE_COUNT,
};

#endif
