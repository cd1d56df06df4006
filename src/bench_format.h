/*
 * bench_format: numbers for people.
 *
 * Process: bench. Pure. Each writes into `buf` and returns it.
 */
#ifndef MILLGATE_BENCH_FORMAT_H
#define MILLGATE_BENCH_FORMAT_H

#define BENCH_TEXT_MAX 48

/* "1,234,567"; below 100 with one decimal, if it has any. */
const char *bench_format_count(double value, char buf[static BENCH_TEXT_MAX]);

/* "12.3 MiB". */
const char *bench_format_bytes(double bytes, char buf[static BENCH_TEXT_MAX]);

/* "1.23 ms", "45.0 us", "12.3 s". */
const char *bench_format_seconds(double seconds, char buf[static BENCH_TEXT_MAX]);

#endif
