/*
 * fixture_fds: counting, making and limiting file descriptors. Static functions only.
 */
#ifndef MILLGATE_TESTS_FIXTURE_FDS_H
#define MILLGATE_TESTS_FIXTURE_FDS_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fixture.h"

#define FDS_SCANNED 2048 /* no test opens a higher one */

static inline bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static inline unsigned
count_open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < FDS_SCANNED; fd++)
		n += is_open(fd);
	return n;
}

/* A file that can be told from others by its size. */
static inline int
make_file(unsigned size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static inline void
assert_file(int fd, unsigned size)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, size);
}

static inline void
make_files(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fds[i] = make_file(i + 1);
}

static inline void
close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(close(fds[i]), 0);
}

static inline struct rlimit
limit_fds(rlim_t limit)
{
	struct rlimit before, now;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	now = before;
	now.rlim_cur = limit;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	return before;
}

/* From now on this process can open `n` descriptors more. Returns the limit to be restored. */
static inline struct rlimit
limit_fds_to_room_for(unsigned n)
{
	int limit = 0;

	for (unsigned n_free = 0; n_free < n || is_open(limit); limit++)
		n_free += !is_open(limit);
	return limit_fds((rlim_t)limit);
}

static inline void
restore_limit(const struct rlimit *limit)
{
	assert_int_equal(setrlimit(RLIMIT_NOFILE, limit), 0);
}

#endif
