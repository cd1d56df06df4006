/*
 * supervisor_run: the supervisor's start, its loop and its end.
 *
 * Process: S.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "admin_routes.h"
#include "clock.h"
#include "notify.h"
#include "park_store.h"
#include "precedence.h"
#include "supervisor_private.h"
#include "tune_facts.h"
#include "worker.h"

static void
supervisor_format_status(const struct supervisor *supervisor, char *buf, size_t size)
{
	const char *state = supervisor->stop == SUPERVISOR_STOP_UPGRADE ? "Upgrading"
			    : supervisor->stop                          ? "Stopping"
			    : supervisor->draining                      ? "Draining"
									: "Ready";
	uint32_t connections = admit_connections(supervisor->admit);
	uint64_t limit = supervisor->conf->limit_connections;

	snprintf(buf, size, "%s: %u of %" PRIu64 " connections (%.1f %%), %u of %u workers%s",
		state, connections, limit, 100.0 * connections / (double)limit,
		supervisor->crew.n_up, supervisor->crew.n_members,
		supervisor->acceptor.paused ? ", accepting pauses: no descriptors or memory" : "");
}

void
supervisor_say_ready(struct supervisor *supervisor)
{
	if (supervisor->ready || supervisor->stop || supervisor->restore.running ||
		supervisor->crew.n_up < supervisor->crew.n_members)
		return;
	supervisor->ready = true;
	precedence_yield();
	supervisor_format_status(supervisor, supervisor->status, sizeof(supervisor->status));
	notify_ready(supervisor->status);
	log_info(NULL, "ready: %u workers, up to %" PRIu64 " connections",
		supervisor->crew.n_members, supervisor->conf->limit_connections);
}

void
supervisor_say_reloaded(struct supervisor *supervisor)
{
	notify_ready(supervisor->status);
}

/* They go without a word, and whoever waits for room may have it now. */
static void
supervisor_watch_orphans(struct supervisor *supervisor)
{
	uint64_t orphans = metrics_sum(supervisor->metrics, METRIC_ORPHANS);

	if (orphans < supervisor->orphans)
		acceptor_wake(&supervisor->acceptor);
	supervisor->orphans = orphans;
}

static void
supervisor_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *supervisor = arg;
	char status[sizeof(supervisor->status)];

	(void)fd;
	(void)what;
	crew_watch(&supervisor->crew, clock_now_usec(), supervisor->conf->worker_timeout);
	supervisor_watch_orphans(supervisor);
	supervisor_format_status(supervisor, status, sizeof(status));
	if (supervisor->ready && strcmp(status, supervisor->status) != 0) {
		memcpy(supervisor->status, status, sizeof(status));
		notify_status(status);
	}
}

static void
supervisor_on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	const struct supervisor *supervisor = arg;

	(void)fd;
	(void)what;
	if (crew_ticks(&supervisor->crew))
		notify_watchdog();
}

static void
supervisor_on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *supervisor = arg;

	(void)fd;
	(void)what;
	if (supervisor->stop == SUPERVISOR_STOP_NONE) {
		log_warning(
			NULL, "not all connections are taken up in time: the rest stays parked");
		restore_stop(&supervisor->restore);
		supervisor_terminate(supervisor);
		return;
	}
	log_warning(NULL, "%u workers did not stop in time; killing them",
		crew_running(&supervisor->crew));
	crew_kill(&supervisor->crew);
}

void
supervisor_begin_stop(struct supervisor *supervisor, enum supervisor_stop stop)
{
	static const uint8_t flags[] = {
		[SUPERVISOR_STOP_CLOSE] = 0,
		[SUPERVISOR_STOP_STORE] = CONTROL_FLAG_STORE,
		[SUPERVISOR_STOP_UPGRADE] = CONTROL_FLAG_RETURN,
	};
	struct timeval wait = clock_timeval(supervisor->conf->stop_timeout);
	uint8_t also = 0;

	/* Should the new program not start, or this process be killed meanwhile, systemd has them. */
	if (stop == SUPERVISOR_STOP_UPGRADE && notify_has_store())
		also = CONTROL_FLAG_STORE;
	if (supervisor->draining && stop != SUPERVISOR_STOP_CLOSE)
		log_warning(NULL, "the drain ends with this process: the next one accepts again");
	supervisor->stop = stop;
	precedence_restore();
	acceptor_halt(&supervisor->acceptor, ACCEPTOR_HALT_STOP);
	if (stop != SUPERVISOR_STOP_CLOSE) {
		admin_halt(supervisor->admin);
		admin_halt(supervisor->metrics_admin);
	}
	crew_stop(&supervisor->crew, flags[stop] | also);
	evtimer_add(supervisor->stop_event, &wait);
}

