/*
 * iobuf: bytes that must wait, in chunks from a pool.
 *
 * Process: both. Pure: moves bytes in memory, and describes them to writev(2); does no I/O.
 * A connection that has nothing waiting has no iobuf. All iobufs of a pool are on the pool's
 * list, so that the longest can be found when memory runs short.
 */
#ifndef MILLGATE_IOBUF_H
#define MILLGATE_IOBUF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"

#define IOBUF_CHUNK_BYTES 4096 /* what one chunk takes of memory, its and malloc's heads included */
#define IOBUF_KEEP_CHUNKS 256  /* free chunks that a pool keeps for the next user */

struct iobuf_chunk;

struct iobuf {
	struct iobuf *next, *prev; /* the pool's list */
	struct iobuf_chunk *head, *tail;
	size_t length_bytes;
	uint32_t owner; /* the caller's: the fd of the connection */
};

struct iobuf_pool {
	struct iobuf *first; /* every iobuf of this pool */
	struct iobuf_chunk *free_chunks;
	size_t n_free, n_chunks; /* chunks kept; chunks in use */
	size_t n_returned;       /* given back to malloc since the last iobuf_pool_trim() */
	uint64_t bytes;          /* sum of length_bytes */
};

void iobuf_pool_init(struct iobuf_pool *pool);
/* Every iobuf must have been freed (asserted). */
void iobuf_pool_done(struct iobuf_pool *pool);
/* Gives memory that many freed chunks left behind back to the kernel. Cheap when there is none. */
void iobuf_pool_trim(struct iobuf_pool *pool);

/* NULL when there is no memory. */
struct iobuf *iobuf_new(struct iobuf_pool *pool, uint32_t owner) MG_MUST_CHECK;
/* NULL is allowed. What was still in it is dropped. */
void iobuf_free(struct iobuf_pool *pool, struct iobuf *buf);

/* Appends a copy. All or nothing: -ENOMEM leaves the iobuf as it was. */
int iobuf_append(
	struct iobuf_pool *pool, struct iobuf *buf, const void *data, size_t length) MG_MUST_CHECK;

/* Points up to `max` vectors at the first bytes; returns how many it filled. */
int iobuf_peek(const struct iobuf *buf, struct iovec *vectors, int max);

/* Copies the first `length` bytes (at most length_bytes; asserted), which stay. */
void iobuf_copy(const struct iobuf *buf, void *to, size_t length);

/* Writes over the first `length` bytes (at most length_bytes; asserted). */
void iobuf_overwrite(struct iobuf *buf, const void *from, size_t length);

/* Drops the first `length` bytes (at most length_bytes; asserted). */
void iobuf_consume(struct iobuf_pool *pool, struct iobuf *buf, size_t length);

/* The longest iobuf of the pool, or NULL if all are empty. O(number of iobufs). */
struct iobuf *iobuf_longest(const struct iobuf_pool *pool);

#endif
