/* bench_connect: see bench_connect.h. */
#include "bench_connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_client.h"
#include "bench_ws.h"
#include "reset.h"

#define BATCH 16            /* connects before events are looked at again */
#define PAUSE_NSEC 1000000u /* after a Unix socket said that its backlog is full */
#define RETRY_USEC 100000u  /* between connects that fail, without --backoff */

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

int
bench_connect_socket_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return errno;
	return error;
}

static void
bench_connect_count(struct bench_client *client, enum bench_counter counter, int64_t n)
{
	bench_slot_add(client->slot, counter, n);
}

void
bench_connect_queue(struct bench_client *client, uint32_t index)
{
	client->conns[index].state = BENCH_STATE_QUEUED;
	client->conns[index].stamp_nsec = 0;
	bench_ring_push(&client->queue, index);
}

static void
bench_connect_wait(struct bench_client *client, uint32_t index, uint64_t usec)
{
	client->conns[index].state = BENCH_STATE_WAITING;
	client->n_waiting++;
	wheel_set(&client->wheel, index, wheel_tick(client->now_nsec / 1000 + usec));
}

/* Connects again what was up once. The wait is random up to a bound that doubles with each failed
 * attempt, so that those who lost their connections at once do not all come back at once. */
static void
bench_connect_again(struct bench_client *client, uint32_t index)
{
	const struct bench_options *options = client->options;
	const struct bench_conn *conn = &client->conns[index];
	uint64_t bound = options->backoff_min_usec;

	if (bound == 0) {
		if (conn->attempts == 0)
			bench_connect_queue(client, index);
		else
			bench_connect_wait(client, index, RETRY_USEC);
		return;
	}
	for (unsigned i = 0; i < conn->attempts && bound < options->backoff_max_usec; i++)
		bound *= 2;
	if (bound > options->backoff_max_usec)
		bound = options->backoff_max_usec;
	bench_connect_wait(client, index, bench_client_random(client, bound + 1));
}

static void
bench_connect_come_back(struct bench_client *client, uint32_t index)
{
	struct bench_conn *conn = &client->conns[index];

	conn->flags |= BENCH_FLAG_AWAY;
	conn->attempts = 0;
	conn->away_nsec = client->now_nsec;
	client->n_away++;
	bench_connect_again(client, index);
}

/* Is a connection that was up once to be tried until it is up again? */
static bool
bench_connect_retries(const struct bench_client *client)
{
	return client->options->reconnect || client->options->workload == BENCH_WORKLOAD_STORM;
}

/* A connect came to nothing; `error` is a positive errno. The fd is closed already. */
static void
bench_connect_failed(struct bench_client *client, uint32_t index, int error)
{
	struct bench_conn *conn = &client->conns[index];

	bench_slot_add_error(client->slot, error);
	if (conn->attempts < UINT16_MAX)
		conn->attempts++;
	if ((conn->flags & BENCH_FLAG_AWAY) && bench_connect_retries(client)) {
		bench_connect_count(client, BENCH_RETRIED, 1);
		bench_connect_again(client, index);
		return;
	}
	if (conn->flags & BENCH_FLAG_AWAY)
		client->n_away--;
	bench_connect_count(client, BENCH_FAILED, 1);
	conn->flags &= (uint8_t)~BENCH_FLAG_AWAY;
	conn->state = BENCH_STATE_ENDED;
}

static void
bench_connect_abort(struct bench_client *client, uint32_t index, int error)
{
	wheel_clear(&client->wheel, index);
	(void)close(client->conns[index].fd);
	client->n_connecting--;
	bench_connect_count(client, BENCH_CONNECTING, -1);
	bench_connect_failed(client, index, error);
}

