/*
 * parkfile: what a process knows of its connections, written down for the one that takes them over.
 *
 * Process: both. A sealed file in memory (memfd_create(2)). HACKING.md describes the format for
 * who has to read an old one. Reading trusts nothing: every length is checked before it is used.
 *
 *     head      struct parkfile_head
 *     facts     JSON: counters, and names for the numbers in the records (park_facts.h)
 *     records   one for each connection, in the order of the descriptors in the berths
 *     bytes     what waited: first the output, then the input of each connection that had some
 */
#ifndef MILLGATE_PARKFILE_H
#define MILLGATE_PARKFILE_H

#include <stdint.h>
#include <stdio.h>

#include "addr.h"
#include "error.h"

#define PARKFILE_MAGIC "millgate"
#define PARKFILE_VERSION 2 /* a reader takes this one and all before it */
#define PARKFILE_PROTO_BYTES 16

/* Offsets from the start of the file, in bytes; numbers in the machine's own order. */
struct parkfile_head {
	char magic[8];
	uint32_t version;
	uint32_t
		record_bytes; /* a later writer's records may be longer, an earlier one's shorter */
	uint64_t checksum;    /* XXH3, 64 bits, of the facts, seed of that of the records, and
			      * that of that of the bytes; version 1: FNV-1a of all */
	uint64_t facts_offset, facts_bytes;
	uint64_t records_offset, n_records;
	uint64_t bytes_offset, n_bytes;
};

enum parkfile_state {
	PARKFILE_OPEN = 0,
	PARKFILE_CLOSING = 1,    /* sends what waits, then closes */
	PARKFILE_HANDSHAKE = 2,  /* its protocol's handshake is under way */
	PARKFILE_PROXY = 3,      /* it is to begin with a PROXY header, or that is being judged */
	PARKFILE_CONNECTING = 4, /* UPSTREAM: it is not accepted yet */
};

enum parkfile_flag {
	PARKFILE_GOT_BYTES = 1 << 0, /* the client has sent something */
	PARKFILE_PAUSED = 1 << 1,    /* it is not read from */
	PARKFILE_LINGERS = 1 << 2,   /* while CLOSING: goes on when what waits is sent */
	PARKFILE_DEAF = 1 << 3,      /* what it still sends is thrown away */
	PARKFILE_HELD = 1 << 4,      /* it is not read from until the other side has got its own */
	PARKFILE_EOF = 1 << 5,       /* it has sent all that it will */
	/* The connection to the server of the client in the record before; while CLOSING an orphan:
	 * its client has gone. */
	PARKFILE_UPSTREAM = 1 << 6,
	PARKFILE_LINKED = 1 << 7, /* a client, and the next record is that connection */
};

/* New fields go to the end: where a record is shorter they are 0. Never change one that is here
 * without a new PARKFILE_VERSION. */
struct parkfile_record {
	uint64_t id;
	uint64_t cookie;      /* SO_COOKIE: whose record this is; 0: as for the one before it */
	uint64_t opened_usec; /* CLOCK_MONOTONIC, as all times */
	uint64_t active_usec; /* of the last byte received */
	uint64_t waiting;     /* where its bytes begin, from bytes_offset */
	uint32_t out_bytes, in_bytes;
	struct addr peer;
	uint8_t listener; /* index into the facts' "listeners" */
	uint8_t state;    /* enum parkfile_state */
	uint8_t flags;    /* enum parkfile_flag */
	uint8_t reason;   /* while PARKFILE_CLOSING: index into the facts' "close_reasons" */
	uint8_t proto
		[PARKFILE_PROTO_BYTES]; /* the protocol's own state; the last byte is its tag */
	uint16_t server;    /* relayed: index into the facts' "upstreams"; UINT16_MAX: none */
	uint8_t tries;      /* relayed: servers that did not accept it */
	uint8_t more_flags; /* enum parkfile_more_flag */
	uint32_t watched;   /* for these events, in the set that was passed on; 0: there was none */
	struct addr destination; /* proxied: whom the client wanted */
	/* In that set it has this number, and the data generation << 32 | fd. */
	uint32_t fd;
	uint32_t generation;
	uint8_t pad[4];
};

enum parkfile_more_flag {
	PARKFILE_RELAYED = 1 << 0,   /* `server` and `tries` mean something */
	PARKFILE_EOF_FIRST = 1 << 1, /* of the client and its server, this one ended first */
	PARKFILE_PROXIED = 1 << 2,   /* `peer` and `destination` are what a PROXY header said */
};

_Static_assert(sizeof(struct parkfile_record) == 128, "88 bytes first, and what came since");

/* Writing. */

struct parkfile_writer {
	FILE *file;
	struct parkfile_head head;
};

/* For up to `max_records`. -errno: there is nothing to be finished. */
int parkfile_create(
	struct parkfile_writer *writer, const char *facts, uint64_t max_records) MG_MUST_CHECK;
/* All records first, then all bytes, each in the order of the connections. Errors come to light in
 * parkfile_finish(). */
void parkfile_add_record(struct parkfile_writer *writer, const struct parkfile_record *record);
void parkfile_add_bytes(struct parkfile_writer *writer, const void *data, size_t length);
/* Seals it. Returns the descriptor, the caller's; or -errno. */
int parkfile_finish(struct parkfile_writer *writer) MG_MUST_CHECK;

/* Reading. */

struct parkfile {
	void *data;
	size_t size;
	struct parkfile_head head; /* checked */
};

/* Maps it; fd stays the caller's. -errno with text: it is not one, or none that can be trusted. */
int parkfile_open(int fd, struct parkfile *ret_file, struct mg_error *reterr_error) MG_MUST_CHECK;
void parkfile_close(struct parkfile *file);

/* The part of parkfile_open() that is pure; `data` is borrowed. */
int parkfile_parse(void *data, size_t size, struct parkfile *ret_file,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* `index` is below n_records (asserted). */
struct parkfile_record parkfile_record(const struct parkfile *file, uint64_t index);
/* The same without a copy, where the file's records are as this version writes them; otherwise it is
 * made in *buf. */
const struct parkfile_record *parkfile_look(
	const struct parkfile *file, uint64_t index, struct parkfile_record *buf);
/* The output, and behind it the input, that waited for this record; NULL: not all of it is there. */
const void *parkfile_waiting(const struct parkfile *file, const struct parkfile_record *record);

#endif
