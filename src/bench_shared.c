/* bench_shared: see bench_shared.h. */
#include "bench_shared.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static size_t
bench_shared_bytes(uint32_t n_slots)
{
	return sizeof(struct bench_shared) + n_slots * sizeof(struct bench_slot);
}

struct bench_shared *
bench_shared_new(uint32_t n_slots)
{
	struct bench_shared *shared = mmap(NULL, bench_shared_bytes(n_slots),
		PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return NULL;
	shared->n_slots = n_slots;
	shared->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (shared->wake_fd < 0) {
		int error = errno;

		(void)munmap(shared, bench_shared_bytes(n_slots));
		errno = error;
		return NULL;
	}
	return shared;
}

void
bench_shared_free(struct bench_shared *shared)
{
	if (!shared)
		return;
	(void)close(shared->wake_fd);
	(void)munmap(shared, bench_shared_bytes(shared->n_slots));
}

void
bench_shared_set_phase(struct bench_shared *shared, enum bench_phase phase)
{
	atomic_store_explicit(&shared->phase, phase, memory_order_release);
	/* Nobody reads the counter; each write is an edge for every set that watches it. */
	(void)eventfd_write(shared->wake_fd, 1);
}

enum bench_phase
bench_shared_phase(const struct bench_shared *shared)
{
	return (enum bench_phase)atomic_load_explicit(&shared->phase, memory_order_acquire);
}

uint32_t
bench_shared_settled(const struct bench_shared *shared, enum bench_phase phase)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < shared->n_slots; i++)
		n += atomic_load_explicit(&shared->slots[i].settled, memory_order_acquire) >= phase;
	return n;
}

void
bench_shared_sum(const struct bench_shared *shared, struct bench_totals *ret_totals)
{
	memset(ret_totals, 0, sizeof(*ret_totals));
	for (uint32_t i = 0; i < shared->n_slots; i++)
		for (unsigned c = 0; c < BENCH_COUNTER_COUNT; c++)
			ret_totals->counters[c] += atomic_load_explicit(
				&shared->slots[i].counters[c], memory_order_relaxed);
}

void
bench_shared_sum_errors(const struct bench_shared *shared, uint64_t *ret_counts)
{
	memset(ret_counts, 0, BENCH_ERRNO_MAX * sizeof(*ret_counts));
	for (uint32_t i = 0; i < shared->n_slots; i++)
		for (unsigned e = 0; e < BENCH_ERRNO_MAX; e++)
			ret_counts[e] += atomic_load_explicit(
				&shared->slots[i].connect_errors[e], memory_order_relaxed);
}

void
bench_slot_add_error(struct bench_slot *slot, int error)
{
	unsigned e = error > 0 && error < BENCH_ERRNO_MAX ? (unsigned)error : 0;

	(void)atomic_fetch_add_explicit(&slot->connect_errors[e], 1, memory_order_relaxed);
}

uint64_t
bench_clock_nsec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
