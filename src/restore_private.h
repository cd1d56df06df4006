/* restore_private: what the files of restore share. Process: S. */
#ifndef MILLGATE_RESTORE_PRIVATE_H
#define MILLGATE_RESTORE_PRIVATE_H

#include "restore.h"

_Static_assert((int)CLOSE_REASON_COUNT < (int)PARKSET_FOLLOW, "a fate is a byte");

/* Fills `fates` and `whole`, enters those that stay into roster and admit, and carries on the
 * counters. */
int restore_decide(struct restore *restore) MG_MUST_CHECK;

#endif
