/*
 * conn: a client connection in a worker, from adoption to close.
 *
 * Process: W. Owns the descriptor, the queue to a slow reader and the timer; knows nothing of what
 * bytes mean. Bytes go up conn -> protocol -> service and come down the same way:
 *
 *     pollset  ->  conn_on_ready  ->  proto->input    ->  service->input
 *                  conn_write     <-  proto->send     <-  conn_send
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
#include "wheel.h"

enum conn_flag {
	CONN_GOT_BYTES = 1 << 0,
	CONN_WANTS_WRITE = 1 << 1, /* EPOLLOUT is on */
	CONN_PAUSED = 1 << 2,      /* EPOLLIN is off */
};

/* One cache line, plain data, at table[fd]. All zero but `generation` while CONN_FREE. */
struct conn {
	uint64_t id;          /* the supervisor's name for it */
	uint64_t opened_usec; /* monotonic */
	struct iobuf *out;    /* what the client has not taken yet; NULL: nothing */
	struct wheel_node timer;
	uint32_t active;     /* wheel tick of the last byte received */
	uint32_t generation; /* counts the users of this fd */
	uint8_t listener;
	uint8_t state;        /* enum conn_state */
	uint8_t flags;        /* enum conn_flag */
	uint8_t close_reason; /* while CONN_CLOSING */
	uint8_t spare[16];    /* for a protocol's own state */
};

_Static_assert(sizeof(struct conn) == 64, "an idle connection is one cache line");

struct conns;

/* How bytes become messages and messages bytes. */
struct proto_ops {
	const char *name;
	/* Bytes have come. They are the callee's until return. May close the connection. */
	void (*input)(struct conns *conns, struct conn *conn, const void *data, size_t length);
	/* Sends one message. 0, or -ECONNRESET: the connection is closed. */
	int (*send)(struct conns *conns, struct conn *conn, const void *data, size_t length);
};

/* What is done with messages; a service never touches an fd. All may close the connection. */
struct service_ops {
	const char *name;
	void (*input)(struct conns *conns, struct conn *conn, const void *data, size_t length);
	/* The client will send no more (FIN). */
	void (*eof)(struct conns *conns, struct conn *conn);
	/* Optional: the queue to the client is empty again. */
	void (*drained)(struct conns *conns, struct conn *conn);
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
	unsigned lifetime_jitter;                                           /* percent */
	uint64_t queued_max;                                                /* bytes */
	uint64_t heartbeat_usec;                                            /* 0: none */
	const char *heartbeat;                                              /* borrowed */
	size_t heartbeat_length;
};

#define CONNS_SCRATCH_BYTES 65536
#define CONN_LINGER_USEC 30000000u /* how long CONN_CLOSING may last without progress */

/* All connections of a worker. */
struct conns {
	struct conn *table; /* by fd */
	uint32_t capacity;  /* entries: the fd limit */
	uint32_t count;     /* that are not free */
	uint32_t fd_end;    /* no connection ever had this fd or a higher one */
	struct pollset pollset;
	struct wheel wheel;
	struct iobuf_pool iobufs;
	struct conn_listener listeners[METRICS_LISTENERS_MAX];
	struct metrics *metrics;
	struct metrics_slot *slot; /* this worker's */
	uint64_t now_usec;         /* monotonic; read once a turn */
	uint64_t queued_limit;     /* bytes in all workers' queues together */
	char *scratch;
	/* A connection was closed; its entry is free already. */
	void (*closed)(void *context, uint64_t id, enum close_reason reason);
	/* The queues of all workers passed queued_limit. */
	void (*over)(void *context);
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

/* Takes over a socket: its entry, watched and with its timer set. On failure fd is closed and
 * `closed` was called with the reason. */
void conn_adopt(struct conns *conns, int fd, uint64_t id, uint64_t opened_usec, uint8_t listener);

/* In conn_park.c. Writes down what a connection is, for another process to go on with it; without
 * `waiting`, which is the caller's. */
struct parkfile_record conn_park(const struct conns *conns, const struct conn *conn);
/* The same way back. `record` has our numbers of listener and close reason; `waiting` are the
 * bytes that it tells of; it was parked at `parked_usec`. As conn_adopt() does when that fails. */
void conn_restore(struct conns *conns, int fd, const struct parkfile_record *record,
	const char *waiting, uint64_t parked_usec);
/* The connection is in other hands: it leaves the table, and `closed` is not called. */
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

static inline const struct conn_listener *
conn_listener(const struct conns *conns, const struct conn *conn)
{
	return &conns->listeners[conn->listener];
}

static inline size_t
conn_queued_bytes(const struct conn *conn)
{
	return conn->out ? conn->out->length_bytes : 0;
}

/* Sends one message by the listener's protocol. 0, or -ECONNRESET: the connection is closed. */
int conn_send(
	struct conns *conns, struct conn *conn, const void *data, size_t length) MG_MUST_CHECK;

/* Writes bytes; what the kernel does not take is queued. 0, or -ECONNRESET: it is closed. */
int conn_write(
	struct conns *conns, struct conn *conn, const void *data, size_t length) MG_MUST_CHECK;

/* Back-pressure: no more input until resumed. 0, or -ECONNRESET: it is closed. */
int conn_pause(struct conns *conns, struct conn *conn);
int conn_resume(struct conns *conns, struct conn *conn);

/* Closes once all that is queued is sent; at once if nothing is. */
void conn_close_flushed(struct conns *conns, struct conn *conn, enum close_reason reason);

/* Closes now. What was queued is lost. */
void conn_close(struct conns *conns, struct conn *conn, enum close_reason reason);

/* The moment of the last byte received, monotonic, rounded down to a tick of the wheel. */
uint64_t conn_active_usec(const struct conns *conns, const struct conn *conn);

/* Computes the connection's next deadline anew; after its listener's settings changed. */
void conn_set_timer(struct conns *conns, struct conn *conn);

/* Closes the longest queues, those of at least `at_least` bytes, until `want` bytes are free.
 * Returns how many are. */
uint64_t conns_shed(struct conns *conns, uint64_t want, uint64_t at_least);

#endif
