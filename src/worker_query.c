/*
 * worker_query: what is known of a connection, asked of the kernel when somebody looks.
 *
 * Process: W.
 */
#include <linux/tcp.h> /* has the newer fields of struct tcp_info */
#include <netinet/in.h>

#include "worker.h"

#define WORKER_DETAILS_MAX 64

/* What the kernel knows of one side. */
struct worker_side {
	uint64_t bytes_received, bytes_sent, rtt_usec; /* or CONTROL_UNKNOWN */
};

static struct worker_side
worker_query_kernel(int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return (struct worker_side){CONTROL_UNKNOWN, CONTROL_UNKNOWN, CONTROL_UNKNOWN};
	return (struct worker_side){
		.bytes_received = info.tcpi_bytes_received,
		.bytes_sent = info.tcpi_bytes_sent - info.tcpi_bytes_retrans,
		.rtt_usec = info.tcpi_rtt,
	};
}

static struct addr
worker_query_local(int fd)
{
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &length) < 0)
		return (struct addr){.family = ADDR_NONE};
	return addr_from_sockaddr((const struct sockaddr *)&name, length);
}

static void
worker_query_server(struct conns *conns, const struct conn *conn, struct control_details *details)
{
	const struct conn *other = conn_other(conns, conn);
	struct worker_side side;

	details->server = UPSTREAM_NONE;
	if (!other)
		return;
	side = worker_query_kernel(conn_fd(conns, other));
	details->server = conn_server(conns, conn);
	details->server_state = other->state;
	details->server_bytes_received = side.bytes_received;
	details->server_bytes_sent = side.bytes_sent;
	details->server_rtt_usec = side.rtt_usec;
	details->server_queued_bytes = conn_queued_bytes(other);
	details->server_local = worker_query_local(conn_fd(conns, other));
}

static uint64_t
worker_query_since(uint64_t now_usec, uint64_t then_usec)
{
	return now_usec > then_usec ? now_usec - then_usec : 0;
}

static void
worker_query_fill(struct conns *conns, const struct conn *conn, const struct addr *peer,
	struct control_details *ret_details)
{
	struct worker_side side = worker_query_kernel(conn_fd(conns, conn));

	*ret_details = (struct control_details){
		.id = conn->id,
		.peer = *peer,
		.state = conn->state,
		.age_usec = worker_query_since(conns->now_usec, conn->opened_usec),
		.idle_usec = worker_query_since(conns->now_usec, conn_active_usec(conns, conn)),
		.bytes_received = side.bytes_received,
		.bytes_sent = side.bytes_sent,
		.rtt_usec = side.rtt_usec,
		.queued_bytes = conn_queued_bytes(conn),
	};
	/* The last byte is known to a tick of the wheel only. */
	if (ret_details->idle_usec > ret_details->age_usec)
		ret_details->idle_usec = ret_details->age_usec;
	worker_query_server(conns, conn, ret_details);
}

void
worker_query(struct worker *worker, const struct control_message *message)
{
	struct control_details details[WORKER_DETAILS_MAX];
	const struct control_place *places = message->records;
	struct control_header answer = {.type = CONTROL_DETAILS, .job = message->header.job};
	struct conns *conns = &worker->conns;

	for (unsigned i = 0; i < message->header.count; i++) {
		struct conn *conn = conn_find(conns, places[i].fd, places[i].id);
		struct addr peer;

		if (!conn)
			continue;
		peer = conn_peer(conns, conn);
		if (message->header.cidr.family != ADDR_NONE &&
			!cidr_contains(&message->header.cidr, &peer))
			continue;
		if (answer.count == WORKER_DETAILS_MAX) {
			worker_send(worker, &answer, details);
			answer.count = 0;
		}
		worker_query_fill(conns, conn, &peer, &details[answer.count++]);
		if (message->header.flags & CONTROL_FLAG_KILL)
			conn_end(conns, conn, CLOSE_KILLED);
	}
	answer.flags = CONTROL_FLAG_LAST;
	worker_send(worker, &answer, details);
}

/* Recount: the address of each connection, for the supervisor. */
void
worker_query_recount(void *context, struct conn *conn)
{
	struct worker *worker = context;

	worker->peers[worker->n_peers++] = (struct control_peer){
		.id = conn->id,
		.peer = conn_peer(&worker->conns, conn),
	};
	if (worker->n_peers == WORKER_REPORT_MAX)
		worker_query_send_peers(worker);
}

void
worker_query_send_peers(struct worker *worker)
{
	struct control_header header = {.type = CONTROL_PEERS, .count = (uint16_t)worker->n_peers};

	if (worker->n_peers > 0)
		worker_send(worker, &header, worker->peers);
	worker->n_peers = 0;
}
