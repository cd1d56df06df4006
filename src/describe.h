/*
 * describe: the tables of the source as references. Process: none; pure.
 */
#ifndef MILLGATE_DESCRIBE_H
#define MILLGATE_DESCRIBE_H

#include "error.h"
#include "reference.h"

/* Writes a table: "conf", "metrics", "commands", "close_reasons", "sysctl".
 * -ENOENT: there is no such. */
int describe_table(const char *name, const struct reference *reference) MG_MUST_CHECK;

#endif
