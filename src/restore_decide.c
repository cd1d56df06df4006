/*
 * restore_decide: which of the parked connections stay, and the counters.
 *
 * Process: S. No descriptor is touched here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "park_store.h"
#include "restore_private.h"

struct restore_age {
	uint64_t opened_usec, id;
	uint32_t epoch, file, record;
};

static int
restore_compare_ages(const void *a, const void *b)
{
	const struct restore_age *x = a, *y = b;

	if (x->opened_usec != y->opened_usec)
		return x->opened_usec < y->opened_usec ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->epoch < y->epoch) - (x->epoch > y->epoch);
}

/* The records of clients, the oldest first; to be freed. NULL: no memory. */
static struct restore_age *
restore_ages(const struct restore *restore)
{
	struct restore_age *ages = malloc((restore->n_parked + 1) * sizeof(*ages)), *next = ages;

	for (unsigned f = 0; ages && f < restore->set.n_files; f++) {
		const struct parkset_file *file = &restore->set.files[f];

		for (uint64_t i = 0; i < file->file.head.n_records; i++) {
			struct parkfile_record buf;
			const struct parkfile_record *record;

			if (file->fates[i] == PARKSET_FOLLOW)
				continue;
			record = parkfile_look(&file->file, i, &buf);
			*next++ = (struct restore_age){
				record->opened_usec, record->id, file->epoch, f, (uint32_t)i};
		}
	}
	if (ages)
		qsort(ages, restore->n_parked, sizeof(*ages), restore_compare_ages);
	return ages;
}

static bool
restore_is_sound(const struct parkset_file *file, const struct parkfile_record *record)
{
	return record->state <= PARKFILE_PROXY && record->peer.family <= ADDR_UNIX &&
	       record->destination.family <= ADDR_UNIX && parkfile_waiting(&file->file, record);
}

/* If the client says that the next record is its connection to a server: is it? */
static bool
restore_has_server(
	const struct parkset_file *file, uint32_t index, const struct parkfile_record *record)
{
	return !(record->flags & PARKFILE_LINKED) ||
	       parkset_is_server(file, (uint64_t)index + 1, record->id);
}

static uint8_t
restore_admit(struct restore *restore, struct parkset_file *file,
	const struct parkfile_record *record, uint8_t listener, uint16_t server)
{
	bool relayed = restore->conf->listeners[listener].service == CONF_SERVICE_RELAY;
	bool whole = file->writer < CREW_MAX && restore->whole[file->writer] == file;
	uint32_t source;

	if (admit_restore(restore->admit, listener, &record->peer, &source) != CLOSE_NONE)
		return CLOSE_OVER_LIMIT;
	if (roster_restore(restore->roster, record->id, whole ? (uint8_t)file->writer : 0, listener,
		    source) < 0) {
		admit_release(restore->admit, listener, source, false);
		return CLOSE_PARK_FAILED;
	}
	if (!whole)
		roster_find(restore->roster, record->id)->fd = ROSTER_FD_AWAY;
	file->n_kept++;
	file->n_kept_fds += conf_fds_each(&restore->conf->listeners[listener]);
	if (relayed && server != UPSTREAM_NONE) {
		roster_set_server(restore->roster, record->id, server);
		upstreams_count(restore->upstreams, server);
	}
	return PARKSET_KEEP;
}

/* Is it the same connection as the one before it? A process that is killed while it takes up
 * connections leaves some in two files: they are where the later one says, which comes first. What
 * is decided there holds, also when it is closed. */
static bool
restore_is_again(const struct restore_age *ages, uint64_t i)
{
	return i > 0 && ages[i - 1].opened_usec == ages[i].opened_usec &&
	       ages[i - 1].id == ages[i].id;
}

/* enum parkset_fate, or a close_reason. */
static uint8_t
restore_judge(struct restore *restore, struct parkset_file *file, uint32_t index,
	const struct parkfile_record *record)
{
	uint16_t server = parkset_server(file, record);
	uint8_t listener = file->facts.listeners[record->listener];

	if (roster_find(restore->roster, record->id))
		return PARKSET_DONE;
	if (!restore_is_sound(file, record) || !restore_has_server(file, index, record))
		return CLOSE_PARK_FAILED;
	if (listener == PARK_FACTS_UNKNOWN)
		return CLOSE_LISTENER_REMOVED;
	/* There is no place in the table for it: as good as a server that is not known. */
	if (record->flags & PARKFILE_LINKED && server == UPSTREAM_NONE)
		return CLOSE_PARK_FAILED;
	return restore_admit(restore, file, record, listener, server);
}