void
supervisor_terminate(struct supervisor *supervisor)
{
	struct timeval wait = clock_timeval(supervisor->conf->stop_timeout);
	bool store = notify_has_store();

	if (supervisor->stop == SUPERVISOR_STOP_CLOSE) { /* asked twice: now */
		crew_kill(&supervisor->crew);
		return;
	}
	if (supervisor->restore.running && store) {
		/* Half of them are here and half are still parked: first they are to be together, however
		 * often it is asked. */
		if (!supervisor->stop_wanted)
			evtimer_add(supervisor->stop_event, &wait);
		supervisor->stop_wanted = true;
		return;
	}
	if (supervisor->stop == SUPERVISOR_STOP_STORE)
		return; /* as fast as it goes */
	restore_stop(&supervisor->restore);
	log_info(NULL, "stopping: %u connections are %s", admit_connections(supervisor->admit),
		store ? "parked with systemd" : "closed");
	if (supervisor->stop == SUPERVISOR_STOP_NONE)
		supervisor_begin_stop(
			supervisor, store ? SUPERVISOR_STOP_STORE : SUPERVISOR_STOP_CLOSE);
	supervisor->stop = store ? SUPERVISOR_STOP_STORE : SUPERVISOR_STOP_CLOSE;
	supervisor_format_status(supervisor, supervisor->status, sizeof(supervisor->status));
	notify_stopping(supervisor->status);
}

static void
supervisor_on_hangup(struct supervisor *supervisor)
{
	struct conf_errors errors = {0};
	struct supervisor_changes changes;

	if (supervisor_reload(supervisor, &changes, &errors) == 0) {
		json_decref(changes.changed);
		json_decref(changes.needs_restart);
	}
	conf_errors_done(&errors);
}

static void
supervisor_on_usr2(struct supervisor *supervisor)
{
	struct mg_error error;

	if (supervisor_upgrade(supervisor, NULL, NULL, &error) < 0)
		log_error(NULL, "no upgrade: %s", error.text);
}

static void
supervisor_reap(struct supervisor *supervisor)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!crew_reap(&supervisor->crew, pid, status))
			(void)upgrade_reap(&supervisor->upgrade, pid, status);
}

static void
supervisor_on_signal(void *context, int signal)
{
	struct supervisor *supervisor = context;

	switch (signal) {
	case SIGCHLD:
		supervisor_reap(supervisor);
		break;
	case SIGHUP:
		supervisor_on_hangup(supervisor);
		break;
	case SIGUSR2:
		supervisor_on_usr2(supervisor);
		break;
	default:
		supervisor_terminate(supervisor);
	}
}

static void
supervisor_on_recounted(void *context)
{
	(void)context;
	log_info(NULL, "sources are counted by the new prefixes");
}

/* In a forked worker. */
static int
supervisor_be_worker(void *context, unsigned index, int channel_fd)
{
	struct supervisor *supervisor = context;
	struct worker_heritage heritage = {
		.conf = supervisor->conf,
		.metrics = supervisor->metrics,
		.upstreams = supervisor->upstreams,
		.parkset = &supervisor->restore.set,
		.epoch = supervisor->epoch,
	};

	return worker_run(index, &heritage, channel_fd);
}

/* The soft limit of descriptors is a default for programs that use select(2). */
static void
supervisor_raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warning(NULL, "cannot raise the limit of file descriptors to %ju: %s",
			(uintmax_t)limit.rlim_max, strerror(errno));
}

static int
supervisor_open_listeners(struct supervisor *supervisor, struct mg_error *reterr_error)
{
	struct notify_fd *passed = NULL;
	int n = notify_take_fds(&passed), r;

	if (n < 0)
		return mg_error_set(reterr_error, n,
			"cannot take the sockets that systemd passed: %s", strerror(-n));
	r = parkset_take(&supervisor->restore.set, supervisor->conf, passed, &n);
	if (r == 0)
		r = listener_open_all(
			supervisor->conf, passed, n, &supervisor->listeners, reterr_error);
	notify_fds_free(passed, n);
	if (r == 0 && notify_has_store())
		listener_store(&supervisor->listeners, supervisor->conf);
	return r;
}

