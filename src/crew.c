/* crew: see crew.h. Here are the processes; what they are given is in crew_handover.c. */
#include "crew.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "crew_private.h"
#include "log.h"
#include "precedence.h"
#include "roster.h"
#include "tune.h"
#include "worker.h"

#define CREW_CHANNEL_FD 3 /* in a worker */

/* What may wait for a worker that does not read. Beyond that it is stuck, and is killed. */
#define CREW_CHANNEL_MAX ((size_t)4 * 1024 * 1024)

static void
crew_set_state(struct crew_member *member, enum crew_state state)
{
	struct crew *crew = member->crew;

	if (member->state == CREW_UP)
		crew->n_up--;
	if (state == CREW_UP)
		crew->n_up++;
	member->state = state;
	metrics_write(&crew->metrics->slots[0].value[METRIC_WORKERS], crew->n_up);
	metrics_write(&crew->metrics->slots[0].value[METRIC_CAPACITY],
		(uint64_t)crew->n_up * crew->capacity);
}

const char *
crew_state_name(enum crew_state state)
{
	static const char *const names[CREW_STATE_COUNT] = {
		[CREW_DOWN] = "down", [CREW_STARTING] = "starting", [CREW_UP] = "up"};
	return names[state];
}

void
crew_give_up(struct crew_member *member)
{
	if (member->state == CREW_DOWN)
		return;
	crew_set_state(member, CREW_DOWN);
	(void)kill(member->pid, SIGKILL);
}

static void
crew_on_message(void *context, const struct control_message *message, struct fdpass_message *fds)
{
	struct crew_member *member = context;
	struct crew *crew = member->crew;

	if (message->header.type == CONTROL_PARKED) {
		if (member->parked || !crew->stop_flags)
			return; /* nobody asked */
		member->parked = true;
		memcpy(member->parked_fds, fds->fds, fds->n_fds * sizeof(fds->fds[0]));
		member->n_parked_fds = fds->n_fds;
		fds->n_fds = 0;
		return;
	}
	if (message->header.type == CONTROL_READY) {
		crew_set_state(member, CREW_UP);
		crew->starved = false;
		crew->callbacks.room(crew->callbacks.context);
		return;
	}
	/* More than it was sent would be nonsense; the ids are checked by whoever uses them. */
	if (message->header.type == CONTROL_ADOPTED &&
		!(message->header.flags & CONTROL_FLAG_INHERITED) &&
		message->header.count <= member->unadopted)
		member->unadopted -= message->header.count;
	crew->callbacks.message(crew->callbacks.context, member, message);
	crew_check_room(member);
}

static void
crew_on_channel_closed(void *context)
{
	crew_give_up(context);
}

static void
crew_on_writable(void *context)
{
	struct crew_member *member = context;

	crew_flush_member(member);
	crew_check_room(member);
}

/* The forked child: a worker, and nothing else of what the supervisor has. */
static void __attribute__((noreturn)) crew_be_worker(struct crew_member *member, int channel_fd)
{
	struct crew_callbacks callbacks = member->crew->callbacks;
	char name[16];

	/* The number is the same in each, so that connections have theirs in the one after it, too. */
	if (channel_fd != CREW_CHANNEL_FD)
		channel_fd = dup3(channel_fd, CREW_CHANNEL_FD, O_CLOEXEC);
	(void)close_range(CREW_CHANNEL_FD + 1, ~0u, 0);
	snprintf(name, sizeof(name), "millgated:%u", member->index);
	(void)prctl(PR_SET_NAME, name);
	precedence_restore();
	exit(callbacks.run(callbacks.context, member->index, channel_fd));
}

static int
crew_fork(struct crew_member *member)
{
	struct channel_callbacks callbacks = {
		.message = crew_on_message,
		.closed = crew_on_channel_closed,
		.writable = crew_on_writable,
		.context = member,
	};
	int fds[2];
	int r = channel_pair(fds);

	if (r < 0)
		return r;
	r = channel_init(
		&member->channel, member->crew->base, fds[0], CREW_CHANNEL_MAX, &callbacks);
	if (r < 0) {
		(void)close(fds[1]);
		return r;
	}
	fflush(NULL);
	member->pid = fork();
	if (member->pid == 0)
		crew_be_worker(member, fds[1]);
	r = -errno;
	(void)close(fds[1]);
	if (member->pid > 0)
		return 0;
	member->pid = 0;
	channel_done(&member->channel);
	return r;
}

