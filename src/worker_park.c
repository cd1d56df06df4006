/*
 * worker_park: a worker ends, and its connections go on.
 *
 * Process: W.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "park.h"
#include "worker.h"

#define WORKER_LAST_WORDS_USEC 5000000u
/* How long berths are offered: at first for longer than those who still park try (PARK_TRIES), and
 * not by all workers for the same time. */
#define WORKER_OFFER_USEC(index) (1500000u + (index) % 32 * 20000u)
#define WORKER_OFFER_AGAIN_USEC 100000u
#define WORKER_RETRACT_USEC 50000u /* between two who give connections up */
#define WORKER_PAUSE_USEC 20000u

/* Tells the supervisor that nobody is lost, and hands it what it is to keep. */
static int
worker_say_parked(struct worker *worker, const struct parked *parked, uint64_t timeout_usec)
{
	struct control_header header = {
		.type = CONTROL_PARKED, .flags = worker->stop_flags, .value = parked->n_records};
	unsigned n_fds = worker->stop_flags & CONTROL_FLAG_RETURN ? parked->n_fds : 0;

	if (worker->channel.fd < 0)
		return 0; /* it is dead: that is why we are here */
	return channel_send_last(&worker->channel, &header, parked->fds, n_fds, timeout_usec);
}

/* -ENOBUFS: for so long too many descriptors were in flight. */
static int
worker_store(struct worker *worker, const struct parked *parked, uint64_t timeout_usec)
{
	static const struct timespec pause = {0, WORKER_PAUSE_USEC * 1000};

	for (uint64_t waited_usec = 0;; waited_usec += WORKER_PAUSE_USEC) {
		int r = park_store(parked, worker->epoch, worker->index);

		if (r != -ETOOMANYREFS)
			return r;
		if (waited_usec >= timeout_usec)
			return -ENOBUFS;
		(void)nanosleep(&pause, NULL);
	}
}

/* What another worker has just given up may be enough for this one as well. */
static bool
worker_may_retract(struct worker *worker)
{
	struct metrics *metrics = worker->conns.metrics;
	uint64_t now_usec = clock_now_usec();

	for (unsigned i = 0; i < metrics->n_slots; i++) {
		uint64_t last_usec = metrics_read(&metrics->slots[i].retracted_usec);

		if (last_usec && now_usec < last_usec + WORKER_RETRACT_USEC)
			return false;
	}
	metrics_write(&worker->conns.slot->retracted_usec, now_usec);
	return true;
}

/* To systemd, or to the supervisor. While more descriptors of the user are in flight than may be, no
 * more are taken, not even a berth: then connections are taken back, so that the rest survives. */
static int
worker_give(struct worker *worker, struct parked *parked)
{
	uint64_t timeout_usec = WORKER_OFFER_USEC(worker->index);
	bool store = worker->stop_flags & CONTROL_FLAG_STORE;
	unsigned n_retracted = 0, n;
	int r;

	for (;;) {
		r = store ? worker_store(worker, parked, timeout_usec)
			  : worker_say_parked(worker, parked, timeout_usec);
		if (r != -ENOBUFS)
			break;
		timeout_usec = WORKER_OFFER_AGAIN_USEC;
		if (!worker_may_retract(worker))
			continue;
		if (n_retracted == 0)
			park_let_go(parked);
		n = park_retract(parked);
		if (n == 0)
			break;
		n_retracted += n;
	}
	if (n_retracted > 0)
		log_error(NULL,
			"%u connections cannot be passed on: too many descriptors in flight: is "
			"LimitNOFILE= above the connections?; closing them",
			n_retracted);
	if (r < 0)
		log_error(NULL, "%u connections cannot be given to %s: %s; they are lost",
			parked->n_records, store ? "systemd" : "the supervisor", strerror(-r));
	return r;
}

void
worker_on_prepare(void *context, struct conn *conn)
{
	conn_prepare_park(&((struct worker *)context)->conns, conn);
}

void
worker_on_prepare_slice(void *context, bool last)
{
	struct worker *worker = context;

	worker->stopping |= last;
}

void
worker_prepare_park(struct worker *worker)
{
	if (conns_prepare_park(&worker->conns) < 0)
		worker->stopping = true;
	else
		sweep_start(&worker->prepare);
}

void
worker_park(struct worker *worker)
{
	struct conns *conns = &worker->conns;
	struct park_writer writer = {.conf = worker->conf,
		.metrics = conns->metrics,
		.upstreams = worker->upstreams,
		.slot = 1 + worker->index};
	struct parked parked;
	uint64_t next_usec;
	int r;

	/* What is due is done here; from then on it is for the next process. */
	conns_read_clock(conns);
	(void)conns_run_timers(conns, &next_usec);
	writer.parked_usec = conns->now_usec;
	r = park_connections(conns, &writer, &parked);
	if (r < 0) {
		log_error(NULL, "%u connections cannot be parked: %s; closing them", conns->count,
			strerror(-r));
		return;
	}
	worker_report_closed(worker);
	r = worker_give(worker, &parked);
	if (r == -ETIMEDOUT || worker->stop_flags & CONTROL_FLAG_STORE)
		r = worker_say_parked(worker, &parked, WORKER_LAST_WORDS_USEC);
	if (r < 0)
		log_error(NULL, "cannot tell the supervisor that %u connections are parked: %s",
			parked.n_records, strerror(-r));
	for (unsigned i = 0; i < parked.n_fds; i++)
		(void)close(parked.fds[i]);
}
