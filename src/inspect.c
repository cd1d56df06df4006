/* inspect: see inspect.h. */
#include "inspect.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "upstream.h"

struct inspect_job {
	TAILQ_ENTRY(inspect_job) link;
	struct inspect *inspect;
	struct event *event;
	uint32_t number; /* names it in messages; never 0 */
	struct inspect_filter filter;
	uint64_t only_id; /* 0: all that fit the filter */
	uint32_t slot;    /* looked at up to here; UINT32_MAX: all */
	inspect_done_fn *done;
	void *context;
	struct inspect_result *results;
	unsigned n_results;
	uint64_t n_killed;
	unsigned n_asked;
	bool asked[CREW_MAX];
};

void
inspect_init(struct inspect *inspect)
{
	TAILQ_INIT(&inspect->jobs);
}

static void
inspect_job_free(struct inspect_job *job)
{
	TAILQ_REMOVE(&job->inspect->jobs, job, link);
	job->inspect->n_jobs--;
	event_free(job->event);
	free(job->results);
	free(job);
}

static int
inspect_compare(const void *a, const void *b)
{
	uint32_t x = roster_slot(((const struct inspect_result *)a)->details.id);
	uint32_t y = roster_slot(((const struct inspect_result *)b)->details.id);

	return (x > y) - (x < y);
}

static void
inspect_job_finish(struct inspect_job *job)
{
	struct inspect_report report = {
		.results = job->results,
		.n_results = job->n_results,
		.n_killed = job->n_killed,
		.more = job->slot != UINT32_MAX,
		.next = job->slot,
	};

	/* Workers answer in any order. */
	if (job->n_results > 0)
		qsort(job->results, job->n_results, sizeof(*job->results), inspect_compare);
	job->done(job->context, &report);
	inspect_job_free(job);
}

void
inspect_done(struct inspect *inspect)
{
	struct inspect_job *job;

	if (!inspect->base)
		return;
	while ((job = TAILQ_FIRST(&inspect->jobs)))
		inspect_job_finish(job);
}

static uint32_t
inspect_room(const struct inspect_job *job)
{
	uint32_t room = INSPECT_ROUND;

	if (!job->filter.kill && job->filter.limit - job->n_results < room)
		room = job->filter.limit - job->n_results;
	return room;
}

/* Goes on in the next turn, or ends. */
static void
inspect_job_next(struct inspect_job *job)
{
	struct timeval now = clock_timeval(0);

	if (job->n_asked > 0)
		return;
	if (job->slot == UINT32_MAX || inspect_room(job) == 0)
		inspect_job_finish(job);
	else
		evtimer_add(job->event, &now);
}

static struct source_count
inspect_source(const struct inspect_job *job, const struct roster_entry *entry)
{
	if (entry->source == SOURCE_NONE || (entry->flags & ROSTER_OLD_SOURCE))
		return (struct source_count){0};
	return source_table_get(admit_sources(job->inspect->admit), entry->source);
}

static struct addr
inspect_network_addr(const struct cidr *network)
{
	struct addr addr = {.family = network->family};

	memcpy(addr.bytes, network->bytes, sizeof(addr.bytes));
	return addr;
}

/* Can a connection of this source be in the range? Only what the roster knows is asked; a source
 * of many addresses is looked at by the worker. */
static bool
inspect_may_match(const struct cidr *range, const struct cidr *network)
{
	struct addr first;
	struct cidr wider = *range;

	if (network->family != range->family)
		return network->family == ADDR_NONE;
	first = inspect_network_addr(network);
	if (network->prefix < range->prefix) {
		struct addr range_first = inspect_network_addr(range);

		wider = addr_network(&range_first, network->prefix);
	}
	return cidr_contains(&wider, &first);
}

static bool
inspect_fits(const struct inspect_job *job, const struct roster_entry *entry)
{
	const struct inspect_filter *filter = &job->filter;
	struct source_count source;

	if (filter->listener >= 0 && entry->listener != filter->listener)
		return false;
	if (filter->worker >= 0 && entry->worker != filter->worker)
		return false;
	if (filter->source.family == ADDR_NONE)
		return true;
	source = inspect_source(job, entry);
	return inspect_may_match(&filter->source, &source.network);
}

/* The worker has not confirmed this one: nobody can be asked. */
static void
inspect_take_handover(struct inspect_job *job, uint64_t id, struct roster_entry *entry)
{
	struct source_count source = inspect_source(job, entry);

	if (job->filter.source.family != ADDR_NONE &&
		(source.network.family == ADDR_NONE ||
			source.network.prefix < job->filter.source.prefix))
		return; /* not certain */
	if (job->filter.kill) {
		entry->flags |= ROSTER_KILL;
		job->n_killed++;
		return;
	}
	job->results[job->n_results++] = (struct inspect_result){
		.details = {.id = id,
			.peer = inspect_network_addr(&source.network),
			.bytes_received = CONTROL_UNKNOWN,
			.bytes_sent = CONTROL_UNKNOWN,
			.rtt_usec = CONTROL_UNKNOWN,
			.server = UPSTREAM_NONE},
		.listener = entry->listener,
		.worker = entry->worker,
		.handover = true,
	};
}

struct inspect_round {
	unsigned n;
	struct control_place places[INSPECT_ROUND];
	uint8_t workers[INSPECT_ROUND];
};