static void
restore_count_closed(struct restore *restore, enum close_reason reason, uint64_t n)
{
	metrics_add(&restore->metrics->slots[0].closed[reason], n);
	metrics_add(&restore->metrics->slots[0].value[METRIC_CLOSED], n);
}

/* Those of workers that wrote none themselves, as far as the supervisor knew them. */
static void
restore_silent_counters(struct restore *restore, const struct parkset_file *supervisor)
{
	bool wrote[CREW_MAX] = {false};

	for (unsigned i = 0; i < restore->set.n_files; i++) {
		const struct parkset_file *file = &restore->set.files[i];

		if (file->epoch == restore->set.epoch && file->writer < CREW_MAX)
			wrote[file->writer] = true;
	}
	for (unsigned i = 0; i < CREW_MAX; i++)
		if (!wrote[i])
			park_facts_add_silent(
				&supervisor->facts, i, restore->conf, &restore->metrics->slots[0]);
}

/* Only what the last process wrote: what those before it counted is in there. Of the supervisor's
 * counters its own word is the best; should it have been killed, the last worker's. */
static void
restore_counters(struct restore *restore)
{
	struct metrics_slot *slot = &restore->metrics->slots[0];
	const struct parkset_file *supervisor = NULL;

	for (unsigned i = 0; i < restore->set.n_files; i++) {
		const struct parkset_file *file = &restore->set.files[i];

		if (file->epoch != restore->set.epoch)
			continue;
		if (!supervisor || file->facts.supervisor ||
			(!supervisor->facts.supervisor &&
				file->facts.parked_usec > supervisor->facts.parked_usec))
			supervisor = file;
		if (!file->facts.supervisor)
			park_facts_add_counters(&file->facts, false, restore->conf, slot);
	}
	if (!supervisor)
		return;
	park_facts_add_counters(
		&supervisor->facts, !supervisor->facts.supervisor, restore->conf, slot);
	restore_silent_counters(restore, supervisor);
}

/* The books are closed: what was open by the counters and is in no file is gone. Where there is more
 * than was open, some are in the file of a process before the last, which closed them. */
static void
restore_count_missing(struct restore *restore)
{
	const struct metrics_slot *slot = &restore->metrics->slots[0];
	uint64_t accepted = metrics_read(&slot->value[METRIC_ACCEPTED]);
	uint64_t closed = metrics_read(&slot->value[METRIC_CLOSED]);
	uint64_t kept = admit_connections(restore->admit);

	if (accepted <= closed + kept) {
		restore->n_closed = closed + kept - accepted;
		return;
	}
	log_warning(NULL, "%" PRIu64 " connections of the process before were not parked",
		accepted - closed - kept);
	restore_count_closed(restore, CLOSE_PARK_FAILED, accepted - closed - kept);
}

/* Above every generation that an id may have. Of a supervisor that was killed only the ids that
 * were parked are known; a slot is used again only after ROSTER_QUARANTINE others were, so what it
 * gave out beyond them in the meantime is bounded by far. By its epoch it stays above what this has
 * said for one that was killed before it, and of which no connection may be left. */
static uint32_t
restore_floor(const struct restore *restore)
{
	uint32_t highest = roster_generation(restore->roster);
	uint32_t least = restore->set.epoch * ROSTER_QUARANTINE;
	uint32_t floor = (highest > least ? highest : least) + ROSTER_QUARANTINE;

	for (unsigned i = 0; i < restore->set.n_files; i++) {
		const struct park_facts *facts = &restore->set.files[i].facts;

		if (facts->supervisor && restore->set.files[i].epoch == restore->set.epoch)
			floor = facts->generation > highest ? facts->generation : highest;
	}
	return floor + 1;
}

static void
restore_log_closed(const uint64_t closed[CLOSE_REASON_COUNT])
{
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *info = close_reason_info(i);
		struct log_context context = {.reason = info->name};

		if (closed[i] > 0)
			log_warning(&context, "%" PRIu64 " parked connections are closed: %s: %s",
				closed[i], info->name, info->text);
	}
}

