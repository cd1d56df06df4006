/* parkfile: what was written is read again, and anything else is refused without harm. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "parkfile.h"

#define FACTS "{\"worker\":1}"
#define GOLDEN "/tests/park/v%d.bin"

static struct parkfile_record
record_of(uint64_t id, uint32_t out_bytes, uint32_t in_bytes, uint64_t waiting)
{
	return (struct parkfile_record){
		.id = id,
		.cookie = id * 7,
		.opened_usec = 1000 + id,
		.active_usec = 2000 + id,
		.waiting = waiting,
		.out_bytes = out_bytes,
		.in_bytes = in_bytes,
		.peer = {.family = ADDR_IPV4, .port = 4242, .bytes = {192, 0, 2, 1}},
		.listener = 3,
		.state = PARKFILE_CLOSING,
		.flags = PARKFILE_GOT_BYTES,
		.reason = 5,
		.proto = "fifteen bytes..",
	};
}

/* Two records of a connection with bytes that wait, and one without. */
static int
write_three(void)
{
	struct parkfile_record records[] = {
		record_of(1, 3, 2, 0), record_of(2, 0, 0, 5), record_of(3, 1, 0, 5)};
	struct parkfile_writer writer;
	int fd;

	assert_int_equal(parkfile_create(&writer, FACTS, 4), 0);
	for (size_t i = 0; i < 3; i++)
		parkfile_add_record(&writer, &records[i]);
	parkfile_add_bytes(&writer, "outin", 5);
	parkfile_add_bytes(&writer, "x", 1);
	fd = parkfile_finish(&writer);
	assert_true(fd >= 0);
	return fd;
}

static void
check_three(const struct parkfile *file)
{
	struct parkfile_record one = record_of(1, 3, 2, 0), three = record_of(3, 1, 0, 5), read;

	assert_int_equal(file->head.n_records, 3);
	assert_int_equal(file->head.facts_bytes, strlen(FACTS));
	assert_memory_equal((char *)file->data + file->head.facts_offset, FACTS, strlen(FACTS));
	read = parkfile_record(file, 0);
	assert_memory_equal(&read, &one, sizeof(one));
	assert_memory_equal(parkfile_waiting(file, &read), "outin", 5);
	read = parkfile_record(file, 1);
	assert_non_null(parkfile_waiting(file, &read));
	read = parkfile_record(file, 2);
	assert_memory_equal(&read, &three, sizeof(three));
	assert_memory_equal(parkfile_waiting(file, &read), "x", 1);
}

/* A copy of the file in memory that a test may spoil; to be freed. */
static char *
copy_of_three(size_t *ret_size)
{
	int fd = write_three();
	off_t size = lseek(fd, 0, SEEK_END);
	char *data = malloc((size_t)size);

	assert_non_null(data);
	assert_int_equal(pread(fd, data, (size_t)size, 0), size);
	(void)close(fd);
	*ret_size = (size_t)size;
	return data;
}

static void
what_is_written_is_read(void **state)
{
	struct mg_error error;
	struct parkfile file;
	int fd = write_three();

	(void)state;
	assert_int_equal(parkfile_open(fd, &file, &error), 0);
	check_three(&file);
	parkfile_close(&file);
	parkfile_close(&file);
	(void)close(fd);
}

static void
no_connection_is_a_file_too(void **state)
{
	struct parkfile_writer writer;
	struct mg_error error;
	struct parkfile file;
	int fd;

	(void)state;
	assert_int_equal(parkfile_create(&writer, "{}", 0), 0);
	fd = parkfile_finish(&writer);
	assert_true(fd >= 0);
	assert_int_equal(parkfile_open(fd, &file, &error), 0);
	assert_int_equal(file.head.n_records, 0);
	parkfile_close(&file);
	(void)close(fd);
}

static void
nobody_can_change_it_any_more(void **state)
{
	int fd = write_three();

	(void)state;
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 1), -1);
	(void)close(fd);
}

static void
every_length_but_the_whole_is_refused(void **state)
{
	struct mg_error error;
	struct parkfile file;
	size_t size;
	char *data = copy_of_three(&size);

	(void)state;
	for (size_t length = 0; length < size; length++) {
		/* Of its own, so that a sanitizer sees a read beyond it. */
		char *part = malloc(length ? length : 1);

		memcpy(part, data, length);
		assert_int_equal(parkfile_parse(part, length, &file, &error), -EBADMSG);
		free(part);
	}
	assert_int_equal(parkfile_parse(data, size, &file, &error), 0);
	check_three(&file);
	free(data);
}

static void
every_flipped_byte_is_noticed_or_of_no_meaning(void **state)
{
	struct mg_error error;
	struct parkfile file;
	size_t size;
	char *data = copy_of_three(&size);

	(void)state;
	for (size_t i = 0; i < size; i++) {
		data[i] ^= 0x20;
		/* The gap between facts and records, and room for records that never came, are not read. */
		if (parkfile_parse(data, size, &file, &error) == 0)
			check_three(&file);
		data[i] ^= 0x20;
	}
	free(data);
}

