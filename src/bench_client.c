/* bench_client: see bench_client.h. */
#include "bench_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench_connect.h"
#include "bench_ws.h"

#define EVENTS 256
#define READS 16 /* of one connection in a row, before others get their turn */
#define WAIT_MAX_NSEC 1000000000u
#define INDEX_WAKE UINT32_MAX

static const struct bench_work *const WORKS[BENCH_WORKLOAD_COUNT] = {
	[BENCH_WORKLOAD_IDLE] = &bench_work_idle,
	[BENCH_WORKLOAD_RECEIVE] = &bench_work_receive,
	[BENCH_WORKLOAD_ECHO] = &bench_work_echo,
	[BENCH_WORKLOAD_SLOW] = &bench_work_slow,
	[BENCH_WORKLOAD_CHURN] = &bench_work_idle,
	[BENCH_WORKLOAD_STORM] = &bench_work_idle,
};

struct bench_pace
bench_client_pace(const struct bench_client *client, uint64_t start_nsec, double rate)
{
	if (rate <= 0)
		return bench_pace_new(start_nsec, 0);
	return bench_pace_new(start_nsec + (uint64_t)(client->process * 1e9 / rate),
		rate * client->n / client->plan->connections);
}

/* xorshift64*: fast, and good enough to spread reconnects. */
uint64_t
bench_client_random(struct bench_client *client, uint64_t limit)
{
	client->random ^= client->random >> 12;
	client->random ^= client->random << 25;
	client->random ^= client->random >> 27;
	return (client->random * UINT64_C(2685821657736338717) >> 16) % limit;
}

void
bench_client_rearm(struct bench_client *client, uint32_t index)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = index};

	(void)epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, client->conns[index].fd, &event);
}

/* `ends`: epoll said that the end is among what is to be read, so that it must be read up to it. */
static void
bench_client_read(struct bench_client *client, uint32_t index, bool ends)
{
	struct bench_conn *conn = &client->conns[index];

	for (unsigned i = 0; i < READS; i++) {
		ssize_t n = recv(conn->fd, client->buffer, BENCH_BUFFER_BYTES, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			bench_connect_lost(client, index, n < 0 ? errno : 0);
			return;
		}
		bench_slot_add(client->slot, BENCH_RECEIVED_BYTES, n);
		bench_slot_add(client->slot, BENCH_ARRIVALS, 1);
		if (client->ws)
			bench_ws_received(client, index, client->buffer, (size_t)n);
		else if (client->work->received)
			client->work->received(client, index, client->buffer, (size_t)n);
		if (conn->state != BENCH_STATE_UP)
			return;
		/* Fewer than there was room for: it is drained, and what comes next is an edge. */
		if (n < BENCH_BUFFER_BYTES && !ends)
			return;
	}
	bench_client_rearm(client, index);
}

static void
bench_client_event(struct bench_client *client, const struct epoll_event *event)
{
	uint32_t index = event->data.u32, events = event->events;
	bool ends = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	struct bench_conn *conn;

	if (index == INDEX_WAKE)
		return;
	conn = &client->conns[index];
	if (conn->state == BENCH_STATE_CONNECTING || conn->state == BENCH_STATE_SHAKING)
		bench_connect_event(client, index, events);
	if (conn->state != BENCH_STATE_UP)
		return;
	if (!client->work->never_reads && (ends || (events & EPOLLIN)))
		bench_client_read(client, index, ends);
	else if (ends)
		bench_connect_lost(client, index, bench_connect_socket_error(conn->fd));
	if (conn->state == BENCH_STATE_UP && (events & EPOLLOUT) && client->work->writable)
		client->work->writable(client, index);
}

static void
bench_client_expired(void *context, uint32_t index)
{
	bench_connect_timer(context, index);
}

static void
bench_client_begin(struct bench_client *client)
{
	if (client->work->begin)
		client->work->begin(client);
	bench_churn_begin(client);
	if (client->options->workload == BENCH_WORKLOAD_STORM)
		bench_storm_begin(client);
}

/* The parent may have gone on by more than one phase; each is entered in turn. */
static void
bench_client_follow_phase(struct bench_client *client)
{
	enum bench_phase wanted = bench_shared_phase(client->shared);

	while (client->phase < wanted) {
		client->phase++;
		if (client->phase == BENCH_PHASE_CONNECT)
			client->ramp = bench_client_pace(
				client, bench_client_clock(client), client->options->rate);
		else if (client->phase == BENCH_PHASE_MEASURE)
			bench_client_begin(client);
		else if (client->phase == BENCH_PHASE_DRAIN && client->work->end)
			client->work->end(client);
	}
}

static bool
bench_client_is_settled(const struct bench_client *client)
{
	if (client->phase == BENCH_PHASE_CONNECT)
		return bench_connect_is_idle(client);
	if (client->phase == BENCH_PHASE_MEASURE)
		return client->options->workload == BENCH_WORKLOAD_STORM && client->n_away == 0;
	return client->phase == BENCH_PHASE_DRAIN &&
	       (!client->work->settled || client->work->settled(client));
}

