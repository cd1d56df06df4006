/*
 * fuzz_parkfile: whatever the bytes, they are refused as a parkfile, or all that is in it can be read,
 * and stands for something that there is.
 *
 * Each input is tried twice: as it is, and with a checksum that is right, which no input finds by luck.
 *
 * Links: parkfile.c park_facts.c metrics.c close_reason.c conf*.c addr.c error.c reference.c sysctl.c
 * Links: upstream.c upstream_name.c
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "park_facts.h"
#include "parkfile.h"

#define CONF                                                        \
	"{\"listeners\":{\"public\":{\"address\":\"127.0.0.1:1\"}," \
	"\"echo\":{\"address\":\"127.0.0.1:2\",\"service\":\"echo\"}}}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the configuration of the process that reads has; made once. */
static const struct conf *
the_conf(void)
{
	static struct conf *conf;
	struct conf_errors errors = {0};

	if (!conf && conf_parse(CONF, strlen(CONF), "fuzz", &conf, &errors) < 0)
		abort();
	return conf;
}

/* Each server of theirs is none of ours, or one that is in the table. */
static void
use_servers(struct park_facts *facts, const struct conf *conf)
{
	struct upstreams *upstreams = upstreams_new();

	if (!upstreams)
		abort();
	park_facts_enter_servers(facts, conf, upstreams);
	for (unsigned i = 0; i < UPSTREAM_MAX; i++)
		if (facts->servers[i] != UPSTREAM_NONE &&
			(facts->servers[i] >= UPSTREAM_MAX ||
				!upstreams->items[facts->servers[i]].in_use))
			abort();
	upstreams_free(upstreams);
}

static bool
is_within(size_t size, uint64_t offset, uint64_t n, uint64_t bytes)
{
	return (unsigned __int128)offset + (unsigned __int128)n * bytes <= size;
}

static uint64_t
hash_part(uint64_t hash, const uint8_t *data, bool first, uint64_t offset, uint64_t length)
{
	if (!first)
		return XXH3_64bits_withSeed(data + offset, length, hash);
	for (uint64_t i = 0; i < length; i++)
		hash = (hash ^ data[offset + i]) * UINT64_C(0x100000001b3);
	return hash;
}

static void
set_checksum(uint8_t *data, size_t size)
{
	struct parkfile_head head;
	uint64_t hash;
	bool first;

	if (size < sizeof(head))
		return;
	memcpy(&head, data, sizeof(head));
	if (!is_within(size, head.facts_offset, head.facts_bytes, 1) ||
		!is_within(size, head.records_offset, head.n_records, head.record_bytes) ||
		!is_within(size, head.bytes_offset, head.n_bytes, 1))
		return;
	first = head.version == 1;
	hash = first ? UINT64_C(0xcbf29ce484222325) : 0;
	hash = hash_part(hash, data, first, head.facts_offset, head.facts_bytes);
	hash = hash_part(
		hash, data, first, head.records_offset, head.n_records * head.record_bytes);
	head.checksum = hash_part(hash, data, first, head.bytes_offset, head.n_bytes);
	memcpy(data, &head, sizeof(head));
}

static void
use_facts(const struct parkfile *file)
{
	static struct metrics_slot slot;
	const struct conf *conf = the_conf();
	struct mg_error error = {""};
	struct park_facts facts;

	if (park_facts_decode((const char *)file->data + file->head.facts_offset,
		    file->head.facts_bytes, conf, &facts, &error) < 0) {
		if (!error.text[0])
			abort();
		return;
	}
	use_servers(&facts, conf);
	for (unsigned i = 0; i < 256; i++) {
		if (facts.listeners[i] != PARK_FACTS_UNKNOWN &&
			facts.listeners[i] >= conf->n_listeners)
			abort();
		if (facts.reasons[i] != PARK_FACTS_UNKNOWN &&
			facts.reasons[i] >= CLOSE_REASON_COUNT)
			abort();
	}
	park_facts_add_counters(&facts, false, conf, &slot);
	park_facts_add_counters(&facts, true, conf, &slot);
	park_facts_done(&facts);
}

/* The sanitizer knows where the bytes end. */
static void
use_records(const struct parkfile *file)
{
	volatile uint8_t sink = 0;

	for (uint64_t i = 0; i < file->head.n_records; i++) {
		struct parkfile_record record = parkfile_record(file, i);
		uint64_t length = (uint64_t)record.out_bytes + record.in_bytes;
		const uint8_t *waiting = parkfile_waiting(file, &record);

		if (waiting && length > 0)
			sink = waiting[0] ^ waiting[length - 1];
	}
	(void)sink;
}

static void
use_file(uint8_t *bytes, size_t size)
{
	struct mg_error error = {""};
	struct parkfile file, untouched;

	memset(&file, 0x5a, sizeof(file));
	memcpy(&untouched, &file, sizeof(untouched));
	if (parkfile_parse(bytes, size, &file, &error) < 0) {
		if (!error.text[0] || memcmp(&file, &untouched, sizeof(file)) != 0)
			abort();
		return;
	}
	use_facts(&file);
	use_records(&file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size > 0 ? size : 1); /* aligned, as a mapped file is */

	if (!bytes)
		abort();
	memcpy(bytes, data, size);
	use_file(bytes, size);
	set_checksum(bytes, size);
	use_file(bytes, size);
	free(bytes);
	return 0;
}