static int
supervisor_init_tables(struct supervisor *supervisor)
{
	struct admit_limits limits = supervisor_admit_limits(supervisor->conf);

	supervisor->metrics = metrics_new(tune_worker_count(supervisor->conf, tune_facts_cpus()));
	/* For the highest limit that a reload may set: a table costs what is touched of it. */
	supervisor->admit = admit_new(&limits, ROSTER_CONNECTIONS_MAX, clock_now_usec());
	supervisor->roster = roster_new(ROSTER_CONNECTIONS_MAX);
	supervisor->upstreams = upstreams_new();
	if (!supervisor->metrics || !supervisor->admit || !supervisor->roster ||
		!supervisor->upstreams)
		return -ENOMEM;
	supervisor->shed = (struct shed){
		.crew = &supervisor->crew,
		.metrics = supervisor->metrics,
		.limit_bytes = supervisor->conf->queued_total,
	};
	supervisor->recount = (struct recount){
		.crew = &supervisor->crew,
		.admit = supervisor->admit,
		.roster = supervisor->roster,
		.acceptor = &supervisor->acceptor,
		.done = supervisor_on_recounted,
		.context = supervisor,
	};
	supervisor->inspect = (struct inspect){
		.base = supervisor->base,
		.crew = &supervisor->crew,
		.admit = supervisor->admit,
		.roster = supervisor->roster,
	};
	inspect_init(&supervisor->inspect);
	return 0;
}

static int
supervisor_init_acceptor(struct supervisor *supervisor)
{
	supervisor->acceptor = (struct acceptor){
		.base = supervisor->base,
		.conf = &supervisor->conf,
		.admit = supervisor->admit,
		.roster = supervisor->roster,
		.upstreams = supervisor->upstreams,
		.crew = &supervisor->crew,
		.metrics = supervisor->metrics,
		.refused = supervisor_on_refused,
		.context = supervisor,
	};
	return acceptor_init(&supervisor->acceptor, &supervisor->listeners);
}

static int
supervisor_init_events(struct supervisor *supervisor)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD, 0};
	struct timeval tick = clock_timeval(CREW_WATCH_USEC);
	struct timeval watchdog = clock_timeval(notify_watchdog_usec() / 2);
	int r = signals_init(
		&supervisor->signals, supervisor->base, signals, supervisor_on_signal, supervisor);

	if (r < 0)
		return r;
	supervisor->tick_event =
		event_new(supervisor->base, -1, EV_PERSIST, supervisor_on_tick, supervisor);
	supervisor->watchdog_event =
		event_new(supervisor->base, -1, EV_PERSIST, supervisor_on_watchdog, supervisor);
	supervisor->stop_event =
		evtimer_new(supervisor->base, supervisor_on_stop_timeout, supervisor);
	if (!supervisor->tick_event || !supervisor->watchdog_event || !supervisor->stop_event ||
		event_add(supervisor->tick_event, &tick) < 0)
		return -ENOMEM;
	if (notify_watchdog_usec() && event_add(supervisor->watchdog_event, &watchdog) < 0)
		return -ENOMEM;
	return 0;
}