static void
bench_client_tell_settled(struct bench_client *client)
{
	struct bench_slot *slot = client->slot;

	if (atomic_load_explicit(&slot->settled, memory_order_relaxed) >= client->phase ||
		!bench_client_is_settled(client))
		return;
	if (client->phase == BENCH_PHASE_MEASURE)
		slot->all_back_nsec = client->now_nsec;
	atomic_store_explicit(&slot->settled, client->phase, memory_order_release);
}

/* Does everything that time and queues make due; returns when to be back at the latest. */
static uint64_t
bench_client_turn(struct bench_client *client)
{
	uint64_t next = BENCH_NEVER, due;
	uint32_t tick;

	wheel_expire(
		&client->wheel, wheel_tick(client->now_nsec / 1000), bench_client_expired, client);
	if (bench_client_measures(client)) {
		due = bench_churn_turn(client);
		next = due < next ? due : next;
		due = client->work->turn ? client->work->turn(client) : BENCH_NEVER;
		next = due < next ? due : next;
	}
	/* After those that may have put something into its queue. */
	due = bench_connect_turn(client);
	next = due < next ? due : next;
	if (wheel_next(&client->wheel, &tick)) {
		due = (uint64_t)tick * WHEEL_TICK_USEC * 1000;
		next = due < next ? due : next;
	}
	return next;
}

/* --coalesce: what comes during a rest wakes nobody, and is read together after it. */
static void
bench_client_rest(const struct bench_client *client)
{
	uint64_t until = client->looked_nsec + client->options->coalesce_usec * 1000;
	struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};

	if (bench_client_measures(client) && client->looked_nsec && until > client->now_nsec)
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static int
bench_client_wait(struct bench_client *client, struct epoll_event *events, uint64_t next_nsec)
{
	struct timespec timeout = {0};
	uint64_t now, wait;
	int n;

	bench_client_rest(client);
	now = bench_client_clock(client);
	wait = next_nsec > now ? next_nsec - now : 0;
	if (wait >= WAIT_MAX_NSEC)
		timeout.tv_sec = 1;
	else
		timeout.tv_nsec = (long)wait;
	n = epoll_pwait2(client->epoll_fd, events, EVENTS, &timeout, NULL);
	/* No rest while there is more than one look takes. */
	client->looked_nsec = n < EVENTS ? bench_client_clock(client) : 0;
	return n;
}

static int
bench_client_loop(struct bench_client *client)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		uint64_t next;
		int n;

		(void)bench_client_clock(client);
		bench_client_follow_phase(client);
		if (client->phase == BENCH_PHASE_CLOSE)
			return 0;
		next = bench_client_turn(client);
		bench_client_tell_settled(client);
		n = bench_client_wait(client, events, next);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++)
			bench_client_event(client, &events[i]);
	}
}

static int
bench_client_init(struct bench_client *client)
{
	struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.u32 = INDEX_WAKE};
	int r;

	client->conns = calloc(client->n, sizeof(*client->conns));
	client->buffer = calloc(1, BENCH_BUFFER_BYTES);
	if (!client->conns || !client->buffer)
		return -ENOMEM;
	r = bench_ring_init(&client->queue, client->n);
	if (r < 0)
		return r;
	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll_fd < 0 ||
		epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->shared->wake_fd, &wake) < 0)
		return -errno;
	wheel_init(&client->wheel, client->conns, sizeof(*client->conns),
		wheel_tick(bench_client_clock(client) / 1000));
	client->random = client->now_nsec * (client->first + 1) | 1;
	for (uint32_t i = 0; i < client->n; i++)
		bench_connect_queue(client, i);
	r = bench_ws_init(client);
	if (r < 0)
		return r;
	return client->work->init ? client->work->init(client) : 0;
}

static void
bench_client_done(struct bench_client *client)
{
	if (client->work->done)
		client->work->done(client);
	bench_ws_done(client);
	bench_ring_done(&client->queue);
	free(client->buffer);
	free(client->conns);
	if (client->epoll_fd >= 0)
		(void)close(client->epoll_fd);
}

int
bench_client_run(const struct bench_options *options, const struct bench_plan *plan,
	struct bench_shared *shared, uint32_t process)
{
	struct bench_client client = {
		.options = options,
		.plan = plan,
		.shared = shared,
		.slot = &shared->slots[process],
		.process = process,
		.first = bench_plan_first(plan, process),
		.epoll_fd = -1,
		.work = WORKS[options->workload],
	};
	int r;

	client.n = bench_plan_first(plan, process + 1) - client.first;
	/* Sends at a rate are to leave when they are due, not up to 50 us later. */
	(void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	r = bench_client_init(&client);
	if (r == 0)
		r = bench_client_loop(&client);
	if (r == 0) {
		bench_connect_close_all(&client);
		atomic_store_explicit(
			&client.slot->settled, BENCH_PHASE_CLOSE, memory_order_release);
	} else {
		fprintf(stderr, "millgate-bench: client process %u: %s\n", process, strerror(-r));
	}
	bench_client_done(&client);
	return r == 0 ? 0 : 1;
}
