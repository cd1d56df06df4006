/* conn: see conn.h. The table is in conn_table.c, deadlines in conn_timer.c, ends in conn_end.c, half
 * input in conn_input.c, servers in conn_upstream.c, PROXY headers in conn_proxy.c. */
#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_private.h"
#include "reset.h"

/* What a framing may add to what is read of a server in one piece. */
#define CONN_FRAME_ROOM 16

void
conn_set_state(struct conns *conns, struct conn *conn, enum conn_state state)
{
	uint32_t *count = conn->flags & CONN_UPSTREAM ? &conns->upstream_count : &conns->count;
	bool was_orphan = conn_is_orphan(conn);

	assert(state != conn->state);
	if (conn->state == CONN_FREE)
		(*count)++;
	if (state == CONN_FREE)
		(*count)--;
	conn->state = state;
	if (was_orphan == conn_is_orphan(conn))
		return;
	conns->orphans += was_orphan ? UINT32_MAX : 1;
	metrics_write(&conns->slot->value[METRIC_ORPHANS], conns->orphans);
}

void
conn_queue_changed(struct conns *conns)
{
	metrics_write(&conns->slot->value[METRIC_QUEUED_BYTES], conns->iobufs.bytes);
}

void
conn_leave(struct conns *conns, struct conn *conn)
{
	int fd = conn_fd(conns, conn);
	uint32_t generation = conn->generation;

	assert(conn->state != CONN_FREE);
	if (conn_listener(conns, conn)->service->relays)
		conns->links[fd] = (struct conn_link){0};
	if (conns->proxied[fd].source.family != ADDR_NONE)
		conns->proxied[fd] = (struct proxy_header){0};
	conn_set_state(conns, conn, CONN_FREE);
	if (conn->flags & CONN_LINGERS && !(conn->flags & CONN_UPSTREAM))
		conns->lingering--;
	wheel_clear(&conns->wheel, (uint32_t)fd);
	if (conn->out || conn->in) {
		iobuf_free(&conns->iobufs, conn->out);
		iobuf_free(&conns->iobufs, conn->in);
		conn_queue_changed(conns);
	}
	*conn = (struct conn){.generation = generation + 1};
}

void
conn_free(struct conns *conns, struct conn *conn)
{
	conn_leave(conns, conn);
	(void)close(conn_fd(conns, conn));
}

/* What one side got of a stream that broke off on the other must not look whole: it is reset. */
static void
conn_break_off(const struct conns *conns, const struct conn *conn)
{
	reset_on_close(conn_fd(conns, conn));
}

/* Nor must one whose queue is dropped, where no protocol would show that it has no end. */
static bool
conn_loses(const struct conns *conns, const struct conn *conn)
{
	const struct conn_listener *listener = conn_listener(conns, conn);

	return conn->out && listener->service->relays && listener->proto->plain;
}

void
conn_close(struct conns *conns, struct conn *conn, enum close_reason reason)
{
	struct conn *other = conn_other(conns, conn);
	bool tell = other || !(conn->flags & CONN_UPSTREAM);
	uint64_t id = conn->id;

	if (other && reason == CLOSE_CLIENT_CLOSED && !(conn->flags & CONN_UPSTREAM)) {
		conn_part(conns, conn);
	} else if (other) {
		if (close_reason_info(reason)->class == CLOSE_CLASS_ERROR ||
			conn_loses(conns, other))
			conn_break_off(conns, other);
		conn_free(conns, other);
	}
	if (conn_is_cut(conn) || conn_loses(conns, conn))
		conn_break_off(conns, conn);
	conn_free(conns, conn);
	if (tell)
		conns->closed(conns->context, id, reason);
}

/* A hang-up is told always: where nothing else is asked for, once and not until it is dealt with. */
uint32_t
conn_wanted_events(uint8_t flags)
{
	uint32_t events =
		(flags & CONN_UNREAD ? 0 : EPOLLIN) | (flags & CONN_WANTS_WRITE ? EPOLLOUT : 0);

	return events ? events : EPOLLET;
}

