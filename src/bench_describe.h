/*
 * bench_describe: the tables of millgate-bench as references. Process: bench; pure.
 */
#ifndef MILLGATE_BENCH_DESCRIBE_H
#define MILLGATE_BENCH_DESCRIBE_H

#include "error.h"
#include "reference.h"

/* Writes a table: "options", "counters", "hints". -ENOENT: there is no such. */
int bench_describe(const char *name, const struct reference *reference) MG_MUST_CHECK;

#endif
