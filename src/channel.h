/*
 * channel: the line between the supervisor and a worker.
 *
 * Process: both. Sends and receives control messages over a SOCK_SEQPACKET pair, in order, never
 * blocking: what the socket does not take waits here, up to a limit. Knows nothing of what the
 * messages mean.
 */
#ifndef MILLGATE_CHANNEL_H
#define MILLGATE_CHANNEL_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "control.h"
#include "fdpass.h"

struct channel_callbacks {
	/* A message has come. The callee takes the descriptors that it wants out of `fds` by setting
	 * n_fds to 0; the rest is closed. It must not free the channel. */
	void (*message)(
		void *context, const struct control_message *message, struct fdpass_message *fds);
	/* The other end is closed, or sent what is no message. Last call; it may free the channel. */
	void (*closed)(void *context);
	/* Optional: the socket takes messages again after channel_send_fds() said -EAGAIN. */
	void (*writable)(void *context);
	void *context;
};

struct channel_item;

struct channel {
	int fd; /* owned; -1: closed */
	struct event *read_event, *write_event, *retry_event;
	struct channel_callbacks callbacks;
	STAILQ_HEAD(, channel_item) queue;
	size_t queued_bytes, queued_max;
	bool want_writable;
};

/* A connected pair, NONBLOCK and CLOEXEC. -errno. */
int channel_pair(int ret_fds[2]) MG_MUST_CHECK;

/* Takes fd. `queued_max` bounds the bytes that wait. -ENOMEM: fd is closed, nothing to be done. */
int channel_init(struct channel *channel, struct event_base *base, int fd, size_t queued_max,
	const struct channel_callbacks *callbacks) MG_MUST_CHECK;
/* Closes; what waits is dropped. A channel that is zeroed or done already is left alone. */
void channel_done(struct channel *channel);

/* Sends `header` with header->count records, now or as soon as the socket takes it. -ENOBUFS: more
 * than queued_max would wait. -EPIPE: the other end is gone (`closed` is called from the loop). */
int channel_send(struct channel *channel, const struct control_header *header,
	const void *records) MG_MUST_CHECK;

/* The same with descriptors (copies are sent); it never waits: -EAGAIN, and `writable` is called
 * when it is worth another try. */
int channel_send_fds(struct channel *channel, const struct control_header *header,
	const void *records, const int *fds, unsigned n_fds) MG_MUST_CHECK;

/* For a process that is about to end: sends all that waits, and then this with its descriptors, and
 * waits up to `timeout_usec` for each message to be taken. -EPIPE; -ETIMEDOUT, or -ENOBUFS if in the
 * end the kernel took no descriptors: can be tried again. */
int channel_send_last(struct channel *channel, const struct control_header *header, const int *fds,
	unsigned n_fds, uint64_t timeout_usec) MG_MUST_CHECK;

/* Reads some of what has come, without waiting, as the loop does when it can be read. */
void channel_read(struct channel *channel);

/* Reads what has come already, without waiting: the last words of a worker that died. Ends with
 * the `closed` callback if the other end is closed. */
void channel_drain(struct channel *channel);

#endif
