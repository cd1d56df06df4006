/*
 * conn_park: a connection leaves this process for another, with all that is known of it.
 *
 * Process: W. What is written down here is all of a connection that the kernel does not keep.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_private.h"
#include "fdpass.h"

#define PARK_TAG (PARKFILE_PROTO_BYTES - 1) /* in the record's proto */

_Static_assert(CONN_PROTO_BYTES <= PARK_TAG, "it is parked whole, and the protocol's tag with it");

/* Flags that are the same in another process; what is watched for follows from the rest. */
static const struct {
	uint8_t conn, record;
} CONN_FLAGS_PARKED[] = {
	{CONN_GOT_BYTES, PARKFILE_GOT_BYTES},
	{CONN_PAUSED, PARKFILE_PAUSED},
	{CONN_LINGERS, PARKFILE_LINGERS},
	{CONN_DEAF, PARKFILE_DEAF},
};

#define N_FLAGS (sizeof(CONN_FLAGS_PARKED) / sizeof(CONN_FLAGS_PARKED[0]))

static const uint8_t CONN_STATES_PARKED[CONN_STATE_COUNT] = {
	[CONN_HANDSHAKE] = PARKFILE_HANDSHAKE,
	[CONN_OPEN] = PARKFILE_OPEN,
	[CONN_CLOSING] = PARKFILE_CLOSING,
};

static uint32_t
conn_waiting_bytes(const struct iobuf *buf)
{
	return buf ? (uint32_t)buf->length_bytes : 0;
}

struct parkfile_record
conn_park(const struct conns *conns, const struct conn *conn)
{
	struct parkfile_record record = {
		.id = conn->id,
		.cookie = fdpass_cookie(conn_fd(conns, conn)),
		.opened_usec = conn->opened_usec,
		.active_usec = conn_active_usec(conns, conn),
		.out_bytes = conn_waiting_bytes(conn->out),
		.in_bytes = conn_waiting_bytes(conn->in),
		.peer = conn_peer(conns, conn),
		.listener = conn->listener,
		.state = CONN_STATES_PARKED[conn->state],
		.reason = conn->close_reason,
	};

	for (size_t i = 0; i < N_FLAGS; i++)
		if (conn->flags & CONN_FLAGS_PARKED[i].conn)
			record.flags |= CONN_FLAGS_PARKED[i].record;
	memcpy(record.proto, conn->proto, sizeof(conn->proto));
	record.proto[PARK_TAG] = conn_listener(conns, conn)->proto->tag;
	return record;
}

void
conn_leave(struct conns *conns, struct conn *conn)
{
	uint32_t generation = conn->generation;

	conn_set_state(conns, conn, CONN_FREE);
	if (conn->flags & CONN_LINGERS)
		conns->lingering--;
	wheel_clear(&conns->wheel, (uint32_t)conn_fd(conns, conn));
	iobuf_free(&conns->iobufs, conn->out);
	iobuf_free(&conns->iobufs, conn->in);
	conn_queue_changed(conns);
	(void)close(conn_fd(conns, conn));
	*conn = (struct conn){.generation = generation + 1};
}

static uint8_t
conn_flags_of(const struct parkfile_record *record)
{
	uint8_t flags = record->out_bytes ? CONN_WANTS_WRITE : 0;

	for (size_t i = 0; i < N_FLAGS; i++)
		if (record->flags & CONN_FLAGS_PARKED[i].record)
			flags |= CONN_FLAGS_PARKED[i].conn;
	return flags;
}

static uint8_t
conn_state_of(const struct parkfile_record *record)
{
	uint8_t state = CONN_STATE_COUNT - 1;

	while (state > CONN_FREE + 1 && CONN_STATES_PARKED[state] != record->state)
		state--;
	return state;
}

/* What waited there waits here now. */
static int
conn_restore_bytes(struct conns *conns, const struct conn *conn, const char *waiting,
	uint32_t length, struct iobuf **ret_buf)
{
	if (length == 0)
		return 0;
	*ret_buf = iobuf_new(&conns->iobufs, (uint32_t)conn_fd(conns, conn));
	if (!*ret_buf || iobuf_append(&conns->iobufs, *ret_buf, waiting, length) < 0)
		return -ENOMEM;
	conn_queue_changed(conns);
	return 0;
}

/* All but the socket. CLOSE_NONE, or why it cannot be. */
static enum close_reason
conn_restore_rest(struct conns *conns, struct conn *conn, const struct parkfile_record *record,
	const char *waiting)
{
	const struct proto_ops *proto = conn_listener(conns, conn)->proto;

	conn->close_reason = record->reason;
	memcpy(conn->proto, record->proto, sizeof(conn->proto));
	if (conn_restore_bytes(conns, conn, waiting, record->out_bytes, &conn->out) < 0 ||
		conn_restore_bytes(
			conns, conn, waiting + record->out_bytes, record->in_bytes, &conn->in) < 0)
		return CLOSE_NO_MEMORY;
	/* The listener of this name speaks something else now. */
	if (record->proto[PARK_TAG] != proto->tag)
		return CLOSE_LISTENER_REMOVED;
	if (conn->state == CONN_HANDSHAKE && !proto->shakes_hands)
		return CLOSE_PARK_FAILED;
	return !proto->is_sound || proto->is_sound(conn) ? CLOSE_NONE : CLOSE_PARK_FAILED;
}

void
conn_restore(struct conns *conns, int fd, const struct parkfile_record *record, const char *waiting,
	uint64_t parked_usec)
{
	struct conn as = {
		.id = record->id,
		.opened_usec = record->opened_usec,
		.active = wheel_tick(record->active_usec),
		.listener = record->listener,
		.flags = conn_flags_of(record),
		.state = conn_state_of(record),
	};
	struct conn *conn = conn_enter(conns, fd, &as);
	enum close_reason wrong;
	uint32_t generation;

	if (!conn)
		return;
	generation = conn->generation;
	if (conn->flags & CONN_LINGERS)
		conns->lingering++;
	wrong = conn_restore_rest(conns, conn, record, waiting);
	if (wrong != CLOSE_NONE) {
		conn_close(conns, conn, wrong);
		return;
	}
	conn_catch_up(conns, conn, parked_usec);
	if (conn->state != CONN_FREE && conn->generation == generation)
		conn_set_timer(conns, conn);
}
