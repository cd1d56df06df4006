/* restore_private: what the files of restore share. Process: S. */
#ifndef MILLGATE_RESTORE_PRIVATE_H
#define MILLGATE_RESTORE_PRIVATE_H

#include "restore.h"

/* What is to become of a record; below these: it is closed, for this close_reason. */
enum restore_fate {
	RESTORE_FOLLOW =
		253, /* to a client's server: where the client in the record before it goes */
	RESTORE_DONE = 254, /* its descriptor has come */
	RESTORE_KEEP = 255,
};

_Static_assert((int)CLOSE_REASON_COUNT < (int)RESTORE_FOLLOW, "a fate is a byte");

/* Fills `fates`, enters those that stay into roster and admit, and carries on the counters. */
int restore_decide(struct restore *restore) MG_MUST_CHECK;

/* Is this record a sound one of the connection to the server of the client with this id? */
bool restore_is_server(const struct parkset_file *file, uint64_t index, uint64_t id);

#endif
