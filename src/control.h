/*
 * control: the messages between the supervisor and its workers.
 *
 * Process: both. Pure: bytes in, checked message out. The facts stand in control.def. Both ends
 * are the same program on the same machine, so numbers are in its own byte order; but a worker
 * handles what clients send, so nothing of a message is used before it was checked here.
 */
#ifndef MILLGATE_CONTROL_H
#define MILLGATE_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "error.h"

#define CONTROL_MESSAGE_MAX 16384 /* bytes: header and records */

enum control_type {
#define CONTROL(symbol, record, help) CONTROL_##symbol,
#include "control.def"
#undef CONTROL
	CONTROL_TYPE_COUNT,
};

enum control_flag {
	CONTROL_FLAG_KILL = 1 << 0,
	CONTROL_FLAG_LAST = 1 << 1,
	CONTROL_FLAG_STORE = 1 << 2,
	CONTROL_FLAG_RETURN = 1 << 3,
	CONTROL_FLAG_INHERITED = 1 << 4,
};

enum control_handover_flag {
	HANDOVER_PROXIED = 1 << 0, /* it is a load balancer's, and begins with its PROXY header */
	HANDOVER_UPSTREAM =
		1 << 1, /* restored: the connection to the server of the client before it */
	HANDOVER_ORPHAN = 1 << 2, /* restored: a connection to a server whose client has gone */
};

struct control_header {
	uint8_t type;
	uint8_t flags;
	uint16_t count;
	uint32_t job;
	uint64_t value, value2;
	struct cidr cidr; /* family ADDR_NONE: all */
	uint8_t pad[6];
};

struct control_handover {
	uint64_t id;
	uint64_t opened_usec; /* monotonic */
	uint8_t listener;
	uint8_t flags; /* enum control_handover_flag */
	uint16_t
		file; /* 0: it is new. Else it was parked: number of the file in the parkset, + 1, */
	uint32_t record; /* and of the record in there */
	uint16_t server; /* relay: its number in struct upstreams, or UPSTREAM_NONE */
	uint8_t pad[6];
};

struct control_ask {
	uint64_t id;
	int32_t fd;
	uint16_t server;  /* that did not accept it; UPSTREAM_NONE: it had none */
	uint8_t tries;    /* so many did not */
	uint8_t gives_up; /* UNSERVED: it ends, and wants none any more; nothing is answered */
	struct addr peer; /* IDENTIFIED: the client */
	uint32_t error;   /* UNSERVED: errno of the connect; 0: there was none */
};

struct control_assign {
	uint64_t id;
	int32_t fd;
	uint16_t server; /* or UPSTREAM_NONE: there is none, and it is to ask again */
	uint8_t reason;  /* CLOSE_NONE, or why it is to be closed */
	uint8_t pad;
};

struct control_place {
	uint64_t id;
	int32_t fd;
	uint32_t pad;
};

struct control_closed {
	uint64_t id;
	uint8_t reason;
	uint8_t pad[7];
};

struct control_peer {
	uint64_t id;
	struct addr peer;
	uint32_t pad;
};

#define CONTROL_UNKNOWN UINT64_MAX /* the kernel does not say */

struct control_details {
	uint64_t id;
	struct addr peer;
	uint8_t state; /* enum conn_state */
	uint8_t pad[3];
	uint64_t age_usec, idle_usec;
	uint64_t bytes_received, bytes_sent; /* or CONTROL_UNKNOWN */
	uint64_t rtt_usec;                   /* or CONTROL_UNKNOWN */
	uint64_t queued_bytes;
	/* relay: the connection to the server; `server` UPSTREAM_NONE: there is none. */
	uint16_t server;
	uint8_t server_state;
	uint8_t pad2[5];
	uint64_t server_bytes_received, server_bytes_sent, server_rtt_usec; /* or CONTROL_UNKNOWN */
	uint64_t server_queued_bytes;
	struct addr server_local; /* our end of it */
	uint8_t pad3[4];
};

/* A checked message; points into the caller's buffer. */
struct control_message {
	struct control_header header;
	const void *records; /* header.count of the struct that control.def names, aligned to 8 */
};

/* Bytes of one record of this type; 0 where none follow. */
size_t control_record_bytes(enum control_type type);

/* How many records of this type fit a message, at most `max`. */
unsigned control_records_max(enum control_type type, unsigned max);

/* Checks `length` bytes at `data` (aligned to 8). -EBADMSG: not a message. */
int control_decode(
	const void *data, size_t length, struct control_message *ret_message) MG_MUST_CHECK;

#endif
