/*
 * conn: a client connection in a worker, from adoption to close.
 *
 * Process: W. Owns the descriptor, the queue to a slow reader and the timer; knows nothing of what
 * bytes mean. Bytes go up conn -> protocol -> service and come down the same way:
 *
 *     pollset  ->  conn_on_ready  ->  proto->input    ->  service->message
 *                  conn_write     <-  proto->send     <-  conn_send
 *
 * A relayed client has a second connection, to its server: a struct conn of its own with the same
 * id. What the service does with a message of one is to send it to the other. Both end together.
 *
 * conn_close() is the sole exit, conn_set_state() the sole change of state. Whatever may close a
 * connection says so (see the returns): after that its struct conn must not be touched.
 */
#ifndef MILLGATE_CONN_H
#define MILLGATE_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "close_reason.h"
#include "conn_state.h"
#include "iobuf.h"
#include "metrics.h"
#include "parkfile.h"
#include "pollset.h"
#include "proxy_header.h"
#include "upstream.h"
#include "upstream_source.h"
#include "wheel.h"

enum conn_flag {
	CONN_GOT_BYTES = 1 << 0,
	CONN_WANTS_WRITE = 1 << 1, /* EPOLLOUT is on */
	CONN_PAUSED = 1 << 2,      /* EPOLLIN is off, until the queue is empty */
	CONN_LINGERS = 1 << 3,     /* while CONN_CLOSING: goes on when the queue is sent */
	CONN_DEAF = 1 << 4,        /* what still comes is thrown away */
	CONN_HELD = 1 << 5,        /* EPOLLIN is off, until conn_release() */
	CONN_EOF = 1 << 6,         /* it will send no more, and is not read from */
	CONN_UPSTREAM = 1 << 7,    /* no client: the connection to a client's server */
};

#define CONN_PROTO_BYTES 4

/*
 * One cache line, plain data, at table[fd]. All zero but `generation` while CONN_FREE.
 *
 * A protocol has no other place for what it must know between two events than `proto`, `in` and
 * `flags`, and no pointers in them. So these, `state`, and the bytes in `out` are all that another
 * process needs to go on with the connection.
 */
struct conn {
	uint64_t id;          /* the supervisor's name for it */
	uint64_t opened_usec; /* monotonic */
	struct iobuf *out;    /* what the client has not taken yet; NULL: nothing */
	struct iobuf *in;     /* what has come of something not yet whole; NULL: nothing */
	struct wheel_node timer;
	uint32_t active;     /* wheel tick of the last byte received */
	uint32_t generation; /* counts the users of this fd */
	uint8_t listener;
	uint8_t state;        /* enum conn_state */
	uint8_t flags;        /* enum conn_flag */
	uint8_t close_reason; /* while CONN_CLOSING */
	uint32_t unacked;     /* while CONN_CLOSING: under way at the last progress, bytes */
	uint8_t proto[CONN_PROTO_BYTES]; /* for the protocol; zeroed before its first call */
};

_Static_assert(sizeof(struct conn) == 64, "an idle connection is one cache line");

struct conns;

/* What is known of the user of this fd with this generation; ADDR_NONE: nothing. */
struct conn_known {
	uint32_t generation;
	struct addr peer;
};

/* Beside the table, also by fd: what a relayed connection has in addition, 8 bytes for each side. */
struct conn_link {
	uint32_t other;  /* the fd of the other side; 0: there is none */
	uint16_t server; /* its number in struct upstreams, or UPSTREAM_NONE */
	/* How many servers did not accept this client; of an orphan: `users` of its server. */
	uint8_t tries;
	uint8_t flags; /* enum conn_link_flag */
};

enum conn_link_flag {
	CONN_LINK_ASKED = 1 << 0,     /* the supervisor was asked for a server */
	CONN_LINK_EOF_FIRST = 1 << 1, /* of the two sides, this one ended first */
	CONN_LINK_AWAITED = 1 << 2,   /* restored, and its other side is still to come */
	CONN_LINK_BULK = 1 << 3,      /* so much comes from this side that it is spliced */
	CONN_LINK_QUEUED = 1 << 4,    /* some of that has come, and waits for its turn */
};

/* Connections that are CONN_LINK_QUEUED, by fd, in a ring of `size` places; and some that were. */
struct conn_bulk {
	uint32_t *fds;
	uint32_t size, first, n;
};