static void
crew_schedule_respawn(struct crew_member *member)
{
	struct timeval wait = clock_timeval(member->backoff_usec);

	evtimer_add(member->respawn_event, &wait);
	member->backoff_usec *= 2;
	if (member->backoff_usec > CREW_BACKOFF_MAX_USEC)
		member->backoff_usec = CREW_BACKOFF_MAX_USEC;
}

static int
crew_spawn(struct crew_member *member)
{
	int r;

	member->started_usec = clock_now_usec();
	metrics_write(&crew_slot(member)->tick_usec, member->started_usec);
	r = crew_fork(member);
	if (r < 0)
		return r;
	crew_set_state(member, CREW_STARTING);
	return 0;
}

static void
crew_on_respawn(evutil_socket_t fd, short what, void *arg)
{
	struct crew_member *member = arg;
	int r;

	(void)fd;
	(void)what;
	if (member->crew->stopping)
		return;
	r = crew_spawn(member);
	if (r == 0)
		return;
	log_error(NULL, "cannot start worker %u: %s", member->index, strerror(-r));
	crew_schedule_respawn(member);
}

int
crew_init(struct crew *crew, struct event_base *base, unsigned n, struct metrics *metrics,
	const struct crew_callbacks *callbacks)
{
	struct rlimit limit;

	assert(n > 0 && n <= CREW_MAX);
	*crew = (struct crew){.base = base, .metrics = metrics, .callbacks = *callbacks};
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	crew->capacity = tune_worker_capacity(limit.rlim_cur);
	crew->members = calloc(n, sizeof(*crew->members));
	if (!crew->members)
		return -ENOMEM;
	crew->n_members = n;
	for (unsigned i = 0; i < n; i++) {
		struct crew_member *member = &crew->members[i];

		member->crew = crew;
		member->index = i;
		member->conf_fd = -1;
		member->backoff_usec = CREW_BACKOFF_MIN_USEC;
		member->respawn_event = evtimer_new(base, crew_on_respawn, member);
		if (!member->respawn_event)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		int r = crew_spawn(&crew->members[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

void
crew_send(struct crew_member *member, const struct control_header *header, const void *records)
{
	int r;

	if (member->state == CREW_DOWN)
		return;
	r = channel_send(&member->channel, header, records);
	if (r == 0)
		return;
	/* systemd stops workers along with us: one may have gone before it was told to. */
	if (!member->crew->stopping || r != -EPIPE)
		log_error(NULL, "cannot talk to worker %u: %s; killing it", member->index,
			strerror(-r));
	crew_give_up(member);
}

void
crew_send_all(struct crew *crew, const struct control_header *header)
{
	for (unsigned i = 0; i < crew->n_members; i++)
		crew_send(&crew->members[i], header, NULL);
}

static void
crew_log_end(const struct crew_member *member, int status)
{
	struct log_context context = {.worker = member->index, .has_worker = true};

	if (member->crew->stopping)
		log_debug(&context, "worker %u (pid %d) ended", member->index, (int)member->pid);
	else if (WIFSIGNALED(status))
		log_error(&context,
			"worker %u (pid %d) died of signal %d (%s)%s; %u connections lost",
			member->index, (int)member->pid, WTERMSIG(status),
			strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "",
			member->connections);
	else
		log_error(&context, "worker %u (pid %d) ended with status %d; %u connections lost",
			member->index, (int)member->pid, WEXITSTATUS(status), member->connections);
}

static void
crew_member_ended(struct crew_member *member, int status)
{
	struct crew *crew = member->crew;

	channel_drain(&member->channel);
	if (member->state != CREW_DOWN)
		crew_set_state(member, CREW_DOWN);
	channel_done(&member->channel);
	crew_log_end(member, status);
	for (unsigned i = 0; i < member->n_batch; i++)
		(void)close(member->batch_fds[i]);
	if (member->conf_fd >= 0)
		(void)close(member->conf_fd);
	member->conf_fd = -1;
	member->n_batch = member->unadopted = 0;
	member->pid = 0;
	metrics_write(&crew_slot(member)->value[METRIC_QUEUED_BYTES], 0);
	metrics_write(&crew_slot(member)->value[METRIC_ORPHANS], 0);
	crew->callbacks.lost(crew->callbacks.context, member);
	member->connections = member->fds = 0;
	if (crew->stopping)
		return;
	member->restarts++;
	metrics_add(&crew->metrics->slots[0].value[METRIC_WORKER_RESTARTS], 1);
	if (clock_now_usec() - member->started_usec >= CREW_HEALTHY_USEC)
		member->backoff_usec = CREW_BACKOFF_MIN_USEC;
	crew_schedule_respawn(member);
}

bool
crew_reap(struct crew *crew, pid_t pid, int status)
{
	for (unsigned i = 0; i < crew->n_members; i++) {
		if (crew->members[i].pid != pid)
			continue;
		crew_member_ended(&crew->members[i], status);
		return true;
	}
	return false;
}

/* It was silent for too long when it was looked at, and has not ticked since. */
static bool
crew_member_hangs(const struct crew_member *member)
{
	return member->pid > 0 && member->old_tick_usec != 0 &&
	       metrics_read(&crew_slot(member)->tick_usec) == member->old_tick_usec;
}

static void
crew_watch_member(struct crew_member *member, uint64_t now_usec, uint64_t timeout_usec)
{
	struct log_context context = {.worker = member->index, .has_worker = true};
	uint64_t tick_usec = metrics_read(&crew_slot(member)->tick_usec);
	bool old = now_usec > tick_usec && now_usec - tick_usec > timeout_usec;

	if (old && crew_member_hangs(member)) {
		log_error(&context, "worker %u (pid %d) has not ticked for %.1f s; killing it",
			member->index, (int)member->pid, (double)(now_usec - tick_usec) / 1e6);
		crew_give_up(member);
	}
	member->old_tick_usec = old ? tick_usec : 0;
}

void
crew_watch(struct crew *crew, uint64_t now_usec, uint64_t timeout_usec)
{
	uint64_t since_usec = now_usec - crew->watched_usec;

	crew->watched_usec = now_usec;
	if (since_usec < CREW_WATCH_USEC / 2 || since_usec > CREW_WATCH_USEC * 3 / 2)
		return;
	for (unsigned i = 0; i < crew->n_members && !crew->stopping; i++)
		if (crew->members[i].state != CREW_DOWN)
			crew_watch_member(&crew->members[i], now_usec, timeout_usec);
}

bool
crew_ticks(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->n_members; i++)
		if (crew_member_hangs(&crew->members[i]))
			return false;
	return true;
}

void
crew_stop(struct crew *crew, uint8_t flags)
{
	crew->stopping = true;
	crew->stop_flags = flags;
	for (unsigned i = 0; i < crew->n_members; i++)
		crew_flush_member(&crew->members[i]);
}

unsigned
crew_running(const struct crew *crew)
{
	unsigned n = 0;

	for (unsigned i = 0; i < crew->n_members; i++)
		n += crew->members[i].pid > 0;
	return n;
}

void
crew_kill(struct crew *crew)
{
	for (unsigned i = 0; i < crew->n_members; i++)
		if (crew->members[i].pid > 0)
			(void)kill(crew->members[i].pid, SIGKILL);
}

void
crew_done(struct crew *crew)
{
	crew_kill(crew);
	for (unsigned i = 0; i < crew->n_members; i++) {
		struct crew_member *member = &crew->members[i];

		if (member->pid > 0)
			(void)waitpid(member->pid, NULL, 0);
		channel_done(&member->channel);
		if (member->respawn_event)
			event_free(member->respawn_event);
		if (member->conf_fd >= 0)
			(void)close(member->conf_fd);
		for (unsigned n = 0; n < member->n_batch; n++)
			(void)close(member->batch_fds[n]);
		for (unsigned n = 0; n < member->n_parked_fds; n++)
			(void)close(member->parked_fds[n]);
	}
	free(crew->members);
	*crew = (struct crew){0};
}
