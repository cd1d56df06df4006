/*
 * conn_table: all connections of a worker: how they get in, and how they are found.
 *
 * Process: W.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "conn_private.h"
#include "lazy.h"
#include "log.h"

void
conns_read_clock(struct conns *conns)
{
	conns->now_usec = clock_now_usec();
}

static void
conns_on_batch(void *context)
{
	conns_read_clock(context);
}

/* The set of what is watched is not what it should be: begins it anew. */
static void
conns_watch_anew(struct conns *conns)
{
	int renewed = pollset_renew(&conns->pollset);

	for (uint32_t fd = 0; fd < conns->fd_end; fd++) {
		struct conn *conn = &conns->table[fd];
		int r = renewed;

		if (conn->state == CONN_FREE)
			continue;
		if (r == 0)
			r = pollset_add(&conns->pollset, (int)fd, conn->generation,
				conn_wanted_events(conn->flags));
		if (r < 0)
			(void)conn_fail(conns, conn, -r);
	}
}

static void
conns_on_distrusted(void *context)
{
	struct conns *conns = context;

	log_warning(NULL,
		"the set of watched descriptors of the process before tells of others than were "
		"passed on; %u connections are watched anew",
		conns->count);
	conns_watch_anew(conns);
}

int
conns_init(struct conns *conns, struct event_base *base, uint32_t capacity)
{
	conns->capacity = capacity;
	conns->count = conns->upstream_count = 0;
	conns->lingering = conns->orphans = 0;
	conns->breaking_up = false;
	conns->fd_end = 0;
	conns->newcomer = NULL;
	conns->table = lazy_alloc((size_t)capacity * sizeof(struct conn));
	conns->links = lazy_alloc((size_t)capacity * sizeof(struct conn_link));
	conns->proxied = lazy_alloc((size_t)capacity * sizeof(struct proxy_header));
	conns->scratch = malloc(CONNS_SCRATCH_BYTES);
	conns->pipe[0] = conns->pipe[1] = -1;
	if (!conns->table || !conns->links || !conns->proxied || !conns->scratch)
		return -ENOMEM;
	conns_read_clock(conns);
	wheel_init(&conns->wheel, &conns->table->timer, sizeof(struct conn),
		wheel_tick(conns->now_usec));
	iobuf_pool_init(&conns->iobufs);
	conns->pollset.ready = conn_on_ready;
	conns->pollset.begin = conns_on_batch;
	conns->pollset.end = conns_on_bulk;
	conns->pollset.distrusted = conns_on_distrusted;
	conns->pollset.context = conns;
	return pollset_init(&conns->pollset, base);
}

void
conns_done(struct conns *conns)
{
	assert(conns->count == 0 && conns->upstream_count == 0);
	pollset_done(&conns->pollset);
	iobuf_pool_done(&conns->iobufs);
	lazy_free(conns->table, (size_t)conns->capacity * sizeof(struct conn));
	lazy_free(conns->links, (size_t)conns->capacity * sizeof(struct conn_link));
	lazy_free(conns->proxied, (size_t)conns->capacity * sizeof(struct proxy_header));
	free(conns->scratch);
	free(conns->known);
	free(conns->bulk.fds);
	if (conns->pipe[0] >= 0) {
		(void)close(conns->pipe[0]);
		(void)close(conns->pipe[1]);
	}
}

/* Its entry; it is not watched yet. NULL: fd is too high, and closed. */
static struct conn *
conn_place(struct conns *conns, int fd, const struct conn *as)
{
	struct conn *conn = &conns->table[fd];

	if ((uint32_t)fd >= conns->capacity) {
		(void)close(fd);
		return NULL;
	}
	assert(conn->state == CONN_FREE);
	if ((uint32_t)fd >= conns->fd_end)
		conns->fd_end = (uint32_t)fd + 1;
	conn->id = as->id;
	conn->opened_usec = as->opened_usec;
	conn->active = as->active;
	conn->listener = as->listener;
	conn->flags = as->flags;
	conn->unacked = as->unacked;
	conn_set_state(conns, conn, as->state);
	return conn;
}

/* From here on it is watched; `events` are those for which it is already. CLOSE_NONE, or why it cannot
 * be. */
static enum close_reason
conn_join(struct conns *conns, const struct conn *conn, uint32_t events)
{
	uint32_t wanted = conn_wanted_events(conn->flags);
	int fd = conn_fd(conns, conn), r = 0;

	if (!events)
		r = pollset_add(&conns->pollset, fd, conn->generation, wanted);
	else if (events != wanted)
		r = pollset_change(&conns->pollset, fd, conn->generation, wanted);
	if (r == 0)
		return CLOSE_NONE;
	return r == -ENOMEM ? CLOSE_NO_MEMORY : CLOSE_HANDOVER_FAILED;
}

struct conn *
conn_enter(struct conns *conns, int fd, const struct conn *as, enum close_reason *ret_reason)
{
	return conn_enter_watched(conns, fd, as, 0, ret_reason);
}

struct conn *
conn_enter_watched(struct conns *conns, int fd, const struct conn *as, uint32_t events,
	enum close_reason *ret_reason)
{
	struct conn *conn = conn_place(conns, fd, as);
	enum close_reason wrong = CLOSE_HANDOVER_FAILED;

	if (conn && events)
		conn->generation = as->generation;
	if (conn)
		wrong = conn_join(conns, conn, events);
	if (wrong == CLOSE_NONE)
		return conn;
	if (conn)
		conn_free(conns, conn);
	*ret_reason = wrong;
	return NULL;
}

static enum conn_state
conn_first_state(const struct conn_listener *listener, bool proxied)
{
	if (proxied)
		return CONN_PROXY;
	return listener->proto->shakes_hands ? CONN_HANDSHAKE : CONN_OPEN;
}

void
conn_adopt(struct conns *conns, int fd, const struct conn_newcomer *newcomer)
{
	const struct conn_listener *listener = &conns->listeners[newcomer->listener];
	struct conn as = {
		.id = newcomer->id,
		.opened_usec = newcomer->opened_usec,
		.active = wheel_tick(newcomer->opened_usec),
		.listener = newcomer->listener,
		.state = conn_first_state(listener, newcomer->proxied),
	};
	bool relayed = listener->service->relays && as.state == CONN_OPEN;
	enum close_reason wrong;
	struct conn *conn;

	/* The client of a relay is not read from until there is somebody to send it on to. */
	if (relayed)
		as.flags = CONN_HELD;
	conn = conn_place(conns, fd, &as);
	if (!conn) {
		conns->closed(conns->context, newcomer->id, CLOSE_HANDOVER_FAILED);
		return;
	}
	if (listener->service->relays)
		conns->links[fd].server = newcomer->server;
	conns->newcomer = conn;
	if (relayed)
		listener->service->open(conns, conn);
	conns->newcomer = NULL;
	if (conn->id != newcomer->id)
		return;
	wrong = conn_join(conns, conn, 0);
	if (wrong != CLOSE_NONE)
		conn_close(conns, conn, wrong);
	else
		conn_set_timer(conns, conn);
}

struct conn *
conn_find(struct conns *conns, int fd, uint64_t id)
{
	struct conn *conn;

	if (fd < 0 || (uint32_t)fd >= conns->capacity)
		return NULL;
	conn = &conns->table[fd];
	return conn_is_client(conn) && conn->id == id ? conn : NULL;
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
