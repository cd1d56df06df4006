/* drain: see drain.h. */
#include "drain.h"

#include <errno.h>
#include <sys/random.h>

#define DRAIN_TICK_USEC 100000 /* how often some are closed */
#define DRAIN_SLICE 4096       /* table entries visited in one turn */

static uint32_t
drain_gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Without random bytes the order is merely no secret. */
static uint32_t
drain_random(const struct drain *drain)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint32_t)drain->start_usec;
	return random;
}

static void
drain_choose_order(struct drain *drain)
{
	drain->entries = drain->conns->fd_end ? drain->conns->fd_end : 1;
	drain->first = drain_random(drain) % drain->entries;
	drain->step = 1 + drain_random(drain) % drain->entries;
	while (drain_gcd(drain->step, drain->entries) != 1)
		drain->step++;
	drain->visited = 0;
}

/* How many may be open at this moment. */
static uint32_t
drain_target(const struct drain *drain)
{
	uint64_t elapsed = drain->conns->now_usec - drain->start_usec;
	double closed;

	if (elapsed >= drain->over_usec)
		return 0;
	closed = drain->start_count * ((double)elapsed / (double)drain->over_usec) + drain->phase;
	return closed < drain->start_count ? drain->start_count - (uint32_t)closed : 0;
}

static void
drain_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct drain *drain = arg;
	struct conns *conns = drain->conns;
	struct timeval again = {0, DRAIN_TICK_USEC};
	uint32_t target;

	(void)fd;
	(void)what;
	conns_read_clock(conns);
	target = drain_target(drain);
	/* Those that have said goodbye do not count: how long they take is up to their clients. */
	for (unsigned i = 0; i < DRAIN_SLICE && conns->count - conns->lingering > target; i++) {
		uint64_t at = drain->first + (uint64_t)drain->step * drain->visited;
		struct conn *conn = &conns->table[at % drain->entries];

		if (conn_is_client(conn) && !(conn->flags & CONN_LINGERS))
			conn_end(conns, conn, CLOSE_DRAINED);
		/* Those that were on their way to us when it began need another round. */
		if (++drain->visited == drain->entries)
			drain_choose_order(drain);
	}
	if (conns->count == conns->lingering && target == 0)
		return;
	if (conns->count - conns->lingering > target)
		again.tv_usec = 0;
	evtimer_add(drain->event, &again);
}

int
drain_init(struct drain *drain, struct event_base *base, struct conns *conns)
{
	*drain = (struct drain){.conns = conns};
	drain->event = evtimer_new(base, drain_on_tick, drain);
	return drain->event ? 0 : -ENOMEM;
}

void
drain_done(struct drain *drain)
{
	if (drain->event)
		event_free(drain->event);
	drain->event = NULL;
}

void
drain_start(struct drain *drain, uint64_t over_usec)
{
	static const struct timeval now = {0, 0};

	conns_read_clock(drain->conns);
	drain->start_usec = drain->conns->now_usec;
	drain->over_usec = over_usec;
	drain->start_count = drain->conns->count - drain->conns->lingering;
	drain->phase = drain_random(drain) / 0x1p32;
	drain->running = true;
	drain_choose_order(drain);
	evtimer_add(drain->event, &now);
}

void
drain_wake(struct drain *drain)
{
	static const struct timeval now = {0, 0};

	if (drain->running && !evtimer_pending(drain->event, NULL))
		evtimer_add(drain->event, &now);
}

void
drain_cancel(struct drain *drain)
{
	drain->running = false;
	evtimer_del(drain->event);
}
