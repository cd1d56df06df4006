/*
 * Tests of iobuf. The module's source is part of this program, so that its malloc can be told to
 * fail and its calls of malloc_trim counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static size_t mallocs_left = SIZE_MAX; /* then it fails */
static unsigned n_trims;

static void *
limited_malloc(size_t bytes)
{
	if (mallocs_left == 0)
		return NULL;
	mallocs_left--;
	return malloc(bytes);
}

static int
counted_malloc_trim(size_t pad)
{
	n_trims++;
	return malloc_trim(pad);
}

#define malloc limited_malloc
#define malloc_trim counted_malloc_trim
#include "../../src/iobuf.c"
#undef malloc
#undef malloc_trim

#define CHUNK CHUNK_DATA_BYTES

static char pattern[6 << 20];

static struct iobuf *
new_iobuf(struct iobuf_pool *pool)
{
	struct iobuf *buf = iobuf_new(pool, 42);

	assert_non_null(buf);
	return buf;
}

static void
append(struct iobuf_pool *pool, struct iobuf *buf, size_t length)
{
	assert_true(length <= sizeof(pattern));
	assert_int_equal(iobuf_append(pool, buf, pattern, length), 0);
}

/* The bytes that wait are exactly these, and every vector is worth its place. */
static void
assert_holds(const struct iobuf *buf, const char *expected, size_t length)
{
	static struct iovec vectors[2048];
	int n = iobuf_peek(buf, vectors, 2048);

	assert_int_equal(buf->length_bytes, length);
	for (int i = 0; i < n; i++) {
		assert_true(vectors[i].iov_len > 0 && vectors[i].iov_len <= length);
		assert_memory_equal(vectors[i].iov_base, expected, vectors[i].iov_len);
		expected += vectors[i].iov_len;
		length -= vectors[i].iov_len;
	}
	assert_int_equal(length, 0);
}

