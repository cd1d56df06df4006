/* park: see park.h. */
#include "park.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

/* Descriptors in flight are counted for each user, those of other workers' handovers too. */
#define PARK_TRIES 50
#define PARK_RETRY_NSEC 20000000

struct parking {
	struct conns *conns;
	struct parkfile_writer file;
	struct parked parked;
	bool watched;     /* the pollset is passed on */
	int near;         /* end of the last berth; -1: none */
	uint64_t waiting; /* bytes behind the records so far */
	unsigned tries;   /* that failed for want of room in flight */
	/* The next message. */
	unsigned n;
	struct conn *batch[FDPASS_FDS_MAX];
	int fds[FDPASS_FDS_MAX];
};

static int
park_next_berth(struct parking *parking)
{
	int ends[2];

	if (parking->near >= 0)
		(void)close(parking->near);
	parking->near = -1;
	if (parking->parked.n_fds > PARK_BERTHS_MAX)
		return -ENOSPC;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	parking->near = ends[0];
	parking->parked.fds[parking->parked.n_fds++] = ends[1];
	return 0;
}

/* Into the berth under way, or the next one if that is full. However many messages find no room in
 * flight, all together wait once as long as PARK_TRIES say: the stop timeout runs. */
static int
park_send(struct parking *parking, uint32_t first, const int *fds, unsigned n)
{
	static const struct timespec pause = {0, PARK_RETRY_NSEC};
	struct park_message message = {.first = first};
	struct iovec vector = {&message, sizeof(message)};
	bool fresh = false;

	for (;;) {
		int r = -EAGAIN;

		if (parking->near >= 0)
			r = fdpass_send(parking->near, &vector, 1, fds, n);
		if (r == -ENOBUFS && parking->tries < PARK_TRIES) {
			parking->tries++;
			(void)nanosleep(&pause, NULL);
			continue;
		}
		if (r != -EAGAIN || fresh)
			return r;
		r = park_next_berth(parking);
		if (r < 0)
			return r;
		fresh = true;
	}
}

/*
 * First comes the set in which all are watched: who takes it up with them need not begin it anew,
 * nor must this process take it apart. It goes on only with descriptors that have the same numbers
 * there.
 */
static void
park_pollset(struct parking *parking)
{
	parking->watched = pollset_unwatch_own(&parking->conns->pollset) == 0 &&
			   park_send(parking, PARK_POLLSET, &parking->conns->pollset.fd, 1) == 0;
}

static void
park_batch(struct parking *parking)
{
	int r = 0;

	if (parking->n > 0)
		r = park_send(parking, parking->parked.n_records, parking->fds, parking->n);

	if (r < 0)
		log_error(NULL, "%u connections cannot be parked: %s; closing them", parking->n,
			r == -ENOBUFS ? "too many descriptors in flight, or no memory: is "
					"LimitNOFILE= above the connections?"
				      : strerror(-r));
	for (unsigned i = 0; i < parking->n; i++) {
		struct parkfile_record record;

		if (r < 0) {
			/* The client before may have taken it along. */
			if (parking->batch[i]->state != CONN_FREE)
				conn_close(parking->conns, parking->batch[i], CLOSE_PARK_FAILED);
			continue;
		}
		record = conn_park(parking->conns, parking->batch[i]);
		/* A message keeps the order of its descriptors: the first one answers for all. */
		record.cookie = i == 0 ? fdpass_cookie(parking->fds[i]) : 0;
		if (!parking->watched)
			record.watched = 0;
		record.waiting = parking->waiting;
		parking->waiting += (uint64_t)record.out_bytes + record.in_bytes;
		parkfile_add_record(&parking->file, &record);
		parking->parked.n_records++;
	}
	parking->n = 0;
}

static void
park_add(struct parking *parking, struct conn *conn)
{
	parking->batch[parking->n] = conn;
	parking->fds[parking->n++] = conn_fd(parking->conns, conn);
}

