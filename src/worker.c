/* worker: see worker.h. */
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "notify.h"

/* What may wait for the supervisor to read. A notice of each connection's close fits many times. */
#define WORKER_CHANNEL_MAX ((size_t)256 * 1024 * 1024)

_Static_assert(WORKER_REPORT_MAX * sizeof(struct control_peer) + sizeof(struct control_header) <=
		       CONTROL_MESSAGE_MAX,
	"a report is one message");

void
worker_send(struct worker *worker, const struct control_header *header, const void *records)
{
	int r = channel_send(&worker->channel, header, records);

	/* If the supervisor is gone, the channel will tell once all that it had sent is read:
	 * connections, which are to be kept with the others. */
	if (r == 0 || r == -EPIPE || r == -ECONNRESET || worker->stopping)
		return;
	log_error(NULL, "cannot report to the supervisor: %s; stopping", strerror(-r));
	worker->stopping = worker->failed = true;
}

static void
worker_say(struct worker *worker, enum control_type type, uint64_t value)
{
	worker_send(worker, &(struct control_header){.type = type, .value = value}, NULL);
}

void
worker_report_closed(struct worker *worker)
{
	struct control_header header = {
		.type = CONTROL_CLOSED, .count = (uint16_t)worker->n_closed};

	worker_report_adopted(worker);
	if (worker->n_closed > 0)
		worker_send(worker, &header, worker->closed);
	worker->n_closed = 0;
}

void
worker_on_closed(void *context, uint64_t id, enum close_reason reason)
{
	struct worker *worker = context;

	worker->closed[worker->n_closed++] =
		(struct control_closed){.id = id, .reason = (uint8_t)reason};
	if (worker->n_closed == WORKER_REPORT_MAX)
		worker_report_closed(worker);
}

static void
worker_on_over(void *context)
{
	struct worker *worker = context;

	worker->over = true;
}

/* Before it takes connections, so that none of them waits for it. */
static void
worker_prepare_handshakes(const struct worker *worker)
{
	for (size_t i = 0; i < worker->conf->n_listeners; i++)
		if (worker->conf->listeners[i].protocol == CONF_PROTOCOL_WEBSOCKET) {
			ws_handshake_prepare();
			return;
		}
}

static int
worker_read_conf(int fd, struct conf **ret_conf)
{
	struct conf_errors errors = {0};
	struct stat st;
	void *text;
	int r;

	if (fstat(fd, &st) < 0 || st.st_size == 0)
		return -EBADMSG;
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return -errno;
	r = conf_parse(text, (size_t)st.st_size, "reload", ret_conf, &errors);
	conf_errors_done(&errors);
	(void)munmap(text, (size_t)st.st_size);
	return r;
}

static void
worker_on_reload(struct worker *worker, const struct fdpass_message *fds)
{
	struct conf *fresh;
	int r = fds->n_fds == 1 ? worker_read_conf(fds->fds[0], &fresh) : -EBADMSG;

	if (r < 0) {
		/* The supervisor checked it, so this is want of memory or of a descriptor. To go on
		 * with other limits than the rest would be wrong: a new worker starts with them. */
		log_error(
			NULL, "cannot take over the new configuration: %s; stopping", strerror(-r));
		worker->stopping = worker->failed = true;
		return;
	}
	assert(fresh->n_listeners == worker->conf->n_listeners);
	conf_free(worker->conf);
	worker->conf = fresh;
	worker_apply_conf(worker);
	sweep_start(&worker->retime);
}

static void
worker_on_message(void *context, const struct control_message *message, struct fdpass_message *fds)
{
	struct worker *worker = context;
	struct conns *conns = &worker->conns;
	const struct iobuf *longest;

	conns_read_clock(conns);
	switch ((enum control_type)message->header.type) {
	case CONTROL_HANDOVER:
		worker_on_handover(worker, message, fds);
		break;
	case CONTROL_INHERIT:
		worker_on_inherit(worker, message, fds);
		break;
	case CONTROL_QUERY:
		worker_query(worker, message);
		break;
	case CONTROL_DRAIN:
		drain_start(&worker->drain, message->header.value);
		break;
	case CONTROL_RESUME:
		drain_cancel(&worker->drain);
		break;
	case CONTROL_RELOAD:
		worker_on_reload(worker, fds);
		break;
	case CONTROL_RECOUNT:
		sweep_start(&worker->recount);
		break;
	case CONTROL_ASK_LONGEST:
		longest = iobuf_longest(&conns->iobufs);
		worker_say(worker, CONTROL_LONGEST, longest ? longest->length_bytes : 0);
		break;
	case CONTROL_SHED:
		worker_say(worker, CONTROL_SHED_DONE,
			conns_shed(conns, message->header.value, message->header.value2));
		break;
	case CONTROL_ASSIGN:
		worker_on_assign(worker, message);
		break;
	case CONTROL_RESTORED:
		parkset_done(worker->parkset);
		break;
	case CONTROL_STOP:
		worker->stop_flags = message->header.flags;
		if (worker->stop_flags)
			worker_prepare_park(worker);
		else
			worker->stopping = true;
		break;
	default: /* what a worker says itself: the supervisor is the same program */
		assert(!"a worker's message came to a worker");
	}
}