static void
test_a_new_iobuf_is_empty(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;
	struct iovec vector;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	assert_int_equal(buf->owner, 42);
	assert_int_equal(buf->length_bytes, 0);
	assert_int_equal(iobuf_peek(buf, &vector, 1), 0);
	assert_int_equal(pool.n_chunks, 0);
	iobuf_consume(&pool, buf, 0);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_free_of_null(void **state)
{
	struct iobuf_pool pool;

	(void)state;
	iobuf_pool_init(&pool);
	iobuf_free(&pool, NULL);
	iobuf_pool_done(&pool);
}

static void
test_append_of_nothing(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	assert_int_equal(iobuf_append(&pool, buf, NULL, 0), 0);
	append(&pool, buf, 10);
	assert_int_equal(iobuf_append(&pool, buf, NULL, 0), 0);
	assert_holds(buf, pattern, 10);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_chunks_needed(void **state)
{
	static const struct {
		size_t length, chunks;
	} cases[] = {{1, 1}, {CHUNK - 1, 1}, {CHUNK, 1}, {CHUNK + 1, 2}, {2 * CHUNK, 2},
		{2 * CHUNK + 1, 3}};
	struct iobuf_pool pool;

	(void)state;
	iobuf_pool_init(&pool);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct iobuf *buf = new_iobuf(&pool);

		append(&pool, buf, cases[i].length);
		assert_int_equal(pool.n_chunks, cases[i].chunks);
		assert_int_equal(pool.bytes, cases[i].length);
		assert_holds(buf, pattern, cases[i].length);
		iobuf_free(&pool, buf);
		assert_int_equal(pool.n_chunks, 0);
		assert_int_equal(pool.bytes, 0);
	}
	iobuf_pool_done(&pool);
}

static void
test_append_fills_the_last_chunk_first(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	append(&pool, buf, CHUNK - 10);
	assert_int_equal(iobuf_append(&pool, buf, pattern + CHUNK - 10, 10), 0);
	assert_int_equal(pool.n_chunks, 1);
	assert_int_equal(iobuf_append(&pool, buf, pattern + CHUNK, 1), 0);
	assert_int_equal(pool.n_chunks, 2);
	assert_holds(buf, pattern, CHUNK + 1);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_consume_gives_chunks_back_as_it_goes(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	append(&pool, buf, 3 * CHUNK);
	iobuf_consume(&pool, buf, CHUNK - 1);
	assert_int_equal(pool.n_chunks, 3);
	iobuf_consume(&pool, buf, 1);
	assert_int_equal(pool.n_chunks, 2);
	iobuf_consume(&pool, buf, CHUNK + 1);
	assert_int_equal(pool.n_chunks, 1);
	assert_holds(buf, pattern + 2 * CHUNK + 1, CHUNK - 1);
	iobuf_consume(&pool, buf, CHUNK - 1);
	assert_int_equal(pool.n_chunks, 0);
	assert_int_equal(pool.n_free, 3);
	append(&pool, buf, 5);
	assert_holds(buf, pattern, 5);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_peek_fills_no_more_than_max(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;
	struct iovec vectors[4];

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	append(&pool, buf, 3 * CHUNK);
	iobuf_consume(&pool, buf, 7);
	assert_int_equal(iobuf_peek(buf, vectors, 0), 0);
	assert_int_equal(iobuf_peek(buf, vectors, 2), 2);
	assert_int_equal(iobuf_peek(buf, vectors, 3), 3);
	assert_int_equal(iobuf_peek(buf, vectors, 4), 3);
	assert_int_equal(vectors[0].iov_len, CHUNK - 7);
	assert_int_equal(vectors[2].iov_len, CHUNK);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_pool_keeps_so_many_chunks_and_no_more(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	append(&pool, buf, (IOBUF_KEEP_CHUNKS + 1) * CHUNK);
	iobuf_consume(&pool, buf, (IOBUF_KEEP_CHUNKS - 1) * CHUNK);
	assert_int_equal(pool.n_free, IOBUF_KEEP_CHUNKS - 1);
	assert_int_equal(pool.n_returned, 0);
	iobuf_consume(&pool, buf, CHUNK);
	assert_int_equal(pool.n_free, IOBUF_KEEP_CHUNKS);
	assert_int_equal(pool.n_returned, 0);
	iobuf_consume(&pool, buf, CHUNK);
	assert_int_equal(pool.n_free, IOBUF_KEEP_CHUNKS);
	assert_int_equal(pool.n_returned, 1);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_kept_chunks_are_used_before_malloc(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	append(&pool, buf, 2 * CHUNK);
	iobuf_consume(&pool, buf, 2 * CHUNK);
	mallocs_left = 0;
	append(&pool, buf, 2 * CHUNK);
	mallocs_left = SIZE_MAX;
	assert_int_equal(pool.n_free, 0);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_trim_only_after_many_chunks(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	n_trims = 0;
	iobuf_pool_init(&pool);
	iobuf_pool_trim(&pool);
	buf = new_iobuf(&pool);
	append(&pool, buf, (IOBUF_KEEP_CHUNKS + 1024) * CHUNK);
	iobuf_consume(&pool, buf, (IOBUF_KEEP_CHUNKS + 1023) * CHUNK);
	iobuf_pool_trim(&pool);
	assert_int_equal(n_trims, 0);
	assert_int_equal(pool.n_returned, 1023);
	iobuf_consume(&pool, buf, CHUNK);
	iobuf_pool_trim(&pool);
	assert_int_equal(n_trims, 1);
	assert_int_equal(pool.n_returned, 0);
	iobuf_pool_trim(&pool);
	assert_int_equal(n_trims, 1);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

static void
test_no_memory_for_an_iobuf(void **state)
{
	struct iobuf_pool pool;

	(void)state;
	iobuf_pool_init(&pool);
	mallocs_left = 0;
	assert_null(iobuf_new(&pool, 1));
	mallocs_left = SIZE_MAX;
	assert_null(pool.first);
	iobuf_pool_done(&pool);
}

/* Fails at each chunk in turn, with nothing, some and a full chunk waiting before. */
static void
test_append_without_memory_changes_nothing(void **state)
{
	static const size_t before[] = {0, 1, CHUNK - 1, CHUNK};
	struct iobuf_pool pool;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (size_t chunks = 0; chunks < 3; chunks++) {
			struct iobuf *buf;

			iobuf_pool_init(&pool);
			buf = new_iobuf(&pool);
			append(&pool, buf, before[i]);
			mallocs_left = chunks;
			assert_int_equal(iobuf_append(&pool, buf, pattern, 3 * CHUNK + 1), -ENOMEM);
			mallocs_left = SIZE_MAX;
			assert_holds(buf, pattern, before[i]);
			assert_int_equal(pool.n_chunks, before[i] > 0);
			assert_int_equal(pool.bytes, before[i]);
			assert_int_equal(
				iobuf_append(&pool, buf, pattern + before[i], 3 * CHUNK + 1), 0);
			assert_holds(buf, pattern, before[i] + 3 * CHUNK + 1);
			iobuf_free(&pool, buf);
			iobuf_pool_done(&pool);
		}
	}
}

static void
test_longest(void **state)
{
	struct iobuf_pool pool;
	struct iobuf *a, *b, *c;

	(void)state;
	iobuf_pool_init(&pool);
	assert_null(iobuf_longest(&pool));
	a = new_iobuf(&pool);
	b = new_iobuf(&pool);
	c = new_iobuf(&pool);
	assert_null(iobuf_longest(&pool));
	append(&pool, a, 10);
	append(&pool, b, 2 * CHUNK);
	append(&pool, c, 11);
	assert_ptr_equal(iobuf_longest(&pool), b);
	iobuf_free(&pool, b);
	assert_ptr_equal(iobuf_longest(&pool), c);
	iobuf_consume(&pool, c, 11);
	assert_ptr_equal(iobuf_longest(&pool), a);
	iobuf_free(&pool, a);
	assert_null(iobuf_longest(&pool));
	iobuf_free(&pool, c);
	iobuf_pool_done(&pool);
}

static uint32_t
next_random(uint64_t *random, uint32_t below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (uint32_t)((*random >> 16) % below);
}

/* What waits is always one piece of the pattern, from `start` to `end`. */
static void
test_random_walk_beside_a_flat_buffer(void **state)
{
	uint64_t random = 0x2545f4914f6cdd1d;
	size_t start = 0, end = 0, n_failed = 0;
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	for (int i = 0; i < 4000; i++) {
		size_t length = next_random(&random, 1u << (1 + next_random(&random, 15)));

		if (next_random(&random, 2) == 0) {
			if (length > sizeof(pattern) - end)
				break;
			mallocs_left = next_random(&random, 2) ? SIZE_MAX : 1;
			if (iobuf_append(&pool, buf, pattern + end, length) == 0)
				end += length;
			else
				n_failed++;
			mallocs_left = SIZE_MAX;
		} else {
			length = length < end - start ? length : end - start;
			iobuf_consume(&pool, buf, length);
			start += length;
		}
		assert_holds(buf, pattern + start, end - start);
		assert_int_equal(pool.bytes, end - start);
	}
	assert_true(end > 1 << 20);
	assert_true(n_failed > 0);
	iobuf_free(&pool, buf);
	assert_int_equal(pool.bytes, 0);
	iobuf_pool_done(&pool);
}

static int
fill_pattern(void **state)
{
	uint64_t random = 0x9e3779b97f4a7c15;

	(void)state;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)next_random(&random, 256);
	return 0;
}

static void
test_copy_and_overwrite_at_the_front(void **state)
{
	static const char other[2 * CHUNK + 2];
	static char copy[2 * CHUNK + 2];
	struct iobuf_pool pool;
	struct iobuf *buf;

	(void)state;
	iobuf_pool_init(&pool);
	buf = new_iobuf(&pool);
	append(&pool, buf, 3 * CHUNK);
	iobuf_consume(&pool, buf, 7);
	iobuf_copy(buf, copy, 0);
	for (size_t length = 2 * CHUNK - 8; length <= 2 * CHUNK + 2; length++) {
		memset(copy, 'x', sizeof(copy));
		iobuf_copy(buf, copy, length);
		assert_memory_equal(copy, pattern + 7, length);
		assert_true(length == sizeof(copy) || copy[length] == 'x');
	}
	iobuf_overwrite(buf, other, CHUNK);
	assert_int_equal(buf->length_bytes, 3 * CHUNK - 7);
	iobuf_copy(buf, copy, CHUNK + 1);
	assert_memory_equal(copy, other, CHUNK);
	assert_int_equal(copy[CHUNK], pattern[CHUNK + 7]);
	iobuf_free(&pool, buf);
	iobuf_pool_done(&pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_iobuf_is_empty),
		cmocka_unit_test(test_free_of_null),
		cmocka_unit_test(test_append_of_nothing),
		cmocka_unit_test(test_chunks_needed),
		cmocka_unit_test(test_append_fills_the_last_chunk_first),
		cmocka_unit_test(test_consume_gives_chunks_back_as_it_goes),
		cmocka_unit_test(test_peek_fills_no_more_than_max),
		cmocka_unit_test(test_pool_keeps_so_many_chunks_and_no_more),
		cmocka_unit_test(test_kept_chunks_are_used_before_malloc),
		cmocka_unit_test(test_trim_only_after_many_chunks),
		cmocka_unit_test(test_no_memory_for_an_iobuf),
		cmocka_unit_test(test_append_without_memory_changes_nothing),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_random_walk_beside_a_flat_buffer),
		cmocka_unit_test(test_copy_and_overwrite_at_the_front),
	};

	return cmocka_run_group_tests(tests, fill_pattern, NULL);
}
