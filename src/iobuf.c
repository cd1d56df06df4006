/* iobuf: see iobuf.h. */
#include "iobuf.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define TRIM_CHUNKS 1024 /* fewer are not worth a walk through malloc's arenas */
#define MALLOC_HEAD_BYTES sizeof(size_t)
#define CHUNK_HEAD_BYTES (sizeof(struct iobuf_chunk *) + 2 * sizeof(uint32_t))
#define CHUNK_DATA_BYTES (IOBUF_CHUNK_BYTES - MALLOC_HEAD_BYTES - CHUNK_HEAD_BYTES)

/* Every chunk of an iobuf holds at least one byte. */
struct iobuf_chunk {
	struct iobuf_chunk *next;
	uint32_t start, end; /* the bytes that wait are data[start] to data[end - 1] */
	char data[CHUNK_DATA_BYTES];
};

_Static_assert(sizeof(struct iobuf_chunk) + MALLOC_HEAD_BYTES == IOBUF_CHUNK_BYTES,
	"what malloc adds is part of the price");

static struct iobuf_chunk *
iobuf_chunk_get(struct iobuf_pool *pool)
{
	struct iobuf_chunk *chunk = pool->free_chunks;

	if (chunk) {
		pool->free_chunks = chunk->next;
		pool->n_free--;
	} else {
		chunk = malloc(sizeof(*chunk));
		if (!chunk)
			return NULL;
	}
	chunk->next = NULL;
	chunk->start = 0;
	chunk->end = 0;
	pool->n_chunks++;
	return chunk;
}

static void
iobuf_chunk_put(struct iobuf_pool *pool, struct iobuf_chunk *chunk)
{
	pool->n_chunks--;
	if (pool->n_free < IOBUF_KEEP_CHUNKS) {
		chunk->next = pool->free_chunks;
		pool->free_chunks = chunk;
		pool->n_free++;
	} else {
		free(chunk);
		pool->n_returned++;
	}
}

/* A chain with room for `length` bytes; NULL: no memory, or no byte asked for. */
static struct iobuf_chunk *
iobuf_chain_get(struct iobuf_pool *pool, size_t length)
{
	struct iobuf_chunk *chain = NULL;

	for (size_t room = 0; room < length; room += CHUNK_DATA_BYTES) {
		struct iobuf_chunk *chunk = iobuf_chunk_get(pool);

		if (!chunk) {
			while ((chunk = chain)) {
				chain = chunk->next;
				iobuf_chunk_put(pool, chunk);
			}
			return NULL;
		}
		chunk->next = chain;
		chain = chunk;
	}
	return chain;
}

/* Copies what fits into the chunk; returns how much that was. */
static size_t
iobuf_chunk_fill(struct iobuf_chunk *chunk, const char *data, size_t length)
{
	size_t room = CHUNK_DATA_BYTES - chunk->end;

	if (length > room)
		length = room;
	memcpy(chunk->data + chunk->end, data, length);
	chunk->end += (uint32_t)length;
	return length;
}

void
iobuf_pool_init(struct iobuf_pool *pool)
{
	*pool = (struct iobuf_pool){0};
}

void
iobuf_pool_done(struct iobuf_pool *pool)
{
	struct iobuf_chunk *chunk;

	assert(!pool->first && pool->n_chunks == 0 && pool->bytes == 0);
	while ((chunk = pool->free_chunks)) {
		pool->free_chunks = chunk->next;
		free(chunk);
	}
	pool->n_free = 0;
}

void
iobuf_pool_trim(struct iobuf_pool *pool)
{
	if (pool->n_returned < TRIM_CHUNKS)
		return;
	(void)malloc_trim(0);
	pool->n_returned = 0;
}

struct iobuf *
iobuf_new(struct iobuf_pool *pool, uint32_t owner)
{
	struct iobuf *buf = malloc(sizeof(*buf));

	if (!buf)
		return NULL;
	*buf = (struct iobuf){.next = pool->first, .owner = owner};
	if (buf->next)
		buf->next->prev = buf;
	pool->first = buf;
	return buf;
}

