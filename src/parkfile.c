/* parkfile: see parkfile.h. */
#include "parkfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define PARKFILE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define PARKFILE_RECORD_MAX 4096 /* bytes; beyond it a head is nonsense */

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static uint64_t
parkfile_fnv(uint64_t hash, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * FNV_PRIME;
	return hash;
}

static uint64_t
parkfile_checksum_1(const struct parkfile_head *head, const char *data)
{
	uint64_t hash = parkfile_fnv(FNV_BASIS, data + head->facts_offset, head->facts_bytes);

	hash = parkfile_fnv(
		hash, data + head->records_offset, head->n_records * head->record_bytes);
	return parkfile_fnv(hash, data + head->bytes_offset, head->n_bytes);
}

/* Each part's hash is the seed of the next one's. */
static uint64_t
parkfile_checksum(const struct parkfile_head *head, const char *data)
{
	uint64_t hash;

	if (head->version == 1)
		return parkfile_checksum_1(head, data);
	hash = XXH3_64bits(data + head->facts_offset, head->facts_bytes);
	hash = XXH3_64bits_withSeed(
		data + head->records_offset, head->n_records * head->record_bytes, hash);
	return XXH3_64bits_withSeed(data + head->bytes_offset, head->n_bytes, hash);
}

int
parkfile_create(struct parkfile_writer *writer, const char *facts, uint64_t max_records)
{
	int fd = memfd_create("millgate-park", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;
	struct parkfile_head *head = &writer->head;

	if (fd < 0)
		return -errno;
	writer->file = fdopen(fd, "w+");
	if (!writer->file) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	*head = (struct parkfile_head){
		.version = PARKFILE_VERSION,
		.record_bytes = sizeof(struct parkfile_record),
		.facts_offset = sizeof(*head),
		.facts_bytes = strlen(facts),
	};
	memcpy(head->magic, PARKFILE_MAGIC, sizeof(head->magic));
	head->records_offset = (head->facts_offset + head->facts_bytes + 7) & ~UINT64_C(7);
	head->bytes_offset = head->records_offset + max_records * head->record_bytes;
	/* The head comes last. */
	(void)fseeko(writer->file, (off_t)head->facts_offset, SEEK_SET);
	(void)fwrite(facts, 1, head->facts_bytes, writer->file);
	(void)fseeko(writer->file, (off_t)head->records_offset, SEEK_SET);
	return 0;
}

void
parkfile_add_record(struct parkfile_writer *writer, const struct parkfile_record *record)
{
	assert(writer->head.n_bytes == 0);
	(void)fwrite(record, sizeof(*record), 1, writer->file);
	writer->head.n_records++;
}

void
parkfile_add_bytes(struct parkfile_writer *writer, const void *data, size_t length)
{
	if (writer->head.n_bytes == 0)
		(void)fseeko(writer->file, (off_t)writer->head.bytes_offset, SEEK_SET);
	(void)fwrite(data, 1, length, writer->file);
	writer->head.n_bytes += length;
}

/* The file has its size, and all but the head is in it. */
static int
parkfile_write_head(struct parkfile_writer *writer, int fd, uint64_t size)
{
	struct parkfile_head *head = &writer->head;
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (data == MAP_FAILED)
		return -errno;
	head->checksum = parkfile_checksum(head, data);
	memcpy(data, head, sizeof(*head));
	(void)munmap(data, size);
	return fcntl(fd, F_ADD_SEALS, PARKFILE_SEALS) < 0 ? -errno : 0;
}

int
parkfile_finish(struct parkfile_writer *writer)
{
	uint64_t size = writer->head.bytes_offset + writer->head.n_bytes;
	bool failed = fflush(writer->file) != 0 || ferror(writer->file);
	int fd = fcntl(fileno(writer->file), F_DUPFD_CLOEXEC, 0), r = -errno;

	(void)fclose(writer->file);
	writer->file = NULL;
	if (fd < 0)
		return r;
	r = failed ? -ENOMEM : 0; /* what else can fail in a file in memory */
	if (r == 0 && ftruncate(fd, (off_t)size) < 0)
		r = -errno;
	if (r == 0)
		r = parkfile_write_head(writer, fd, size);
	if (r == 0)
		return fd;
	(void)close(fd);
	return r;
}

/* Do `n` pieces of `bytes` lie within the file? */
static bool
parkfile_holds(size_t size, uint64_t offset, uint64_t n, uint64_t bytes)
{
	return offset <= size && (bytes == 0 || n <= (size - offset) / bytes);
}

static int
parkfile_check_head(const struct parkfile_head *head, size_t size, struct mg_error *reterr_error)
{
	if (memcmp(head->magic, PARKFILE_MAGIC, sizeof(head->magic)) != 0)
		return mg_error_set(
			reterr_error, -EBADMSG, "it does not begin with \"%s\"", PARKFILE_MAGIC);
	if (head->version < 1 || head->version > PARKFILE_VERSION)
		return mg_error_set(reterr_error, -EPROTONOSUPPORT,
			"its format is of version %u, known are 1 to %u", head->version,
			PARKFILE_VERSION);
	if (head->record_bytes < 1 || head->record_bytes > PARKFILE_RECORD_MAX)
		return mg_error_set(reterr_error, -EBADMSG,
			"a record of %u bytes, allowed are 1 to %u", head->record_bytes,
			PARKFILE_RECORD_MAX);
	if (!parkfile_holds(size, head->facts_offset, head->facts_bytes, 1) ||
		!parkfile_holds(size, head->records_offset, head->n_records, head->record_bytes) ||
		!parkfile_holds(size, head->bytes_offset, head->n_bytes, 1))
		return mg_error_set(reterr_error, -EBADMSG,
			"it is cut off: %zu bytes are less than its head says", size);
	return 0;
}

int
parkfile_parse(void *data, size_t size, struct parkfile *ret_file, struct mg_error *reterr_error)
{
	struct parkfile file = {.data = data, .size = size};
	int r;

	if (size < sizeof(file.head))
		return mg_error_set(
			reterr_error, -EBADMSG, "it is cut off: %zu bytes hold no head", size);
	memcpy(&file.head, data, sizeof(file.head));
	r = parkfile_check_head(&file.head, size, reterr_error);
	if (r < 0)
		return r;
	if (parkfile_checksum(&file.head, data) != file.head.checksum)
		return mg_error_set(reterr_error, -EBADMSG, "its checksum is wrong");
	*ret_file = file;
	return 0;
}

int
parkfile_open(int fd, struct parkfile *ret_file, struct mg_error *reterr_error)
{
	int seals = fcntl(fd, F_GET_SEALS), r;
	struct stat st;
	void *data;

	/* One that somebody can still cut off would kill who reads it (SIGBUS). */
	if (seals < 0 || (seals & PARKFILE_SEALS) != PARKFILE_SEALS)
		return mg_error_set(reterr_error, -EBADMSG, "it is not a sealed file in memory");
	if (fstat(fd, &st) < 0 || st.st_size == 0)
		return mg_error_set(reterr_error, -EBADMSG, "it is empty");
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return mg_error_set(
			reterr_error, -errno, "it cannot be mapped: %s", strerror(errno));
	r = parkfile_parse(data, (size_t)st.st_size, ret_file, reterr_error);
	if (r < 0)
		(void)munmap(data, (size_t)st.st_size);
	return r;
}

void
parkfile_close(struct parkfile *file)
{
	if (file->data)
		(void)munmap(file->data, file->size);
	*file = (struct parkfile){0};
}

const struct parkfile_record *
parkfile_look(const struct parkfile *file, uint64_t index, struct parkfile_record *buf)
{
	size_t length = file->head.record_bytes;
	const char *record = (const char *)file->data + file->head.records_offset + index * length;

	assert(index < file->head.n_records);
	if (length == sizeof(*buf) && (uintptr_t)record % _Alignof(struct parkfile_record) == 0)
		return (const struct parkfile_record *)(const void *)record;
	*buf = (struct parkfile_record){0};
	memcpy(buf, record, length < sizeof(*buf) ? length : sizeof(*buf));
	return buf;
}

struct parkfile_record
parkfile_record(const struct parkfile *file, uint64_t index)
{
	struct parkfile_record buf;

	return *parkfile_look(file, index, &buf);
}

const void *
parkfile_waiting(const struct parkfile *file, const struct parkfile_record *record)
{
	uint64_t length = (uint64_t)record->out_bytes + record->in_bytes;

	if (!parkfile_holds(file->head.n_bytes, record->waiting, length, 1))
		return NULL;
	return (const char *)file->data + file->head.bytes_offset + record->waiting;
}
