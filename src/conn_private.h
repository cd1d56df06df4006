/* conn_private: what the files of conn share. Process: W. */
#ifndef MILLGATE_CONN_PRIVATE_H
#define MILLGATE_CONN_PRIVATE_H

#include "conn.h"

/* It is not read from. */
#define CONN_UNREAD (CONN_PAUSED | CONN_HELD | CONN_EOF)

/* What a relayed connection has beside the table. */
static inline struct conn_link *
conn_link(const struct conns *conns, const struct conn *conn)
{
	return &conns->links[conn_fd(conns, conn)];
}

/* From here on neither is the other's other side. */
static inline void
conn_unlink(const struct conns *conns, const struct conn *a, const struct conn *b)
{
	conn_link(conns, a)->other = conn_link(conns, b)->other = 0;
}

/* An orphan is on no books, and the number of its server may become another one's. */
static inline void
conn_remember_server(const struct conns *conns, const struct conn *orphan)
{
	struct conn_link *link = conn_link(conns, orphan);

	link->tries =
		link->server == UPSTREAM_NONE ? 0 : conns->upstreams->items[link->server].users;
}

/* Is the number of its server still that server's? */
static inline bool
conn_keeps_server(const struct conns *conns, const struct conn *upstream)
{
	const struct conn_link *link = conn_link(conns, upstream);
	const struct upstream *server;

	if (link->server == UPSTREAM_NONE)
		return false;
	server = &conns->upstreams->items[link->server];
	return link->other != 0 || (server->in_use && server->users == link->tries);
}

/* The sole change of state. */
void conn_set_state(struct conns *conns, struct conn *conn, enum conn_state state);
/* The bytes that wait in this worker have become more or fewer. */
void conn_queue_changed(struct conns *conns);
/* Takes over a socket that is as `as` says (id, times, listener, state, flags): its entry, watched,
 * no timer set. NULL: fd is closed, and the reason told. */
struct conn *conn_enter(struct conns *conns, int fd, const struct conn *as,
	enum close_reason *ret_reason) MG_MUST_CHECK;
/* The same for one that is in the set already, for these events and with as->generation. */
struct conn *conn_enter_watched(struct conns *conns, int fd, const struct conn *as, uint32_t events,
	enum close_reason *ret_reason) MG_MUST_CHECK;
/* Lets a client's server go, after what is still queued for it. */
void conn_part(struct conns *conns, struct conn *client);
/* A client is about to end: if it waits for a server, others are not to wait behind it. */
void conn_give_up_server(struct conns *conns, struct conn *client);
/* What is watched for, with these flags: EPOLLIN and so on. */
uint32_t conn_wanted_events(uint8_t flags);
/* Makes the epoll set agree with these flags, and keeps them. -ECONNRESET: it is closed. */
int conn_watch(struct conns *conns, struct conn *conn, uint8_t flags) MG_MUST_CHECK;
/* Closes for the reason that fits this errno, or the one for which it is ending already; what had come
 * of it before goes to its other side, which ends when it has got that. Returns -ECONNRESET. */
int conn_fail(struct conns *conns, struct conn *conn, int error);
/* Its other side was reset or lost: it is only sent what waits for it, and then is reset as well, so that
 * what it has got does not look whole; with CONN_DEAF behind an end of file, for then it is. */
bool conn_is_cut(const struct conn *conn);
/* It is to be closed as soon as its peer has acknowledged all: it is cut, or an orphan to which all was
 * said, the end too; and conn_is_taken(): the peer has. */
bool conn_awaits_acks(const struct conn *conn);
bool conn_is_taken(const struct conns *conns, const struct conn *conn);
/* While CONN_CLOSING: something was sent, or is to be, which gives it time anew. */
void conn_mark_progress(struct conns *conns, struct conn *conn);
/* And has its peer acknowledged something since, but not all? */
bool conn_has_progressed(const struct conns *conns, const struct conn *conn);
/* One that was to be closed when its queue is sent, and is that: closes it, now or soon. */
void conn_close_sent(struct conns *conns, struct conn *conn);
/* A connect is decided: EPOLLOUT, or an error. */
void conn_connected(struct conns *conns, struct conn *upstream);
/* Bytes wait in the socket. */
bool conn_has_unread(int fd);
/* How much may be read, of at most `max`: what comes may have to be queued. */
size_t conn_read_room(const struct conns *conns, const struct conn *conn, size_t max);
/* So much was read: counts it, and the connection as active. */
void conn_count_received(struct conns *conns, struct conn *conn, size_t n);
void conn_count_sent(struct conns *conns, const struct conn *conn, size_t n);
/* Input ended, by an end of file or an error (errno). */
void conn_read_ended(struct conns *conns, struct conn *conn, int error);
/* In conn_splice.c. Is it a relayed connection of which much comes? Then some of that will be moved
 * on when others have had their turn: by conns_on_bulk(), pollset's callback. */
bool conn_is_bulk(const struct conns *conns, const struct conn *conn);
void conn_put_off(struct conns *conns, struct conn *conn);
void conns_on_bulk(void *context);
/* A read that filled the buffer: from now on it is, if its protocols allow. */
void conn_mark_bulk(struct conns *conns, struct conn *conn);

/* pollset's callback. */
bool conn_on_ready(void *context, int fd, uint32_t generation, uint32_t events);
/* The address at the other end of the socket. */
struct addr conn_socket_peer(const struct conns *conns, const struct conn *conn);
/* In conn_proxy.c: bytes came; it may come in; it is to end, and may be told why; it was restored. */
void conn_proxy_input(struct conns *conns, struct conn *conn, const uint8_t *data, size_t length);
void conn_proxy_assigned(struct conns *conns, struct conn *conn, uint16_t server);
void conn_proxy_skip(struct conns *conns, struct conn *conn);
void conn_proxy_restored(struct conns *conns, struct conn *conn);
/* Gives service and protocol one call each if a moment of theirs has passed since then. */
void conn_catch_up(struct conns *conns, struct conn *conn, uint64_t since_usec);
/* Tells whoever can free some if all workers' queues are over the limit together. */
void conn_check_queues(struct conns *conns);
/* No more will be written. */
void conn_send_fin(struct conns *conns, struct conn *conn);
/* The same of one that is CONN_CLOSING, which has sent all that it had. */
void conn_send_last(struct conns *conns, struct conn *conn);
/* Spreads ids evenly over 32 bits. */
uint32_t conn_spread(uint64_t id);
/* wheel_expire()'s callback. */
void conn_on_timer(void *context, uint32_t index);

#endif
