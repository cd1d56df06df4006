/*
 * fdpass: a message with up to 253 file descriptors over a Unix socket.
 *
 * Process: both. The one primitive by which connections move. SCM_MAX_FD of the kernel is 253
 * (unix(7)); the socket is SOCK_SEQPACKET, so a message arrives whole, with its descriptors.
 */
#ifndef MILLGATE_FDPASS_H
#define MILLGATE_FDPASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "error.h"

#define FDPASS_FDS_MAX 253

/*
 * Sends the concatenation of the vectors with copies of the descriptors; the caller keeps its own.
 * All or nothing. -EAGAIN: the socket is full. -ENOBUFS: the kernel has no memory, or too many
 * descriptors of this user are in flight (its ETOOMANYREFS); that passes, but poll(2) does not
 * tell when. -EPIPE, -ECONNRESET: nobody is there any more.
 */
int fdpass_send(int sock, struct iovec *vectors, unsigned n_vectors, const int *fds,
	unsigned n_fds) MG_MUST_CHECK;

struct fdpass_message {
	size_t length; /* bytes in the caller's buffer */
	int fds[FDPASS_FDS_MAX];
	unsigned n_fds; /* the receiver's now, to be closed by it; O_CLOEXEC */
	/* The message was longer than the buffer, or descriptors were lost because this process has
	 * no room for them. Those that did arrive are the first ones sent. */
	bool data_cut, fds_cut;
};

/* Receives one message into `buf`. -EAGAIN: there is none. -EPIPE: the other end is closed. */
int fdpass_receive(
	int sock, void *buf, size_t size, struct fdpass_message *ret_message) MG_MUST_CHECK;

/* Collects the descriptors of a received header; what recvmsg(2) left in it. Pure. */
void fdpass_collect(struct msghdr *header, struct fdpass_message *message);

/* The kernel's own name for a socket, the same in whichever process it is (SO_COOKIE, socket(7));
 * 0: it is no socket. */
uint64_t fdpass_cookie(int sock);

/* Closes what is left in fds[] from `first` on. */
void fdpass_close(struct fdpass_message *message, unsigned first);

#endif
