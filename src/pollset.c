/* pollset: see pollset.h. */
#include "pollset.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <unistd.h>

#define POLLSET_BATCHES 4    /* full batches in one turn of the loop, before others get theirs */
#define POLLSET_STALE_MAX 16 /* waits in a row */

/* Events for what is not there, after which a set that was begun by another process is not trusted
 * any more: what this process has closed leaves one at most, what it never had leaves them for
 * ever. */
static void
pollset_count_stale(struct pollset *pollset, bool stale)
{
	pollset->n_stale = stale ? pollset->n_stale + 1 : 0;
	if (!pollset->inherited || pollset->n_stale < POLLSET_STALE_MAX)
		return;
	pollset->n_stale = 0;
	pollset->distrusted(pollset->context);
}

/* Returns how many were ready, at most POLLSET_BATCH. */
static int
pollset_batch(struct pollset *pollset, int timeout_msec)
{
	int n = epoll_wait(pollset->fd, pollset->batch, POLLSET_BATCH, timeout_msec);
	bool stale = false;

	if (n <= 0)
		return 0;
	pollset->begin(pollset->context);
	for (int i = 0; i < n; i++) {
		const struct epoll_event *event = &pollset->batch[i];

		if (event->data.u64 == (uint64_t)pollset->own_fd)
			pollset->own_ready = true;
		else
			stale |= !pollset->ready(pollset->context, (int)(uint32_t)event->data.u64,
				(uint32_t)(event->data.u64 >> 32), event->events);
	}
	pollset_count_stale(pollset, stale);
	pollset->end(pollset->context);
	return n;
}

bool
pollset_wait(struct pollset *pollset, int timeout_msec)
{
	pollset->own_ready = false;
	for (unsigned turn = 0; turn < POLLSET_BATCHES; turn++)
		if (pollset_batch(pollset, turn == 0 ? timeout_msec : 0) < POLLSET_BATCH)
			break;
	return pollset->own_ready;
}

static void
pollset_on_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)pollset_wait(arg, 0);
}

int
pollset_init(struct pollset *pollset, struct event_base *base)
{
	pollset->event = NULL;
	pollset->own_fd = -1;
	pollset->inherited = false;
	pollset->n_stale = 0;
	pollset->fd = epoll_create1(EPOLL_CLOEXEC);
	if (pollset->fd < 0)
		return -errno;
	pollset->event =
		event_new(base, pollset->fd, EV_READ | EV_PERSIST, pollset_on_ready, pollset);
	if (!pollset->event || event_add(pollset->event, NULL) < 0) {
		pollset_done(pollset);
		return -ENOMEM;
	}
	return 0;
}

static int
pollset_control(
	struct pollset *pollset, int operation, int fd, uint32_t generation, uint32_t events)
{
	struct epoll_event event = {
		.events = events,
		.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd,
	};

	return epoll_ctl(pollset->fd, operation, fd, &event) < 0 ? -errno : 0;
}

int
pollset_watch_own(struct pollset *pollset, int fd)
{
	int r = pollset_control(pollset, EPOLL_CTL_ADD, fd, 0, EPOLLIN);

	if (r == 0)
		pollset->own_fd = fd;
	return r;
}

int
pollset_unwatch_own(struct pollset *pollset)
{
	int fd = pollset->own_fd;

	pollset->own_fd = -1;
	return fd < 0 ? 0 : pollset_control(pollset, EPOLL_CTL_DEL, fd, 0, 0);
}

/* Takes fd. The number of the set stays, and libevent need not know. */
static int
pollset_replace(struct pollset *pollset, int fd)
{
	int r = dup3(fd, pollset->fd, O_CLOEXEC) < 0 ? -errno : 0;

	(void)close(fd);
	if (r == 0 && pollset->own_fd >= 0 && pollset_watch_own(pollset, pollset->own_fd) < 0)
		pollset->own_fd = -1;
	return r;
}

/* The own one is not in any. */
static bool
pollset_is_set(const struct pollset *pollset, int fd)
{
	struct epoll_event event = {0};

	return epoll_ctl(fd, EPOLL_CTL_DEL, pollset->fd, &event) < 0 && errno == ENOENT;
}

int
pollset_inherit(struct pollset *pollset, int fd)
{
	int r = -EINVAL;

	if (pollset_is_set(pollset, fd))
		r = pollset_replace(pollset, fd);
	else
		(void)close(fd);
	pollset->inherited = r == 0;
	return r;
}

int
pollset_renew(struct pollset *pollset)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	pollset->inherited = false;
	return fd < 0 ? -errno : pollset_replace(pollset, fd);
}

void
pollset_done(struct pollset *pollset)
{
	if (pollset->event)
		event_free(pollset->event);
	if (pollset->fd >= 0)
		(void)close(pollset->fd);
	pollset->event = NULL;
	pollset->fd = -1;
}

int
pollset_add(struct pollset *pollset, int fd, uint32_t generation, uint32_t events)
{
	return pollset_control(pollset, EPOLL_CTL_ADD, fd, generation, events);
}

int
pollset_change(struct pollset *pollset, int fd, uint32_t generation, uint32_t events)
{
	return pollset_control(pollset, EPOLL_CTL_MOD, fd, generation, events);
}

/* poll(2) has the same numbers, in 16 bits. */
#define POLLSET_LOOKS (EPOLLIN | EPOLLOUT | EPOLLRDHUP)
_Static_assert(EPOLLRDHUP == POLLRDHUP, "epoll_ctl(2): as poll(2)");
_Static_assert(
	EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR && EPOLLHUP == POLLHUP,
	"epoll_ctl(2): as poll(2)");

uint32_t
pollset_look(int fd, uint32_t events)
{
	struct pollfd one = {.fd = fd, .events = (short)(events & POLLSET_LOOKS)};

	return poll(&one, 1, 0) > 0 ? (uint32_t)one.revents : 0;
}
