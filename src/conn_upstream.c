/*
 * conn_upstream: a relayed client's connection to its server: how it comes about, and how the two
 * go on together.
 *
 * Process: W. The supervisor chooses servers; here one is connected to, and it is told if that fails.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "conn_private.h"
#include "keepalive.h"
#include "proxy_header.h"

/* Is there something to send as soon as the server is there? Of a WebSocket it may be half the head of a
 * frame, which has to wait. */
static bool
conn_has_spoken(const struct conn_listener *listener, int client_fd)
{
	return listener->send_proxy || (listener->proto->plain && conn_has_unread(client_fd));
}

static void
conn_set_options(const struct conn_listener *listener, int client_fd, int fd,
	const struct upstream_address *address)
{
	int zero = 0, one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* The first bytes bring the ACK of the handshake along, which then is no packet of its own. */
	if (conn_has_spoken(listener, client_fd))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &zero, sizeof(zero));
	/* The kernel tells of the end of a server on this machine; no probe is needed to find out. */
	if (listener->keepalive_usec && !upstream_address_is_loopback(address))
		keepalive_set(fd, listener->keepalive_usec);
}

/* A socket on its way to the server, or -errno. */
static int
conn_begin_connect(const struct conn_listener *listener, uint64_t id, int client_fd,
	const struct upstream_address *address)
{
	bool tcp = address->sa.ss_family != AF_UNIX;
	int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (tcp)
		conn_set_options(listener, client_fd, fd, address);
	r = upstream_sources_connect(listener->sources, conn_spread(id), fd, address);
	if (r == 0 || r == -EINPROGRESS)
		return fd;
	(void)close(fd);
	return r;
}

static void
conn_link_up(struct conns *conns, struct conn *client, struct conn *upstream)
{
	struct conn_link *near = conn_link(conns, client), *far = conn_link(conns, upstream);

	near->other = (uint32_t)conn_fd(conns, upstream);
	*far = (struct conn_link){
		.other = (uint32_t)conn_fd(conns, client), .server = near->server};
}

static void
conn_count_server(struct conns *conns, uint16_t server, enum upstream_metric metric, uint64_t n)
{
	metrics_add(&conns->slot->upstream[server][metric], n);
}

uint16_t
conn_server(const struct conns *conns, const struct conn *client)
{
	return conn_link(conns, client)->server;
}

bool
conn_server_is_up(const struct conns *conns, const struct conn *client)
{
	uint16_t server = conn_server(conns, client);

	return server != UPSTREAM_NONE && upstream_is_up(&conns->upstreams->items[server]);
}

bool
conn_lacks_server(const struct conns *conns, const struct conn *conn)
{
	const struct conn_link *link = conn_link(conns, conn);

	return !(conn->flags & CONN_UPSTREAM) && link->other == 0 &&
	       !(link->flags & CONN_LINK_ASKED);
}

bool
conn_has_left(const struct conns *conns, const struct conn *client)
{
	int fd = conn_fd(conns, client);

	if (!(pollset_look(fd, EPOLLRDHUP) & EPOLLRDHUP))
		return false;
	return conn_listener(conns, client)->proto->end || !(client->in || conn_has_unread(fd));
}

void
conn_ask_server(struct conns *conns, struct conn *client, int error)
{
	struct conn_link *link = conn_link(conns, client);
	struct conn_question question = {
		.server = link->server,
		.error = error,
		.peer = conn_peer(conns, client),
	};

	link->flags |= CONN_LINK_ASKED;
	if (error && link->tries < UINT8_MAX)
		link->tries++;
	question.tries = link->tries;
	conns->ask(conns->context, client, &question);
}

void
conn_give_up_server(struct conns *conns, struct conn *client)
{
	const struct conn_question question = {.server = UPSTREAM_NONE, .gives_up = true};
	struct conn_link *link = conn_link(conns, client);

	if (client->state != CONN_OPEN || !conn_listener(conns, client)->service->relays ||
		client->flags & CONN_UPSTREAM || link->other != 0)
		return;
	/* Or it had one, which has gone. */
	if (!(link->flags & CONN_LINK_ASKED) && link->server != UPSTREAM_NONE)
		return;
	link->server = UPSTREAM_NONE;
	conns->ask(conns->context, client, &question);
}

/* Tells the server who the client is, and whom it wanted. -ECONNRESET: both are closed. */
static int
conn_introduce(struct conns *conns, struct conn *client, struct conn *upstream)
{
	unsigned version = conns->listeners[client->listener].send_proxy;
	struct proxy_header header = conns->proxied[conn_fd(conns, client)];
	uint8_t text[PROXY_HEADER_PUT_MAX];
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);

	if (version == 0)
		return 0;
	header.source = conn_peer(conns, client);
	if (header.destination.family == ADDR_NONE &&
		getsockname(conn_fd(conns, client), (struct sockaddr *)&name, &length) == 0)
		header.destination = addr_from_sockaddr((struct sockaddr *)&name, length);
	return conn_write(conns, upstream, text, proxy_header_put(text, version, &header));
}

/* The two are together. It may close both. */
static void
conn_pair_up(struct conns *conns, struct conn *client, struct conn *upstream, uint64_t took_usec)
{
	uint16_t server = conn_link(conns, upstream)->server;
	uint8_t flags;

	conn_count_server(conns, server, UPSTREAM_METRIC_CONNECTS, 1);
	conn_count_server(conns, server, UPSTREAM_METRIC_CONNECT_USEC, took_usec);
	conn_set_timer(conns, upstream);
	if (conn_introduce(conns, client, upstream) < 0)
		return;
	flags = upstream->flags & (uint8_t)~CONN_HELD;
	if (!upstream->out)
		flags &= (uint8_t)~CONN_WANTS_WRITE;
	if (conn_watch(conns, upstream, flags) == 0 && !upstream->out)
		conn_release(conns, client);
}