void
iobuf_free(struct iobuf_pool *pool, struct iobuf *buf)
{
	if (!buf)
		return;
	iobuf_consume(pool, buf, buf->length_bytes);
	if (buf->next)
		buf->next->prev = buf->prev;
	if (buf->prev)
		buf->prev->next = buf->next;
	else
		pool->first = buf->next;
	free(buf);
}

int
iobuf_append(struct iobuf_pool *pool, struct iobuf *buf, const void *data, size_t length)
{
	const char *bytes = data;
	size_t room = buf->tail ? CHUNK_DATA_BYTES - buf->tail->end : 0;
	struct iobuf_chunk *fresh = NULL;

	if (length == 0)
		return 0;
	if (length > room) {
		fresh = iobuf_chain_get(pool, length - room);
		if (!fresh)
			return -ENOMEM;
	}
	if (buf->tail)
		buf->tail->next = fresh;
	else
		buf->head = buf->tail = fresh;
	buf->length_bytes += length;
	pool->bytes += length;
	for (;;) {
		size_t copied = iobuf_chunk_fill(buf->tail, bytes, length);

		bytes += copied;
		length -= copied;
		if (length == 0)
			return 0;
		buf->tail = buf->tail->next;
	}
}

int
iobuf_peek(const struct iobuf *buf, struct iovec *vectors, int max)
{
	int n = 0;

	for (struct iobuf_chunk *chunk = buf->head; chunk && n < max; chunk = chunk->next) {
		vectors[n].iov_base = chunk->data + chunk->start;
		vectors[n].iov_len = chunk->end - chunk->start;
		n++;
	}
	return n;
}

/* How many of the first `length` bytes are in this chunk. */
static size_t
iobuf_chunk_front(const struct iobuf_chunk *chunk, size_t length)
{
	size_t waiting = chunk->end - chunk->start;

	return length < waiting ? length : waiting;
}

void
iobuf_copy(const struct iobuf *buf, void *to, size_t length)
{
	char *bytes = to;

	assert(length <= buf->length_bytes);
	for (const struct iobuf_chunk *chunk = buf->head; length > 0; chunk = chunk->next) {
		size_t n = iobuf_chunk_front(chunk, length);

		memcpy(bytes, chunk->data + chunk->start, n);
		bytes += n;
		length -= n;
	}
}

void
iobuf_overwrite(struct iobuf *buf, const void *from, size_t length)
{
	const char *bytes = from;

	assert(length <= buf->length_bytes);
	for (struct iobuf_chunk *chunk = buf->head; length > 0; chunk = chunk->next) {
		size_t n = iobuf_chunk_front(chunk, length);

		memcpy(chunk->data + chunk->start, bytes, n);
		bytes += n;
		length -= n;
	}
}

void
iobuf_consume(struct iobuf_pool *pool, struct iobuf *buf, size_t length)
{
	assert(length <= buf->length_bytes);
	buf->length_bytes -= length;
	pool->bytes -= length;
	while (length > 0) {
		struct iobuf_chunk *chunk = buf->head;
		size_t waiting = chunk->end - chunk->start;

		if (length < waiting) {
			chunk->start += (uint32_t)length;
			return;
		}
		length -= waiting;
		buf->head = chunk->next;
		iobuf_chunk_put(pool, chunk);
	}
	if (!buf->head)
		buf->tail = NULL;
}

struct iobuf *
iobuf_longest(const struct iobuf_pool *pool)
{
	struct iobuf *longest = NULL;
	size_t most = 0;

	for (struct iobuf *buf = pool->first; buf; buf = buf->next) {
		if (buf->length_bytes > most) {
			most = buf->length_bytes;
			longest = buf;
		}
	}
	return longest;
}
