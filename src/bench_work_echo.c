/*
 * bench_work_echo: sends messages to a server that sends them back, checks every byte that comes,
 * and measures how long it took.
 *
 * Process: bench client.
 *
 * With a rate it is an open loop: message k of the process is due at start + k / rate, on
 * connection k modulo n, whether or not earlier ones were answered. Its latency counts from when
 * it was due, so a server that stalls is seen to stall for every message that fell due meanwhile
 * (no coordinated omission). That moment follows from the number of the message, so nothing is
 * kept for a message under way.
 *
 * Without a rate it is a closed loop: a token for each message that may be under way; who has an
 * answer passes the token to the connection that has been idle for longest.
 *
 * All bytes of a connection are a stretch of one random pattern, from a place of its own, so that
 * they are sent from there and compared with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bench_client.h"
#include "bench_connect.h"
#include "bench_ws.h"

#define BATCH 64             /* sends before answers are looked at again */
#define PATTERN_BYTES 65536u /* positions are 16 bits and wrap by themselves */

_Static_assert(BENCH_BUFFER_BYTES <= PATTERN_BYTES, "what one read gives is compared at once");

struct bench_echo {
	char pattern[2 * PATTERN_BYTES]; /* twice, so that a stretch never wraps */
	uint8_t head[WS_HEAD_MAX];       /* what goes before each message; raw: nothing */
	size_t head_length;
	bool runs; /* between begin and end */
	bool open_loop;
	struct bench_pace pace; /* open loop */
	struct bench_ring idle; /* closed loop: connections with nothing under way */
	uint32_t tokens;
	uint64_t n_under_way;
};

static void
echo_fill_pattern(struct bench_client *client)
{
	struct bench_echo *echo = client->echo;

	for (unsigned i = 0; i < PATTERN_BYTES; i++)
		echo->pattern[i] = (char)bench_client_random(client, 256);
	memcpy(echo->pattern + PATTERN_BYTES, echo->pattern, PATTERN_BYTES);
}

static int
echo_init(struct bench_client *client)
{
	uint32_t concurrency = client->options->concurrency;

	client->echo = calloc(1, sizeof(*client->echo));
	if (!client->echo)
		return -ENOMEM;
	echo_fill_pattern(client);
	if (client->ws)
		client->echo->head_length =
			bench_ws_head(client->options->size_bytes, client->echo->head);
	client->echo->open_loop = client->options->echo_rate > 0;
	if (concurrency == 0 || concurrency > client->plan->connections)
		concurrency = client->plan->connections;
	client->echo->tokens = bench_plan_share(client->plan, client->process, concurrency);
	return bench_ring_init(&client->echo->idle, client->n);
}

static void
echo_done(struct bench_client *client)
{
	if (!client->echo)
		return;
	bench_ring_done(&client->echo->idle);
	free(client->echo);
}

/* How many bytes a message takes on its way. */
static uint64_t
echo_unit(const struct bench_client *client)
{
	return client->echo->head_length + client->options->size_bytes;
}

/* What is to be sent next: what is left of a message's head and some of its payload. Without heads
 * all payload is one stretch. */
static void
echo_next(struct bench_client *client, const struct bench_conn_echo *state, struct iovec vectors[2])
{
	struct bench_echo *echo = client->echo;
	uint64_t unit = echo_unit(client), rest = state->unsent_bytes, head = 0;

	if (echo->head_length > 0) {
		rest = rest % unit ? rest % unit : unit;
		if (rest > client->options->size_bytes)
			head = rest - client->options->size_bytes;
	}
	vectors[0] = (struct iovec){echo->head + echo->head_length - head, head};
	rest -= head;
	vectors[1] = (struct iovec){
		echo->pattern + state->sent_at, rest < PATTERN_BYTES ? rest : PATTERN_BYTES};
}

/* How much payload is among what is not sent. */
static uint64_t
echo_unsent_payload(const struct bench_client *client, const struct bench_conn_echo *state)
{
	uint64_t unit = echo_unit(client), size = client->options->size_bytes;
	uint64_t rest = state->unsent_bytes % unit;

	return state->unsent_bytes / unit * size + (rest < size ? rest : size);
}

/* Sends what there is room for; the rest follows when epoll says that there is room again. May
 * lose the connection. */
static void
echo_flush(struct bench_client *client, uint32_t index)
{
	struct bench_conn *conn = &client->conns[index];
	struct bench_conn_echo *state = &conn->echo;

	while (state->unsent_bytes > 0) {
		struct iovec vectors[2];
		const struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2};
		ssize_t n;

		echo_next(client, state, vectors);
		n = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				bench_connect_lost(client, index, errno);
			return;
		}
		bench_slot_add(client->slot, BENCH_SENT_BYTES, n);
		state->unsent_bytes -= (size_t)n;
		if ((size_t)n > vectors[0].iov_len)
			state->sent_at = (uint16_t)(state->sent_at + n - vectors[0].iov_len);
	}
}

static void
echo_send(struct bench_client *client, uint32_t index)
{
	struct bench_conn_echo *state = &client->conns[index].echo;

	state->due++;
	state->unsent_bytes += echo_unit(client);
	client->echo->n_under_way++;
	echo_flush(client, index);
}

static void
echo_make_idle(struct bench_client *client, uint32_t index)
{
	struct bench_conn *conn = &client->conns[index];

	if (client->echo->open_loop || (conn->flags & BENCH_FLAG_IDLE))
		return;
	conn->flags |= BENCH_FLAG_IDLE;
	bench_ring_push(&client->echo->idle, index);
}