static void
worker_on_channel_closed(void *context)
{
	struct worker *worker = context;

	if (worker->stopping)
		return;
	worker->stop_flags = notify_has_store() ? CONTROL_FLAG_STORE : 0;
	worker->stopping = true;
	log_error(NULL, "the supervisor is gone; %u connections are %s", worker->conns.count,
		worker->stop_flags ? "parked with systemd" : "closed");
}

void
worker_tick(struct worker *worker)
{
	conns_read_clock(&worker->conns);
	metrics_write(&worker->conns.slot->tick_usec, worker->conns.now_usec);
}

static void
worker_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	(void)fd;
	(void)what;
	worker_tick(worker);
	iobuf_pool_trim(&worker->conns.iobufs);
}

static void
worker_on_wheel(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	(void)fd;
	(void)what;
	/* The turn ends with the timers; this is only to have one. */
	worker->wheel_armed_usec = 0;
}

/* New limits hold for those who are in, too. */
static void
worker_on_retime(void *context, struct conn *conn)
{
	struct conns *conns = &((struct worker *)context)->conns;
	const struct conn_listener *listener = conn_listener(conns, conn);
	struct conn *other = conn_other(conns, conn);

	/* A relayed one is not sent more than it takes. */
	if (!listener->service->relays && conn_queued_bytes(conn) > listener->queued_max) {
		conn_close(conns, conn, CLOSE_SLOW_READER);
		return;
	}
	conn_set_timer(conns, conn);
	if (other)
		conn_set_timer(conns, other);
}

static void
worker_on_recount_slice(void *context, bool last)
{
	struct worker *worker = context;

	worker_query_send_peers(worker);
	if (last)
		worker_say(worker, CONTROL_RECOUNTED, 0);
}

/* Runs what is due, sets the timer for what is next, and reports: once a turn of the loop. */
static void
worker_end_turn(struct worker *worker)
{
	struct conns *conns = &worker->conns;
	uint64_t next_usec;
	struct timeval wait;

	conns_read_clock(conns);
	if (!conns_run_timers(conns, &next_usec)) {
		if (worker->wheel_armed_usec)
			evtimer_del(worker->wheel_event);
		worker->wheel_armed_usec = 0;
	} else if (next_usec != worker->wheel_armed_usec) {
		wait = clock_timeval(next_usec > conns->now_usec ? next_usec - conns->now_usec : 0);
		evtimer_add(worker->wheel_event, &wait);
		worker->wheel_armed_usec = next_usec;
	}
	worker_send_asks(worker);
	worker_report_closed(worker);
	if (worker->over)
		worker_say(worker, CONTROL_OVER, 0);
	worker->over = false;
}

/* When there is something to do that no descriptor tells of, if libevent has nothing under way. */
static uint64_t
worker_due_usec(const struct worker *worker)
{
	uint64_t tick_usec =
		metrics_read(&worker->conns.slot->tick_usec) + worker->tick_period_usec;

	return worker->wheel_armed_usec && worker->wheel_armed_usec < tick_usec
		       ? worker->wheel_armed_usec
		       : tick_usec;
}

/* Most of the time there are only connections to wait for, and the supervisor: that takes a system
 * call less than libevent does. */
static void
worker_wait(struct worker *worker)
{
	struct conns *conns = &worker->conns;
	uint64_t due_usec = worker_due_usec(worker);
	int n_events = worker->n_events + (worker->wheel_armed_usec ? 1 : 0);

	if (due_usec <= conns->now_usec || conns->pollset.own_fd < 0 ||
		event_base_get_num_events(worker->base, EVENT_BASE_COUNT_ADDED) != n_events)
		event_base_loop(worker->base, EVLOOP_ONCE);
	else if (pollset_wait(&conns->pollset, (int)((due_usec - conns->now_usec) / 1000 + 1)))
		channel_read(&worker->channel);
}

static int
worker_init_conns(struct worker *worker, struct metrics *metrics)
{
	struct conns *conns = &worker->conns;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur > (1u << 30))
		limit.rlim_cur = 1u << 30;
	conns->metrics = metrics;
	conns->slot = &metrics->slots[1 + worker->index];
	conns->closed = worker_on_closed;
	conns->over = worker_on_over;
	conns->ask = worker_on_ask;
	conns->upstreams = worker->upstreams;
	conns->context = worker;
	return conns_init(conns, worker->base, (uint32_t)limit.rlim_cur);
}