static int
bench_connect_set_up(const struct bench_client *client, int fd, uint32_t index)
{
	const struct bench_options *options = client->options;
	const int one = 1, receive_buffer = (int)options->receive_buffer_bytes;
	struct sockaddr_storage source;
	socklen_t length;

	if (receive_buffer &&
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer)) < 0)
		return errno;
	/* Fails on a Unix socket, which sends at once anyway. */
	if (client->work->sends)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!bench_plan_source(client->plan, client->first + index, &source, &length))
		return 0;
	/* So that the port is chosen at the connect, free for this target and not for all. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&source, length) < 0 ? errno : 0;
}

/* A new socket, its connect under way and in the epoll set. Returns 0 or a positive errno. */
static int
bench_connect_open(struct bench_client *client, uint32_t index, int *ret_fd)
{
	const struct bench_target *target = bench_plan_target(client->plan, client->first + index);
	/* Edge-triggered for all there is: no epoll_ctl() when the connect has succeeded. */
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = index};
	int fd, error;

	fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	error = bench_connect_set_up(client, fd, index);
	if (!error && connect(fd, (const struct sockaddr *)&target->address, target->length) < 0 &&
		errno != EINPROGRESS)
		error = errno;
	if (!error && epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		error = errno;
	if (error) {
		(void)close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

/* The first in the queue. False: the server's backlog is full, nothing was done. */
static bool
bench_connect_start(struct bench_client *client)
{
	uint32_t index = bench_ring_peek(&client->queue);
	struct bench_conn *conn = &client->conns[index];
	uint64_t timeout_nsec = client->options->connect_timeout_usec * 1000;
	int error;

	if (conn->stamp_nsec == 0)
		conn->stamp_nsec = bench_client_clock(client);
	error = bench_connect_open(client, index, &conn->fd);
	if (error == EAGAIN && client->now_nsec - conn->stamp_nsec < timeout_nsec)
		return false;
	(void)bench_ring_pop(&client->queue);
	if (error) {
		bench_connect_failed(client, index, error);
		return true;
	}
	conn->state = BENCH_STATE_CONNECTING;
	client->n_connecting++;
	bench_connect_count(client, BENCH_CONNECTING, 1);
	wheel_set(&client->wheel, index, wheel_tick((conn->stamp_nsec + timeout_nsec) / 1000) + 1);
	return true;
}

uint64_t
bench_connect_turn(struct bench_client *client)
{
	bool ramps = client->phase == BENCH_PHASE_CONNECT;

	if (client->phase != BENCH_PHASE_CONNECT && client->phase != BENCH_PHASE_MEASURE)
		return BENCH_NEVER;
	if (client->pause_nsec > client->now_nsec)
		return client->pause_nsec;
	for (unsigned i = 0; i < BATCH; i++) {
		if (client->queue.n == 0 || client->n_connecting >= client->options->in_flight)
			return BENCH_NEVER;
		if (ramps && !bench_pace_is_due(&client->ramp, client->now_nsec))
			return bench_pace_next(&client->ramp);
		if (!bench_connect_start(client)) {
			client->pause_nsec = client->now_nsec + PAUSE_NSEC;
			return client->pause_nsec;
		}
		client->ramp.n += ramps;
	}
	return client->now_nsec;
}

static void
bench_connect_up(struct bench_client *client, uint32_t index)
{
	struct bench_conn *conn = &client->conns[index];
	uint64_t now = bench_client_clock(client);

	wheel_clear(&client->wheel, index);
	client->n_connecting--;
	bench_connect_count(client, BENCH_CONNECTING, -1);
	bench_connect_count(client, BENCH_CONNECTS, 1);
	bench_connect_count(client, BENCH_UP, 1);
	histogram_record(&client->slot->connect, now - conn->stamp_nsec);
	if (client->phase == BENCH_PHASE_CONNECT)
		client->slot->last_up_nsec = now;
	if (conn->flags & BENCH_FLAG_AWAY) {
		histogram_record(&client->slot->reconnect, now - conn->away_nsec);
		client->n_away--;
	}
	conn->flags &= (uint8_t)~BENCH_FLAG_AWAY;
	conn->attempts = 0;
	conn->stamp_nsec = 0;
	conn->state = BENCH_STATE_UP;
	if (client->work->up)
		client->work->up(client, index);
}

/* TCP is up. Returns 0 when the connection is, EAGAIN when its protocol wants an answer first, or
 * another positive errno. */
static int
bench_connect_shake(struct bench_client *client, uint32_t index)
{
	int error;

	if (!client->ws)
		return 0;
	error = bench_ws_ask(client, index);
	if (error)
		return error;
	client->conns[index].state = BENCH_STATE_SHAKING;
	return EAGAIN;
}

void
bench_connect_event(struct bench_client *client, uint32_t index, uint32_t events)
{
	int fd = client->conns[index].fd, error = 0;

	if (events & (EPOLLERR | EPOLLHUP))
		error = bench_connect_socket_error(fd);
	if (!error && client->conns[index].state == BENCH_STATE_SHAKING)
		error = bench_ws_hear(client, index);
	else if (!error)
		error = events & (EPOLLOUT | EPOLLHUP) ? bench_connect_shake(client, index)
						       : EAGAIN;
	if (error == 0)
		bench_connect_up(client, index);
	else if (error != EAGAIN)
		bench_connect_abort(client, index, error);
}

void
bench_connect_timer(struct bench_client *client, uint32_t index)
{
	if (client->conns[index].state != BENCH_STATE_WAITING) {
		bench_connect_abort(client, index, ETIMEDOUT);
	} else {
		client->n_waiting--;
		bench_connect_queue(client, index);
	}
}

static void
bench_connect_down(struct bench_client *client, uint32_t index)
{
	struct bench_conn *conn = &client->conns[index];

	conn->state = BENCH_STATE_ENDED;
	bench_ws_forget(client, index);
	bench_connect_count(client, BENCH_UP, -1);
	if (client->work->down)
		client->work->down(client, index);
	(void)close(conn->fd);
}

void
bench_connect_lost(struct bench_client *client, uint32_t index, int error)
{
	if (error == 0)
		bench_connect_count(client, BENCH_LOST_EOF, 1);
	else if (error == ECONNRESET || error == EPIPE)
		bench_connect_count(client, BENCH_LOST_RESET, 1);
	else
		bench_connect_count(client, BENCH_LOST_OTHER, 1);
	bench_connect_down(client, index);
	if (client->options->reconnect)
		bench_connect_come_back(client, index);
}

void
bench_connect_drop(struct bench_client *client, uint32_t index, bool come_back)
{
	if (client->options->reset)
		reset_on_close(client->conns[index].fd);
	bench_connect_count(client, BENCH_DROPPED, 1);
	bench_connect_down(client, index);
	if (come_back)
		bench_connect_come_back(client, index);
}

bool
bench_connect_is_idle(const struct bench_client *client)
{
	return client->queue.n == 0 && client->n_connecting == 0 && client->n_waiting == 0;
}

void
bench_connect_close_all(struct bench_client *client)
{
	for (uint32_t i = 0; i < client->n; i++) {
		if (client->conns[i].state == BENCH_STATE_UP)
			bench_connect_drop(client, i, false);
		else if (client->conns[i].state == BENCH_STATE_CONNECTING ||
			 client->conns[i].state == BENCH_STATE_SHAKING)
			(void)close(client->conns[i].fd);
	}
}
