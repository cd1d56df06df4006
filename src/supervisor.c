/* supervisor: see supervisor.h. Start and stop are in supervisor_run.c, reload in
 * supervisor_reload.c; here is what happens between: connections close, workers come and go. */
#include "supervisor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "clock.h"
#include "supervisor_private.h"
#include "tune.h"

static void
supervisor_log_closed(const struct supervisor *supervisor, uint64_t id,
	const struct roster_entry *entry, enum close_reason reason)
{
	const struct close_reason_info *info = close_reason_info(reason);
	struct log_context context = {
		.listener = supervisor->conf->listeners[entry->listener].name,
		.reason = info->name,
		.connection = id,
		.worker = entry->worker,
		.has_worker = true,
	};
	char source[CIDR_TEXT_MAX] = "unknown";

	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	if (entry->source != SOURCE_NONE && !(entry->flags & ROSTER_OLD_SOURCE)) {
		struct source_count count =
			source_table_get(admit_sources(supervisor->admit), entry->source);

		cidr_format(&count.network, source);
	}
	context.peer = source;
	log_debug(&context, "%s: connection %" PRIu64 " from %s closed: %s", context.listener, id,
		source, info->name);
}

static void
supervisor_count_closed(struct supervisor *supervisor, uint64_t id,
	const struct roster_entry *entry, enum close_reason reason)
{
	supervisor_log_closed(supervisor, id, entry, reason);
	metrics_count_closed(&supervisor->metrics->slots[0], entry->listener, reason);
	metrics_add(&supervisor->metrics->slots[0].value[METRIC_CLOSED], 1);
}

void
supervisor_forget(struct supervisor *supervisor, uint64_t id, enum close_reason reason)
{
	const struct roster_entry *entry = roster_find(supervisor->roster, id);

	if (reason != CLOSE_NONE)
		supervisor_count_closed(supervisor, id, entry, reason);
	admit_release(supervisor->admit, entry->listener, entry->source,
		entry->flags & ROSTER_OLD_SOURCE);
	(void)upstreams_release(supervisor->upstreams, roster_server(supervisor->roster, id));
	if (entry->fd != ROSTER_FD_AWAY)
		crew_release(&supervisor->crew.members[entry->worker],
			conf_fds_each(&supervisor->conf->listeners[entry->listener]));
	roster_remove(supervisor->roster, id);
}

static void
supervisor_on_closed(struct supervisor *supervisor, const struct crew_member *member,
	const struct control_message *message)
{
	const struct control_closed *closed = message->records;

	for (unsigned i = 0; i < message->header.count; i++) {
		const struct roster_entry *entry = roster_find(supervisor->roster, closed[i].id);

		if (entry && entry->worker == member->index)
			supervisor_forget(supervisor, closed[i].id, closed[i].reason);
	}
	acceptor_wake(&supervisor->acceptor);
}

static void
supervisor_on_adopted(struct supervisor *supervisor, struct crew_member *member,
	const struct control_message *message)
{
	/* No job of inspect has the number 0: the answer is dropped. */
	static const struct control_header kill = {
		.type = CONTROL_QUERY, .flags = CONTROL_FLAG_KILL, .count = 1};
	const struct control_place *places = message->records;

	for (unsigned i = 0; i < message->header.count; i++) {
		struct roster_entry *entry = roster_find(supervisor->roster, places[i].id);

		if (!entry || entry->worker != member->index)
			continue;
		entry->fd = places[i].fd;
		if (entry->flags & ROSTER_KILL)
			crew_send(member, &kill, &places[i]);
	}
}

void
supervisor_on_message(
	void *context, struct crew_member *member, const struct control_message *message)
{
	struct supervisor *supervisor = context;

	switch ((enum control_type)message->header.type) {
	case CONTROL_ADOPTED:
		supervisor_on_adopted(supervisor, member, message);
		break;
	case CONTROL_CLOSED:
		supervisor_on_closed(supervisor, member, message);
		break;
	case CONTROL_INHERITED:
		restore_on_inherited(&supervisor->restore, member, message->header.value,
			message->header.value2);
		break;
	case CONTROL_IDENTIFIED:
		assign_on_identified(&supervisor->assign, member, message);
		break;
	case CONTROL_UNSERVED:
		assign_on_unserved(&supervisor->assign, member, message);
		acceptor_wake(&supervisor->acceptor);
		break;
	case CONTROL_DETAILS:
		inspect_on_details(&supervisor->inspect, member, message);
		break;
	case CONTROL_PEERS:
		recount_on_peers(&supervisor->recount, member, message);
		break;
	case CONTROL_RECOUNTED:
		recount_on_done(&supervisor->recount, member);
		break;
	case CONTROL_OVER:
		shed_start(&supervisor->shed);
		break;
	case CONTROL_LONGEST:
		shed_on_longest(&supervisor->shed, member, message->header.value);
		break;
	case CONTROL_SHED_DONE:
		shed_on_done(&supervisor->shed, member);
		break;
	default:
		log_warning(NULL, "worker %u sent a message of type %u, which no worker sends",
			member->index, message->header.type);
	}
}

