/*
 * worker_inherit: all that one worker of the process before left is taken up as it is.
 *
 * Process: W. In one go, before it serves anybody. Whatever waits, waits in the kernel: first all
 * descriptors are received, then one connection after the other goes on. If the set came along in
 * which they are watched, it is gone on with; for that each descriptor must have the number that it
 * had. The kernel gives the lowest that is free, so those that were free then are taken before. Where
 * they do not come in the order of their numbers, as those of clients and servers in turn, all numbers
 * are taken, and each descriptor is moved to its own.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "park_store.h"
#include "worker.h"

/* More numbers than this to be taken for each connection cost more than to watch them anew. */
#define INHERIT_GAPS_MAX 3

struct inherit {
	struct worker *worker;
	struct parkset_file *file;
	uint64_t n_records;
	int *fds;      /* by record; -1: it has not come */
	bool *fillers; /* by number, from WORKER_FDS_OWN on: a descriptor is there to fill it */
	uint32_t n_fillers;
	bool begun;         /* some connection has come */
	bool watched;       /* the set is that of then, and so are the numbers */
	bool moves;         /* they do not come in the order of their numbers */
	uint64_t n_missing; /* clients that did not come */
	uint64_t n_unknown; /* descriptors of which nothing is known */
	struct control_place places[FDPASS_FDS_MAX];
	unsigned n_places;
};

/* Did they have numbers that they can have here, beside `n_more`? Then *ret_end is above them. */
static bool
inherit_is_orderly(struct inherit *inherit, unsigned n_more, uint32_t *ret_end)
{
	uint32_t end = WORKER_FDS_OWN, capacity = inherit->worker->conns.capacity;

	for (uint64_t i = 0; i < inherit->n_records; i++) {
		struct parkfile_record buf;
		const struct parkfile_record *record = parkfile_look(&inherit->file->file, i, &buf);

		if (!record->watched || record->fd < WORKER_FDS_OWN || record->fd >= capacity)
			return false;
		if (record->fd < end)
			inherit->moves = true;
		else
			end = record->fd + 1;
	}
	*ret_end = end;
	return (!inherit->moves || capacity - end >= FDPASS_FDS_MAX + n_more) &&
	       end - WORKER_FDS_OWN <= (INHERIT_GAPS_MAX + 1) * inherit->n_records;
}

static void
inherit_drop_fillers(struct inherit *inherit)
{
	for (uint32_t i = 0; i < inherit->n_fillers; i++)
		if (inherit->fillers[i])
			(void)close((int)i + WORKER_FDS_OWN);
	free(inherit->fillers);
	inherit->fillers = NULL;
	inherit->n_fillers = 0;
}

/* Takes these numbers; false: that is not possible. */
static bool
inherit_fill(struct inherit *inherit, uint32_t first, uint32_t end)
{
	for (uint32_t number = first; number < end; number++) {
		int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, (int)number);

		if (fd != (int)number) {
			if (fd >= 0)
				(void)close(fd);
			return false;
		}
		inherit->fillers[number - WORKER_FDS_OWN] = true;
	}
	return true;
}

/* Takes the numbers below `end`: all, or those that no record has. */
static bool
inherit_fill_numbers(struct inherit *inherit, uint32_t end)
{
	uint32_t next = WORKER_FDS_OWN;

	inherit->n_fillers = end - WORKER_FDS_OWN;
	inherit->fillers = calloc(inherit->n_fillers + 1, sizeof(*inherit->fillers));
	if (!inherit->fillers)
		return false;
	for (uint64_t i = 0; !inherit->moves && i < inherit->n_records; i++) {
		struct parkfile_record buf;
		uint32_t fd = parkfile_look(&inherit->file->file, i, &buf)->fd;

		if (!inherit_fill(inherit, next, fd))
			return false;
		next = fd + 1;
	}
	return inherit_fill(inherit, next, end);
}

/* Takes fd; returns it under the number that is kept for it, if that is possible. */
static int
inherit_move(struct inherit *inherit, const struct parkfile_record *record, int fd)
{
	uint32_t place = record->fd - WORKER_FDS_OWN;

	if (!inherit->moves || !inherit->watched || !inherit->fillers[place] ||
		dup3(fd, (int)record->fd, O_CLOEXEC) < 0)
		return fd;
	inherit->fillers[place] = false;
	(void)close(fd);
	return (int)record->fd;
}

