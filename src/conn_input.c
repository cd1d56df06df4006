/*
 * conn_input: input that is not whole yet: half a head, half a message.
 *
 * Process: W. It waits in an iobuf as output does, and counts with it: for the connection, for all
 * connections together, and when the longest are closed.
 */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn_private.h"

int
conn_keep(struct conns *conns, struct conn *conn, const void *data, size_t length)
{
	if (!conn->in)
		conn->in = iobuf_new(&conns->iobufs, (uint32_t)conn_fd(conns, conn));
	if (!conn->in || iobuf_append(&conns->iobufs, conn->in, data, length) < 0) {
		conn_close(conns, conn, CLOSE_NO_MEMORY);
		return -ECONNRESET;
	}
	conn_queue_changed(conns);
	conn_check_queues(conns);
	return 0;
}

void
conn_drop_kept(struct conns *conns, struct conn *conn)
{
	if (!conn->in)
		return;
	iobuf_free(&conns->iobufs, conn->in);
	conn->in = NULL;
	conn_queue_changed(conns);
}

uint8_t *
conn_take_kept(struct conns *conns, struct conn *conn, size_t skip, const void *data, size_t length)
{
	size_t kept = conn->in->length_bytes - skip;
	uint8_t *whole = malloc(kept + length + 1); /* NULL only for want of memory */

	if (!whole) {
		conn_close(conns, conn, CLOSE_NO_MEMORY);
		return NULL;
	}
	iobuf_consume(&conns->iobufs, conn->in, skip);
	iobuf_copy(conn->in, whole, kept);
	memcpy(whole + kept, data, length);
	conn_drop_kept(conns, conn);
	return whole;
}
