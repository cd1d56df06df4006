/*
 * fixture_park: configurations and parkfiles to test with, sound ones and any others. Static
 * functions only.
 */
#ifndef MILLGATE_TESTS_FIXTURE_PARK_H
#define MILLGATE_TESTS_FIXTURE_PARK_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "conf.h"
#include "fixture_fds.h"
#include "parkfile.h"

#define RECORD_BYTES sizeof(struct parkfile_record)
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* With a listener for each of these names, in their order. */
static inline struct conf *
make_conf(const char *const *names, unsigned n)
{
	char text[8192] = "{\"listeners\":{";
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	size_t length = strlen(text);

	for (unsigned i = 0; i < n; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
			"%s\"%s\":{\"address\":\"127.0.0.1:%u\"}", i > 0 ? "," : "", names[i],
			7000 + i);
	snprintf(text + length, sizeof(text) - length, "}}");
	if (conf_parse(text, strlen(text), "test", &conf, &errors) < 0)
		fail_msg("%s", errors.items[0]);
	return conf;
}

/* One that differs from others in all fields. Nothing waits for it. */
static inline struct parkfile_record
make_record(uint64_t id)
{
	struct parkfile_record record = {
		.id = id,
		.cookie = 1000 + id,
		.opened_usec = 2000 + id,
		.active_usec = 3000 + id,
		.peer = {.family = ADDR_IPV4, .port = (uint16_t)id},
		.state = (uint8_t)(id % 3),
		.flags = (uint8_t)(id % 16),
		.reason = (uint8_t)(id % 7),
	};

	memcpy(record.peer.bytes, &id, 4);
	memset(record.proto, (int)(id % 256), sizeof(record.proto));
	return record;
}

/* The bytes of a file, exactly as long as they are, so that a sanitizer sees the end of it. */
struct image {
	uint8_t *data;
	size_t size;
};

static inline struct parkfile_head
image_head(const struct image *image)
{
	struct parkfile_head head;

	memcpy(&head, image->data, sizeof(head));
	return head;
}

static inline bool
is_within(size_t size, uint64_t offset, uint64_t n, uint64_t bytes)
{
	return (unsigned __int128)offset + (unsigned __int128)n * bytes <= size;
}

/* Does it hold what its head says? */
static inline bool
image_is_whole(const struct image *image)
{
	struct parkfile_head head = image_head(image);

	return is_within(image->size, head.facts_offset, head.facts_bytes, 1) &&
	       is_within(image->size, head.records_offset, head.n_records, head.record_bytes) &&
	       is_within(image->size, head.bytes_offset, head.n_bytes, 1);
}

static inline uint64_t
hash_part(uint64_t hash, const struct image *image, bool first, uint64_t offset, uint64_t length)
{
	if (!first)
		return XXH3_64bits_withSeed(image->data + offset, length, hash);
	for (uint64_t i = 0; i < length; i++)
		hash = (hash ^ image->data[offset + i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* Makes the checksum right, where there is something to be summed up. */
static inline void
image_sum(struct image *image)
{
	struct parkfile_head head = image_head(image);
	bool first = head.version == 1;
	uint64_t hash = first ? UINT64_C(0xcbf29ce484222325) : 0;

	if (!image_is_whole(image))
		return;
	hash = hash_part(hash, image, first, head.facts_offset, head.facts_bytes);
	hash = hash_part(
		hash, image, first, head.records_offset, head.n_records * head.record_bytes);
	head.checksum = hash_part(hash, image, first, head.bytes_offset, head.n_bytes);
	memcpy(image->data, &head, sizeof(head));
}

static inline void
image_set_head(struct image *image, const struct parkfile_head *head)
{
	memcpy(image->data, head, sizeof(*head));
	image_sum(image);
}

/* Records of any length, as a writer of another version has them. */
static inline struct image
make_image(const char *facts, const void *records, uint32_t record_bytes, uint64_t n_records,
	const void *bytes, size_t n_bytes)
{
	struct parkfile_head head = {
		.magic = {'m', 'i', 'l', 'l', 'g', 'a', 't', 'e'},
		.version = PARKFILE_VERSION,
		.record_bytes = record_bytes,
		.facts_offset = sizeof(head),
		.facts_bytes = strlen(facts),
		.n_records = n_records,
		.n_bytes = n_bytes,
	};
	struct image image;

	head.records_offset = head.facts_offset + head.facts_bytes;
	head.bytes_offset = head.records_offset + n_records * record_bytes;
	image.size = head.bytes_offset + n_bytes;
	image.data = malloc(image.size);
	assert_non_null(image.data);
	memcpy(image.data + head.facts_offset, facts, head.facts_bytes);
	memcpy(image.data + head.records_offset, records, n_records * record_bytes);
	if (n_bytes > 0)
		memcpy(image.data + head.bytes_offset, bytes, n_bytes);
	image_set_head(&image, &head);
	return image;
}

/* The first `size` bytes of it. */
static inline struct image
copy_image(const struct image *from, size_t size)
{
	struct image image = {.data = malloc(size > 0 ? size : 1), .size = size};

	assert_non_null(image.data);
	memcpy(image.data, from->data, size);
	return image;
}

static inline void
free_image(struct image *image)
{
	free(image->data);
	*image = (struct image){0};
}

static inline int
make_memfd(const void *data, size_t size, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static inline struct image
read_image(int fd)
{
	struct image image = {0};
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	image.size = (size_t)st.st_size;
	image.data = malloc(image.size + 1);
	assert_non_null(image.data);
	assert_int_equal(pread(fd, image.data, image.size, 0), st.st_size);
	return image;
}

/* Reads all that there is to be read; a sanitizer says if it should not have been. */
static inline uint64_t
walk_file(const struct parkfile *file)
{
	const uint8_t *data = file->data;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < file->head.facts_bytes; i++)
		sum += data[file->head.facts_offset + i];
	for (uint64_t i = 0; i < file->head.n_records; i++) {
		struct parkfile_record record = parkfile_record(file, i);
		uint64_t length = (uint64_t)record.out_bytes + record.in_bytes;
		const uint8_t *waiting = parkfile_waiting(file, &record);

		if (waiting && length > 0)
			sum += waiting[0] + waiting[length - 1];
	}
	return sum;
}

#endif