/* Above the numbers of the connections. */
static void
inherit_lift(int *fds, unsigned n, uint32_t end)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, (int)end);

		if (fd < 0)
			continue; /* then some number will not be right, which is noticed */
		(void)close(fds[i]);
		fds[i] = fd;
	}
}

/* Takes fd, the set. It is of use only if it comes before all others. */
static void
inherit_pollset(struct inherit *inherit, int fd, int *berths, unsigned n)
{
	struct pollset *pollset = &inherit->worker->conns.pollset;
	uint32_t end;

	if (inherit->begun || pollset->inherited || inherit->worker->conns.fd_end > 0 ||
		!inherit_is_orderly(inherit, n, &end)) {
		(void)close(fd);
		return;
	}
	inherit->watched = pollset_inherit(pollset, fd) == 0;
	inherit_lift(berths, n, end);
	inherit->watched &= inherit_fill_numbers(inherit, end);
}

/* Has it the number that the record says, and is it in the set as that? The set is asked as often as
 * the kernel was for a cookie: of the first of each message. */
static bool
inherit_is_watched(const struct inherit *inherit, const struct parkfile_record *record, int fd)
{
	if (!inherit->watched || record->fd != (uint32_t)fd)
		return false;
	return !record->cookie || pollset_change(&inherit->worker->conns.pollset, fd,
					  record->generation, record->watched) == 0;
}

/* Takes fd, of this record. */
static void
inherit_keep(struct inherit *inherit, uint64_t index, const struct parkfile_record *record, int fd)
{
	fd = inherit_move(inherit, record, fd);
	inherit->fds[index] = fd;
	inherit->watched = inherit_is_watched(inherit, record, fd);
	if (!inherit->watched)
		inherit_drop_fillers(inherit); /* there may be no room for the rest beside them */
}

static void
inherit_message(struct inherit *inherit, const struct fdpass_message *message, uint32_t first)
{
	bool sound = false;

	inherit->begun = true;
	for (unsigned i = 0; i < message->n_fds; i++) {
		uint64_t index = (uint64_t)first + i;
		int fd = message->fds[i];
		const struct parkfile_record *record;
		struct parkfile_record buf;

		if (index < inherit->n_records && inherit->fds[index] < 0) {
			record = parkfile_look(&inherit->file->file, index, &buf);
			if (parkset_matches(record, fd, &sound)) {
				inherit_keep(inherit, index, record, fd);
				continue;
			}
		}
		(void)close(fd);
		inherit->n_unknown++;
	}
}

/* Receives what is in a berth. `rest` are that one and the others. */
static void
inherit_empty(struct inherit *inherit, int *rest, unsigned n)
{
	struct fdpass_message message;
	struct park_message head;

	while (fdpass_receive(rest[0], &head, sizeof(head), &message) == 0) {
		worker_tick(inherit->worker);
		if (message.length != sizeof(head)) {
			inherit->n_unknown += message.n_fds;
			fdpass_close(&message, 0);
		} else if (head.first != PARK_POLLSET) {
			inherit_message(inherit, &message, head.first);
		} else if (message.n_fds > 0) {
			inherit_pollset(inherit, message.fds[0], rest, n);
			fdpass_close(&message, 1);
		}
	}
	(void)close(rest[0]);
}

static void
inherit_report(struct inherit *inherit)
{
	struct control_header header = {.type = CONTROL_ADOPTED,
		.flags = CONTROL_FLAG_INHERITED,
		.count = (uint16_t)inherit->n_places};

	if (inherit->n_places > 0)
		worker_send(inherit->worker, &header, inherit->places);
	inherit->n_places = 0;
	worker_tick(inherit->worker);
}

/* The descriptor of the server of this client, out of the list; -1: there is none. */
static int
inherit_follower(struct inherit *inherit, uint64_t index, uint64_t id)
{
	int fd = -1;

	if (index + 1 < inherit->n_records && inherit->file->fates[index + 1] == PARKSET_FOLLOW &&
		parkset_is_server(inherit->file, index + 1, id)) {
		fd = inherit->fds[index + 1];
		inherit->fds[index + 1] = -1;
	}
	return fd;
}

