/*
 * park_store: what is parked, under names that systemd keeps.
 *
 * Process: both.
 */
#ifndef MILLGATE_PARK_STORE_H
#define MILLGATE_PARK_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "fdpass.h"

/* With a state file as many as one message takes. A berth holds about 70,000 descriptors. */
#define PARK_BERTHS_MAX (FDPASS_FDS_MAX - 1)

/* What stands before the descriptors of each message in a berth. */
struct park_message {
	uint32_t first; /* the record of the first of them; the others follow. Or: */
};

#define PARK_POLLSET UINT32_MAX /* this is the set in which they all are watched */

struct parked {
	int fds[FDPASS_FDS_MAX]; /* the state file, then the berths; the caller's */
	unsigned n_fds;
	uint32_t n_records; /* of clients, and of their connections to servers */
};

/* The names under which systemd keeps them: "park/EPOCH/WRITER/state", "park/EPOCH/WRITER/1" ...
 * No listener's name has a slash. `epoch` tells one process from the next. */
#define PARK_NAME_PREFIX "park/"
#define PARK_NAME_MAX 64
#define PARK_SUPERVISOR UINT32_MAX /* as writer; "supervisor" in the name */
void park_name(uint32_t epoch, uint32_t writer, unsigned index, char buf[static PARK_NAME_MAX]);
/* The way back. False: not such a name. */
bool park_parse_name(
	const char *name, uint32_t *ret_epoch, uint32_t *ret_writer, bool *ret_is_state);

/* Before the descriptors that were passed are taken: are there any with such a name? */
bool park_is_passed(void);
/* The exit status of one that does not start although there are: EX_TEMPFAIL of sysexits.h. systemd
 * is to try again, and keeps them meanwhile; any other failure is for good. */
#define PARK_TRY_AGAIN 75

/* Gives them to systemd, and waits until it has them. -errno. */
int park_store(const struct parked *parked, uint32_t epoch, uint32_t writer) MG_MUST_CHECK;

#endif