void
supervisor_on_lost(void *context, struct crew_member *member)
{
	struct supervisor *supervisor = context;
	enum close_reason reason = supervisor->stop ? CLOSE_SHUTDOWN : CLOSE_WORKER_LOST;
	/* One that ends before it can say so may have parked them: the next process sees who is there,
	 * and counts the rest. */
	bool parked = member->parked || supervisor->stop == SUPERVISOR_STOP_STORE ||
		      supervisor->stop == SUPERVISOR_STOP_UPGRADE;
	uint32_t slot = 0;

	while (!parked && slot != UINT32_MAX && member->connections > 0) {
		uint64_t id = roster_next(supervisor->roster, slot, UINT32_MAX, &slot);
		const struct roster_entry *entry = id ? roster_find(supervisor->roster, id) : NULL;

		if (entry && entry->worker == member->index && entry->fd != ROSTER_FD_AWAY)
			supervisor_forget(supervisor, id, reason);
	}
	restore_on_lost(&supervisor->restore, member);
	recount_on_lost(&supervisor->recount, member);
	shed_on_lost(&supervisor->shed, member);
	inspect_on_lost(&supervisor->inspect, member);
	acceptor_wake(&supervisor->acceptor);
}

void
supervisor_on_room(void *context)
{
	struct supervisor *supervisor = context;

	supervisor_say_ready(supervisor);
	restore_wake(&supervisor->restore);
	acceptor_wake(&supervisor->acceptor);
}

void
supervisor_on_refused(void *context, unsigned listener, enum close_reason reason)
{
	struct supervisor *supervisor = context;

	metrics_count_closed(&supervisor->metrics->slots[0], listener, reason);
}

void
supervisor_drain(struct supervisor *supervisor, uint64_t over_usec)
{
	struct control_header order = {.type = CONTROL_DRAIN, .value = over_usec};

	supervisor->draining = true;
	acceptor_halt(&supervisor->acceptor, ACCEPTOR_HALT_DRAIN);
	crew_flush(&supervisor->crew);
	crew_send_all(&supervisor->crew, &order);
	log_info(NULL, "draining: %u connections are closed over %.0f s",
		admit_connections(supervisor->admit), (double)over_usec / 1e6);
}

void
supervisor_resume(struct supervisor *supervisor)
{
	static const struct control_header order = {.type = CONTROL_RESUME};

	if (supervisor->draining)
		log_info(NULL, "draining ended: connections are accepted");
	supervisor->draining = false;
	crew_send_all(&supervisor->crew, &order);
	acceptor_resume(&supervisor->acceptor, ACCEPTOR_HALT_DRAIN);
}

uint64_t
supervisor_capacity(const struct supervisor *supervisor)
{
	return tune_client_capacity(
		supervisor->conf, supervisor->crew.n_members, supervisor->crew.capacity);
}

static void __attribute__((format(printf, 2, 3)))
supervisor_add_text(json_t *list, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_array_append_new(list, json_string(text));
}

json_t *
supervisor_problems(const struct supervisor *supervisor)
{
	const struct crew *crew = &supervisor->crew;
	json_t *list = json_array();

	for (unsigned i = 0; i < crew->n_members; i++)
		if (crew->members[i].state != CREW_UP)
			supervisor_add_text(list, "worker %u is %s", i,
				crew_state_name(crew->members[i].state));
	if (supervisor->acceptor.paused)
		supervisor_add_text(
			list, "accepting pauses: the kernel refused a descriptor or memory");
	if (supervisor->restore.running)
		supervisor_add_text(
			list, "taking up the connections of the process before; accepting waits");
	if (admit_connections(supervisor->admit) >= supervisor->conf->limit_connections)
		supervisor_add_text(list, "limits.connections is reached");
	supervisor_add_upstream_problems(supervisor, list);
	if (supervisor->stop)
		supervisor_add_text(list, "stopping");
	return list;
}

void
supervisor_refresh_metrics(struct supervisor *supervisor)
{
	struct metrics_slot *slot = &supervisor->metrics->slots[0];
	uint64_t now_usec = clock_now_usec();
	json_t *problems = supervisor_problems(supervisor);

	metrics_write(&slot->value[METRIC_CONNECTIONS], admit_connections(supervisor->admit));
	metrics_write(
		&slot->value[METRIC_SOURCES], source_table_size(admit_sources(supervisor->admit)));
	metrics_write(&slot->value[METRIC_LIMIT], supervisor->conf->limit_connections);
	metrics_write(&slot->value[METRIC_CAPACITY],
		tune_client_capacity(
			supervisor->conf, supervisor->crew.n_up, supervisor->crew.capacity));
	metrics_write(&slot->value[METRIC_QUEUED_LIMIT], supervisor->conf->queued_total);
	metrics_write(&slot->value[METRIC_DEGRADED], json_array_size(problems) > 0);
	json_decref(problems);
	metrics_write(&slot->value[METRIC_DRAINING], supervisor->draining);
	metrics_write(&slot->value[METRIC_UPTIME], (now_usec - supervisor->start_usec) / 1000000);
	for (unsigned i = 0; i < supervisor->conf->n_listeners; i++)
		metrics_write(&slot->listener[i][LISTENER_METRIC_CONNECTIONS],
			admit_listener_connections(supervisor->admit, i));
	supervisor_refresh_upstreams(supervisor);
}
