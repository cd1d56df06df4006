/*
 * crew_handover: which worker gets a connection, and how it gets there.
 *
 * Process: S. Connections are gathered in a batch for each worker and sent as one message. A new
 * configuration takes the same way, so that it comes before the connections that it is for; and the
 * order to stop, so that it comes after them.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "crew_private.h"

static bool
crew_is_full(const struct crew_member *member, unsigned n_fds)
{
	/* Of a client that was closed its server's descriptor may still be in use. */
	uint64_t orphans = metrics_read(&crew_slot(member)->value[METRIC_ORPHANS]);

	return member->fds + orphans + n_fds > member->crew->capacity;
}

/* A batch has room for a connection and, should it be restored, for that to its server. */
static bool
crew_can_take(const struct crew_member *member, unsigned n_fds)
{
	return member->state == CREW_UP && member->n_batch + 2 <= FDPASS_FDS_MAX &&
	       member->unadopted + member->n_batch < CREW_UNADOPTED_MAX &&
	       !crew_is_full(member, n_fds);
}

void
crew_check_room(struct crew_member *member)
{
	struct crew *crew = member->crew;

	/* A batch that has gone is news too: its sender may wait for that, though this one is full. */
	if (!crew->starved || (!crew_can_take(member, 1) && member->n_batch > 0))
		return;
	crew->starved = false;
	crew->callbacks.room(crew->callbacks.context);
}

static void
crew_send_batch(struct crew_member *member)
{
	struct control_header header = {
		.type = CONTROL_HANDOVER, .count = (uint16_t)member->n_batch};
	int r;

	if (member->n_batch == 0)
		return;
	r = channel_send_fds(
		&member->channel, &header, member->batch, member->batch_fds, member->n_batch);
	if (r == -EAGAIN)
		return;
	if (r < 0) {
		crew_give_up(member);
		return;
	}
	for (unsigned i = 0; i < member->n_batch; i++)
		(void)close(member->batch_fds[i]);
	member->unadopted += member->n_batch;
	member->n_batch = 0;
}

void
crew_flush_member(struct crew_member *member)
{
	static const struct control_header header = {.type = CONTROL_RELOAD};
	struct control_header stop = {.type = CONTROL_STOP};
	int r;

	if (member->state == CREW_DOWN)
		return;
	if (member->conf_fd >= 0) {
		r = channel_send_fds(&member->channel, &header, NULL, &member->conf_fd, 1);
		if (r == -EAGAIN)
			return;
		(void)close(member->conf_fd);
		member->conf_fd = -1;
		if (r < 0) {
			crew_give_up(member);
			return;
		}
	}
	crew_send_batch(member);
	if (member->crew->stopping && member->n_batch == 0 && !member->told_to_stop) {
		stop.flags = member->crew->stop_flags;
		member->told_to_stop = true;
		crew_send(member, &stop, NULL);
	}
}

struct crew_member *
crew_pick(struct crew *crew, unsigned n_fds, bool *ret_full)
{
	struct crew_member *best = NULL;
	unsigned n_full = 0;

	for (unsigned i = 0; i < crew->n_members; i++) {
		struct crew_member *member = &crew->members[(crew->next + i) % crew->n_members];

		if (member->state == CREW_UP && crew_is_full(member, n_fds))
			n_full++;
		if (crew_can_take(member, n_fds) && (!best || member->fds < best->fds))
			best = member;
	}
	if (best)
		crew->next = (best->index + 1) % crew->n_members;
	crew->starved = !best;
	*ret_full = n_full == crew->n_members;
	return best;
}

void
crew_give_upstream(struct crew_member *member, const struct control_handover *record, int fd)
{
	assert(member->n_batch < FDPASS_FDS_MAX);
	member->batch[member->n_batch] = *record;
	member->batch_fds[member->n_batch++] = fd;
}

void
crew_give(struct crew_member *member, const struct control_handover *record, int fd, unsigned n_fds)
{
	crew_give_upstream(member, record, fd);
	member->connections++;
	member->fds += n_fds;
}

bool
crew_give_whole(struct crew_member *member, const struct control_header *header, const int *fds,
	unsigned n, uint32_t connections, uint32_t connection_fds)
{
	/* Berths are descriptors too until they are empty. */
	if (crew_is_full(member, connection_fds + n) ||
		channel_send_fds(&member->channel, header, NULL, fds, n) < 0)
		return false;
	member->connections += connections;
	member->fds += connection_fds;
	return true;
}

bool
crew_flush(struct crew *crew)
{
	bool all = true;

	for (unsigned i = 0; i < crew->n_members; i++) {
		struct crew_member *member = &crew->members[i];

		if (member->n_batch == 0)
			continue;
		crew_flush_member(member);
		/* Its batch was full: the next one may begin before it has answered. */
		if (member->n_batch == 0)
			crew_check_room(member);
		all &= member->n_batch == 0;
	}
	crew->starved |= !all;
	return all;
}

void
crew_release(struct crew_member *member, unsigned n_fds)
{
	assert(member->connections > 0 && member->fds >= n_fds);
	member->connections--;
	member->fds -= n_fds;
}

void
crew_send_conf(struct crew *crew, int conf_fd)
{
	for (unsigned i = 0; i < crew->n_members; i++) {
		struct crew_member *member = &crew->members[i];

		if (member->state == CREW_DOWN)
			continue; /* the next one is forked with it */
		if (member->conf_fd >= 0)
			(void)close(member->conf_fd);
		member->conf_fd = fcntl(conf_fd, F_DUPFD_CLOEXEC, 0);
		if (member->conf_fd < 0)
			crew_give_up(member);
		else
			crew_flush_member(member);
	}
}
