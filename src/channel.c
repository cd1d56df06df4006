/* channel: see channel.h. */
#include "channel.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

/* Messages read in one turn of the loop, and how long at most: to connect the clients of a relay to
 * their servers takes a while. */
#define CHANNEL_BURST 64
#define CHANNEL_BURST_USEC 5000
#define CHANNEL_RETRY_USEC 10000 /* after -ENOBUFS */

struct channel_item {
	STAILQ_ENTRY(channel_item) link;
	size_t length;
	char bytes[];
};

int
channel_pair(int ret_fds[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return -errno;
	return 0;
}

static void
channel_fail(struct channel *channel)
{
	struct channel_callbacks callbacks = channel->callbacks;

	channel_done(channel);
	callbacks.closed(callbacks.context);
}

/* 0: one message was handled. -EAGAIN: there was none. -EPIPE: the channel is closed. */
static int
channel_receive(struct channel *channel)
{
	_Alignas(8) char buf[CONTROL_MESSAGE_MAX];
	struct fdpass_message fds;
	struct control_message message;
	int r = fdpass_receive(channel->fd, buf, sizeof(buf), &fds);

	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		channel_fail(channel);
		return -EPIPE;
	}
	r = fds.data_cut ? -EBADMSG : control_decode(buf, fds.length, &message);
	if (r == 0)
		channel->callbacks.message(channel->callbacks.context, &message, &fds);
	fdpass_close(&fds, 0);
	if (r < 0) {
		channel_fail(channel);
		return -EPIPE;
	}
	return 0;
}

void
channel_read(struct channel *channel)
{
	uint64_t end_usec = clock_now_usec() + CHANNEL_BURST_USEC;

	for (unsigned i = 0; i < CHANNEL_BURST && channel->fd >= 0; i++)
		if (channel_receive(channel) < 0 || clock_now_usec() >= end_usec)
			return;
}

static void
channel_on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	channel_read(arg);
}

void
channel_drain(struct channel *channel)
{
	while (channel->fd >= 0)
		if (channel_receive(channel) < 0)
			return;
}

static int
channel_send_now(struct channel *channel, const struct control_header *header, const void *records,
	const int *fds, unsigned n_fds)
{
	struct iovec vectors[2] = {
		{(void *)header, sizeof(*header)},
		{(void *)records, header->count * control_record_bytes(header->type)},
	};

	if (channel->fd < 0)
		return -EPIPE;
	return fdpass_send(channel->fd, vectors, 2, fds, n_fds);
}

/* Did the send fail for a while only? */
static bool
channel_is_later(int r)
{
	return r == -EAGAIN || r == -ENOBUFS;
}

/* channel_on_writable() is called when it is worth another try. With -ENOBUFS it is not the socket
 * that is full, so that to wait for it to be writable would be to spin. */
static int
channel_wait(struct channel *channel, int why)
{
	static const struct timeval retry = {0, CHANNEL_RETRY_USEC};

	if (why == -EAGAIN)
		return event_add(channel->write_event, NULL);
	(void)event_del(channel->write_event);
	return event_add(channel->retry_event, &retry);
}

static void
channel_drop_first(struct channel *channel)
{
	struct channel_item *item = STAILQ_FIRST(&channel->queue);

	STAILQ_REMOVE_HEAD(&channel->queue, link);
	channel->queued_bytes -= item->length;
	free(item);
}

static void
channel_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;
	struct channel_item *item;

	(void)fd;
	(void)what;
	while ((item = STAILQ_FIRST(&channel->queue))) {
		struct iovec vector = {item->bytes, item->length};
		int r = fdpass_send(channel->fd, &vector, 1, NULL, 0);

		if (channel_is_later(r)) {
			(void)channel_wait(channel, r);
			return;
		}
		/* Sent; or the other end is gone, and the read side says so. */
		channel_drop_first(channel);
	}
	event_del(channel->write_event);
	if (channel->want_writable) {
		channel->want_writable = false;
		channel->callbacks.writable(channel->callbacks.context);
	}
}

int
channel_init(struct channel *channel, struct event_base *base, int fd, size_t queued_max,
	const struct channel_callbacks *callbacks)
{
	*channel = (struct channel){.fd = fd, .queued_max = queued_max, .callbacks = *callbacks};
	STAILQ_INIT(&channel->queue);
	channel->read_event =
		event_new(base, fd, EV_READ | EV_PERSIST, channel_on_readable, channel);
	channel->write_event =
		event_new(base, fd, EV_WRITE | EV_PERSIST, channel_on_writable, channel);
	channel->retry_event = evtimer_new(base, channel_on_writable, channel);
	if (!channel->read_event || !channel->write_event || !channel->retry_event ||
		event_add(channel->read_event, NULL) < 0) {
		channel_done(channel);
		return -ENOMEM;
	}
	return 0;
}

