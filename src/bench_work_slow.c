/*
 * bench_work_slow: clients that never read. With --slow-send they also send, until the server,
 * which cannot get rid of its answers, stops reading.
 *
 * Process: bench client.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bench_client.h"
#include "bench_connect.h"
#include "bench_ws.h"

#define SENDS 16 /* in a row, before other connections get their turn */
#define FRAME_BYTES 4096
#define FRAME_HEAD_BYTES 8 /* of a frame of this length */

_Static_assert(BENCH_BUFFER_BYTES == UINT16_MAX + 1, "sent_at wraps at its end");

/* The buffer, into which nothing is read, holds what is sent over and over: WebSocket frames that
 * fill it exactly; what raw bytes are does not matter. */
static int
slow_init(struct bench_client *client)
{
	uint8_t head[WS_HEAD_MAX];
	size_t length = bench_ws_head(FRAME_BYTES - FRAME_HEAD_BYTES, head);

	for (size_t at = 0; client->ws && at < BENCH_BUFFER_BYTES; at += FRAME_BYTES)
		memcpy(client->buffer + at, head, length);
	return 0;
}

static void
slow_up(struct bench_client *client, uint32_t index)
{
	client->conns[index].slow.sent_at = 0;
}

static void
slow_set_blocked(struct bench_client *client, struct bench_conn *conn, bool blocked)
{
	if (blocked == ((conn->flags & BENCH_FLAG_BLOCKED) != 0))
		return;
	conn->flags ^= BENCH_FLAG_BLOCKED;
	bench_slot_add(client->slot, BENCH_BLOCKED, blocked ? 1 : -1);
}

static void
slow_writable(struct bench_client *client, uint32_t index)
{
	struct bench_conn *conn = &client->conns[index];

	if (!client->options->slow_send)
		return;
	slow_set_blocked(client, conn, false);
	for (unsigned i = 0; i < SENDS; i++) {
		uint16_t at = conn->slow.sent_at;
		ssize_t n =
			send(conn->fd, client->buffer + at, BENCH_BUFFER_BYTES - at, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			bench_connect_lost(client, index, errno);
			return;
		}
		bench_slot_add(client->slot, BENCH_SENT_BYTES, n);
		conn->slow.sent_at = (uint16_t)(at + n);
	}
	/* If there is room still, epoll says so at once. */
	slow_set_blocked(client, conn, true);
	bench_client_rearm(client, index);
}

static void
slow_down(struct bench_client *client, uint32_t index)
{
	slow_set_blocked(client, &client->conns[index], false);
}

const struct bench_work bench_work_slow = {
	.never_reads = true,
	.init = slow_init,
	.up = slow_up,
	.down = slow_down,
	.writable = slow_writable,
};
