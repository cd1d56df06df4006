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

_Static_assert(CONN_PROTO_BYTES <= PARKFILE_PROTO_BYTES, "it is parked whole");

struct parkfile_record
conn_park(const struct conns *conns, const struct conn *conn)
{
	struct parkfile_record record = {
		.id = conn->id,
		.cookie = fdpass_cookie(conn_fd(conns, conn)),
		.opened_usec = conn->opened_usec,
		.active_usec = conn_active_usec(conns, conn),
		.out_bytes = (uint32_t)conn_queued_bytes(conn),
		.peer = conn_peer(conns, conn),
		.listener = conn->listener,
		.state = conn->state == CONN_CLOSING ? PARKFILE_CLOSING : PARKFILE_OPEN,
		.reason = conn->close_reason,
	};

	if (conn->flags & CONN_GOT_BYTES)
		record.flags |= PARKFILE_GOT_BYTES;
	if (conn->flags & CONN_PAUSED)
		record.flags |= PARKFILE_PAUSED;
	memcpy(record.proto, conn->proto, sizeof(conn->proto));
	return record;
}

void
conn_leave(struct conns *conns, struct conn *conn)
{
	uint32_t generation = conn->generation;

	conn_set_state(conns, conn, CONN_FREE);
	wheel_clear(&conns->wheel, (uint32_t)conn_fd(conns, conn));
	iobuf_free(&conns->iobufs, conn->out);
	conn_queue_changed(conns);
	(void)close(conn_fd(conns, conn));
	*conn = (struct conn){.generation = generation + 1};
}

static uint8_t
conn_flags_of(const struct parkfile_record *record)
{
	return (uint8_t)((record->flags & PARKFILE_GOT_BYTES ? CONN_GOT_BYTES : 0) |
			 (record->flags & PARKFILE_PAUSED ? CONN_PAUSED : 0) |
			 (record->out_bytes ? CONN_WANTS_WRITE : 0));
}

/* What waited for the client waits here now. */
static int
conn_restore_queue(struct conns *conns, struct conn *conn, const char *waiting, uint32_t out_bytes)
{
	if (out_bytes == 0)
		return 0;
	conn->out = iobuf_new(&conns->iobufs, (uint32_t)conn_fd(conns, conn));
	if (!conn->out || iobuf_append(&conns->iobufs, conn->out, waiting, out_bytes) < 0)
		return -ENOMEM;
	conn_queue_changed(conns);
	return 0;
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
		.state = CONN_OPEN,
	};
	struct conn *conn = conn_enter(conns, fd, &as);
	uint32_t generation;

	if (!conn)
		return;
	generation = conn->generation;
	memcpy(conn->proto, record->proto, sizeof(conn->proto));
	if (conn_restore_queue(conns, conn, waiting, record->out_bytes) < 0) {
		conn_close(conns, conn, CLOSE_NO_MEMORY);
		return;
	}
	if (record->state == PARKFILE_CLOSING) {
		conn->close_reason = record->reason;
		conn_set_state(conns, conn, CONN_CLOSING);
	}
	conn_catch_up(conns, conn, parked_usec);
	if (conn->state != CONN_FREE && conn->generation == generation)
		conn_set_timer(conns, conn);
}
