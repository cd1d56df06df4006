/*
 * tune_machine: what another machine allows, from a file.
 *
 * Process: none. Reads that one file, and nothing of this machine.
 */
#ifndef MILLGATE_TUNE_MACHINE_H
#define MILLGATE_TUNE_MACHINE_H

#include "error.h"
#include "tune.h"

#define TUNE_MACHINE_LINES_MAX 16384

/* Facts that are no setting of the kernel and that no row of sysctl.def names; 1 and 4096 if the
 * file does not. */
#define TUNE_MACHINE_CPUS "CPUs"
#define TUNE_MACHINE_PAGE "PageSize"

/*
 * Reads lines "KEY = VALUE", as `sysctl -a` prints them and sysctl.d(5) has them; beside settings of
 * the kernel the other keys of sysctl.def ("MemTotal", "LimitNOFILE") and the two above. A value may
 * be a size, "16GiB". Of a key that comes twice the later one counts. tune_facts_done() afterwards.
 * -errno, -EINVAL and -E2BIG; the text names the file and the line.
 */
int tune_machine_load(const char *path, struct tune_facts *ret_facts,
	struct mg_error *reterr_error) MG_MUST_CHECK;

#endif