static void
refuses(size_t offset, const void *value, size_t length, int wanted, const char *text)
{
	struct mg_error error = {""};
	struct parkfile file;
	size_t size;
	char *data = copy_of_three(&size);

	memcpy(data + offset, value, length);
	assert_int_equal(parkfile_parse(data, size, &file, &error), wanted);
	assert_non_null(strstr(error.text, text));
	free(data);
}

#define REFUSES(field, type, value, wanted, text) \
	refuses(offsetof(struct parkfile_head, field), &(type){value}, sizeof(type), wanted, text)

static void
heads_that_make_no_sense(void **state)
{
	(void)state;
	refuses(0, "M", 1, -EBADMSG, "does not begin");
	REFUSES(version, uint32_t, 0, -EPROTONOSUPPORT, "version 0");
	REFUSES(version, uint32_t, PARKFILE_VERSION + 1, -EPROTONOSUPPORT, "known are 1 to");
	REFUSES(record_bytes, uint32_t, 0, -EBADMSG, "a record of 0 bytes");
	REFUSES(record_bytes, uint32_t, 4097, -EBADMSG, "allowed are 1 to 4096");
	REFUSES(checksum, uint64_t, 0, -EBADMSG, "checksum");
	REFUSES(facts_offset, uint64_t, UINT64_MAX, -EBADMSG, "cut off");
	REFUSES(facts_bytes, uint64_t, UINT64_MAX, -EBADMSG, "cut off");
	REFUSES(records_offset, uint64_t, UINT64_MAX - 7, -EBADMSG, "cut off");
	REFUSES(n_records, uint64_t, UINT64_MAX / 88 + 1, -EBADMSG, "cut off");
	REFUSES(bytes_offset, uint64_t, UINT64_MAX, -EBADMSG, "cut off");
	REFUSES(n_bytes, uint64_t, 7, -EBADMSG, "cut off");
}

static void
waiting_bytes_lie_within_the_file(void **state)
{
	struct mg_error error;
	struct parkfile file;
	size_t size;
	char *data = copy_of_three(&size);
	struct parkfile_record record;

	(void)state;
	assert_int_equal(parkfile_parse(data, size, &file, &error), 0);
	record = record_of(1, 5, 1, 0);
	assert_non_null(parkfile_waiting(&file, &record));
	record = record_of(1, 5, 2, 0);
	assert_null(parkfile_waiting(&file, &record));
	record = record_of(1, 0, 0, 6);
	assert_non_null(parkfile_waiting(&file, &record));
	record = record_of(1, 0, 0, 7);
	assert_null(parkfile_waiting(&file, &record));
	record = record_of(1, UINT32_MAX, UINT32_MAX, UINT64_MAX - 1);
	assert_null(parkfile_waiting(&file, &record));
	free(data);
}

static void
what_is_no_sealed_file_is_refused(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING), ends[2];
	struct mg_error error;
	struct parkfile file;
	size_t size;
	char *data = copy_of_three(&size);

	(void)state;
	assert_int_equal(write(fd, data, size), (ssize_t)size);
	assert_int_equal(parkfile_open(fd, &file, &error), -EBADMSG);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
	assert_int_equal(parkfile_open(fd, &file, &error), 0);
	parkfile_close(&file);
	(void)close(fd);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(parkfile_open(ends[0], &file, &error), -EBADMSG);
	(void)close(ends[0]);
	(void)close(ends[1]);
	free(data);
}

/* Every version, as it was released: it must be readable for ever. */
static void
golden_file_of_each_version(void **state)
{
	const char *top = getenv("srcdir");
	struct mg_error error;
	struct parkfile file;
	char path[4096], data[4096];
	ssize_t size;
	int fd;

	(void)state;
	for (int version = 1; version <= PARKFILE_VERSION; version++) {
		snprintf(path, sizeof(path), "%s" GOLDEN, top ? top : ".", version);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		size = read(fd, data, sizeof(data));
		(void)close(fd);
		assert_int_equal(parkfile_parse(data, (size_t)size, &file, &error), 0);
		assert_int_equal(file.head.version, version);
		check_three(&file);
	}
}

/* How the golden file was made, with --write FILE; a released one is never made again. */
static int
write_golden(const char *path)
{
	size_t size;
	char *data = copy_of_three(&size);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	bool good = fd >= 0 && write(fd, data, size) == (ssize_t)size;

	free(data);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(no_connection_is_a_file_too),
		cmocka_unit_test(nobody_can_change_it_any_more),
		cmocka_unit_test(every_length_but_the_whole_is_refused),
		cmocka_unit_test(every_flipped_byte_is_noticed_or_of_no_meaning),
		cmocka_unit_test(heads_that_make_no_sense),
		cmocka_unit_test(waiting_bytes_lie_within_the_file),
		cmocka_unit_test(what_is_no_sealed_file_is_refused),
		cmocka_unit_test(golden_file_of_each_version),
	};

	if (argc == 3 && strcmp(argv[1], "--write") == 0)
		return write_golden(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
