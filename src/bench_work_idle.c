/*
 * bench_work_idle: connections that do nothing. What arrives is read, counted and forgotten, so
 * that it does not pile up in the kernel.
 *
 * Process: bench client.
 */
#include "bench_work.h"

const struct bench_work bench_work_idle = {0};