static struct worker_parked
inherit_parked(const struct inherit *inherit, uint64_t index, const struct parkfile_record *record)
{
	const struct parkset_file *file = inherit->file;

	return (struct worker_parked){
		.file = file,
		.index = (uint32_t)index,
		.listener = file->facts.listeners[record->listener],
		.server = parkset_server(file, record),
		.watched = inherit->watched,
	};
}

static void
inherit_client(struct inherit *inherit, uint64_t index)
{
	struct parkfile_record buf;
	const struct parkfile_record *record = parkfile_look(&inherit->file->file, index, &buf);
	const struct worker_parked parked = inherit_parked(inherit, index, record);
	int fd = inherit->fds[index];

	if (fd < 0) {
		inherit->n_missing++;
		worker_on_closed(inherit->worker, record->id, CLOSE_PARK_FAILED);
		return;
	}
	assert(parked.listener < inherit->worker->conf->n_listeners);
	worker_restore(inherit->worker, &parked, fd, inherit_follower(inherit, index, record->id));
	inherit->places[inherit->n_places++] = (struct control_place){.id = record->id, .fd = fd};
	if (inherit->n_places == FDPASS_FDS_MAX)
		inherit_report(inherit);
}

/* Takes the descriptor of a server that was not its client's: an orphan's, or one of none. */
static void
inherit_orphan(struct inherit *inherit, uint64_t index)
{
	struct parkfile_record buf;
	const struct parkfile_record *record = parkfile_look(&inherit->file->file, index, &buf);
	const struct worker_parked parked = inherit_parked(inherit, index, record);

	if (parkset_is_orphan(inherit->file, record))
		worker_restore_orphan(inherit->worker, &parked, inherit->fds[index]);
	else
		(void)close(inherit->fds[index]);
}

/* All that came has come: everybody goes on. */
static void
inherit_go_on(struct inherit *inherit)
{
	for (uint64_t i = 0; i < inherit->n_records; i++) {
		uint8_t fate = inherit->file->fates[i];

		if (fate == PARKSET_KEEP) {
			inherit_client(inherit, i);
			continue;
		}
		if (inherit->fds[i] < 0)
			continue;
		if (fate == PARKSET_FOLLOW) {
			inherit_orphan(inherit, i);
			continue;
		}
		(void)close(inherit->fds[i]);
		inherit->n_unknown += fate == PARKSET_DONE;
	}
	inherit_report(inherit);
}

static void
inherit_receive(struct inherit *inherit, int *berths, unsigned n)
{
	struct pollset *pollset = &inherit->worker->conns.pollset;

	for (uint64_t i = 0; i < inherit->n_records; i++)
		inherit->fds[i] = -1;
	for (unsigned i = 0; i < n; i++)
		inherit_empty(inherit, berths + i, n - i);
	inherit_drop_fillers(inherit);
	if (pollset->inherited && !inherit->watched && pollset_renew(pollset) < 0)
		log_error(NULL, "no descriptor is left to watch connections with");
}

void
worker_on_inherit(
	struct worker *worker, const struct control_message *message, struct fdpass_message *fds)
{
	struct control_header header = {.type = CONTROL_INHERITED};
	struct inherit inherit = {.worker = worker};

	assert(message->header.value < worker->parkset->n_files);
	inherit.file = &worker->parkset->files[message->header.value];
	inherit.n_records = inherit.file->file.head.n_records;
	inherit.fds = malloc((inherit.n_records + 1) * sizeof(*inherit.fds));
	if (!inherit.fds) {
		log_error(NULL, "no memory to take up what was parked; stopping");
		worker->stopping = worker->failed = true;
		return;
	}
	inherit_receive(&inherit, fds->fds, fds->n_fds);
	fds->n_fds = 0;
	inherit_go_on(&inherit);
	free(inherit.fds);
	worker_report_closed(worker);
	header.value = inherit.n_missing;
	header.value2 = inherit.n_unknown;
	worker_send(worker, &header, NULL);
	drain_wake(&worker->drain);
}
