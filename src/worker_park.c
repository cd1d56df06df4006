/*
 * worker_park: a worker ends, and its connections go on.
 *
 * Process: W.
 */
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "park.h"
#include "worker.h"

#define WORKER_LAST_WORDS_USEC 5000000u

/* Tells the supervisor that nobody is lost, and hands it what it is to keep. */
static void
worker_say_parked(struct worker *worker, const struct parked *parked)
{
	struct control_header header = {
		.type = CONTROL_PARKED, .flags = worker->stop_flags, .value = parked->n_records};
	unsigned n_fds = worker->stop_flags & CONTROL_FLAG_RETURN ? parked->n_fds : 0;
	int r;

	if (worker->channel.fd < 0)
		return; /* it is dead: that is why we are here */
	r = channel_send_last(
		&worker->channel, &header, parked->fds, n_fds, WORKER_LAST_WORDS_USEC);
	if (r < 0)
		log_error(NULL, "cannot tell the supervisor that %u connections are parked: %s",
			parked->n_records, strerror(-r));
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
	if (worker->stop_flags & CONTROL_FLAG_STORE)
		r = park_store(&parked, worker->epoch, worker->index);
	if (r < 0)
		log_error(NULL, "%u connections cannot be given to systemd: %s; they are lost",
			parked.n_records, strerror(-r));
	worker_report_closed(worker);
	worker_say_parked(worker, &parked);
	for (unsigned i = 0; i < parked.n_fds; i++)
		(void)close(parked.fds[i]);
}
