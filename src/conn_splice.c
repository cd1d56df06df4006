/*
 * conn_splice: large amounts of bytes go from one side of a relayed pair to the other without a copy
 * to this process.
 *
 * Process: W. splice(2) wants a pipe between two sockets. There is one for all connections of the
 * worker: what the other side does not take is read out of it and queued as anything else, so it is
 * empty again before the next. Small reads are cheaper without.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_private.h"

#define CONN_PIPE_BYTES 262144
#define CONN_BULK_MIN_BYTES 16384 /* a turn that begins with less is not bulk any more */
/* Of one connection, before others get their turn: more than waits in its socket (tcp_rmem). */
#define CONN_TURN_BYTES 8388608
#define CONN_BULK_PLACES 16
#define CONN_TURN_SPLICES 128
#define CONN_SPLICE_FLAGS (SPLICE_F_NONBLOCK | SPLICE_F_MOVE)

static bool
conn_open_pipe(struct conns *conns)
{
	if (conns->pipe[0] >= 0)
		return true;
	if (pipe2(conns->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		conns->pipe[0] = conns->pipe[1] = -1;
		return false;
	}
	/* Smaller, if the user has too many already; it does as well. */
	(void)fcntl(conns->pipe[0], F_SETPIPE_SZ, CONN_PIPE_BYTES);
	return true;
}

bool
conn_is_bulk(const struct conns *conns, const struct conn *conn)
{
	return conn_other(conns, conn) && conn_link(conns, conn)->flags & CONN_LINK_BULK;
}

void
conn_mark_bulk(struct conns *conns, struct conn *conn)
{
	const struct conn *other = conn_other(conns, conn);

	if (other && conn_listener(conns, conn)->proto->plain &&
		conn_listener(conns, other)->proto->plain && conn_open_pipe(conns))
		conn_link(conns, conn)->flags |= CONN_LINK_BULK;
}

/* Reads what is in the pipe; NULL for nobody. */
static void
conn_empty_pipe(struct conns *conns, struct conn *to, size_t length)
{
	while (length > 0) {
		size_t want = length < CONNS_SCRATCH_BYTES ? length : CONNS_SCRATCH_BYTES;
		ssize_t n = read(conns->pipe[0], conns->scratch, want);

		if (n <= 0)
			return; /* it holds what was put in: this cannot be */
		length -= (size_t)n;
		if (to && conn_write(conns, to, conns->scratch, (size_t)n) < 0)
			to = NULL; /* it is closed, but the pipe is for others too */
	}
}

/* Moves what is in the pipe on. Returns how much of it; -errno. */
static ssize_t
conn_splice_out(struct conns *conns, struct conn *to, size_t length)
{
	size_t moved = 0;

	while (moved < length) {
		ssize_t n = splice(conns->pipe[0], NULL, conn_fd(conns, to), NULL, length - moved,
			CONN_SPLICE_FLAGS);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n <= 0)
			break;
		conn_count_sent(conns, to, (size_t)n);
		moved += (size_t)n;
	}
	return (ssize_t)moved;
}

/* False: it is held or closed. */
static bool
conn_pass_pipe(struct conns *conns, struct conn *conn, struct conn *to, size_t length)
{
	uint32_t generation = conn->generation;
	ssize_t moved = conn_splice_out(conns, to, length);

	if (moved < 0) {
		conn_empty_pipe(conns, NULL, length);
		(void)conn_fail(conns, to, (int)-moved);
		return false;
	}
	conn_empty_pipe(conns, to, length - (size_t)moved);
	if (conn->generation != generation)
		return false;
	return !to->out || (conn_hold(conns, conn), false);
}

/* True: there may be more. `moved` is what this turn has moved so far. */
static bool
conn_splice_once(struct conns *conns, struct conn *conn, size_t *moved)
{
	size_t room = conn_read_room(conns, conn, CONN_PIPE_BYTES);
	ssize_t n =
		splice(conn_fd(conns, conn), NULL, conns->pipe[1], NULL, room, CONN_SPLICE_FLAGS);

	/* 0 is the end, or urgent data before it (TCP): behind that there is more, as a read will tell. */
	if (n == 0 || (*moved == 0 && n < CONN_BULK_MIN_BYTES))
		conn_link(conns, conn)->flags &= (uint8_t)~CONN_LINK_BULK;
	if (n <= 0) {
		/* EINVAL: not with this kind of socket; a read will do. */
		if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EINVAL)
			conn_read_ended(conns, conn, errno);
		return false;
	}
	conn_count_received(conns, conn, (size_t)n);
	*moved += (size_t)n;
	return conn_pass_pipe(conns, conn, conn_other(conns, conn), (size_t)n) &&
	       conn_is_bulk(conns, conn);
}

/* Until nothing comes any more: while it is at it, its sender sends on, and what is done for one
 * stream in a row is cheaper than the same in turns with others. Returns how much it was. */
static size_t
conn_splice(struct conns *conns, struct conn *conn)
{
	size_t moved = 0;

	for (unsigned i = 0; i < CONN_TURN_SPLICES && moved < CONN_TURN_BYTES; i++)
		if (!conn_splice_once(conns, conn, &moved))
			break;
	return moved;
}

static bool
conn_bulk_grow(struct conn_bulk *bulk)
{
	uint32_t size = bulk->size > 0 ? 2 * bulk->size : CONN_BULK_PLACES;
	uint32_t *fds = malloc(size * sizeof(*fds));

	if (!fds)
		return false;
	for (uint32_t i = 0; i < bulk->n; i++)
		fds[i] = bulk->fds[(bulk->first + i) % bulk->size];
	free(bulk->fds);
	*bulk = (struct conn_bulk){.fds = fds, .size = size, .n = bulk->n};
	return true;
}

void
conn_put_off(struct conns *conns, struct conn *conn)
{
	struct conn_bulk *bulk = &conns->bulk;
	struct conn_link *link = conn_link(conns, conn);

	if (link->flags & CONN_LINK_QUEUED)
		return;
	if (bulk->n == bulk->size && !conn_bulk_grow(bulk)) {
		(void)conn_splice(conns, conn);
		return;
	}
	bulk->fds[(bulk->first + bulk->n++) % bulk->size] = (uint32_t)conn_fd(conns, conn);
	link->flags |= CONN_LINK_QUEUED;
}

/* The first of those who wait; NULL: it has gone, or is not read from just now. */
static struct conn *
conn_take_bulk(struct conns *conns)
{
	struct conn_bulk *bulk = &conns->bulk;
	struct conn *conn = &conns->table[bulk->fds[bulk->first]];
	struct conn_link *link = conn_link(conns, conn);
	bool waits = link->flags & CONN_LINK_QUEUED;

	bulk->first = (bulk->first + 1) % bulk->size;
	bulk->n--;
	link->flags &= (uint8_t)~CONN_LINK_QUEUED;
	return waits && conn_is_bulk(conns, conn) && !(conn->flags & CONN_UNREAD) ? conn : NULL;
}

/* As much as one may have in a turn, of one or of several. Then whoever has little to say is asked
 * again, so that it waits for no more than that, however many streams there are. */
void
conns_on_bulk(void *context)
{
	struct conns *conns = context;
	size_t moved = 0;

	while (conns->bulk.n > 0 && moved < CONN_TURN_BYTES) {
		struct conn *conn = conn_take_bulk(conns);

		if (conn)
			moved += conn_splice(conns, conn);
	}
}