/* A fate for each record, decided for those of connections to servers, which follow their clients';
 * counts these. -ENOMEM. */
static int
restore_alloc_fates(struct restore *restore)
{
	restore->n_parked = parkset_records(&restore->set);
	for (unsigned f = 0; f < restore->set.n_files; f++) {
		struct parkset_file *file = &restore->set.files[f];

		file->fates = calloc(file->file.head.n_records + 1, sizeof(*file->fates));
		if (!file->fates)
			return -ENOMEM;
		for (uint64_t i = 0; i < file->file.head.n_records; i++) {
			struct parkfile_record buf;

			if (!(parkfile_look(&file->file, i, &buf)->flags & PARKFILE_UPSTREAM))
				continue;
			file->fates[i] = PARKSET_FOLLOW;
			restore->n_parked--;
		}
	}
	return 0;
}

/* The servers of the processes before have numbers here, and places for those who are with them. */
static void
restore_servers(struct restore *restore)
{
	for (unsigned i = 0; i < restore->set.n_files; i++)
		park_facts_enter_servers(
			&restore->set.files[i].facts, restore->conf, restore->upstreams);
}

/*
 * Where there are as many workers as in the process before, each takes up what one of those left, as
 * it is. Otherwise, or if one of those left nothing that can be read, all are spread over all.
 */
static void
restore_choose_whole(struct restore *restore)
{
	unsigned n_whole = 0;

	for (unsigned i = 0; i < restore->set.n_files; i++) {
		struct parkset_file *file = &restore->set.files[i];

		if (file->epoch != restore->set.epoch || file->writer == PARK_SUPERVISOR)
			continue;
		if (file->writer < restore->n_workers && !restore->whole[file->writer])
			restore->whole[file->writer] = file;
		n_whole++;
	}
	if (n_whole != restore->n_workers)
		memset(restore->whole, 0, sizeof(restore->whole));
}

/* Can all stay, and is each in one file only? Then it does not matter who is asked first. */
static bool
restore_is_simple(const struct restore *restore)
{
	for (unsigned i = 0; i < restore->set.n_files; i++)
		if (restore->set.files[i].epoch != restore->set.epoch &&
			restore->set.files[i].file.head.n_records > 0)
			return false;
	return admit_takes_all(restore->admit, restore->n_parked);
}

static void
restore_decide_one(struct restore *restore, struct parkset_file *file, uint32_t index, bool again,
	uint64_t closed[CLOSE_REASON_COUNT])
{
	struct parkfile_record buf;
	const struct parkfile_record *record = parkfile_look(&file->file, index, &buf);
	uint8_t fate = again ? PARKSET_DONE : restore_judge(restore, file, index, record);

	file->fates[index] = fate;
	if (fate < CLOSE_REASON_COUNT)
		closed[fate]++;
}

static void
restore_decide_in_place(struct restore *restore, uint64_t closed[CLOSE_REASON_COUNT])
{
	for (unsigned f = 0; f < restore->set.n_files; f++) {
		struct parkset_file *file = &restore->set.files[f];

		for (uint64_t i = 0; i < file->file.head.n_records; i++)
			if (file->fates[i] != PARKSET_FOLLOW)
				restore_decide_one(restore, file, (uint32_t)i, false, closed);
	}
}

static int
restore_decide_by_age(struct restore *restore, uint64_t closed[CLOSE_REASON_COUNT])
{
	struct restore_age *ages = restore_ages(restore);
	uint64_t n = restore->n_parked;

	if (!ages)
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		bool again = restore_is_again(ages, i);

		restore->n_parked -= again;
		restore_decide_one(
			restore, &restore->set.files[ages[i].file], ages[i].record, again, closed);
	}
	free(ages);
	return 0;
}

int
restore_decide(struct restore *restore)
{
	uint64_t closed[CLOSE_REASON_COUNT] = {0};
	int r = restore_alloc_fates(restore);

	if (r < 0)
		return r;
	restore_servers(restore);
	restore_counters(restore);
	restore_choose_whole(restore);
	if (restore_is_simple(restore))
		restore_decide_in_place(restore, closed);
	else
		r = restore_decide_by_age(restore, closed);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		restore_count_closed(restore, i, closed[i]);
	restore_count_missing(restore);
	roster_restored(restore->roster, restore_floor(restore));
	restore_log_closed(closed);
	return 0;
}
