/*
 * traffic: both ends of what goes through a proxy, to measure proxies by.
 *
 *   traffic echo|hold|sink|source PORT PROCESSES
 *       A server on 0.0.0.0:PORT. echo sends back what it reads; hold reads and drops it. sink is
 *       told a length, reads so many bytes and answers with one; source sends so many. Prints READY
 *       once it listens.
 *   traffic up|down HOST PORT CONNECTIONS BYTES
 *       Connects, prints READY, waits for a line on stdin, and then sends the bytes to a sink (up),
 *       or asks a source for them (down), an equal part over each connection.
 *   traffic connect HOST PORT CONNECTIONS AT_ONCE
 *       Opens connections to an echo, so many at a time; one is open when its first echo has come.
 *       All of them stay until the last is open.
 *
 * A client prints how many seconds it took. A length is 64 bits in the machine's order.
 *
 * The ends cost as little as they can, since they share the machine with what is measured: what is
 * sent comes from the page cache (sendfile), and what is received is not copied (MSG_TRUNC).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define ACCEPTS 256
#define BACKLOG 65535
#define FDS_MAX 20000
#define PROCESSES_MAX 64
#define BLOCK_BYTES (1U << 20)
#define MESSAGE "traffic: a message of 32 bytes.\n"
#define MESSAGE_BYTES (sizeof(MESSAGE) - 1)

enum mode {
	MODE_ECHO,
	MODE_HOLD,
	MODE_SINK,
	MODE_SOURCE,
	MODE_UP,
	MODE_DOWN,
	MODE_CONNECT,
	MODE_COUNT,
};

static const char *const MODES[MODE_COUNT] = {
	"echo", "hold", "sink", "source", "up", "down", "connect"};

struct peer {
	uint64_t left; /* bytes that are still to go */
	bool busy;     /* it has been told how many; a client: it is connected */
};

struct traffic {
	enum mode mode;
	int epoll_fd, listener, block_fd;
	uint64_t length;            /* a client: bytes of each connection */
	unsigned done, connections; /* a client: how many are ready, of how many */
	struct sockaddr_in address;
	struct peer peers[FDS_MAX];
	char buffer[65536];
};

static void
traffic_die(const char *what)
{
	perror(what);
	exit(1);
}

static void
traffic_watch(struct traffic *traffic, int fd, uint32_t events, int operation)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (epoll_ctl(traffic->epoll_fd, operation, fd, &event) < 0)
		traffic_die("epoll_ctl");
}

static void
traffic_init(struct traffic *traffic)
{
	traffic->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	traffic->block_fd = memfd_create("block", MFD_CLOEXEC);
	if (traffic->epoll_fd < 0 || traffic->block_fd < 0 ||
		ftruncate(traffic->block_fd, BLOCK_BYTES) < 0)
		traffic_die("traffic");
	/* Pages that are there: otherwise the first round would make them. */
	memset(traffic->buffer, 'x', sizeof(traffic->buffer));
	for (unsigned at = 0; at < BLOCK_BYTES; at += sizeof(traffic->buffer))
		if (pwrite(traffic->block_fd, traffic->buffer, sizeof(traffic->buffer), at) < 0)
			traffic_die("pwrite");
}

/* Sends what goes in; false: it failed. */
static bool
traffic_send(struct traffic *traffic, int fd)
{
	struct peer *peer = &traffic->peers[fd];

	while (peer->left > 0) {
		off_t start = 0;
		size_t length = peer->left < BLOCK_BYTES ? (size_t)peer->left : BLOCK_BYTES;
		ssize_t n = sendfile(fd, traffic->block_fd, &start, length);

		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		peer->left -= (uint64_t)n;
	}
	return true;
}

/* Drops what has come, up to what is still to come; false: the end, or it failed. */
static bool
traffic_drop(struct traffic *traffic, int fd)
{
	struct peer *peer = &traffic->peers[fd];
	size_t length = peer->left < BLOCK_BYTES ? (size_t)peer->left : BLOCK_BYTES;
	ssize_t n = recv(fd, traffic->buffer, length, MSG_TRUNC);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	peer->left -= (uint64_t)n;
	return true;
}

/* --- Servers --- */