static void
inspect_take(struct inspect_job *job, struct inspect_round *round, uint64_t id)
{
	struct roster_entry *entry = roster_find(job->inspect->roster, id);

	if (!inspect_fits(job, entry))
		return;
	if (entry->fd < 0) {
		inspect_take_handover(job, id, entry);
		return;
	}
	round->places[round->n] = (struct control_place){.id = id, .fd = entry->fd};
	round->workers[round->n++] = entry->worker;
}

static void
inspect_ask_worker(
	struct inspect_job *job, const struct inspect_round *round, struct crew_member *member)
{
	struct control_place places[INSPECT_ROUND];
	struct control_header header = {
		.type = CONTROL_QUERY,
		.flags = job->filter.kill ? CONTROL_FLAG_KILL : 0,
		.job = job->number,
		.cidr = job->filter.source,
	};

	for (unsigned i = 0; i < round->n; i++)
		if (round->workers[i] == member->index)
			places[header.count++] = round->places[i];
	if (header.count == 0 || member->state == CREW_DOWN)
		return;
	job->asked[member->index] = true;
	job->n_asked++;
	crew_send(member, &header, places);
}

static void
inspect_on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct inspect_job *job = arg;
	struct inspect *inspect = job->inspect;
	struct inspect_round round = {.n = 0};
	uint32_t end = job->slot + INSPECT_SLICE;

	(void)fd;
	(void)what;
	if (job->only_id) {
		job->slot = UINT32_MAX;
		if (roster_find(inspect->roster, job->only_id))
			inspect_take(job, &round, job->only_id);
	}
	while (job->slot < end && round.n < inspect_room(job)) {
		uint64_t id = roster_next(inspect->roster, job->slot, end - job->slot, &job->slot);

		if (!id)
			break;
		inspect_take(job, &round, id);
	}
	for (unsigned i = 0; i < inspect->crew->n_members && round.n > 0; i++)
		inspect_ask_worker(job, &round, &inspect->crew->members[i]);
	inspect_job_next(job);
}

static int
inspect_add(struct inspect *inspect, const struct inspect_filter *filter, uint64_t only_id,
	inspect_done_fn *done, void *context)
{
	struct timeval now = clock_timeval(0);
	struct inspect_job *job;

	if (inspect->n_jobs >= INSPECT_JOBS_MAX)
		return -EBUSY;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->event = evtimer_new(inspect->base, inspect_on_turn, job);
	if (!filter->kill)
		job->results = calloc(filter->limit, sizeof(*job->results));
	if (!job->event || (!filter->kill && !job->results)) {
		if (job->event)
			event_free(job->event);
		free(job);
		return -ENOMEM;
	}
	if (++inspect->last_number == 0)
		inspect->last_number = 1;
	job->inspect = inspect;
	job->number = inspect->last_number;
	job->filter = *filter;
	job->only_id = only_id;
	job->slot = filter->after;
	job->done = done;
	job->context = context;
	TAILQ_INSERT_TAIL(&inspect->jobs, job, link);
	inspect->n_jobs++;
	evtimer_add(job->event, &now);
	return 0;
}

int
inspect_start(struct inspect *inspect, const struct inspect_filter *filter, inspect_done_fn *done,
	void *context)
{
	assert(filter->kill || (filter->limit >= 1 && filter->limit <= INSPECT_LIMIT_MAX));
	return inspect_add(inspect, filter, 0, done, context);
}

int
inspect_start_one(
	struct inspect *inspect, uint64_t id, bool kill, inspect_done_fn *done, void *context)
{
	struct inspect_filter filter = {.listener = -1, .worker = -1, .limit = 1, .kill = kill};

	if (!roster_find(inspect->roster, id))
		return -ENOENT;
	return inspect_add(inspect, &filter, id, done, context);
}

static struct inspect_job *
inspect_find(struct inspect *inspect, uint32_t number)
{
	struct inspect_job *job;

	TAILQ_FOREACH(job, &inspect->jobs, link)
		if (job->number == number)
			return job;
	return NULL;
}

static void
inspect_answered(struct inspect_job *job, const struct crew_member *member)
{
	job->asked[member->index] = false;
	job->n_asked--;
	inspect_job_next(job);
}

void
inspect_on_details(struct inspect *inspect, const struct crew_member *member,
	const struct control_message *message)
{
	const struct control_details *details = message->records;
	struct inspect_job *job = inspect_find(inspect, message->header.job);

	if (!job || !job->asked[member->index])
		return;
	for (unsigned i = 0; i < message->header.count; i++) {
		const struct roster_entry *entry = roster_find(inspect->roster, details[i].id);

		if (job->filter.kill) {
			job->n_killed++;
			continue;
		}
		if (!entry || job->n_results >= job->filter.limit)
			continue; /* closed meanwhile */
		job->results[job->n_results++] = (struct inspect_result){
			.details = details[i],
			.listener = entry->listener,
			.worker = (uint8_t)member->index,
		};
	}
	if (message->header.flags & CONTROL_FLAG_LAST)
		inspect_answered(job, member);
}

void
inspect_on_lost(struct inspect *inspect, const struct crew_member *member)
{
	struct inspect_job *job, *next;

	for (job = TAILQ_FIRST(&inspect->jobs); job; job = next) {
		next = TAILQ_NEXT(job, link);
		if (job->asked[member->index])
			inspect_answered(job, member);
	}
}
