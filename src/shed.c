/* shed: see shed.h. */
#include "shed.h"

static uint64_t
shed_excess(const struct shed *shed)
{
	uint64_t queued = metrics_sum(shed->metrics, METRIC_QUEUED_BYTES);

	return queued > shed->limit_bytes ? queued - shed->limit_bytes : 0;
}

static void
shed_ask(struct shed *shed, struct crew_member *member, const struct control_header *header)
{
	if (member->state != CREW_UP)
		return;
	shed->asked[member->index] = true;
	shed->n_asked++;
	crew_send(member, header, NULL);
}

static void
shed_ask_all(struct shed *shed)
{
	static const struct control_header ask = {.type = CONTROL_ASK_LONGEST};

	shed->longest = NULL;
	shed->longest_bytes = shed->second_bytes = 0;
	for (unsigned i = 0; i < shed->crew->n_members; i++)
		shed_ask(shed, &shed->crew->members[i], &ask);
	shed->running = shed->n_asked > 0;
}

void
shed_start(struct shed *shed)
{
	if (!shed->running && shed_excess(shed) > 0)
		shed_ask_all(shed);
}

/* All answers are there. */
static void
shed_decide(struct shed *shed)
{
	struct control_header order = {
		.type = CONTROL_SHED,
		.value = shed_excess(shed),
		.value2 = shed->second_bytes ? shed->second_bytes : 1,
	};

	shed->running = false;
	if (order.value == 0 || !shed->longest || shed->longest_bytes == 0)
		return;
	shed_ask(shed, shed->longest, &order);
	shed->running = shed->n_asked > 0;
}

static bool
shed_answered(struct shed *shed, struct crew_member *member)
{
	if (!shed->asked[member->index])
		return false;
	shed->asked[member->index] = false;
	shed->n_asked--;
	return true;
}

void
shed_on_longest(struct shed *shed, struct crew_member *member, uint64_t bytes)
{
	if (!shed_answered(shed, member))
		return;
	if (bytes > shed->longest_bytes) {
		shed->second_bytes = shed->longest_bytes;
		shed->longest_bytes = bytes;
		shed->longest = member;
	} else if (bytes > shed->second_bytes) {
		shed->second_bytes = bytes;
	}
	if (shed->n_asked == 0)
		shed_decide(shed);
}

void
shed_on_done(struct shed *shed, struct crew_member *member)
{
	if (!shed_answered(shed, member))
		return;
	shed->running = false;
	shed_start(shed);
}

void
shed_on_lost(struct shed *shed, struct crew_member *member)
{
	if (shed->longest == member)
		shed->longest = NULL;
	if (!shed_answered(shed, member) || shed->n_asked > 0)
		return;
	/* The last answer was its: begin anew with those that are left. */
	shed->running = false;
	shed_start(shed);
}
