/* restore: see restore.h. Which connections stay is decided in restore_decide.c. */
#include "restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "park_store.h"
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
		!restore_is_server(file, index, record.id)) {
		(void)close(fd);
		return;
	}
	handover.listener = (uint8_t)entry->listener;
	crew_give_upstream(member, &handover, fd);
}

/* One descriptor of the message. False: it has to wait. */
static bool
restore_one(struct restore *restore, struct parkset_file *file, uint32_t index, int fd)
{
	uint8_t *fate = NULL;

	if (file && index < file->file.head.n_records)
		fate = &restore->fates[file - restore->set.files][index];
	if (!fate || *fate != RESTORE_FOLLOW)
		restore->client_with = NULL;
	if (!fate || *fate == RESTORE_DONE ||
		fdpass_cookie(fd) != parkfile_record(&file->file, index).cookie) {
		(void)close(fd);
		restore->n_unknown++;
		return true;
	}
	if (*fate == RESTORE_FOLLOW)
		restore_follow(restore, file, index, fd);
	else if (*fate != RESTORE_KEEP)
		(void)close(fd);
	else if (!restore_place(restore, file, index, fd))
		return false;
	if (*fate == RESTORE_FOLLOW)
		restore->client_with = NULL;
	*fate = RESTORE_DONE;
	return true;
}

/* The next message of the berth under way. False: it is empty. */
static bool
restore_receive(struct restore *restore)
{
	struct parkset_berth *berth = &restore->set.berths[restore->berth];
	struct park_message head;
	int r = fdpass_receive(berth->fd, &head, sizeof(head), &restore->message);

	if (r < 0) {
		(void)close(berth->fd);
		berth->fd = -1;
		return false;
	}
	if (restore->message.length != sizeof(head)) {
		restore->n_unknown += restore->message.n_fds;
		fdpass_close(&restore->message, 0);
	}
	restore->first_record = head.first;
	restore->position = 0;
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

/* Those whose descriptor never came. */
static void
restore_give_up_rest(struct restore *restore)
{
	uint64_t n = 0;

	for (unsigned f = 0; f < restore->set.n_files; f++) {
		const struct parkfile *file = &restore->set.files[f].file;

		for (uint64_t i = 0; i < file->head.n_records; i++) {
			if (restore->fates[f][i] != RESTORE_KEEP)
				continue;
			restore->lost(
				restore->context, parkfile_record(file, i).id, CLOSE_PARK_FAILED);
			n++;
		}
	}
	if (n > 0)
		log_error(NULL, "%" PRIu64 " parked connections were not passed on; they are lost",
			n);
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

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < RESTORE_MESSAGES; i++) {
		if (!restore_message(restore))
			break; /* restore_wake() */
		if (restore->berth == restore->set.n_berths) {
			/* What workers are told at the end must not overtake a connection. */
			if (crew_flush(restore->crew))
				restore_finish(restore);
			return; /* restore_wake() */
		}
		if (!restore_receive(restore))
			restore->berth++;
	}
	crew_flush(restore->crew);
	if (restore->message.n_fds == 0 || !restore->crew->starved)
		evtimer_add(restore->event, &next_turn);
}

void
restore_wake(struct restore *restore)
{
	static const struct timeval now = {0, 0};

	if (restore->running && restore->crew->n_up == restore->crew->n_members)
		evtimer_add(restore->event, &now);
}

int
restore_begin(struct restore *restore)
{
	int r;

	if (restore->set.n_names == 0)
		return 0;
	restore->event = evtimer_new(restore->base, restore_on_turn, restore);
	restore->fates = calloc(restore->set.n_files + 1, sizeof(*restore->fates));
	if (!restore->event || !restore->fates)
		return -ENOMEM;
	r = restore_decide(restore);
	restore->running = r == 0;
	return r;
}

void
restore_end(struct restore *restore)
{
	for (unsigned i = restore->position; i < restore->message.n_fds; i++)
		(void)close(restore->message.fds[i]);
	for (unsigned i = 0; restore->fates && i < restore->set.n_files; i++)
		free(restore->fates[i]);
	free(restore->fates);
	if (restore->event)
		event_free(restore->event);
	parkset_done(&restore->set);
	*restore = (struct restore){.set = restore->set};
}
