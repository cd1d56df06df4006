/*
 * bare: the least that a server can do, to measure others against.
 *
 *   bare echo PORT     sends back what it reads
 *   bare accept PORT   accepts and holds, and reads nothing
 *
 * One process, one epoll set, no timeouts, no limits, no logs; what a client does not read is
 * dropped. Prints READY once it listens on 0.0.0.0:PORT.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define ACCEPTS 256
#define BACKLOG 65535
#define BUFFER_BYTES 65536

struct bare {
	int listener, epoll_fd;
	bool echoes;
	char buffer[BUFFER_BYTES];
};

static int
bare_listen(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Inherited by every connection. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	return fd;
}

static void
bare_accept(struct bare *bare)
{
	for (unsigned i = 0; i < ACCEPTS; i++) {
		struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
		int fd = accept4(bare->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		/* Without echo, only the end of a connection is of interest. */
		if (!bare->echoes)
			event.events = EPOLLRDHUP;
		event.data.fd = fd;
		if (epoll_ctl(bare->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			(void)close(fd);
	}
}

static void
bare_serve(struct bare *bare, int fd)
{
	ssize_t n = 0;

	if (bare->echoes)
		n = recv(fd, bare->buffer, sizeof(bare->buffer), 0);
	if (n > 0)
		n = send(fd, bare->buffer, (size_t)n, MSG_NOSIGNAL);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		(void)close(fd);
}

static void
bare_raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int
bare_loop(struct bare *bare)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(bare->epoll_fd, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == bare->listener)
				bare_accept(bare);
			else
				bare_serve(bare, events[i].data.fd);
		}
	}
}

int
main(int argc, char **argv)
{
	static struct bare bare;
	struct epoll_event event = {.events = EPOLLIN};

	if (argc != 3 || (strcmp(argv[1], "echo") != 0 && strcmp(argv[1], "accept") != 0)) {
		fputs("usage: bare echo|accept PORT\n", stderr);
		return 2;
	}
	bare_raise_fd_limit();
	bare.echoes = strcmp(argv[1], "echo") == 0;
	bare.listener = bare_listen((uint16_t)strtoul(argv[2], NULL, 10));
	bare.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	event.data.fd = bare.listener;
	if (bare.listener < 0 || bare.epoll_fd < 0 ||
		epoll_ctl(bare.epoll_fd, EPOLL_CTL_ADD, bare.listener, &event) < 0) {
		perror("bare");
		return 1;
	}
	puts("READY");
	(void)fflush(stdout);
	return bare_loop(&bare);
}
