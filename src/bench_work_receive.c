/*
 * bench_work_receive: connections to which the server sends, heartbeats for instance. Measures the
 * gaps between arrivals on each connection, and how many heartbeats were due.
 *
 * Process: bench client. A connection that was up before the measured phase has its heartbeats at
 * any moment, so a stay of d is worth d / interval of them on average; one that came up during it
 * gets its first after a whole interval, so a stay is worth only the whole intervals in it.
 */
#include "bench_client.h"

static void
receive_up(struct bench_client *client, uint32_t index)
{
	client->conns[index].flags &= (uint8_t)~BENCH_FLAG_OLD;
	client->conns[index].receive.since_nsec = client->now_nsec;
}

static void
receive_received(struct bench_client *client, uint32_t index, const char *data, size_t length)
{
	struct bench_conn *conn = &client->conns[index];
	uint64_t now = bench_client_clock(client);

	(void)data;
	if (bench_client_measures(client)) {
		bench_slot_add(client->slot, BENCH_WINDOW_ARRIVALS, 1);
		bench_slot_add(client->slot, BENCH_WINDOW_BYTES, (int64_t)length);
		if (conn->stamp_nsec)
			histogram_record(&client->slot->gap, now - conn->stamp_nsec);
	}
	conn->stamp_nsec = now;
}

static void
receive_count_due(struct bench_client *client, const struct bench_conn *conn)
{
	uint64_t interval = client->options->heartbeat_interval_usec * 1000;
	uint64_t stay = client->now_nsec - conn->receive.since_nsec;

	if (interval == 0)
		return;
	if (conn->flags & BENCH_FLAG_OLD)
		client->heartbeats_due += (double)stay / (double)interval;
	else
		client->heartbeats_due += (double)(stay / interval);
}

static void
receive_down(struct bench_client *client, uint32_t index)
{
	if (bench_client_measures(client))
		receive_count_due(client, &client->conns[index]);
}

static void
receive_begin(struct bench_client *client)
{
	for (uint32_t i = 0; i < client->n; i++) {
		struct bench_conn *conn = &client->conns[i];

		if (conn->state != BENCH_STATE_UP)
			continue;
		conn->flags |= BENCH_FLAG_OLD;
		conn->receive.since_nsec = client->now_nsec;
	}
}

/* Gaps that have not ended yet are in no histogram; the longest is reported apart from it. */
static void
receive_end(struct bench_client *client)
{
	for (uint32_t i = 0; i < client->n; i++) {
		const struct bench_conn *conn = &client->conns[i];
		uint64_t last = conn->stamp_nsec > conn->receive.since_nsec
					? conn->stamp_nsec
					: conn->receive.since_nsec;

		if (conn->state != BENCH_STATE_UP)
			continue;
		receive_count_due(client, conn);
		if (client->now_nsec - last > client->slot->silence_nsec)
			client->slot->silence_nsec = client->now_nsec - last;
	}
	bench_slot_add(client->slot, BENCH_HEARTBEATS_DUE, (int64_t)(client->heartbeats_due + 0.5));
}

const struct bench_work bench_work_receive = {
	.up = receive_up,
	.received = receive_received,
	.down = receive_down,
	.begin = receive_begin,
	.end = receive_end,
};
