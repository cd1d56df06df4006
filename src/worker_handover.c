/*
 * worker_handover: connections come from the supervisor, new ones and those of the process before.
 *
 * Process: W.
 */
#include <assert.h>
#include <unistd.h>

#include "reset.h"
#include "worker.h"

/* What is known of a connection of the process before; the supervisor has checked what it needs. */
static struct parkfile_record
worker_parked(const struct worker_parked *parked, uint32_t index)
{
	struct parkfile_record record = parkfile_record(&parked->file->file, index);

	record.listener = parked->listener;
	record.reason = parked->file->facts.reasons[record.reason];
	if (record.reason == PARK_FACTS_UNKNOWN)
		record.reason = CLOSE_SHUTDOWN;
	if (!parked->watched)
		record.watched = 0;
	return record;
}

void
worker_restore(struct worker *worker, const struct worker_parked *parked, int fd, int follower)
{
	const struct parkset_file *file = parked->file;
	struct parkfile_record record = worker_parked(parked, parked->index);
	struct conns *conns = &worker->conns;
	struct conn *client;

	conn_restore(conns, fd, &record, parkfile_waiting(&file->file, &record), parked->server);
	client = conn_find(conns, fd, record.id);
	if (follower >= 0 && client) {
		record = worker_parked(parked, parked->index + 1);
		conn_restore_upstream(
			conns, follower, client, &record, parkfile_waiting(&file->file, &record));
		client = conn_find(conns, fd, record.id);
	} else if (follower >= 0) {
		(void)close(follower);
	}
	if (client)
		conn_restored(conns, client, file->facts.parked_usec);
}

void
worker_restore_orphan(struct worker *worker, const struct worker_parked *parked, int fd)
{
	struct parkfile_record record = worker_parked(parked, parked->index);
	const struct conns *conns = &worker->conns;

	if (parked->listener == PARK_FACTS_UNKNOWN ||
		!conns->listeners[parked->listener].service->relays) {
		reset_on_close(fd);
		(void)close(fd);
		return;
	}
	conn_restore_orphan(&worker->conns, fd, &record,
		parkfile_waiting(&parked->file->file, &record), parked->server);
}

/* One of the process before; `follower` is a client's connection to a server, or -1. */
static void
worker_take_up(struct worker *worker, const struct control_handover *handover, int fd, int follower)
{
	const struct worker_parked parked = {
		.file = &worker->parkset->files[handover->file - 1],
		.index = handover->record,
		.listener = handover->listener,
		.server = handover->server,
	};

	if (handover->flags & HANDOVER_ORPHAN)
		worker_restore_orphan(worker, &parked, fd);
	else
		worker_restore(worker, &parked, fd, follower);
}

static void
worker_adopt(struct worker *worker, const struct control_handover *handover, int fd)
{
	const struct conn_newcomer newcomer = {
		.id = handover->id,
		.opened_usec = handover->opened_usec,
		.listener = handover->listener,
		.proxied = handover->flags & HANDOVER_PROXIED,
		.server = handover->server,
	};

	conn_adopt(&worker->conns, fd, &newcomer);
}

/* The message has `n` records, and `n_fds` descriptors that came. Takes the one at `i`, or two. */
static void
worker_take(struct worker *worker, const struct control_handover *records, unsigned n,
	const struct fdpass_message *fds, unsigned n_fds, unsigned i)
{
	bool followed = i + 1 < n && records[i + 1].flags & HANDOVER_UPSTREAM;

	assert(records[i].listener < worker->conf->n_listeners);
	/* The kernel drops descriptors for which this process has no room. */
	if (i >= n_fds && records[i].flags & HANDOVER_ORPHAN)
		return;
	if (i >= n_fds)
		worker_on_closed(worker, records[i].id, CLOSE_HANDOVER_FAILED);
	else if (records[i].file > 0)
		worker_take_up(worker, &records[i], fds->fds[i],
			followed && i + 1 < n_fds ? fds->fds[i + 1] : -1);
	else
		worker_adopt(worker, &records[i], fds->fds[i]);
}

void
worker_report_adopted(struct worker *worker)
{
	struct control_header header = {
		.type = CONTROL_ADOPTED, .count = (uint16_t)worker->n_adopted};

	if (worker->n_adopted > 0)
		worker_send(worker, &header, worker->adopted);
	worker->n_adopted = 0;
}

/* Each record of the message is confirmed, so that the supervisor knows what is still to be. */
static void
worker_confirm(struct worker *worker, const struct control_place *place)
{
	if (worker->n_adopted == WORKER_REPORT_MAX)
		worker_report_adopted(worker);
	worker->adopted[worker->n_adopted++] = *place;
}

void
worker_on_handover(
	struct worker *worker, const struct control_message *message, struct fdpass_message *fds)
{
	const struct control_handover *records = message->records;
	unsigned n = message->header.count, n_fds = fds->n_fds;

	assert(n <= FDPASS_FDS_MAX);
	fds->n_fds = 0; /* ours from here on */
	for (unsigned i = 0; i < n; i++) {
		bool server = records[i].flags & (HANDOVER_UPSTREAM | HANDOVER_ORPHAN);

		if (!(records[i].flags & HANDOVER_UPSTREAM))
			worker_take(worker, records, n, fds, n_fds, i);
		/* Of a server the supervisor keeps no place. */
		worker_confirm(worker, &(struct control_place){
					       .id = server || i >= n_fds ? 0 : records[i].id,
					       .fd = i < n_fds ? fds->fds[i] : -1,
				       });
	}
	drain_wake(&worker->drain);
}
