/* restore: see restore.h. Which connections stay is decided in restore_decide.c. */
#include "restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "park_store.h"
#include "reset.h"
#include "restore_private.h"

#define RESTORE_MESSAGES 16 /* of a berth, in a turn of the loop */

static struct parkset_file *
restore_file(struct restore *restore)
{
	return parkset_file_of(&restore->set, &restore->set.berths[restore->berth]);
}

/* Gives a connection to a worker. False: none can take it just now. */
static bool
restore_place(struct restore *restore, const struct parkset_file *file, uint32_t index, int fd)
{
	struct parkfile_record record = parkfile_record(&file->file, index);
	struct roster_entry *entry = roster_find(restore->roster, record.id);
	struct control_handover handover = {
		.id = record.id,
		.listener = (uint8_t)entry->listener,
		.file = (uint16_t)(file - restore->set.files + 1),
		.record = index,
		.server = roster_server(restore->roster, record.id),
	};
	unsigned n_fds = conf_fds_each(&restore->conf->listeners[entry->listener]);
	bool full;
	struct crew_member *member = crew_pick(restore->crew, n_fds, &full);

	if (!member && !full)
		return false;
	if (!member) {
		(void)close(fd);
		restore->lost(restore->context, record.id, CLOSE_HANDOVER_FAILED);
		return true;
	}
	entry->worker = member->index;
	entry->fd = -1;
	crew_give(member, &handover, fd, n_fds);
	restore->client_with = member;
	restore->n_restored++;
	return true;
}

/* The same for an orphan. */
static bool
restore_place_orphan(struct restore *restore, const struct parkset_file *file, uint32_t index,
	const struct parkfile_record *record, int fd)
{
	struct control_handover handover = {
		.id = record->id,
		.listener = file->facts.listeners[record->listener],
		.flags = HANDOVER_ORPHAN,
		.file = (uint16_t)(file - restore->set.files + 1),
		.record = index,
		.server = parkset_server(file, record),
	};
	bool full, known = handover.listener != PARK_FACTS_UNKNOWN;
	struct crew_member *member = crew_pick(restore->crew, 1, &full);

	if (known && member) {
		crew_give_upstream(member, &handover, fd);
	} else if (!known || full) {
		reset_on_close(fd);
		(void)close(fd);
	} else {
		return false;
	}
	return true;
}

/* Gives the connection to a server to the worker that has just got its client. */
static void
restore_follow(struct restore *restore, const struct parkset_file *file, uint32_t index, int fd)
{
	struct crew_member *member = restore->client_with;
	struct parkfile_record record = parkfile_record(&file->file, index);
	struct roster_entry *entry = member ? roster_find(restore->roster, record.id) : NULL;
	struct control_handover handover = {
		.id = record.id,
		.flags = HANDOVER_UPSTREAM,
		.file = (uint16_t)(file - restore->set.files + 1),
		.record = index,
		.server = UPSTREAM_NONE,
	};

	/* Not all that is behind a client was announced by it, and looked at for that. */
	if (!entry || parkfile_record(&file->file, index - 1).id != record.id ||
		!parkset_is_server(file, index, record.id)) {
		(void)close(fd);
		return;
	}
	handover.listener = (uint8_t)entry->listener;
	crew_give_upstream(member, &handover, fd);
}

/* False: it has to wait. */
static bool
restore_by_fate(struct restore *restore, const struct parkset_file *file, uint32_t index,
	const struct parkfile_record *record, int fd)
{
	uint8_t fate = file->fates[index];

	if (fate == PARKSET_KEEP)
		return restore_place(restore, file, index, fd);
	if (fate == PARKSET_FOLLOW && parkset_is_orphan(file, record))
		return restore_place_orphan(restore, file, index, record, fd);
	if (fate == PARKSET_FOLLOW)
		restore_follow(restore, file, index, fd);
	else
		(void)close(fd);
	return true;
}

/* One descriptor of the message. False: it has to wait. */
static bool
restore_one(struct restore *restore, struct parkset_file *file, uint32_t index, int fd)
{
	struct parkfile_record record;
	uint8_t *fate = NULL;

	if (file && index < file->file.head.n_records) {
		fate = &file->fates[index];
		record = parkfile_record(&file->file, index);
	}
	if (!fate || *fate != PARKSET_FOLLOW)
		restore->client_with = NULL;
	if (!fate || !parkset_matches(&record, fd, &restore->sound) || *fate == PARKSET_DONE) {
		(void)close(fd);
		restore->n_unknown++;
		return true;
	}
	if (!restore_by_fate(restore, file, index, &record, fd))
		return false;
	if (*fate == PARKSET_FOLLOW)
		restore->client_with = NULL;
	*fate = PARKSET_DONE;
	return true;
}