void
conn_connected(struct conns *conns, struct conn *upstream)
{
	struct conn *client = conn_other(conns, upstream);
	socklen_t length = sizeof(int);
	int error = 0;

	(void)getsockopt(conn_fd(conns, upstream), SOL_SOCKET, SO_ERROR, &error, &length);
	if (error) {
		conn_connect_failed(conns, upstream, error);
		return;
	}
	conn_set_state(conns, upstream, CONN_OPEN);
	conn_pair_up(conns, client, upstream, conns->now_usec - upstream->opened_usec);
}

/* As one on this machine is when connect() returns. Who is new is not watched yet, so with that
 * known neither of the two is ever watched for anything but what it is to be in the end. */
static bool
conn_is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &length) == 0;
}

void
conn_connect(struct conns *conns, struct conn *client, uint16_t server)
{
	const struct conn_listener *listener = conn_listener(conns, client);
	struct conn *upstream;
	struct conn as = {
		.id = client->id,
		.opened_usec = conns->now_usec,
		.active = wheel_tick(conns->now_usec),
		.listener = client->listener,
		.flags = CONN_UPSTREAM | CONN_WANTS_WRITE | CONN_HELD,
		.state = CONN_CONNECTING,
	};
	uint64_t began_usec = clock_now_usec();
	enum close_reason reason;
	bool at_once;
	int fd;

	assert(server < UPSTREAM_MAX && !conn_other(conns, client));
	conn_link(conns, client)->server = server;
	fd = conn_begin_connect(listener, client->id, conn_fd(conns, client),
		&conns->upstreams->items[server].address);
	if (fd < 0) {
		conn_count_server(conns, server, UPSTREAM_METRIC_CONNECT_FAILURES, 1);
		conn_ask_server(conns, client, -fd);
		return;
	}
	at_once = conns->newcomer == client && conn_is_connected(fd);
	if (at_once) {
		as.flags = CONN_UPSTREAM;
		as.state = CONN_OPEN;
	}
	upstream = conn_enter(conns, fd, &as, &reason);
	if (!upstream) {
		conn_close(conns, client, reason);
		return;
	}
	conn_link_up(conns, client, upstream);
	if (at_once)
		conn_pair_up(conns, client, upstream, clock_now_usec() - began_usec);
	else
		conn_set_timer(conns, upstream);
}

void
conn_connect_failed(struct conns *conns, struct conn *upstream, int error)
{
	struct conn *client = conn_other(conns, upstream);

	conn_count_server(
		conns, conn_link(conns, upstream)->server, UPSTREAM_METRIC_CONNECT_FAILURES, 1);
	conn_free(conns, upstream);
	conn_link(conns, client)->other = 0;
	conn_ask_server(conns, client, error);
}

void
conn_assign(struct conns *conns, struct conn *conn, uint16_t server)
{
	const struct service_ops *service = conn_listener(conns, conn)->service;
	struct conn_link *link = conn_link(conns, conn);

	if (conn->state == CONN_PROXY) {
		conn_proxy_assigned(conns, conn, server);
	} else if (conn->state == CONN_OPEN && service->relays && link->flags & CONN_LINK_ASKED) {
		link->flags &= (uint8_t)~CONN_LINK_ASKED;
		link->server = server;
		if (server == UPSTREAM_NONE)
			link->tries = 0;
		service->assigned(conns, conn, server);
	}
}

/* Both sides have ended, and each has got all that the other one sent. */
static void
conn_close_both(struct conns *conns, struct conn *client)
{
	bool client_first = conn_link(conns, client)->flags & CONN_LINK_EOF_FIRST;

	conn_close(conns, client, client_first ? CLOSE_CLIENT_CLOSED : CLOSE_UPSTREAM_CLOSED);
}

/* `conn` has no queue, and the other side sends no more: nor does it get any more. */
static void
conn_end_stream(struct conns *conns, struct conn *conn)
{
	struct conn *other = conn_other(conns, conn);

	conn_send_fin(conns, conn);
	if (conn->flags & CONN_EOF && !other->out)
		conn_close_both(conns, conn->flags & CONN_UPSTREAM ? other : conn);
}

void
conn_pass_eof(struct conns *conns, struct conn *conn)
{
	struct conn *other = conn_other(conns, conn);
	struct conn *client = conn->flags & CONN_UPSTREAM ? other : conn;

	if (!other || conn_listener(conns, client)->proto->end) {
		/* Its protocol has no half-closed state, only a goodbye. */
		if (conn == client)
			conn_close(conns, client, CLOSE_CLIENT_CLOSED);
		else
			conn_end(conns, client, CLOSE_UPSTREAM_CLOSED);
		return;
	}
	if (!(other->flags & CONN_EOF))
		conn_link(conns, conn)->flags |= CONN_LINK_EOF_FIRST;
	if (conn_watch(conns, conn, conn->flags | CONN_EOF) == 0 && !other->out)
		conn_end_stream(conns, other);
}

void
conn_pass_on(struct conns *conns, struct conn *conn)
{
	struct conn *other = conn_other(conns, conn);

	if (!other)
		return;
	if (other->flags & CONN_EOF)
		conn_end_stream(conns, conn);
	else
		conn_release(conns, other);
}
