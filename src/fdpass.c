/* fdpass: see fdpass.h. */
#include "fdpass.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

union fdpass_control {
	char bytes[CMSG_SPACE(sizeof(int) * FDPASS_FDS_MAX)];
	struct cmsghdr align;
};

int
fdpass_send(int sock, struct iovec *vectors, unsigned n_vectors, const int *fds, unsigned n_fds)
{
	union fdpass_control control;
	struct msghdr header = {.msg_iov = vectors, .msg_iovlen = n_vectors};

	assert(n_fds <= FDPASS_FDS_MAX);
	if (n_fds > 0) {
		struct cmsghdr *cmsg = &control.align;

		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
	}
	for (;;) {
		if (sendmsg(sock, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno == ETOOMANYREFS || errno == ENOMEM)
			return -ENOBUFS;
		return -errno;
	}
}

void
fdpass_collect(struct msghdr *header, struct fdpass_message *message)
{
	message->n_fds = 0;
	message->data_cut = (header->msg_flags & MSG_TRUNC) != 0;
	message->fds_cut = (header->msg_flags & MSG_CTRUNC) != 0;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
		size_t n;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		assert(n <= FDPASS_FDS_MAX - message->n_fds);
		memcpy(message->fds + message->n_fds, CMSG_DATA(cmsg), n * sizeof(int));
		message->n_fds += (unsigned)n;
	}
}

/* The other end is closed; or it sent an empty message, which looks the same and which none of us
 * sends. The descriptors that came with it must not stay. */
static int
fdpass_end(struct msghdr *header)
{
	struct fdpass_message message;

	fdpass_collect(header, &message);
	fdpass_close(&message, 0);
	return -EPIPE;
}

int
fdpass_receive(int sock, void *buf, size_t size, struct fdpass_message *ret_message)
{
	union fdpass_control control;
	struct iovec vector = {.iov_base = buf, .iov_len = size};
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	bool reset = false;
	ssize_t n;

	for (;;) {
		n = recvmsg(sock, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n >= 0 || (errno != EINTR && (errno != ECONNRESET || reset)))
			break;
		/* That the other end closed without reading all is told first, and once: what it
		 * had sent is still to come. */
		reset = reset || errno == ECONNRESET;
	}
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return fdpass_end(&header);
	ret_message->length = (size_t)n;
	fdpass_collect(&header, ret_message);
	return 0;
}

void
fdpass_close(struct fdpass_message *message, unsigned first)
{
	for (unsigned i = first; i < message->n_fds; i++)
		(void)close(message->fds[i]);
	if (first < message->n_fds)
		message->n_fds = first;
}

uint64_t
fdpass_cookie(int sock)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	return getsockopt(sock, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0 ? 0 : cookie;
}
