/*
 * conf_print: the configuration as JSON, and its table of keys as text for a person.
 *
 * Process: both. Pure. conf_to_json() and conf_print() of conf.h are here.
 */
#ifndef MILLGATE_CONF_PRINT_H
#define MILLGATE_CONF_PRINT_H

#include "conf.h"

/* JSON as indented text that ends with a newline, to be freed by the caller. NULL: no memory, or
 * `json` is NULL. */
char *conf_print_text(json_t *json);

#endif
