/*
 * describe: the tables of the source as text for a person. Process: none; pure.
 */
#ifndef MILLGATE_DESCRIBE_H
#define MILLGATE_DESCRIBE_H

#include <stdio.h>

#include "error.h"

/* Writes a table: "conf", "metrics", "commands", "close_reasons", "sysctl".
 * -ENOENT: there is no such. */
int describe_table(const char *name, FILE *out) MG_MUST_CHECK;

#endif
