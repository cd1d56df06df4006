/*
 * tune_show: millgated --tune: the advice from a configuration alone.
 *
 * Process: none yet. Reads the machine, writes to standard output, changes nothing.
 */
#ifndef MILLGATE_TUNE_SHOW_H
#define MILLGATE_TUNE_SHOW_H

#include <stdbool.h>

#include "conf.h"
#include "error.h"

enum tune_form {
	TUNE_FORM_TABLE,
	TUNE_FORM_SYSCTL,
	TUNE_FORM_UNIT,
	TUNE_FORM_JSON,
};

/* `machine_path`: a file that tells of another machine (tune_machine.h), or NULL. *ret_good: nothing
 * falls short or harms. -errno. */
int tune_show(const struct conf *conf, const char *machine_path, enum tune_form form,
	bool *ret_good, struct mg_error *reterr_error) MG_MUST_CHECK;

#endif
