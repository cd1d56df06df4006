/*
 * bench_pace: what is to be done at a steady rate, and when the next of it is due.
 *
 * Process: bench client. Pure: the time is given. The n-th event is due at start + n / rate, no
 * matter how late the ones before it were, so a pause is made up for afterwards.
 */
#ifndef MILLGATE_BENCH_PACE_H
#define MILLGATE_BENCH_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct bench_pace {
	uint64_t start_nsec;
	double period_nsec; /* 0: everything is due at once */
	uint64_t n;         /* events done */
};

/* `rate` a second; 0 for as fast as possible. */
static inline struct bench_pace
bench_pace_new(uint64_t start_nsec, double rate)
{
	return (struct bench_pace){
		.start_nsec = start_nsec, .period_nsec = rate > 0 ? 1e9 / rate : 0};
}

/* When the n-th event (from 0) was or will be due. */
static inline uint64_t
bench_pace_time(const struct bench_pace *pace, uint64_t n)
{
	return pace->start_nsec + (uint64_t)((double)n * pace->period_nsec);
}

/* When the event after those done is due. */
static inline uint64_t
bench_pace_next(const struct bench_pace *pace)
{
	return bench_pace_time(pace, pace->n);
}

static inline bool
bench_pace_is_due(const struct bench_pace *pace, uint64_t now_nsec)
{
	return bench_pace_next(pace) <= now_nsec;
}

#endif
