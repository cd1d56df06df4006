/* conn: see conn.h. Deadlines are in conn_timer.c, ends in conn_end.c, half input in conn_input.c. */
#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "conn_private.h"
#include "lazy.h"

void
conns_read_clock(struct conns *conns)
{
	conns->now_usec = clock_now_usec();
}

void
conn_set_state(struct conns *conns, struct conn *conn, enum conn_state state)
{
	assert(state != conn->state);
	if (conn->state == CONN_FREE)
		conns->count++;
	if (state == CONN_FREE)
		conns->count--;
	conn->state = state;
}

void
conn_queue_changed(struct conns *conns)
{
	metrics_write(&conns->slot->value[METRIC_QUEUED_BYTES], conns->iobufs.bytes);
}

void
conn_close(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	uint64_t id = conn->id;
	uint32_t generation = conn->generation;

	assert(conn->state != CONN_FREE);
	conn_set_state(conns, conn, CONN_FREE);
	if (conn->flags & CONN_LINGERS)
		conns->lingering--;
	wheel_clear(&conns->wheel, (uint32_t)conn_fd(conns, conn));
	if (conn->out || conn->in) {
		iobuf_free(&conns->iobufs, conn->out);
		iobuf_free(&conns->iobufs, conn->in);
		conn_queue_changed(conns);
	}
	(void)close(conn_fd(conns, conn));
	*conn = (struct conn){.generation = generation + 1};
	conns->closed(conns->context, id, reason);
}

static enum close_reason
conn_error_reason(int error)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
		return CLOSE_CLIENT_RESET;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return CLOSE_CLIENT_LOST;
	case ENOMEM:
	case ENOBUFS:
		return CLOSE_NO_MEMORY;
	default:
		return CLOSE_IO_ERROR;
	}
}

static int
conn_fail(struct conns *conns, struct conn *conn, int error)
{
	conn_close(conns, conn, conn_error_reason(error));
	return -ECONNRESET;
}

static uint32_t
conn_wanted_events(uint8_t flags)
{
	return (flags & CONN_PAUSED ? 0 : EPOLLIN) | (flags & CONN_WANTS_WRITE ? EPOLLOUT : 0);
}

/* Makes the epoll set agree with the flags. */
static int
conn_watch(struct conns *conns, struct conn *conn, uint8_t flags)
{
	int r;

	if (flags == conn->flags)
		return 0;
	r = pollset_change(
		&conns->pollset, conn_fd(conns, conn), conn->generation, conn_wanted_events(flags));
	if (r < 0)
		return conn_fail(conns, conn, -r);
	conn->flags = flags;
	return 0;
}

int
conn_pause(struct conns *conns, struct conn *conn)
{
	return conn->out ? conn_watch(conns, conn, conn->flags | CONN_PAUSED) : 0;
}

static void
conn_count_sent(struct conns *conns, const struct conn *conn, size_t n)
{
	metrics_add(&conns->slot->value[METRIC_BYTES_SENT], n);
	metrics_add(&conns->slot->listener[conn->listener][LISTENER_METRIC_BYTES_SENT], n);
}

void
conn_check_queues(struct conns *conns)
{
	if (metrics_sum(conns->metrics, METRIC_QUEUED_BYTES) > conns->queued_limit)
		conns->over(conns->context);
}

/* Queues the bytes of the vectors from `skip` on; -ENOMEM. */
static int
conn_append(struct conns *conns, struct conn *conn, const struct iovec *vectors, int n, size_t skip)
{
	int r = 0;

	if (!conn->out)
		conn->out = iobuf_new(&conns->iobufs, (uint32_t)conn_fd(conns, conn));
	if (!conn->out)
		return -ENOMEM;
	for (int i = 0; i < n && r == 0; i++) {
		size_t gone = skip < vectors[i].iov_len ? skip : vectors[i].iov_len;

		skip -= gone;
		r = iobuf_append(&conns->iobufs, conn->out, (char *)vectors[i].iov_base + gone,
			vectors[i].iov_len - gone);
	}
	return r;
}

static int
conn_enqueue(struct conns *conns, struct conn *conn, const struct iovec *vectors, int n,
	size_t skip, size_t length)
{
	if (conn_queued_bytes(conn) + length > conn_listener(conns, conn)->queued_max) {
		conn_close(conns, conn, CLOSE_SLOW_READER);
		return -ECONNRESET;
	}
	if (conn_append(conns, conn, vectors, n, skip) < 0) {
		conn_close(conns, conn, CLOSE_NO_MEMORY);
		return -ECONNRESET;
	}
	conn_queue_changed(conns);
	if (conn_watch(conns, conn, conn->flags | CONN_WANTS_WRITE) < 0)
		return -ECONNRESET;
	conn_check_queues(conns);
	return 0;
}

