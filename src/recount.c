/* recount: see recount.h. */
#include "recount.h"

#include <assert.h>

static void
recount_each(struct recount *recount, void (*visit)(struct recount *, struct roster_entry *))
{
	uint32_t slot = 0;

	while (slot != UINT32_MAX) {
		uint64_t id = roster_next(recount->roster, slot, UINT32_MAX, &slot);

		if (id)
			visit(recount, roster_find(recount->roster, id));
	}
}

static void
recount_mark_old(struct recount *recount, struct roster_entry *entry)
{
	(void)recount;
	entry->flags |= ROSTER_OLD_SOURCE;
}

static void
recount_move(struct recount *recount, struct roster_entry *entry, const struct addr *peer)
{
	if (!(entry->flags & ROSTER_OLD_SOURCE))
		return;
	entry->source = admit_recount(recount->admit, entry->source, peer);
	entry->flags &= (unsigned)~ROSTER_OLD_SOURCE & ROSTER_FLAGS;
}

/* A connection of which no worker has said anything is on its way out. */
static void
recount_forget(struct recount *recount, struct roster_entry *entry)
{
	recount_move(recount, entry, &(struct addr){.family = ADDR_NONE});
}

static void
recount_finish(struct recount *recount)
{
	recount_each(recount, recount_forget);
	admit_recount_done(recount->admit);
	recount->running = false;
	acceptor_resume(recount->acceptor, ACCEPTOR_HALT_RECOUNT);
	recount->done(recount->context);
}

void
recount_start(struct recount *recount)
{
	static const struct control_header ask = {.type = CONTROL_RECOUNT};

	assert(!recount->running);
	acceptor_halt(recount->acceptor, ACCEPTOR_HALT_RECOUNT);
	recount_each(recount, recount_mark_old);
	/* What the workers were given so far must come before the question. */
	crew_flush(recount->crew);
	recount->running = true;
	recount->n_asked = 0;
	/* One that is down has lost its connections, or is about to be found so. */
	for (unsigned i = 0; i < recount->crew->n_members; i++) {
		struct crew_member *member = &recount->crew->members[i];

		recount->asked[i] = member->state != CREW_DOWN;
		if (!recount->asked[i])
			continue;
		recount->n_asked++;
		crew_send(member, &ask, NULL);
	}
	if (recount->n_asked == 0)
		recount_finish(recount);
}

void
recount_on_peers(struct recount *recount, const struct crew_member *member,
	const struct control_message *message)
{
	const struct control_peer *peers = message->records;

	if (!recount->running)
		return;
	for (unsigned i = 0; i < message->header.count; i++) {
		struct roster_entry *entry = roster_find(recount->roster, peers[i].id);

		if (entry && entry->worker == member->index)
			recount_move(recount, entry, &peers[i].peer);
	}
}

void
recount_on_done(struct recount *recount, struct crew_member *member)
{
	if (!recount->running || !recount->asked[member->index])
		return;
	recount->asked[member->index] = false;
	if (--recount->n_asked == 0)
		recount_finish(recount);
}

void
recount_on_lost(struct recount *recount, struct crew_member *member)
{
	recount_on_done(recount, member);
}
