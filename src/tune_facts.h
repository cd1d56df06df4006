/*
 * tune_facts: what the machine allows, as tune wants to know it.
 *
 * Process: both. Reads /proc, /sys and the limits of this process; changes nothing.
 */
#ifndef MILLGATE_TUNE_FACTS_H
#define MILLGATE_TUNE_FACTS_H

#include "conf.h"
#include "tune.h"

/*
 * Reads all that the table and the configuration name. `root` is put before /proc and /sys, and is
 * "" for this machine. What cannot be read is left out. -ENOMEM; tune_facts_done() afterwards.
 */
int tune_facts_read(
	const char *root, const struct conf *conf, struct tune_facts *ret_facts) MG_MUST_CHECK;
void tune_facts_done(struct tune_facts *facts);

/* CPUs that this process may use. */
unsigned tune_facts_cpus(void);

/* Does the kernel limit the descriptors in flight of who runs this process? */
bool tune_facts_in_flight_limited(const char *root);

#endif
