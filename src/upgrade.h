/*
 * upgrade: is the program on disk fit to take over?
 *
 * Process: S. Before anything is parked, the new program is asked to check the configuration that
 * it would start with. One that does not run, or says no, is refused, and nothing has happened.
 */
#ifndef MILLGATE_UPGRADE_H
#define MILLGATE_UPGRADE_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "error.h"

#define UPGRADE_OUTPUT_MAX 65536 /* what a pipe holds; --check prints less */
#define UPGRADE_TIMEOUT_USEC 10000000u

struct upgrade {
	struct event_base *base;
	const char *path, *conf_path; /* borrowed */
	/* Called once for each upgrade_check() that succeeded. `text` says why not; borrowed. */
	void (*checked)(void *context, bool good, const char *text);
	void *context;

	pid_t pid; /* of the check under way; 0: none */
	int output;
	struct event *timeout;
};

/* The caller has set everything up to `context`. -EBUSY: one is under way. -errno with text: it
 * cannot be started. */
int upgrade_check(struct upgrade *upgrade, struct mg_error *reterr_error) MG_MUST_CHECK;
/* A child ended. False: it is not the check. */
bool upgrade_reap(struct upgrade *upgrade, pid_t pid, int status);
/* A check that is under way has failed. */
void upgrade_done(struct upgrade *upgrade);

#endif
