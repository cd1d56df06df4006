/*
 * fixture_channel: two channels that talk to each other in one event loop. Static functions only.
 */
#ifndef MILLGATE_TESTS_FIXTURE_CHANNEL_H
#define MILLGATE_TESTS_FIXTURE_CHANNEL_H

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "channel.h"
#include "fixture_fds.h"

#define QUEUED_MAX ((size_t)1024 * 1024)
#define HEADER_BYTES sizeof(struct control_header)
#define SEEN_MAX 100000

/* One end, and what it was told. */
struct end {
	struct channel channel;
	uint64_t values[SEEN_MAX]; /* of the messages that came */
	uint64_t last_id;          /* of the last message's last record */
	unsigned n_messages, n_closed, n_writable;
	bool takes; /* the descriptors that come */
	int taken[FDPASS_FDS_MAX];
	unsigned n_taken, n_offered;
	bool hangs_up; /* on the next message */
};

struct both {
	struct event_base *base;
	struct end *here, *there;
	unsigned n_open;
};

static inline void
on_message(void *context, const struct control_message *message, struct fdpass_message *fds)
{
	struct end *end = context;

	assert_true(end->n_messages < SEEN_MAX);
	end->values[end->n_messages++] = message->header.value;
	if (message->header.type == CONTROL_CLOSED && message->header.count > 0) {
		const struct control_closed *closed = message->records;

		end->last_id = closed[message->header.count - 1].id;
	}
	end->n_offered = fds->n_fds;
	if (end->takes) {
		end->n_taken = fds->n_fds;
		memcpy(end->taken, fds->fds, fds->n_fds * sizeof(int));
		fds->n_fds = 0;
	}
	if (end->hangs_up)
		channel_done(&end->channel);
}

static inline void
on_closed(void *context)
{
	struct end *end = context;

	end->n_closed++;
}

static inline void
on_writable(void *context)
{
	struct end *end = context;

	end->n_writable++;
}

static inline void
end_init(struct end *end, struct event_base *base, int fd, size_t queued_max)
{
	const struct channel_callbacks callbacks = {
		.message = on_message,
		.closed = on_closed,
		.writable = on_writable,
		.context = end,
	};

	assert_int_equal(channel_init(&end->channel, base, fd, queued_max, &callbacks), 0);
}

static inline int
setup(void **state)
{
	static struct both both;
	int fds[2];

	both = (struct both){.base = event_base_new()};
	assert_non_null(both.base);
	both.n_open = count_open_fds();
	both.here = calloc(1, sizeof(*both.here));
	both.there = calloc(1, sizeof(*both.there));
	assert_true(both.here && both.there);
	assert_int_equal(channel_pair(fds), 0);
	end_init(both.here, both.base, fds[0], QUEUED_MAX);
	end_init(both.there, both.base, fds[1], QUEUED_MAX);
	*state = &both;
	return 0;
}

static inline int
teardown(void **state)
{
	struct both *both = *state;

	channel_done(&both->here->channel);
	if (both->there)
		channel_done(&both->there->channel);
	free(both->here);
	free(both->there);
	assert_int_equal(count_open_fds(), both->n_open);
	event_base_free(both->base);
	return 0;
}

static inline unsigned
count_messages(const struct both *both)
{
	return both->here->n_messages + (both->there ? both->there->n_messages : 0);
}

/* Runs the loop until nothing happens any more. */
static inline void
settle(struct both *both)
{
	for (unsigned idle = 0; idle < 3; idle++) {
		unsigned before = count_messages(both);

		assert_true(event_base_loop(both->base, EVLOOP_NONBLOCK) >= 0);
		if (count_messages(both) != before)
			idle = 0;
	}
}

/* A message that can be told from others, with as many records as it is long. */
static inline int
send_value(struct channel *channel, uint64_t value, unsigned count)
{
	static struct control_closed records[2000];
	const struct control_header header = {
		.type = CONTROL_CLOSED, .count = (uint16_t)count, .value = value};

	if (count > 0)
		records[count - 1].id = value;
	return channel_send(channel, &header, records);
}

static inline int
send_file(struct channel *channel, uint64_t value, const int *fds, unsigned n_fds)
{
	const struct control_header header = {.type = CONTROL_RELOAD, .value = value};

	return channel_send_fds(channel, &header, NULL, fds, n_fds);
}

static inline void
assert_values(const struct end *end, uint64_t first, unsigned n)
{
	assert_int_equal(end->n_messages, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(end->values[i], first + i);
}

/* Until the first message waits. Returns how many were sent. */
static inline unsigned
fill_socket(struct channel *channel)
{
	unsigned n = 0;

	while (channel->queued_bytes == 0)
		assert_int_equal(send_value(channel, n++, 0), 0);
	return n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