void
channel_done(struct channel *channel)
{
	struct channel_item *item;

	if (!channel->callbacks.message)
		return;
	if (channel->read_event)
		event_free(channel->read_event);
	if (channel->write_event)
		event_free(channel->write_event);
	if (channel->retry_event)
		event_free(channel->retry_event);
	while ((item = STAILQ_FIRST(&channel->queue))) {
		STAILQ_REMOVE_HEAD(&channel->queue, link);
		free(item);
	}
	if (channel->fd >= 0)
		(void)close(channel->fd);
	*channel = (struct channel){.fd = -1};
}

static int
channel_enqueue(struct channel *channel, const struct control_header *header, const void *records)
{
	size_t record_bytes = header->count * control_record_bytes(header->type);
	size_t length = sizeof(*header) + record_bytes;
	struct channel_item *item;

	if (channel->queued_bytes + length > channel->queued_max)
		return -ENOBUFS;
	item = malloc(sizeof(*item) + length);
	if (!item)
		return -ENOBUFS;
	item->length = length;
	memcpy(item->bytes, header, sizeof(*header));
	if (record_bytes > 0)
		memcpy(item->bytes + sizeof(*header), records, record_bytes);
	STAILQ_INSERT_TAIL(&channel->queue, item, link);
	channel->queued_bytes += length;
	return 0;
}

int
channel_send(struct channel *channel, const struct control_header *header, const void *records)
{
	bool first = STAILQ_EMPTY(&channel->queue);
	int r = -EAGAIN;

	if (channel->fd < 0)
		return -EPIPE;
	if (first)
		r = channel_send_now(channel, header, records, NULL, 0);
	if (!channel_is_later(r))
		return r;
	if (first && channel_wait(channel, r) < 0)
		return -ENOBUFS;
	return channel_enqueue(channel, header, records);
}

int
channel_send_fds(struct channel *channel, const struct control_header *header, const void *records,
	const int *fds, unsigned n_fds)
{
	bool first = STAILQ_EMPTY(&channel->queue);
	int r = -EAGAIN;

	if (channel->fd < 0)
		return -EPIPE;
	if (first)
		r = channel_send_now(channel, header, records, fds, n_fds);
	if (!channel_is_later(r))
		return r;
	assert(channel->callbacks.writable);
	channel->want_writable = true;
	return first && channel_wait(channel, r) < 0 ? -ENOMEM : -EAGAIN;
}

/* Waits until a message went out. -ENOBUFS: it is not the socket that was full until the end. */
static int
channel_send_blocking(struct channel *channel, struct iovec *vectors, unsigned n_vectors,
	const int *fds, unsigned n_fds, uint64_t timeout_usec)
{
	int r = -ETIMEDOUT;

	for (uint64_t waited_usec = 0; waited_usec < timeout_usec;) {
		struct pollfd wait = {.fd = channel->fd, .events = POLLOUT};

		r = fdpass_send(channel->fd, vectors, n_vectors, fds, n_fds);
		if (!channel_is_later(r))
			return r;
		/* After -ENOBUFS the socket may well be writable: then this is a pause. */
		(void)poll(r == -EAGAIN ? &wait : NULL, r == -EAGAIN, CHANNEL_RETRY_USEC / 1000);
		waited_usec += CHANNEL_RETRY_USEC;
	}
	return r == -ENOBUFS ? r : -ETIMEDOUT;
}

int
channel_send_last(struct channel *channel, const struct control_header *header, const int *fds,
	unsigned n_fds, uint64_t timeout_usec)
{
	struct iovec vector = {(void *)header, sizeof(*header)};
	struct channel_item *item;
	int r = channel->fd < 0 ? -EPIPE : 0;

	assert(header->count == 0);
	while (r == 0 && (item = STAILQ_FIRST(&channel->queue))) {
		struct iovec waiting = {item->bytes, item->length};

		r = channel_send_blocking(channel, &waiting, 1, NULL, 0, timeout_usec);
		if (r == 0)
			channel_drop_first(channel);
	}
	return r < 0 ? r : channel_send_blocking(channel, &vector, 1, fds, n_fds, timeout_usec);
}