/* Without a socket there is nothing to do. It stays ours too, to be passed on at an upgrade. */
static int
supervisor_init_admin(struct supervisor *supervisor, const struct listener_own *own,
	const struct admin_face *face, struct admin **ret_admin)
{
	struct admin *admin;
	int fd;

	if (own->fd < 0)
		return 0;
	fd = fcntl(own->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	admin = admin_new(
		supervisor->base, fd, face, ADMIN_ROUTES, supervisor, supervisor->metrics);
	if (!admin)
		return -ENOMEM;
	*ret_admin = admin;
	return 0;
}

static int
supervisor_init_rest(struct supervisor *supervisor)
{
	const struct crew_callbacks callbacks = {
		.run = supervisor_be_worker,
		.message = supervisor_on_message,
		.lost = supervisor_on_lost,
		.room = supervisor_on_room,
		.context = supervisor,
	};
	int r = supervisor_init_tables(supervisor);

	if (r == 0)
		r = supervisor_init_events(supervisor);
	if (r == 0)
		r = supervisor_begin_restore(supervisor);
	if (r == 0)
		r = supervisor_init_admin(supervisor, &supervisor->listeners.admin, &ADMIN_FACE_ALL,
			&supervisor->admin);
	if (r == 0)
		r = supervisor_init_admin(supervisor, &supervisor->listeners.metrics,
			&ADMIN_FACE_METRICS, &supervisor->metrics_admin);
	if (r == 0)
		r = supervisor_init_acceptor(supervisor);
	if (r == 0)
		r = supervisor_init_servers(supervisor);
	if (r == 0 && supervisor->restore.running)
		acceptor_halt(&supervisor->acceptor, ACCEPTOR_HALT_RESTORE);
	/* The workers last: what they inherit of the rest they close. */
	if (r == 0)
		r = crew_init(&supervisor->crew, supervisor->base, supervisor->metrics->n_slots - 1,
			supervisor->metrics, &callbacks);
	return r;
}

static void
supervisor_done(struct supervisor *supervisor)
{
	struct event *events[] = {
		supervisor->tick_event, supervisor->watchdog_event, supervisor->stop_event};

	upstream_watch_done(&supervisor->upstream_watch);
	crew_done(&supervisor->crew);
	upgrade_done(&supervisor->upgrade);
	restore_end(&supervisor->restore);
	/* Requests that wait for it are answered before their connections go. */
	inspect_done(&supervisor->inspect);
	admin_free(supervisor->admin);
	admin_free(supervisor->metrics_admin);
	acceptor_done(&supervisor->acceptor);
	listener_close_all(&supervisor->listeners);
	signals_done(&supervisor->signals);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	admit_free(supervisor->admit);
	roster_free(supervisor->roster);
	upstreams_free(supervisor->upstreams);
	metrics_free(supervisor->metrics);
	if (supervisor->base)
		event_base_free(supervisor->base);
	conf_free(supervisor->conf);
	free(supervisor->program);
}

static void
supervisor_log_warnings(const struct supervisor *supervisor)
{
	json_t *warnings = supervisor_warnings(supervisor), *warning;
	size_t i;

	json_array_foreach(warnings, i, warning)
		log_warning(NULL, "%s", json_string_value(warning));
	json_decref(warnings);
}

/* What libevent has to say goes where the rest goes; for the workers too, which inherit it. */
static void
supervisor_on_libevent(int severity, const char *text)
{
	log_at(severity >= EVENT_LOG_WARN ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, NULL,
		"libevent: %s", text);
}

static int
supervisor_start(struct supervisor *supervisor)
{
	struct mg_error error = {""};
	int r;

	event_set_log_callback(supervisor_on_libevent);
	supervisor_raise_fd_limit();
	supervisor->listeners = LISTENER_SET_EMPTY;
	supervisor->program = reexec_path();
	supervisor->start_usec = clock_now_usec();
	supervisor->base = event_base_new();
	r = supervisor->base ? supervisor_check_tuning(supervisor->conf, &error) : -ENOMEM;
	if (r == 0)
		r = supervisor_open_listeners(supervisor, &error);
	if (r == 0)
		r = supervisor_init_rest(supervisor);
	if (r == 0)
		return 0;
	if (!error.text[0])
		mg_error_set(&error, r, "cannot start: %s", strerror(-r));
	log_error(NULL, "%s", error.text);
	notify_failed(-r, error.text);
	return r;
}

int
supervisor_run(const char *conf_path, struct conf *conf)
{
	struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
	int failure = park_is_passed() ? PARK_TRY_AGAIN : EXIT_FAILURE;
	int r;

	if (!supervisor) {
		conf_free(conf);
		return failure;
	}
	supervisor->conf_path = conf_path;
	supervisor->conf = conf;
	log_open("supervisor");
	log_set_level((enum log_level)conf->log_level);
	signals_block();
	r = supervisor_start(supervisor);
	if (r == 0) {
		supervisor_log_warnings(supervisor);
		while (!(supervisor->stop && crew_running(&supervisor->crew) == 0))
			event_base_loop(supervisor->base, EVLOOP_ONCE);
		/* What was answered in the last turn, to who asked for an upgrade, is to be sent. */
		(void)event_base_loop(supervisor->base, EVLOOP_NONBLOCK);
		r = supervisor_pass_on(supervisor);
		log_info(NULL, "stopped");
	}
	/* At boot an address may be there a little later; an upgrade that fails is systemd's to finish. */
	if (r == -EADDRNOTAVAIL || r == -EADDRINUSE || supervisor->stop == SUPERVISOR_STOP_UPGRADE)
		failure = PARK_TRY_AGAIN;
	supervisor_done(supervisor);
	free(supervisor);
	return r < 0 ? failure : EXIT_SUCCESS;
}