int
conn_watch(struct conns *conns, struct conn *conn, uint8_t flags)
{
	int r;

	if (flags == conn->flags)
		return 0;
	r = 0;
	if (conn != conns->newcomer && conn_wanted_events(flags) != conn_wanted_events(conn->flags))
		r = pollset_change(&conns->pollset, conn_fd(conns, conn), conn->generation,
			conn_wanted_events(flags));
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

int
conn_hold(struct conns *conns, struct conn *conn)
{
	return conn_watch(conns, conn, conn->flags | CONN_HELD);
}

int
conn_release(struct conns *conns, struct conn *conn)
{
	const struct proto_ops *proto = conn_listener(conns, conn)->proto;
	uint32_t generation = conn->generation;

	if (!(conn->flags & CONN_HELD))
		return 0;
	if (conn_watch(conns, conn, conn->flags & (uint8_t)~CONN_HELD) < 0)
		return -ECONNRESET;
	if (conn->in && proto->resume)
		proto->resume(conns, conn);
	return conn->generation == generation ? 0 : -ECONNRESET;
}

/* The counters of whoever is at the other end. */
static void
conn_count(struct conns *conns, const struct conn *conn, size_t n, enum metric metric,
	enum listener_metric listener_metric, enum upstream_metric upstream_metric)
{
	if (conn->flags & CONN_UPSTREAM) {
		uint16_t server = conns->links[conn_fd(conns, conn)].server;

		if (conn_keeps_server(conns, conn))
			metrics_add(&conns->slot->upstream[server][upstream_metric], n);
		return;
	}
	metrics_add(&conns->slot->value[metric], n);
	metrics_add(&conns->slot->listener[conn->listener][listener_metric], n);
}

void
conn_count_sent(struct conns *conns, const struct conn *conn, size_t n)
{
	conn_count(conns, conn, n, METRIC_BYTES_SENT, LISTENER_METRIC_BYTES_SENT,
		UPSTREAM_METRIC_BYTES_SENT);
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
	const struct conn_listener *listener = conn_listener(conns, conn);

	/* A side of a relay is sent no more than was read of the other for it to take. */
	if (!listener->service->relays && conn_queued_bytes(conn) + length > listener->queued_max) {
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

/* One piece, as most are, costs less by itself. */
static ssize_t
conn_send_vectors(int fd, const struct iovec *vectors, int n)
{
	const struct msghdr header = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)n};

	if (n == 1)
		return send(fd, vectors->iov_base, vectors->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int
conn_write_vectors(struct conns *conns, struct conn *conn, const struct iovec *vectors, int n)
{
	size_t length = 0;
	ssize_t sent = 0;

	for (int i = 0; i < n; i++)
		length += vectors[i].iov_len;
	if (!conn->out) {
		do
			sent = conn_send_vectors(conn_fd(conns, conn), vectors, n);
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
conn_socket_peer(const struct conns *conns, const struct conn *conn)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);

	if (getpeername(conn_fd(conns, conn), (struct sockaddr *)&peer, &length) < 0)
		return (struct addr){.family = ADDR_NONE};
	return addr_from_sockaddr((struct sockaddr *)&peer, length);
}

struct addr
conn_peer(const struct conns *conns, const struct conn *conn)
{
	struct addr source = conns->proxied[conn_fd(conns, conn)].source;

	if (conn->state == CONN_PROXY || source.family != ADDR_NONE)
		return source;
	return conn_socket_peer(conns, conn);
}

void
conn_open(struct conns *conns, struct conn *conn)
{
	const struct service_ops *service = conn_listener(conns, conn)->service;
	uint32_t generation = conn->generation;

	conn_set_state(conns, conn, CONN_OPEN);
	if (service->open)
		service->open(conns, conn);
	if (conn->generation == generation && conn->state != CONN_FREE)
		conn_set_timer(conns, conn);
}

void
conn_deliver(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	const struct conn_listener *listener = conn_listener(conns, conn);

	if (message->flags & MESSAGE_LAST && !(conn->flags & CONN_UPSTREAM))
		metrics_add(
			&conns->slot->listener[conn->listener][LISTENER_METRIC_MESSAGES_RECEIVED],
			1);
	listener->service->message(conns, conn, message);
}

int
conn_send(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	if (message->flags & MESSAGE_LAST && !(conn->flags & CONN_UPSTREAM))
		metrics_add(
			&conns->slot->listener[conn->listener][LISTENER_METRIC_MESSAGES_SENT], 1);
	return conn_listener(conns, conn)->proto->send(conns, conn, message);
}

/* All is sent: the queue goes back to the pool, and what waited for that goes on. */
static void
conn_flushed(struct conns *conns, struct conn *conn)
{
	const struct service_ops *service = conn_listener(conns, conn)->service;

	iobuf_free(&conns->iobufs, conn->out);
	conn->out = NULL;
	conn_queue_changed(conns);
	if (conn->state == CONN_CLOSING && !(conn->flags & CONN_LINGERS)) {
		if (conn_watch(conns, conn, conn->flags & (uint8_t)~CONN_WANTS_WRITE) == 0)
			conn_close_sent(conns, conn);
		return;
	}
	if (conn_watch(conns, conn, conn->flags & (uint8_t) ~(CONN_WANTS_WRITE | CONN_PAUSED)) < 0)
		return;
	if (conn->state == CONN_CLOSING && conn->flags & CONN_EOF)
		conn_close(conns, conn, conn->close_reason);
	else if (conn->flags & CONN_DEAF)
		conn_send_last(conns, conn);
	else if (service->flushed && conn->state == CONN_OPEN)
		service->flushed(conns, conn);
}

static void
conn_flush(struct conns *conns, struct conn *conn)
{
	struct iovec vectors[CONN_WRITE_VECTORS];
	int filled = (int)iobuf_peek(conn->out, vectors, CONN_WRITE_VECTORS);
	ssize_t n = conn_send_vectors(conn_fd(conns, conn), vectors, filled);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			(void)conn_fail(conns, conn, errno);
		return;
	}
	conn_count_sent(conns, conn, (size_t)n);
	iobuf_consume(&conns->iobufs, conn->out, (size_t)n);
	conn_queue_changed(conns);
	if (conn->state == CONN_CLOSING)
		conn_mark_progress(conns, conn);
	if (conn->out->length_bytes == 0)
		conn_flushed(conns, conn);
}

static void
conn_read_no_more(struct conns *conns, struct conn *conn)
{
	int r = conn_watch(conns, conn, conn->flags | CONN_EOF);

	(void)r; /* it is closed, or it is not */
}

void
conn_read_ended(struct conns *conns, struct conn *conn, int error)
{
	/* Who sends no more may still read. */
	if (conn->state == CONN_CLOSING && conn->out && !error)
		conn_read_no_more(conns, conn);
	else if (conn->state == CONN_CLOSING)
		conn_close(conns, conn, conn->close_reason);
	else if (error)
		(void)conn_fail(conns, conn, error);
	else if (conn->state != CONN_OPEN)
		conn_close(conns, conn, CLOSE_CLIENT_CLOSED);
	else
		conn_listener(conns, conn)->service->eof(conns, conn);
}

/* How much to read: what comes may have to be queued, for whoever it is for, with what was gathered
 * before it, so no more than that queue has room for. But nothing at all would be an end of file. */
size_t
conn_read_room(const struct conns *conns, const struct conn *conn, size_t most)
{
	const struct conn *other = conn_other(conns, conn);
	uint64_t kept = conn->in ? conn->in->length_bytes : 0;
	uint64_t queued = conn_queued_bytes(conn);
	uint64_t max = conn_listener(conns, conn)->queued_max;
	uint64_t room;

	if (other)
		queued = conn_queued_bytes(other) + kept + CONN_FRAME_ROOM;
	room = queued < max ? max - queued : 1;
	return room < most ? (size_t)room : most;
}

/* What a server sends is as good a sign of life as what the client does. */
static void
conn_mark_active(struct conns *conns, struct conn *conn)
{
	struct conn *client = conn->flags & CONN_UPSTREAM ? conn_other(conns, conn) : conn;

	conn->flags |= CONN_GOT_BYTES;
	if (client && client->state != CONN_CLOSING) /* where it would put off the end */
		client->active = wheel_tick(conns->now_usec);
}

void
conn_count_received(struct conns *conns, struct conn *conn, size_t n)
{
	conn_count(conns, conn, n, METRIC_BYTES_RECEIVED, LISTENER_METRIC_BYTES_RECEIVED,
		UPSTREAM_METRIC_BYTES_RECEIVED);
	if (!(conn->flags & CONN_DEAF))
		conn_mark_active(conns, conn);
}

static void
conn_read(struct conns *conns, struct conn *conn)
{
	size_t room = conn_read_room(conns, conn, CONNS_SCRATCH_BYTES);
	ssize_t n = recv(conn_fd(conns, conn), conns->scratch, room, MSG_DONTWAIT);

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			conn_read_ended(conns, conn, n < 0 ? errno : 0);
		return;
	}
	conn_count_received(conns, conn, (size_t)n);
	if (conn->flags & CONN_DEAF)
		return;
	if (n == CONNS_SCRATCH_BYTES)
		conn_mark_bulk(conns, conn);
	if (conn->state == CONN_PROXY)
		conn_proxy_input(conns, conn, conns->scratch, (size_t)n);
	else
		conn_listener(conns, conn)->proto->input(conns, conn, conns->scratch, (size_t)n);
}

/* A peek would take the error of a reset along (SO_ERROR, socket(7)), of which nothing would be heard
 * again. */
bool
conn_has_unread(int fd)
{
	int bytes;

	return ioctl(fd, SIOCINQ, &bytes) == 0 && bytes > 0;
}

/* Error or hang-up on a connection that is not being read, so that no read will tell. One that is
 * held, or has ended, may hang up while more is to be read of it, or to be sent by the other side:
 * only an error is news there. */
static void
conn_hung_up(struct conns *conns, struct conn *conn)
{
	int error = 0;
	socklen_t length = sizeof(error);

	(void)getsockopt(conn_fd(conns, conn), SOL_SOCKET, SO_ERROR, &error, &length);
	if (error)
		(void)conn_fail(conns, conn, error);
	else if (!(conn->flags & (CONN_HELD | CONN_EOF)))
		conn_close(conns, conn,
			conn->state == CONN_CLOSING ? conn->close_reason : CLOSE_CLIENT_CLOSED);
}

bool
conn_on_ready(void *context, int fd, uint32_t generation, uint32_t events)
{
	struct conns *conns = context;
	struct conn *conn = &conns->table[fd];

	if ((uint32_t)fd >= conns->capacity || conn->state == CONN_FREE ||
		conn->generation != generation)
		return false;
	if (conn->state == CONN_CONNECTING) {
		conn_connected(conns, conn);
		return true;
	}
	if ((events & (EPOLLERR | EPOLLHUP)) && (conn->flags & CONN_UNREAD)) {
		conn_hung_up(conns, conn);
		if (conn->state == CONN_FREE || conn->generation != generation)
			return true;
	}
	if (events & EPOLLOUT && conn->out) {
		conn_flush(conns, conn);
		if (conn->state == CONN_FREE || conn->generation != generation)
			return true;
	}
	if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !(conn->flags & CONN_UNREAD)) {
		if (conn_is_bulk(conns, conn))
			conn_put_off(conns, conn);
		else
			conn_read(conns, conn);
	}
	return true;
}

/* Bulk is not put off to be moved on later, as conn_on_ready() would. */
static void
conn_hear_one(struct conns *conns, struct conn *conn)
{
	int fd = conn_fd(conns, conn);
	uint32_t wanted =
		conn->state == CONN_CONNECTING ? EPOLLOUT : conn_wanted_events(conn->flags);
	uint32_t events = pollset_look(fd, wanted);

	if (!events)
		return;
	if (conn_is_bulk(conns, conn) && events & EPOLLIN && !(conn->flags & CONN_UNREAD))
		conn_read(conns, conn);
	else
		(void)conn_on_ready(conns, fd, conn->generation, events);
}

bool
conn_hear(struct conns *conns, struct conn *conn)
{
	struct conn *other = conn_other(conns, conn);
	uint32_t generation = conn->generation;

	if (other)
		conn_hear_one(conns, other);
	if (conn->state != CONN_FREE && conn->generation == generation)
		conn_hear_one(conns, conn);
	return conn->state != CONN_FREE && conn->generation == generation;
}