enum conn_message_flag {
	MESSAGE_TEXT = 1 << 0, /* UTF-8, and checked; otherwise any bytes */
	MESSAGE_FIRST = 1 << 1,
	MESSAGE_LAST = 1 << 2,
	MESSAGE_WHOLE = MESSAGE_FIRST | MESSAGE_LAST,
};

/* A message, or a part of one; a text may be cut within a character. */
struct conn_message {
	const void *data;
	size_t length;
	unsigned flags; /* enum conn_message_flag */
};

/* How bytes become messages and messages bytes. All may close the connection. */
struct proto_ops {
	const char *name;
	uint8_t tag; /* names it in a parked connection; no two have the same */
	/* A connection begins as CONN_HANDSHAKE; conn_open() ends that. */
	bool shakes_hands;
	/* Bytes are messages: what one sends may go to another unseen. */
	bool plain;
	/* Bytes have come. They are the callee's, to change as well, until return. */
	void (*input)(struct conns *conns, struct conn *conn, uint8_t *data, size_t length);
	/* Sends a message; a part of one only to whom parts were received from. 0, or -ECONNRESET:
	 * the connection is closed. */
	int (*send)(struct conns *conns, struct conn *conn, const struct conn_message *message);
	/* Optional: is what was parked of a connection, in `in` and `proto`, what this protocol parks? */
	bool (*is_sound)(const struct conn *conn);
	/* Optional: it is read again after it was held: takes up what waits in `in`, if it left
	 * something there for that. */
	void (*resume)(struct conns *conns, struct conn *conn);
	/* Optional: has the client sent a message in part, or was in the middle of one? */
	bool (*amid)(const struct conn *conn);
	/* Optional: tells the client that it ends and why, and ends it, now or soon. */
	void (*end)(struct conns *conns, struct conn *conn, enum close_reason reason);
	/* Optional, as those of a service: a moment of the protocol's own. */
	uint64_t (*next_timer)(
		const struct conns *conns, const struct conn *conn, uint64_t after_usec);
	void (*timer)(struct conns *conns, struct conn *conn);
};

/* What is done with messages; a service never touches an fd. It sees connections that are
 * CONN_OPEN only. All may close the connection. */
struct service_ops {
	const char *name;
	/* Takes messages in parts as they come; otherwise it gets them whole. */
	bool streams;
	/* Leads to servers: connections begin as CONN_HELD, and have these three. */
	bool relays;
	/* The connection is open. */
	void (*open)(struct conns *conns, struct conn *conn);
	/* The supervisor has chosen a server, or has none (UPSTREAM_NONE). */
	void (*assigned)(struct conns *conns, struct conn *conn, uint16_t server);
	/* The queue to it is empty again. */
	void (*flushed)(struct conns *conns, struct conn *conn);
	void (*message)(struct conns *conns, struct conn *conn, const struct conn_message *message);
	/* The client will send no more (FIN). */
	void (*eof)(struct conns *conns, struct conn *conn);
	/* Optional: the first moment after `after_usec` (monotonic) at which `timer` is wanted; 0:
	 * none. A pure function of the connection and the time, asked again whenever it matters. */
	uint64_t (*next_timer)(
		const struct conns *conns, const struct conn *conn, uint64_t after_usec);
	void (*timer)(struct conns *conns, struct conn *conn);
};

/* What a worker knows of a listener: its part of the configuration, ready for use. */
struct conn_listener {
	const struct proto_ops *proto;
	const struct service_ops *service;
	uint64_t first_byte_timeout_usec, idle_timeout_usec, lifetime_usec; /* 0: none */
	uint64_t handshake_timeout_usec;                                    /* 0: none */
	uint64_t linger_usec;     /* how long CONN_CLOSING may last without progress */
	unsigned lifetime_jitter; /* percent */
	uint64_t queued_max;      /* bytes */
	uint64_t message_max;     /* bytes */
	uint64_t heartbeat_usec;  /* 0: none */
	const char *heartbeat;    /* borrowed */
	size_t heartbeat_length;
	uint64_t ping_usec;                /* 0: none */
	size_t ws_head_max;                /* bytes */
	const struct ws_policy *ws_policy; /* borrowed */
	uint64_t proxy_timeout_usec;
	uint64_t connect_timeout_usec;
	uint64_t keepalive_usec;                /* of connections to servers; 0: none */
	unsigned send_proxy;                    /* version of the PROXY header for them; 0: none */
	const struct upstream_sources *sources; /* where they come from; borrowed */
};

