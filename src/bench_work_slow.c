/*
 * bench_work_slow: clients that never read. With --slow-send they also send, until the server,
 * which cannot get rid of its answers, stops reading.
 *
 * Process: bench client.
 */
#include <errno.h>
#include <sys/socket.h>

#include "bench_client.h"
#include "bench_connect.h"

#define SENDS 16 /* in a row, before other connections get their turn */

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
		/* What the buffer holds does not matter. */
		ssize_t n = send(conn->fd, client->buffer, BENCH_BUFFER_BYTES, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			bench_connect_lost(client, index, errno);
			return;
		}
		bench_slot_add(client->slot, BENCH_SENT_BYTES, n);
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
	.down = slow_down,
	.writable = slow_writable,
};