int
conn_write_vectors(struct conns *conns, struct conn *conn, const struct iovec *vectors, int n)
{
	const struct msghdr header = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)n};
	size_t length = 0;
	ssize_t sent = 0;

	for (int i = 0; i < n; i++)
		length += vectors[i].iov_len;
	if (!conn->out) {
		do
			sent = sendmsg(conn_fd(conns, conn), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
		while (sent < 0 && errno == EINTR);
		if (sent < 0 && errno != EAGAIN)
			return conn_fail(conns, conn, errno);
		if (sent > 0)
			conn_count_sent(conns, conn, (size_t)sent);
		if (sent == (ssize_t)length)
			return 0;
		if (sent < 0)
			sent = 0;
	}
	return conn_enqueue(conns, conn, vectors, n, (size_t)sent, length - (size_t)sent);
}

int
conn_write(struct conns *conns, struct conn *conn, const void *data, size_t length)
{
	const struct iovec vector = {.iov_base = (void *)data, .iov_len = length};

	return conn_write_vectors(conns, conn, &vector, 1);
}

struct addr
conn_peer(const struct conns *conns, const struct conn *conn)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);

	if (getpeername(conn_fd(conns, conn), (struct sockaddr *)&peer, &length) < 0)
		return (struct addr){.family = ADDR_NONE};
	return addr_from_sockaddr((struct sockaddr *)&peer, length);
}

void
conn_open(struct conns *conns, struct conn *conn)
{
	conn_set_state(conns, conn, CONN_OPEN);
	conn_set_timer(conns, conn);
}

void
conn_deliver(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	const struct conn_listener *listener = conn_listener(conns, conn);

	if (message->flags & MESSAGE_LAST)
		metrics_add(
			&conns->slot->listener[conn->listener][LISTENER_METRIC_MESSAGES_RECEIVED],
			1);
	listener->service->message(conns, conn, message);
}

int
conn_send(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	if (message->flags & MESSAGE_LAST)
		metrics_add(
			&conns->slot->listener[conn->listener][LISTENER_METRIC_MESSAGES_SENT], 1);
	return conn_listener(conns, conn)->proto->send(conns, conn, message);
}

/* All is sent: the queue goes back to the pool, and what waited for that goes on. */
static void
conn_flushed(struct conns *conns, struct conn *conn)
{
	iobuf_free(&conns->iobufs, conn->out);
	conn->out = NULL;
	conn_queue_changed(conns);
	if (conn->state == CONN_CLOSING && !(conn->flags & CONN_LINGERS)) {
		conn_close(conns, conn, conn->close_reason);
		return;
	}
	if (conn_watch(conns, conn, conn->flags & (uint8_t) ~(CONN_WANTS_WRITE | CONN_PAUSED)) ==
			0 &&
		conn->flags & CONN_DEAF)
		conn_send_fin(conns, conn);
}

static void
conn_flush(struct conns *conns, struct conn *conn)
{
	struct iovec vectors[CONN_WRITE_VECTORS];
	struct msghdr header = {.msg_iov = vectors};
	ssize_t n;

	header.msg_iovlen = (size_t)iobuf_peek(conn->out, vectors, CONN_WRITE_VECTORS);
	n = sendmsg(conn_fd(conns, conn), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			(void)conn_fail(conns, conn, errno);
		return;
	}
	conn_count_sent(conns, conn, (size_t)n);
	iobuf_consume(&conns->iobufs, conn->out, (size_t)n);
	conn_queue_changed(conns);
	if (conn->state == CONN_CLOSING)
		conn->active = wheel_tick(conns->now_usec);
	if (conn->out->length_bytes == 0)
		conn_flushed(conns, conn);
}

/* Input ended, by an end of file or an error (errno). */
static void
conn_read_ended(struct conns *conns, struct conn *conn, int error)
{
	if (conn->state == CONN_CLOSING)
		conn_close(conns, conn, conn->close_reason);
	else if (error)
		(void)conn_fail(conns, conn, error);
	else if (conn->state == CONN_HANDSHAKE)
		conn_close(conns, conn, CLOSE_CLIENT_CLOSED);
	else
		conn_listener(conns, conn)->service->eof(conns, conn);
}

/* How much to read: what comes may have to be queued, so no more than the queue has room for. But
 * nothing at all would be an end of file. */
static size_t
conn_read_room(const struct conns *conns, const struct conn *conn)
{
	uint64_t max = conn_listener(conns, conn)->queued_max, queued = conn_queued_bytes(conn);
	uint64_t room = queued < max ? max - queued : 1;

	return room < CONNS_SCRATCH_BYTES ? (size_t)room : CONNS_SCRATCH_BYTES;
}

static void
conn_read(struct conns *conns, struct conn *conn)
{
	ssize_t n = recv(
		conn_fd(conns, conn), conns->scratch, conn_read_room(conns, conn), MSG_DONTWAIT);

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			conn_read_ended(conns, conn, n < 0 ? errno : 0);
		return;
	}
	metrics_add(&conns->slot->value[METRIC_BYTES_RECEIVED], (size_t)n);
	metrics_add(
		&conns->slot->listener[conn->listener][LISTENER_METRIC_BYTES_RECEIVED], (size_t)n);
	if (conn->flags & CONN_DEAF)
		return;
	conn->flags |= CONN_GOT_BYTES;
	if (conn->state != CONN_CLOSING) /* where it would put off the end */
		conn->active = wheel_tick(conns->now_usec);
	conn_listener(conns, conn)->proto->input(conns, conn, conns->scratch, (size_t)n);
}