/* What the supervisor is asked about a client. */
struct conn_question {
	bool admission; /* a load balancer has told who it is: may it come in? */
	struct addr peer;
	/* Otherwise it has no server, or this one (or UPSTREAM_NONE) did not accept it. */
	uint16_t server;
	uint8_t tries; /* and so many in all */
	int error;     /* errno of the last connect; 0: there was none */
	/* Or it ends, and waits for none any more: there is no answer. */
	bool gives_up;
};

#define CONNS_SCRATCH_BYTES 65536

/* All connections of a worker. */
struct conns {
	struct conn *table;      /* by fd; so are links and proxied */
	struct conn_link *links; /* touched by relayed connections only */
	/* What those with a PROXY header said, touched by them only: 40 bytes each. Family ADDR_NONE:
	 * the connection's own address. */
	struct proxy_header *proxied;
	struct conn_known *known; /* by conns_prepare_park(); NULL: nothing */
	uint32_t n_known;
	uint32_t capacity;       /* entries: the fd limit */
	uint32_t count;          /* clients */
	uint32_t upstream_count; /* their connections to servers */
	uint32_t lingering;      /* clients with CONN_LINGERS */
	uint32_t orphans;        /* of the upstream_count, see conn_is_orphan() */
	bool breaking_up;        /* what came of a side that failed is being passed on */
	uint32_t fd_end;         /* no connection ever had this fd or a higher one */
	struct conn *newcomer;   /* is being adopted, and not watched yet; or NULL */
	struct pollset pollset;
	struct wheel wheel;
	struct iobuf_pool iobufs;
	struct conn_listener listeners[METRICS_LISTENERS_MAX];
	struct conn_listener upstream_sides[METRICS_LISTENERS_MAX]; /* of CONN_UPSTREAM */
	const struct upstreams *upstreams;                          /* shared */
	struct metrics *metrics;
	struct metrics_slot *slot; /* this worker's */
	int pipe[2];               /* for splices; empty between two */
	struct conn_bulk bulk;     /* whose turn it is next */
	uint64_t now_usec;         /* monotonic; read once a turn */
	uint64_t queued_limit;     /* bytes in all workers' queues together */
	uint8_t *scratch;
	/* A client was closed; its entry is free already. */
	void (*closed)(void *context, uint64_t id, enum close_reason reason);
	/* The queues of all workers passed queued_limit. */
	void (*over)(void *context);
	/* The answer comes by conn_assign(). */
	void (*ask)(void *context, const struct conn *conn, const struct conn_question *question);
	void *context;
};

/* `capacity` is the process's fd limit; the caller has set metrics, slot and callbacks. -errno. */
int conns_init(struct conns *conns, struct event_base *base, uint32_t capacity) MG_MUST_CHECK;
/* Every connection must have been closed (asserted). */
void conns_done(struct conns *conns);

/* Reads the clock into now_usec. */
void conns_read_clock(struct conns *conns);
/* Expires timers up to now_usec; true and the moment when there is next something to do. */
bool conns_run_timers(struct conns *conns, uint64_t *ret_next_usec);

/* A client as the supervisor hands it over. */
struct conn_newcomer {
	uint64_t id;
	uint64_t opened_usec;
	uint8_t listener;
	bool proxied;    /* it is to begin with a PROXY header */
	uint16_t server; /* of a relay; or UPSTREAM_NONE */
};

/* Takes over a socket: its entry, watched and with its timer set. On failure fd is closed and
 * `closed` was called with the reason. */
void conn_adopt(struct conns *conns, int fd, const struct conn_newcomer *newcomer);

/* The supervisor's answer to a question: it may come in, and has this server (or UPSTREAM_NONE). */
void conn_assign(struct conns *conns, struct conn *conn, uint16_t server);

/* Before somebody is closed for having kept silent: reads what has come, for it and for the other
 * side, and the worker has not come to, since the machine stood still or has much to do. False: that
 * closed it. */
bool conn_hear(struct conns *conns, struct conn *conn) MG_MUST_CHECK;