/* Closed loop: sends as long as there are tokens and connections that are idle. One that has gone
 * down since it became idle is left out; it is queued anew when it is up. */
static void
echo_use_tokens(struct bench_client *client)
{
	struct bench_echo *echo = client->echo;

	while (echo->runs && echo->tokens > 0 && echo->idle.n > 0) {
		uint32_t index = bench_ring_pop(&echo->idle);
		struct bench_conn *conn = &client->conns[index];

		conn->flags &= (uint8_t)~BENCH_FLAG_IDLE;
		if (conn->state != BENCH_STATE_UP)
			continue;
		echo->tokens--;
		conn->stamp_nsec = bench_client_clock(client);
		echo_send(client, index);
	}
}

static void
echo_up(struct bench_client *client, uint32_t index)
{
	struct bench_conn_echo *state = &client->conns[index].echo;
	/* An odd factor spreads neighbours, and no two of 65,536 have the same place. */
	uint16_t at = (uint16_t)((client->first + index) * 40503u);

	*state = (struct bench_conn_echo){.sent_at = at, .received_at = at};
	echo_make_idle(client, index);
	if (!client->echo->open_loop)
		echo_use_tokens(client);
}

static void
echo_down(struct bench_client *client, uint32_t index)
{
	struct bench_conn_echo *state = &client->conns[index].echo;
	uint32_t n = state->due - state->done;

	bench_slot_add(client->slot,
		client->phase == BENCH_PHASE_CLOSE ? BENCH_ECHO_UNANSWERED : BENCH_ECHO_ABANDONED,
		n);
	client->echo->n_under_way -= n;
	if (!client->echo->open_loop)
		client->echo->tokens += n;
	*state = (struct bench_conn_echo){0};
}

/* The oldest message under way on this connection has come back whole. */
static void
echo_complete(struct bench_client *client, uint32_t index, uint64_t now)
{
	struct bench_conn *conn = &client->conns[index];
	struct bench_echo *echo = client->echo;
	uint64_t begun = conn->stamp_nsec;

	if (echo->open_loop)
		begun = bench_pace_time(&echo->pace, (uint64_t)conn->echo.done * client->n + index);
	histogram_record(&client->slot->latency, now > begun ? now - begun : 0);
	bench_slot_add(client->slot, BENCH_ECHOES, 1);
	conn->echo.done++;
	echo->n_under_way--;
	if (!echo->open_loop) {
		echo->tokens++;
		echo_make_idle(client, index);
	}
}

/* Are these the bytes that were sent, and were so many sent? */
static bool
echo_matches(const struct bench_client *client, const struct bench_conn_echo *state,
	const char *data, size_t length)
{
	uint64_t expected = (uint64_t)(state->due - state->done) * client->options->size_bytes -
			    state->partial_bytes - echo_unsent_payload(client, state);

	return length <= expected &&
	       memcmp(data, client->echo->pattern + state->received_at, length) == 0;
}

static void
echo_received(struct bench_client *client, uint32_t index, const char *data, size_t length)
{
	struct bench_conn_echo *state = &client->conns[index].echo;
	uint32_t size = client->options->size_bytes;
	uint64_t now = bench_client_clock(client);

	if (!echo_matches(client, state, data, length)) {
		bench_slot_add(client->slot, BENCH_ECHO_MISMATCHES, 1);
		bench_connect_drop(client, index, false);
		return;
	}
	state->received_at = (uint16_t)(state->received_at + length);
	state->partial_bytes += (uint32_t)length;
	while (state->partial_bytes >= size) {
		state->partial_bytes -= size;
		echo_complete(client, index, now);
	}
	if (!client->echo->open_loop)
		echo_use_tokens(client);
}

static void
echo_begin(struct bench_client *client)
{
	struct bench_echo *echo = client->echo;

	echo->runs = true;
	if (!echo->open_loop) {
		echo_use_tokens(client);
		return;
	}
	echo->pace = bench_client_pace(
		client, client->shared->measure_start_nsec, client->options->echo_rate);
}

static uint64_t
echo_turn(struct bench_client *client)
{
	struct bench_echo *echo = client->echo;

	if (!echo->open_loop) {
		echo_use_tokens(client); /* given back by connections that went down */
		return BENCH_NEVER;
	}
	for (unsigned i = 0; i < BATCH; i++) {
		uint64_t due = bench_pace_next(&echo->pace);
		uint32_t index = (uint32_t)(echo->pace.n % client->n);
		uint32_t number = (uint32_t)(echo->pace.n / client->n);
		struct bench_conn *conn = &client->conns[index];

		if (due > bench_client_clock(client))
			return due;
		echo->pace.n++;
		if (conn->state != BENCH_STATE_UP) {
			bench_slot_add(client->slot, BENCH_ECHO_SKIPPED, 1);
			continue;
		}
		if (conn->echo.due == conn->echo.done)
			conn->echo.due = conn->echo.done = number;
		histogram_record(&client->slot->lag, client->now_nsec - due);
		echo_send(client, index);
	}
	return client->now_nsec;
}

static void
echo_end(struct bench_client *client)
{
	client->echo->runs = false;
}

static bool
echo_settled(const struct bench_client *client)
{
	return client->echo->n_under_way == 0;
}

const struct bench_work bench_work_echo = {
	.sends = true,
	.init = echo_init,
	.done = echo_done,
	.up = echo_up,
	.down = echo_down,
	.received = echo_received,
	.writable = echo_flush,
	.begin = echo_begin,
	.end = echo_end,
	.turn = echo_turn,
	.settled = echo_settled,
};