/* Error or hang-up on a connection that is not being read, so that no read will tell. */
static void
conn_hung_up(struct conns *conns, struct conn *conn)
{
	int error = 0;
	socklen_t length = sizeof(error);

	(void)getsockopt(conn_fd(conns, conn), SOL_SOCKET, SO_ERROR, &error, &length);
	if (error)
		(void)conn_fail(conns, conn, error);
	else
		conn_close(conns, conn, CLOSE_CLIENT_CLOSED);
}

static void
conn_on_ready(void *context, int fd, uint32_t generation, uint32_t events)
{
	struct conns *conns = context;
	struct conn *conn = &conns->table[fd];

	if (conn->state == CONN_FREE || conn->generation != generation)
		return;
	if ((events & (EPOLLERR | EPOLLHUP)) && (conn->flags & CONN_PAUSED)) {
		conn_hung_up(conns, conn);
		return;
	}
	if (events & EPOLLOUT) {
		conn_flush(conns, conn);
		if (conn->state == CONN_FREE || conn->generation != generation)
			return;
	}
	if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !(conn->flags & CONN_PAUSED))
		conn_read(conns, conn);
}

static void
conns_on_batch(void *context)
{
	conns_read_clock(context);
}

int
conns_init(struct conns *conns, struct event_base *base, uint32_t capacity)
{
	conns->capacity = capacity;
	conns->count = 0;
	conns->lingering = 0;
	conns->fd_end = 0;
	conns->table = lazy_alloc((size_t)capacity * sizeof(struct conn));
	conns->scratch = malloc(CONNS_SCRATCH_BYTES);
	if (!conns->table || !conns->scratch)
		return -ENOMEM;
	conns_read_clock(conns);
	wheel_init(&conns->wheel, &conns->table->timer, sizeof(struct conn),
		wheel_tick(conns->now_usec));
	iobuf_pool_init(&conns->iobufs);
	conns->pollset.ready = conn_on_ready;
	conns->pollset.begin = conns_on_batch;
	conns->pollset.context = conns;
	return pollset_init(&conns->pollset, base);
}

void
conns_done(struct conns *conns)
{
	assert(conns->count == 0);
	pollset_done(&conns->pollset);
	iobuf_pool_done(&conns->iobufs);
	lazy_free(conns->table, (size_t)conns->capacity * sizeof(struct conn));
	free(conns->scratch);
}

struct conn *
conn_enter(struct conns *conns, int fd, const struct conn *as)
{
	struct conn *conn = NULL;
	int r = -EMFILE;

	if ((uint32_t)fd < conns->capacity) {
		conn = &conns->table[fd];
		assert(conn->state == CONN_FREE);
		r = pollset_add(
			&conns->pollset, fd, conn->generation, conn_wanted_events(as->flags));
	}
	if (r < 0) {
		(void)close(fd);
		conns->closed(conns->context, as->id,
			r == -ENOMEM ? CLOSE_NO_MEMORY : CLOSE_HANDOVER_FAILED);
		return NULL;
	}
	if ((uint32_t)fd >= conns->fd_end)
		conns->fd_end = (uint32_t)fd + 1;
	conn->id = as->id;
	conn->opened_usec = as->opened_usec;
	conn->active = as->active;
	conn->listener = as->listener;
	conn->flags = as->flags;
	conn_set_state(conns, conn, as->state);
	return conn;
}

void
conn_adopt(struct conns *conns, int fd, uint64_t id, uint64_t opened_usec, uint8_t listener)
{
	const struct proto_ops *proto = conns->listeners[listener].proto;
	struct conn as = {
		.id = id,
		.opened_usec = opened_usec,
		.active = wheel_tick(opened_usec),
		.listener = listener,
		.state = proto->shakes_hands ? CONN_HANDSHAKE : CONN_OPEN,
	};
	struct conn *conn = conn_enter(conns, fd, &as);

	if (conn)
		conn_set_timer(conns, conn);
}

struct conn *
conn_find(struct conns *conns, int fd, uint64_t id)
{
	struct conn *conn;

	if (fd < 0 || (uint32_t)fd >= conns->capacity)
		return NULL;
	conn = &conns->table[fd];
	return conn->state != CONN_FREE && conn->id == id ? conn : NULL;
}

uint64_t
conns_shed(struct conns *conns, uint64_t want, uint64_t at_least)
{
	uint64_t freed = 0;

	while (freed < want) {
		struct iobuf *longest = iobuf_longest(&conns->iobufs);

		if (!longest || longest->length_bytes < at_least)
			break;
		freed += longest->length_bytes;
		conn_close(conns, &conns->table[longest->owner], CLOSE_QUEUES_FULL);
	}
	return freed;
}
