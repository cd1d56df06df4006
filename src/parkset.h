/*
 * parkset: what the processes before this one parked: their files, read and checked, and their
 * berths.
 *
 * Process: both. The supervisor takes it out of what systemd passed, before it forks; the workers
 * have it by inheritance, and read there what waited for a connection.
 */
#ifndef MILLGATE_PARKSET_H
#define MILLGATE_PARKSET_H

#include "notify.h"
#include "park_facts.h"
#include "parkfile.h"

/* What is to become of a record; below these: it is closed, for this close_reason. */
enum parkset_fate {
	PARKSET_FOLLOW =
		253, /* to a client's server: where the client in the record before it goes, if it
		      * is no orphan */
	PARKSET_DONE = 254, /* its descriptor has come */
	PARKSET_KEEP = 255,
};

struct parkset_file {
	uint32_t epoch, writer;
	struct parkfile file;
	struct park_facts facts;
	/* By record: enum close_reason, or of enum parkset_fate. The supervisor decides on them before
	 * it forks, and notes in its own copy which descriptors have come to it. */
	uint8_t *fates;
	uint32_t n_kept, n_kept_fds; /* clients, and the descriptors that they need */
	bool whole;                  /* one worker takes it up as it is */
};

struct parkset_berth {
	int fd; /* owned; -1: emptied */
	uint32_t epoch, writer;
};

struct parkset {
	struct parkset_file *files;
	unsigned n_files;
	struct parkset_berth *berths;
	unsigned n_berths;
	char **names; /* under which systemd keeps them */
	unsigned n_names;
	unsigned n_broken; /* files that could not be read, and were logged */
	uint32_t epoch;    /* of the last process that parked; 0: none did */
};

/* Takes the descriptors with names of park_name() out of the `*n_passed` of `passed`. A file that
 * cannot be read is logged and left out. -ENOMEM. */
int parkset_take(struct parkset *set, const struct conf *conf, struct notify_fd *passed,
	int *n_passed) MG_MUST_CHECK;
/* In a forked worker, which has closed what it inherited: the berths are the supervisor's alone, and
 * their numbers may be those of clients by now. */
void parkset_inherit(struct parkset *set);
/* Frees all, and closes berths. A zeroed set is allowed. */
void parkset_done(struct parkset *set);

/* Who wrote what is in this berth; NULL: no file of it could be read. */
struct parkset_file *parkset_file_of(struct parkset *set, const struct parkset_berth *berth);

/*
 * Is this descriptor the one that the record is of? Descriptors of one message keep their order, so
 * that a record without a cookie is as good as the one before it: *sound is false before the first of
 * a message, and this function's after that.
 */
bool parkset_matches(const struct parkfile_record *record, int fd, bool *sound);

/* Is this a sound record of the connection to the server of the client with this id? */
bool parkset_is_server(const struct parkset_file *file, uint64_t index, uint64_t id);

/* Is this a sound record of an orphan: a connection to a server whose client has gone, and that still
 * sends what waits? It is on no books. */
bool parkset_is_orphan(const struct parkset_file *file, const struct parkfile_record *record);

/* The number here of the server that a client had there, or UPSTREAM_NONE. */
uint16_t parkset_server(const struct parkset_file *file, const struct parkfile_record *record);

/* Records in all files. */
uint64_t parkset_records(const struct parkset *set);

#endif
