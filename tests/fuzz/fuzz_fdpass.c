/*
 * fuzz_fdpass: messages of any bytes and any number of descriptors, sent over a real socket to a
 * receiver with any buffer and any room for descriptors. What arrives is what was sent, or it is
 * told that it was cut; and no descriptor is left over.
 *
 * The input is a row of messages, each: number of descriptors, how it is received (below), how many
 * are kept and for how little room there is, length of the bytes (2), the bytes.
 *
 * Links: fdpass.c control.c close_reason.c
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/socket.h>

#include "control.h"
#include "fdpass.h"

#define FDS_SCANNED 512 /* more than can be open: 253 received beside a few */
#define MESSAGES_MAX 8  /* in one input */

enum how {
	HOW_SMALL_BUFFER = 1 << 0,
	HOW_LITTLE_ROOM = 1 << 1,
	HOW_LEFT_UNREAD = 1 << 2,
};

struct fuzz_message {
	uint8_t n_fds, how, few;
	size_t length;
	const uint8_t *bytes;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool truth)
{
	if (!truth)
		abort();
}

static unsigned
count_open_fds(void)
{
	struct pollfd fds[FDS_SCANNED];
	unsigned n = 0;

	for (int i = 0; i < FDS_SCANNED; i++)
		fds[i] = (struct pollfd){.fd = i};
	require(poll(fds, FDS_SCANNED, 0) >= 0);
	for (unsigned i = 0; i < FDS_SCANNED; i++)
		n += !(fds[i].revents & POLLNVAL);
	return n;
}

/* Takes the next message off the input. */
static bool
next_message(const uint8_t **data, size_t *size, struct fuzz_message *ret_message)
{
	const uint8_t *at = *data;
	size_t length;

	if (*size < 5)
		return false;
	length = (size_t)at[3] | (size_t)at[4] << 8;
	if (length > *size - 5)
		length = *size - 5;
	*ret_message = (struct fuzz_message){
		.n_fds = at[0] % (FDPASS_FDS_MAX + 1),
		.how = at[1],
		.few = at[2],
		.length = length,
		.bytes = at + 5,
	};
	*data += 5 + length;
	*size -= 5 + length;
	return true;
}

/* 0, or -EAGAIN: there is no room now. */
static int
send_message(int sock, const struct fuzz_message *message)
{
	struct iovec vector = {(void *)message->bytes, message->length};
	int fds[FDPASS_FDS_MAX] = {STDIN_FILENO};
	int r;

	for (unsigned i = 0; i < message->n_fds; i++)
		fds[i] = STDERR_FILENO;
	r = fdpass_send(sock, &vector, 1, fds, message->n_fds);
	require(r == 0 || r == -EAGAIN);
	return r;
}

static void
check_message(const struct fuzz_message *sent, const void *buf, size_t size, unsigned room,
	const struct fdpass_message *received)
{
	struct control_message message;

	require(received->data_cut == (sent->length > size));
	require(received->length == (sent->length > size ? size : sent->length));
	require(memcmp(buf, sent->bytes, received->length) == 0);
	require(received->fds_cut == (sent->n_fds > room));
	require(received->n_fds == (sent->n_fds > room ? room : sent->n_fds));
	for (unsigned i = 0; i < received->n_fds; i++)
		require(fcntl(received->fds[i], F_GETFD) == FD_CLOEXEC);
	if (control_decode(buf, received->length, &message) == 0)
		require(message.header.count * control_record_bytes(message.header.type) +
				sizeof(message.header) ==
			received->length);
}

static void
limit_fds(int n)
{
	struct rlimit limit;

	require(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = (rlim_t)n;
	require(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* The limit under which so many descriptors more can be opened. */
static int
find_limit(unsigned room)
{
	int limit = 0;

	for (unsigned n_free = 0; n_free < room || fcntl(limit, F_GETFD) >= 0; limit++)
		n_free += fcntl(limit, F_GETFD) < 0;
	return limit;
}

static void
receive_message(int sock, const struct fuzz_message *sent)
{
	size_t size = sent->how & HOW_SMALL_BUFFER ? 1u + sent->few : CONTROL_MESSAGE_MAX;
	unsigned room = sent->how & HOW_LITTLE_ROOM ? sent->few : FDPASS_FDS_MAX;
	struct fdpass_message received;
	void *buf = malloc(size); /* aligned for control_decode(), and no byte too long */
	unsigned n_open = count_open_fds();
	int r;

	require(buf != NULL);
	limit_fds(find_limit(room));
	r = fdpass_receive(sock, buf, size, &received);
	limit_fds(FDS_SCANNED);
	/* An empty message looks like the end of the connection. */
	require(r == (sent->length == 0 ? -EPIPE : 0));
	if (r == 0) {
		check_message(sent, buf, size, room, &received);
		fdpass_close(&received, sent->few);
		require(count_open_fds() == n_open + received.n_fds);
		fdpass_close(&received, 0);
	}
	require(count_open_fds() == n_open);
	free(buf);
}

/* Sends and receives each; what is left unread goes with the socket. */
static void
run(int here, int there, const uint8_t *data, size_t size)
{
	struct fuzz_message message;
	unsigned n = 0;

	while (n++ < MESSAGES_MAX && next_message(&data, &size, &message)) {
		if (send_message(here, &message) < 0 || message.how & HOW_LEFT_UNREAD)
			return;
		receive_message(there, &message);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned n_open = count_open_fds();
	int pair[2];

	require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	run(pair[0], pair[1], data, size);
	close(pair[0]);
	close(pair[1]);
	require(count_open_fds() == n_open);
	return 0;
}
