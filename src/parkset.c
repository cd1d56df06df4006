/* parkset: see parkset.h. */
#include "parkset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "park_store.h"

static int
parkset_read(
	const struct conf *conf, int fd, struct parkset_file *file, struct mg_error *reterr_error)
{
	int r = parkfile_open(fd, &file->file, reterr_error);

	if (r < 0)
		return r;
	r = park_facts_decode((const char *)file->file.data + file->file.head.facts_offset,
		file->file.head.facts_bytes, conf, &file->facts, reterr_error);
	if (r < 0)
		parkfile_close(&file->file);
	return r;
}

/* Takes fd. */
static void
parkset_add_file(struct parkset *set, const struct conf *conf, const struct parkset_berth *from,
	const char *name)
{
	struct parkset_file *file = &set->files[set->n_files];
	struct mg_error error = {""};

	*file = (struct parkset_file){.epoch = from->epoch, .writer = from->writer};
	if (parkset_read(conf, from->fd, file, &error) == 0) {
		set->n_files++;
	} else {
		log_error(NULL,
			"what was parked as %s cannot be read: %s; those connections are lost",
			name, error.text);
		set->n_broken++;
	}
	(void)close(from->fd);
}

/* Takes the descriptor and the name of an entry of ours. */
static void
parkset_add(struct parkset *set, const struct conf *conf, struct notify_fd *passed)
{
	struct parkset_berth berth = {.fd = passed->fd};
	bool is_state;

	if (!park_parse_name(passed->name, &berth.epoch, &berth.writer, &is_state)) {
		log_warning(NULL, "systemd kept a descriptor named %s, which means nothing here",
			passed->name);
		(void)close(passed->fd);
	} else {
		if (berth.epoch > set->epoch)
			set->epoch = berth.epoch;
		if (is_state)
			parkset_add_file(set, conf, &berth, passed->name);
		else
			set->berths[set->n_berths++] = berth;
	}
	set->names[set->n_names++] = passed->name;
}

int
parkset_take(struct parkset *set, const struct conf *conf, struct notify_fd *passed, int *n_passed)
{
	size_t n = (size_t)*n_passed + 1;
	int kept = 0;

	*set = (struct parkset){
		.files = calloc(n, sizeof(*set->files)),
		.berths = calloc(n, sizeof(*set->berths)),
		.names = calloc(n, sizeof(*set->names)),
	};
	if (!set->files || !set->berths || !set->names)
		return -ENOMEM;
	for (int i = 0; i < *n_passed; i++) {
		if (strncmp(passed[i].name, PARK_NAME_PREFIX, strlen(PARK_NAME_PREFIX)) == 0)
			parkset_add(set, conf, &passed[i]);
		else
			passed[kept++] = passed[i];
	}
	*n_passed = kept;
	return 0;
}

void
parkset_inherit(struct parkset *set)
{
	set->n_berths = 0;
}

void
parkset_done(struct parkset *set)
{
	for (unsigned i = 0; i < set->n_files; i++) {
		park_facts_done(&set->files[i].facts);
		free(set->files[i].fates);
		parkfile_close(&set->files[i].file);
	}
	for (unsigned i = 0; i < set->n_berths; i++)
		if (set->berths[i].fd >= 0)
			(void)close(set->berths[i].fd);
	for (unsigned i = 0; i < set->n_names; i++)
		free(set->names[i]);
	free(set->files);
	free(set->berths);
	free(set->names);
	*set = (struct parkset){.epoch = set->epoch};
}

struct parkset_file *
parkset_file_of(struct parkset *set, const struct parkset_berth *berth)
{
	for (unsigned i = 0; i < set->n_files; i++)
		if (set->files[i].epoch == berth->epoch && set->files[i].writer == berth->writer)
			return &set->files[i];
	return NULL;
}

bool
parkset_matches(const struct parkfile_record *record, int fd, bool *sound)
{
	if (record->cookie)
		*sound = fdpass_cookie(fd) == record->cookie;
	return *sound;
}

bool
parkset_is_server(const struct parkset_file *file, uint64_t index, uint64_t id)
{
	struct parkfile_record record;

	if (index >= file->file.head.n_records)
		return false;
	record = parkfile_record(&file->file, index);
	return record.flags & PARKFILE_UPSTREAM && record.id == id &&
	       (record.state == PARKFILE_OPEN || record.state == PARKFILE_CONNECTING) &&
	       parkfile_waiting(&file->file, &record);
}

bool
parkset_is_orphan(const struct parkset_file *file, const struct parkfile_record *record)
{
	return record->flags & PARKFILE_UPSTREAM && record->state == PARKFILE_CLOSING &&
	       parkfile_waiting(&file->file, record);
}

uint16_t
parkset_server(const struct parkset_file *file, const struct parkfile_record *record)
{
	if (!(record->more_flags & PARKFILE_RELAYED) || record->server >= UPSTREAM_MAX)
		return UPSTREAM_NONE;
	return file->facts.servers[record->server];
}

uint64_t
parkset_records(const struct parkset *set)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < set->n_files; i++)
		n += set->files[i].file.head.n_records;
	return n;
}