static int
traffic_listen(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
		/* Inherited by every connection. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0)
		traffic_die("listen");
	return fd;
}

static void
traffic_accept(struct traffic *traffic)
{
	for (unsigned i = 0; i < ACCEPTS; i++) {
		int fd = accept4(traffic->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (fd >= FDS_MAX) {
			(void)close(fd);
			continue;
		}
		traffic->peers[fd] = (struct peer){0};
		traffic_watch(traffic, fd, EPOLLIN, EPOLL_CTL_ADD);
	}
}

static bool
traffic_echo(struct traffic *traffic, int fd)
{
	ssize_t n = recv(fd, traffic->buffer, sizeof(traffic->buffer), 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	return traffic->mode == MODE_HOLD ||
	       send(fd, traffic->buffer, (size_t)n, MSG_NOSIGNAL) == n;
}

/* A length, which comes in one piece: it is the first that is sent. */
static bool
traffic_read_length(struct traffic *traffic, int fd)
{
	struct peer *peer = &traffic->peers[fd];
	ssize_t n = recv(fd, &peer->left, sizeof(peer->left), 0);

	peer->busy = n == sizeof(peer->left);
	return peer->busy || (n < 0 && errno == EAGAIN);
}

static bool
traffic_bulk(struct traffic *traffic, int fd)
{
	struct peer *peer = &traffic->peers[fd];

	if (!peer->busy && (!traffic_read_length(traffic, fd) || !peer->busy))
		return peer->left == 0 && errno == EAGAIN;
	if (traffic->mode == MODE_SOURCE) {
		bool sent = traffic_send(traffic, fd);

		traffic_watch(traffic, fd, peer->left > 0 ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
		peer->busy = peer->left > 0;
		return sent;
	}
	if (!traffic_drop(traffic, fd))
		return false;
	peer->busy = peer->left > 0;
	return peer->busy || send(fd, "!", 1, MSG_NOSIGNAL) == 1;
}

static void
traffic_serve(struct traffic *traffic)
{
	struct epoll_event events[EVENTS];
	bool bulk = traffic->mode == MODE_SINK || traffic->mode == MODE_SOURCE;

	traffic_init(traffic);
	traffic_watch(traffic, traffic->listener, EPOLLIN, EPOLL_CTL_ADD);
	for (;;) {
		int n = epoll_wait(traffic->epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == traffic->listener)
				traffic_accept(traffic);
			else if (!(bulk ? traffic_bulk : traffic_echo)(traffic, fd))
				(void)close(fd);
		}
	}
}

/* Each process has a listener of its own, and the kernel spreads the connections over them. */
static int
traffic_server(struct traffic *traffic, uint16_t port, unsigned processes)
{
	int listeners[PROCESSES_MAX];

	if (processes < 1 || processes > PROCESSES_MAX)
		return 2;
	/* A benchmark that is killed leaves nothing behind. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < processes; i++)
		listeners[i] = traffic_listen(port);
	puts("READY");
	(void)fflush(stdout);
	for (unsigned i = 1; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			traffic_die("fork");
		if (pid == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			traffic->listener = listeners[i];
			traffic_serve(traffic);
		}
	}
	traffic->listener = listeners[0];
	traffic_serve(traffic);
	return 0;
}

/* --- Clients --- */

static double
traffic_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int
traffic_connect(struct traffic *traffic)
{
	/* Closed by a reset: leaves no TIME_WAIT behind. */
	struct linger linger = {.l_onoff = 1};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || fd >= FDS_MAX)
		traffic_die("socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&traffic->address, sizeof(traffic->address)) < 0 &&
		errno != EINPROGRESS)
		traffic_die("connect");
	traffic_watch(traffic, fd, EPOLLOUT, EPOLL_CTL_ADD);
	return fd;
}

/* A client that came to its end too early has failed the measurement. */
static void
traffic_expect(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "traffic: %s: %s\n", what, errno ? strerror(errno) : "it was closed");
	exit(1);
}

/* Calls step() for each that is ready, until all connections are done. */
static void
traffic_run(struct traffic *traffic, void (*step)(struct traffic *, int fd, uint32_t events))
{
	struct epoll_event events[EVENTS];

	traffic->done = 0;
	while (traffic->done < traffic->connections) {
		int n = epoll_wait(traffic->epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			errno = 0;
			step(traffic, events[i].data.fd, events[i].events);
		}
	}
}

static void
traffic_step_connected(struct traffic *traffic, int fd, uint32_t events)
{
	traffic_expect(!(events & (EPOLLERR | EPOLLHUP)), "connect");
	traffic_watch(traffic, fd, 0, EPOLL_CTL_MOD);
	traffic->peers[fd] = (struct peer){.left = traffic->length, .busy = true};
	traffic->done++;
}

static void
traffic_step_up(struct traffic *traffic, int fd, uint32_t events)
{
	char answer;

	if (traffic->peers[fd].left > 0) {
		traffic_expect(traffic_send(traffic, fd), "send");
		if (traffic->peers[fd].left == 0)
			traffic_watch(traffic, fd, EPOLLIN, EPOLL_CTL_MOD);
		return;
	}
	if (!(events & EPOLLIN))
		return;
	traffic_expect(recv(fd, &answer, 1, 0) == 1, "answer");
	traffic_watch(traffic, fd, 0, EPOLL_CTL_MOD);
	traffic->done++;
}