static int
worker_init_events(struct worker *worker)
{
	worker->tick_event = event_new(worker->base, -1, EV_PERSIST, worker_on_tick, worker);
	worker->wheel_event = evtimer_new(worker->base, worker_on_wheel, worker);
	worker->retime = (struct sweep){
		.conns = &worker->conns, .visit = worker_on_retime, .context = worker};
	worker->recount = (struct sweep){
		.conns = &worker->conns,
		.visit = worker_query_recount,
		.slice = worker_on_recount_slice,
		.context = worker,
	};
	worker->prepare = (struct sweep){
		.conns = &worker->conns,
		.visit = worker_on_prepare,
		.slice = worker_on_prepare_slice,
		.context = worker,
	};
	if (!worker->tick_event || !worker->wheel_event ||
		sweep_init(&worker->prepare, worker->base) < 0 ||
		sweep_init(&worker->retime, worker->base) < 0 ||
		sweep_init(&worker->recount, worker->base) < 0 ||
		drain_init(&worker->drain, worker->base, &worker->conns) < 0)
		return -ENOMEM;
	return 0;
}

/*
 * Its few descriptors are watched by poll(2). In an epoll set the one of the connections would be
 * nested, and then the kernel takes a lock of the whole machine for each connection that is added
 * (epnested_mutex in fs/eventpoll.c), for which all workers wait when all of them get connections.
 */
static struct event_base *
worker_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && event_config_avoid_method(config, "epoll") == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

/* What it has not taken for itself of its own numbers, no connection may have. */
static int
worker_reserve_fds(void)
{
	int fd;

	do
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	while (fd >= 0 && fd < WORKER_FDS_OWN);
	if (fd < 0)
		return -errno;
	(void)close(fd);
	return 0;
}

static int
worker_init(struct worker *worker, struct metrics *metrics, int channel_fd)
{
	const struct channel_callbacks callbacks = {
		.message = worker_on_message,
		.closed = worker_on_channel_closed,
		.context = worker,
	};
	int r;

	worker->base = worker_base();
	if (!worker->base)
		return -ENOMEM;
	r = channel_init(
		&worker->channel, worker->base, channel_fd, WORKER_CHANNEL_MAX, &callbacks);
	if (r == 0)
		r = worker_init_conns(worker, metrics);
	if (r == 0)
		r = pollset_watch_own(&worker->conns.pollset, channel_fd);
	if (r == 0)
		r = worker_init_events(worker);
	if (r == 0)
		r = worker_reserve_fds();
	return r;
}

/* A word to each client, if its protocol has one, but no time for an answer. A connection to a server
 * goes with its client, before which it must not go; but what is still queued there outlasts that. */
static void
worker_close_all(struct worker *worker)
{
	enum close_reason reason = worker->stop_flags ? CLOSE_PARK_FAILED : CLOSE_SHUTDOWN;
	struct conns *conns = &worker->conns;

	for (uint32_t fd = 0; fd < conns->fd_end; fd++) {
		struct conn *conn = &conns->table[fd];

		if (conn_is_client(conn) && conn->state != CONN_CLOSING)
			conn_end(conns, conn, reason);
		if (conn_is_client(conn))
			conn_close(conns, conn, reason);
	}
	for (uint32_t fd = 0; fd < conns->fd_end; fd++)
		if (conns->table[fd].state != CONN_FREE)
			conn_close(conns, &conns->table[fd], reason);
}

static void
worker_done(struct worker *worker)
{
	struct conns *conns = &worker->conns;

	if (worker->stop_flags)
		worker_park(worker);
	worker_close_all(worker);
	worker_report_closed(worker);
	drain_done(&worker->drain);
	sweep_done(&worker->prepare);
	sweep_done(&worker->recount);
	sweep_done(&worker->retime);
	event_free(worker->wheel_event);
	event_free(worker->tick_event);
	channel_done(&worker->channel);
	conns_done(conns);
	event_base_free(worker->base);
	worker_conf_done(worker);
}

int
worker_run(unsigned index, const struct worker_heritage *heritage, int channel_fd)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	sigset_t watchdog;
	bool failed;
	int r;

	if (!worker)
		return EXIT_FAILURE;
	/* systemd's watchdog sends it to all processes, and means the supervisor; abort(3) still works. */
	sigemptyset(&watchdog);
	sigaddset(&watchdog, SIGABRT);
	(void)sigprocmask(SIG_BLOCK, &watchdog, NULL);
	worker->index = index;
	worker->conf = heritage->conf;
	worker->parkset = heritage->parkset;
	parkset_inherit(worker->parkset);
	upstreams_inherit(heritage->upstreams);
	worker->upstreams = heritage->upstreams;
	worker->epoch = heritage->epoch;
	snprintf(worker->name, sizeof(worker->name), "worker %u", index);
	log_open_forked(worker->name);
	r = worker_init(worker, heritage->metrics, channel_fd);
	if (r < 0) {
		/* The process ends, and all that was made with it. */
		log_error(NULL, "cannot start: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	worker_apply_conf(worker);
	worker_prepare_handshakes(worker);
	worker_on_tick(-1, 0, worker);
	worker->n_events = event_base_get_num_events(worker->base, EVENT_BASE_COUNT_ADDED);
	worker_say(worker, CONTROL_READY, 0);
	while (!worker->stopping) {
		worker_wait(worker);
		worker_end_turn(worker);
	}
	failed = worker->failed;
	worker_done(worker);
	log_open_forked("worker");
	free(worker);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