/* In conn_park.c. A connection is not served from when it is parked until it is restored. What takes
 * long and cannot change is asked for before: makes room for it, and asks. -ENOMEM: it is asked for
 * later, that is all. */
int conns_prepare_park(struct conns *conns);
void conn_prepare_park(struct conns *conns, const struct conn *conn);

/* Writes down what a connection is, for another process to go on with it; without
 * `cookie` and `waiting`, which are the caller's. */
struct parkfile_record conn_park(const struct conns *conns, const struct conn *conn);
/* The same way back. `record` has our numbers of listener and close reason, and `watched` is 0
 * unless fd is in our pollset as it says; `waiting` are the bytes that it tells of; `server` is that
 * of a relayed client. As conn_adopt() does when that fails. conn_restored() must follow. */
void conn_restore(struct conns *conns, int fd, const struct parkfile_record *record,
	const char *waiting, uint16_t server);
/* The same for the connection to its server; `client` was restored just before. */
void conn_restore_upstream(struct conns *conns, int fd, struct conn *client,
	const struct parkfile_record *record, const char *waiting);
/* The same for an orphan of a listener that relays: it has no other side, and goes on. */
void conn_restore_orphan(struct conns *conns, int fd, const struct parkfile_record *record,
	const char *waiting, uint16_t server);
/* All that there is of this client was restored: it goes on. */
void conn_restored(struct conns *conns, struct conn *client, uint64_t parked_usec);
/* It leaves the table, and nobody is told: it goes with another one. */
void conn_free(struct conns *conns, struct conn *conn);
/* The same, but its descriptor stays open: it is in other hands, and the process ends. */
void conn_leave(struct conns *conns, struct conn *conn);

/* The client's address, as the kernel knows it; ADDR_NONE: it is gone. */
struct addr conn_peer(const struct conns *conns, const struct conn *conn);

/* The connection with this id on this fd, or NULL if it has gone. */
struct conn *conn_find(struct conns *conns, int fd, uint64_t id);

static inline int
conn_fd(const struct conns *conns, const struct conn *conn)
{
	return (int)(conn - conns->table);
}

/* Is there a client at this place of the table? */
static inline bool
conn_is_client(const struct conn *conn)
{
	return conn->state != CONN_FREE && !(conn->flags & CONN_UPSTREAM);
}

/* Or a connection to a server whose client has gone: it still sends what waits, and then closes. */
static inline bool
conn_is_orphan(const struct conn *conn)
{
	return conn->state == CONN_CLOSING && conn->flags & CONN_UPSTREAM;
}

/* How it is to be treated: as a client of its listener, or as a server behind it. */
static inline const struct conn_listener *
conn_listener(const struct conns *conns, const struct conn *conn)
{
	const struct conn_listener *all =
		conn->flags & CONN_UPSTREAM ? conns->upstream_sides : conns->listeners;

	return &all[conn->listener];
}

/* The client's server, the server's client; NULL: there is none. */
static inline struct conn *
conn_other(const struct conns *conns, const struct conn *conn)
{
	uint32_t other;

	if (!conn_listener(conns, conn)->service->relays)
		return NULL;
	other = conns->links[conn_fd(conns, conn)].other;
	return other ? &conns->table[other] : NULL;
}

static inline size_t
conn_queued_bytes(const struct conn *conn)
{
	return (conn->out ? conn->out->length_bytes : 0) + (conn->in ? conn->in->length_bytes : 0);
}

/* The handshake is done: the service may see it. */
void conn_open(struct conns *conns, struct conn *conn);

/* Hands a message to the service, and counts it. It may close the connection. */
void conn_deliver(struct conns *conns, struct conn *conn, const struct conn_message *message);

/* Sends a message, or a part of one, by the listener's protocol. 0, or -ECONNRESET: the connection
 * is closed. */
int conn_send(
	struct conns *conns, struct conn *conn, const struct conn_message *message) MG_MUST_CHECK;

/* Writes bytes; what the kernel does not take is queued. 0, or -ECONNRESET: it is closed. */
int conn_write(
	struct conns *conns, struct conn *conn, const void *data, size_t length) MG_MUST_CHECK;

/* The same for bytes in several places, at most CONN_WRITE_VECTORS. */
#define CONN_WRITE_VECTORS 16
int conn_write_vectors(
	struct conns *conns, struct conn *conn, const struct iovec *vectors, int n) MG_MUST_CHECK;

