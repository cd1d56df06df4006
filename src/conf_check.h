/*
 * conf_check: what the values of a configuration must be to each other.
 *
 * Process: both. Pure. Looks only at values that are good in themselves.
 */
#ifndef MILLGATE_CONF_CHECK_H
#define MILLGATE_CONF_CHECK_H

#include "conf_read.h"

/* Checks what conf_read() made; errors go to the report. */
void conf_check(struct conf_draft *draft);

#endif
