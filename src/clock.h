/*
 * clock: monotonic time in microseconds, and libevent's notion of a delay.
 *
 * Process: both.
 */
#ifndef MILLGATE_CLOCK_H
#define MILLGATE_CLOCK_H

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

/* CLOCK_MONOTONIC. A loop turn reads it once. */
static inline uint64_t
clock_now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static inline struct timeval
clock_timeval(uint64_t usec)
{
	return (struct timeval){(time_t)(usec / 1000000), (suseconds_t)(usec % 1000000)};
}

#endif