/* Connections that are with us until a batch is sent. */
static unsigned
restore_held(const struct restore *restore)
{
	unsigned n = 0;

	for (unsigned i = 0; i < restore->crew->n_members; i++)
		n += restore->crew->members[i].n_batch;
	return n;
}

/* May another message be received? What does not fit into our table of descriptors the kernel drops,
 * and half of it is for what else we have. False: some worker is to take its batch first, and
 * callbacks.room() tells when it has. */
static bool
restore_has_room(struct restore *restore)
{
	unsigned most = restore->crew->capacity / 2;

	if (restore_held(restore) + FDPASS_FDS_MAX <= most)
		return true;
	/* One message at a time must go, however small the table is. */
	return crew_flush(restore->crew) || restore_held(restore) + FDPASS_FDS_MAX <= most;
}

/* The next message of the berth under way. False: it is empty. */
static bool
restore_receive(struct restore *restore)
{
	struct parkset_berth *berth = &restore->set.berths[restore->berth];
	struct park_message head;

	if (berth->fd < 0)
		return false;
	if (fdpass_receive(berth->fd, &head, sizeof(head), &restore->message) < 0) {
		(void)close(berth->fd);
		berth->fd = -1;
		return false;
	}
	if (restore->message.length != sizeof(head))
		restore->n_unknown += restore->message.n_fds;
	/* All are watched anew where they go: the set in which they were is of no use. */
	if (restore->message.length != sizeof(head) || head.first == PARK_POLLSET)
		fdpass_close(&restore->message, 0);
	restore->first_record = head.first;
	restore->position = 0;
	restore->sound = false;
	return true;
}

/* The rest of the message. False: it has to wait. */
static bool
restore_message(struct restore *restore)
{
	struct parkset_file *file = restore_file(restore);

	for (; restore->position < restore->message.n_fds; restore->position++)
		if (!restore_one(restore, file, restore->first_record + restore->position,
			    restore->message.fds[restore->position]))
			return false;
	restore->message.n_fds = restore->position = 0;
	return true;
}

/* Its descriptor never came. The process that was to take it up and was killed may have had it: then
 * it is in a file of the one before, and may have been closed since. */
static void
restore_give_up(struct restore *restore, const struct parkset_file *file, uint64_t index)
{
	bool closed = file->epoch != restore->set.epoch && restore->n_closed > 0;

	restore->lost(restore->context, parkfile_record(&file->file, index).id,
		closed ? CLOSE_NONE : CLOSE_PARK_FAILED);
	restore->n_closed -= closed;
	restore->n_parked -= closed;
	restore->n_missing += !closed;
}

/* Those whose descriptor never came. What a worker took up as a whole it has told of itself. */
static void
restore_give_up_rest(struct restore *restore)
{
	for (unsigned f = 0; f < restore->set.n_files; f++) {
		const struct parkset_file *file = &restore->set.files[f];

		for (uint64_t i = 0; !file->whole && i < file->file.head.n_records; i++)
			if (file->fates[i] == PARKSET_KEEP)
				restore_give_up(restore, file, i);
	}
	if (restore->n_missing > 0)
		log_error(NULL, "%" PRIu64 " parked connections were not passed on; they are lost",
			restore->n_missing);
}

static void
restore_finish(struct restore *restore)
{
	static const struct control_header order = {.type = CONTROL_RESTORED};

	restore_give_up_rest(restore);
	if (restore->n_unknown > 0)
		log_error(NULL,
			"%" PRIu64 " descriptors were passed on of which nothing is known; "
			"they are closed",
			restore->n_unknown);
	log_info(NULL, "restored %" PRIu64 " of %" PRIu64 " connections", restore->n_restored,
		restore->n_parked);
	metrics_add(&restore->metrics->slots[0].value[METRIC_RESTORED], restore->n_restored);
	crew_send_all(restore->crew, &order);
	restore->running = false;
	for (unsigned i = 0; i < restore->set.n_names; i++)
		notify_unstore(restore->set.names[i]);
	restore->done(restore->context);
}