static void
traffic_step_down(struct traffic *traffic, int fd, uint32_t events)
{
	(void)events;
	traffic_expect(traffic_drop(traffic, fd), "receive");
	if (traffic->peers[fd].left > 0)
		return;
	traffic_watch(traffic, fd, 0, EPOLL_CTL_MOD);
	traffic->done++;
}

static double
traffic_volume(struct traffic *traffic, uint64_t bytes)
{
	double began;

	traffic->length = bytes / traffic->connections;
	for (unsigned i = 0; i < traffic->connections; i++)
		(void)traffic_connect(traffic);
	traffic_run(traffic, traffic_step_connected);
	puts("READY");
	(void)fflush(stdout);
	(void)getchar();
	began = traffic_now();
	for (int fd = 0; fd < FDS_MAX; fd++) {
		if (!traffic->peers[fd].busy)
			continue;
		traffic_expect(send(fd, &traffic->length, sizeof(traffic->length), MSG_NOSIGNAL) ==
				       sizeof(traffic->length),
			"send");
		traffic_watch(
			traffic, fd, traffic->mode == MODE_UP ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
	}
	traffic_run(traffic, traffic->mode == MODE_UP ? traffic_step_up : traffic_step_down);
	return traffic_now() - began;
}

static void
traffic_step_open(struct traffic *traffic, int fd, uint32_t events)
{
	char buffer[MESSAGE_BYTES];

	traffic_expect(!(events & (EPOLLERR | EPOLLHUP)), "connect");
	if (events & EPOLLOUT) {
		traffic_expect(
			send(fd, MESSAGE, MESSAGE_BYTES, MSG_NOSIGNAL) == MESSAGE_BYTES, "send");
		traffic_watch(traffic, fd, EPOLLIN, EPOLL_CTL_MOD);
		return;
	}
	traffic_expect(recv(fd, buffer, sizeof(buffer), 0) == MESSAGE_BYTES &&
			       memcmp(buffer, MESSAGE, MESSAGE_BYTES) == 0,
		"echo");
	traffic_watch(traffic, fd, 0, EPOLL_CTL_MOD);
	traffic->done++;
	if (traffic->length > 0) {
		traffic->length--;
		(void)traffic_connect(traffic);
	}
}

static double
traffic_open(struct traffic *traffic, uint64_t at_once)
{
	double began = traffic_now();

	if (at_once > traffic->connections)
		at_once = traffic->connections;
	traffic->length = traffic->connections - at_once; /* that are still to be opened */
	for (uint64_t i = 0; i < at_once; i++)
		(void)traffic_connect(traffic);
	traffic_run(traffic, traffic_step_open);
	return traffic_now() - began;
}

static int
traffic_client(struct traffic *traffic, char **arguments)
{
	double took;

	traffic->address.sin_family = AF_INET;
	traffic->address.sin_port = htons((uint16_t)strtoul(arguments[1], NULL, 10));
	traffic->connections = (unsigned)strtoul(arguments[2], NULL, 10);
	if (inet_pton(AF_INET, arguments[0], &traffic->address.sin_addr) != 1 ||
		traffic->connections == 0)
		return 2;
	traffic_init(traffic);
	if (traffic->mode == MODE_CONNECT)
		took = traffic_open(traffic, strtoull(arguments[3], NULL, 10));
	else
		took = traffic_volume(traffic, strtoull(arguments[3], NULL, 10));
	printf("%.6f\n", took);
	return 0;
}

int
main(int argc, char **argv)
{
	static struct traffic traffic;

	for (traffic.mode = 0; argc > 1 && traffic.mode < MODE_COUNT; traffic.mode++) {
		if (strcmp(argv[1], MODES[traffic.mode]) != 0)
			continue;
		if (traffic.mode <= MODE_SOURCE && argc == 4)
			return traffic_server(&traffic, (uint16_t)strtoul(argv[2], NULL, 10),
				(unsigned)strtoul(argv[3], NULL, 10));
		if (traffic.mode > MODE_SOURCE && argc == 6)
			return traffic_client(&traffic, argv + 2);
	}
	fputs("usage: traffic echo|hold|sink|source PORT PROCESSES\n"
	      "       traffic up|down HOST PORT CONNECTIONS BYTES\n"
	      "       traffic connect HOST PORT CONNECTIONS AT_ONCE\n",
		stderr);
	return 2;
}