/* In conn_input.c. Keeps a copy of input that is not whole yet in conn->in; the protocol has looked
 * to it that it is not too much. 0, or -ECONNRESET: it is closed. */
int conn_keep(struct conns *conns, struct conn *conn, const void *data, size_t length);
/* What was kept, from `skip` on, and `data` behind it, in one piece that the caller frees; nothing
 * is kept any more. NULL: it is closed. */
uint8_t *conn_take_kept(struct conns *conns, struct conn *conn, size_t skip, const void *data,
	size_t length) MG_MUST_CHECK;
void conn_drop_kept(struct conns *conns, struct conn *conn);

/* No more input until conn_release(), which goes on with what came before. 0, or -ECONNRESET: it is
 * closed. */
int conn_hold(struct conns *conns, struct conn *conn);
int conn_release(struct conns *conns, struct conn *conn);

/* In conn_upstream.c: the connection to a client's server. */

/* Begins it; when the server has accepted, the client is released. It may close the client. */
void conn_connect(struct conns *conns, struct conn *client, uint16_t server);
/* The server did not accept it: the supervisor is asked for another one. */
void conn_connect_failed(struct conns *conns, struct conn *upstream, int error);
/* The number that the supervisor chose for it; UPSTREAM_NONE: none yet. */
uint16_t conn_server(const struct conns *conns, const struct conn *client);
/* There is one, and it still gets new clients. */
bool conn_server_is_up(const struct conns *conns, const struct conn *client);
/* It is a client that has no server, and does not wait for an answer. */
bool conn_lacks_server(const struct conns *conns, const struct conn *conn);
/* Nobody is there any more for whom a server would be: it has ended its side, and sent nothing that is
 * still to be read, or its protocol has no half-closed state. */
bool conn_has_left(const struct conns *conns, const struct conn *client);
/* Asks the supervisor for a server. */
void conn_ask_server(struct conns *conns, struct conn *client, int error);
/* This side sends no more: so does the other, once it has got all. It may close both. */
void conn_pass_eof(struct conns *conns, struct conn *conn);
/* What was queued for this side is sent, and the other one may go on. It may close both. */
void conn_pass_on(struct conns *conns, struct conn *conn);

/* Back-pressure: no more input until the client has taken all that is queued, if anything is.
 * 0, or -ECONNRESET: it is closed. */
int conn_pause(struct conns *conns, struct conn *conn);

/* Closes once all that is queued is sent; at once if nothing is. */
void conn_close_flushed(struct conns *conns, struct conn *conn, enum close_reason reason);

/* The same, and then waits, linger_usec at most, for the client to close too: what it still sends
 * is thrown away, and makes no RST overtake what it was sent. */
void conn_finish(struct conns *conns, struct conn *conn, enum close_reason reason);

/* The protocol has said goodbye, and is to close when the client has answered; linger_usec on it is
 * closed without. What was kept while it was held is gone through now, which may close it. */
void conn_await_close(struct conns *conns, struct conn *conn, enum close_reason reason);

/* Ends it as its protocol does, which may tell the client why first; one that is ending already is
 * closed now. */
void conn_end(struct conns *conns, struct conn *conn, enum close_reason reason);

/* Closes now. What was queued is lost. */
void conn_close(struct conns *conns, struct conn *conn, enum close_reason reason);

/* The first moment after `after_usec` of those that come each interval, with a phase in it that is
 * the connection's own; it follows from the id, so that all together are an even stream. 0: an
 * interval of 0. */
uint64_t conn_next_beat(const struct conn *conn, uint64_t interval_usec, uint64_t after_usec);

/* Moments of a service or protocol up to here have been served; one in the tick of the wheel that
 * is under way is due at its end. */
uint64_t conn_served_usec(const struct conns *conns);

/* The moment of the last byte received, monotonic, rounded down to a tick of the wheel. */
uint64_t conn_active_usec(const struct conns *conns, const struct conn *conn);

/* Computes the connection's next deadline anew; after its listener's settings changed. */
void conn_set_timer(struct conns *conns, struct conn *conn);

/* Closes the longest queues, those of at least `at_least` bytes, until `want` bytes are free.
 * Returns how many are. */
uint64_t conns_shed(struct conns *conns, uint64_t want, uint64_t at_least);

#endif