static void
restore_on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval next_turn = {0, 0};
	struct restore *restore = arg;
	bool room = true;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < RESTORE_MESSAGES && room; i++) {
		if (!restore_message(restore))
			break; /* restore_wake() */
		if (restore->berth == restore->set.n_berths) {
			/* What workers are told at the end must not overtake a connection. */
			if (crew_flush(restore->crew) && restore->n_awaited == 0)
				restore_finish(restore);
			return; /* restore_wake() */
		}
		room = restore_has_room(restore);
		if (room && !restore_receive(restore))
			restore->berth++;
	}
	if (crew_flush(restore->crew))
		room = true;
	if (restore->message.n_fds == 0 ? room : !restore->crew->starved)
		evtimer_add(restore->event, &next_turn); /* else restore_wake() */
}

/* The berths of a file; more than one message takes are left out. */
static unsigned
restore_berths(
	struct restore *restore, const struct parkset_file *file, int ret_fds[FDPASS_FDS_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < restore->set.n_berths && n < FDPASS_FDS_MAX; i++)
		if (parkset_file_of(&restore->set, &restore->set.berths[i]) == file)
			ret_fds[n++] = restore->set.berths[i].fd;
	return n;
}

static void
restore_close_berths(struct restore *restore, const struct parkset_file *file)
{
	for (unsigned i = 0; i < restore->set.n_berths; i++) {
		if (parkset_file_of(&restore->set, &restore->set.berths[i]) != file)
			continue;
		(void)close(restore->set.berths[i].fd);
		restore->set.berths[i].fd = -1;
	}
}

/* It is to be spread over all workers, then. */
static void
restore_spread(struct restore *restore, const struct parkset_file *file)
{
	for (uint64_t i = 0; i < file->file.head.n_records; i++)
		if (file->fates[i] == PARKSET_KEEP)
			roster_find(restore->roster, parkfile_record(&file->file, i).id)->fd =
				ROSTER_FD_AWAY;
}

/* A worker that is up gets what one of those before it left. */
static void
restore_give_whole(struct restore *restore, struct crew_member *member)
{
	struct parkset_file *file = restore->whole[member->index];
	struct control_header header = {
		.type = CONTROL_INHERIT, .value = (uint64_t)(file - restore->set.files)};
	int fds[FDPASS_FDS_MAX];
	unsigned n = restore_berths(restore, file, fds);

	restore->whole[member->index] = NULL;
	if (n == 0 || n == FDPASS_FDS_MAX ||
		!crew_give_whole(member, &header, fds, n, file->n_kept, file->n_kept_fds)) {
		restore_spread(restore, file);
		return;
	}
	restore_close_berths(restore, file);
	file->whole = true;
	restore->awaited[member->index] = file;
	restore->n_awaited++;
}

void
restore_on_lost(struct restore *restore, const struct crew_member *member)
{
	if (!restore->awaited[member->index])
		return;
	restore->awaited[member->index] = NULL;
	restore->n_awaited--;
	restore_wake(restore);
}

void
restore_on_inherited(struct restore *restore, const struct crew_member *member, uint64_t n_missing,
	uint64_t n_unknown)
{
	const struct parkset_file *file = restore->awaited[member->index];

	if (!file || n_missing > file->n_kept)
		return; /* nobody asked, or it is nonsense */
	restore->n_restored += file->n_kept - n_missing;
	restore->n_missing += n_missing;
	restore->n_unknown += n_unknown;
	restore_on_lost(restore, member);
}

void
restore_wake(struct restore *restore)
{
	static const struct timeval now = {0, 0};
	struct crew *crew = restore->crew;

	if (!restore->running)
		return;
	for (unsigned i = 0; i < crew->n_members; i++)
		if (crew->members[i].state == CREW_UP && restore->whole[i])
			restore_give_whole(restore, &crew->members[i]);
	if (crew->n_up == crew->n_members)
		evtimer_add(restore->event, &now);
}

int
restore_begin(struct restore *restore)
{
	int r;

	if (restore->set.n_names == 0)
		return 0;
	restore->event = evtimer_new(restore->base, restore_on_turn, restore);
	if (!restore->event)
		return -ENOMEM;
	r = restore_decide(restore);
	restore->running = r == 0;
	return r;
}

void
restore_stop(struct restore *restore)
{
	if (restore->event)
		evtimer_del(restore->event);
	restore->running = false;
}

void
restore_end(struct restore *restore)
{
	for (unsigned i = restore->position; i < restore->message.n_fds; i++)
		(void)close(restore->message.fds[i]);
	if (restore->event)
		event_free(restore->event);
	parkset_done(&restore->set);
	*restore = (struct restore){.set = restore->set};
}