/* The next one at or above *fd, which then is above it, and its other side; NULL: that was all. */
static struct conn *
park_next(const struct conns *conns, uint32_t *fd, struct conn **ret_other)
{
	while (*fd < conns->fd_end) {
		struct conn *conn = &conns->table[(*fd)++];

		if (!conn_is_client(conn) && !conn_is_orphan(conn))
			continue;
		*ret_other = conn_other(conns, conn);
		return conn;
	}
	return NULL;
}

/* A client and its server stand next to each other, in one message. */
static void
park_all(struct parking *parking)
{
	struct conns *conns = parking->conns;
	struct conn *conn, *other;
	uint32_t fd = 0;

	while ((conn = park_next(conns, &fd, &other))) {
		if (parking->n + (other ? 2 : 1) > FDPASS_FDS_MAX)
			park_batch(parking);
		park_add(parking, conn);
		if (other)
			park_add(parking, other);
	}
	park_batch(parking);
	if (parking->near >= 0)
		(void)close(parking->near);
}

/* What waits goes into the file. */
static void
park_queue(struct parking *parking, struct iobuf *queue)
{
	struct iovec vectors[16];

	while (queue->length_bytes > 0) {
		int n = iobuf_peek(queue, vectors, 16);
		size_t length = 0;

		for (int i = 0; i < n; i++) {
			parkfile_add_bytes(&parking->file, vectors[i].iov_base, vectors[i].iov_len);
			length += vectors[i].iov_len;
		}
		iobuf_consume(&parking->conns->iobufs, queue, length);
	}
}

static void
park_queues(struct parking *parking, struct conn *conn)
{
	if (conn->out)
		park_queue(parking, conn->out);
	if (conn->in)
		park_queue(parking, conn->in);
}

/* The descriptors are in the berths: from here on nothing is done with a connection any more. */
static void
park_queues_and_leave(struct parking *parking)
{
	struct conns *conns = parking->conns;
	struct conn *conn, *other;
	uint32_t fd = 0;

	while ((conn = park_next(conns, &fd, &other))) {
		park_queues(parking, conn);
		if (other)
			park_queues(parking, other);
		conn_leave(conns, conn);
		if (other)
			conn_leave(conns, other);
	}
}

static void
park_drop(struct parked *parked)
{
	for (unsigned i = 0; i < parked->n_fds; i++)
		(void)close(parked->fds[i]);
	parked->n_fds = 0;
}

int
park_connections(struct conns *conns, const struct park_writer *writer, struct parked *ret_parked)
{
	struct parking parking = {.conns = conns, .near = -1, .parked = {.n_fds = 1}};
	char *facts = park_facts_encode(writer);
	int r;

	if (!facts)
		return -ENOMEM;
	r = parkfile_create(&parking.file, facts, (uint64_t)conns->count + conns->upstream_count);
	free(facts);
	if (r < 0)
		return r;
	park_pollset(&parking);
	park_all(&parking);
	park_queues_and_leave(&parking);
	parking.parked.fds[0] = r = parkfile_finish(&parking.file);
	if (r < 0) {
		/* Without it the berths are of no use to anybody. */
		park_drop(&parking.parked);
		return r;
	}
	*ret_parked = parking.parked;
	return 0;
}

void
park_let_go(const struct parked *parked)
{
	struct parkfile file;

	if (parkfile_open(parked->fds[0], &file, NULL) < 0)
		return;
	for (uint64_t i = 0; i < file.head.n_records; i++)
		(void)close((int)parkfile_record(&file, i).fd);
	parkfile_close(&file);
}

unsigned
park_retract(struct parked *parked)
{
	struct fdpass_message message;
	struct park_message head;
	unsigned n;

	for (unsigned i = 1; i < parked->n_fds; i++) {
		if (fdpass_receive(parked->fds[i], &head, sizeof(head), &message) < 0)
			continue; /* that one is empty */
		n = message.n_fds;
		fdpass_close(&message, 0);
		if (message.length == sizeof(head) && head.first == PARK_POLLSET) {
			i--; /* nobody lost that, and it is of no use without all of them */
			continue;
		}
		parked->n_records -= n;
		return n;
	}
	return 0;
}
