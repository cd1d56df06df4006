/*
 * supervisor_restart: the supervisor's part in a restart that no client notices: what it takes up
 * from the process before it, and what it leaves to the one after it.
 *
 * Process: S. Who is parked where is for restore and park to know.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "notify.h"
#include "park_store.h"
#include "supervisor_private.h"

static void
supervisor_on_restore_lost(void *context, uint64_t id, enum close_reason reason)
{
	struct supervisor *supervisor = context;

	supervisor_forget(supervisor, id, reason);
}

static void
supervisor_on_restored(void *context)
{
	struct supervisor *supervisor = context;

	restore_end(&supervisor->restore);
	acceptor_resume(&supervisor->acceptor, ACCEPTOR_HALT_RESTORE);
	supervisor_say_ready(supervisor);
	if (supervisor->stop_wanted)
		supervisor_terminate(supervisor);
}

int
supervisor_begin_restore(struct supervisor *supervisor)
{
	struct restore *restore = &supervisor->restore;

	restore->base = supervisor->base;
	restore->conf = supervisor->conf;
	restore->crew = &supervisor->crew;
	restore->admit = supervisor->admit;
	restore->roster = supervisor->roster;
	restore->upstreams = supervisor->upstreams;
	restore->metrics = supervisor->metrics;
	restore->n_workers = supervisor->metrics->n_slots - 1;
	restore->lost = supervisor_on_restore_lost;
	restore->done = supervisor_on_restored;
	restore->context = supervisor;
	supervisor->epoch = restore->set.epoch + 1;
	return restore_begin(restore);
}

/* What no worker knows, or lived to write: written last, when all of them have ended. Who was killed
 * before it could say that it parked may have written its own, which goes before. The descriptor, or
 * -errno. */
static int
supervisor_write_state(const struct supervisor *supervisor)
{
	bool silent[CREW_MAX];
	struct park_writer facts = {
		.conf = supervisor->conf,
		.metrics = supervisor->metrics,
		.upstreams = supervisor->upstreams,
		.parked_usec = clock_now_usec(),
		.generation = roster_generation(supervisor->roster),
		.silent = silent,
	};
	struct parkfile_writer file;
	char *text;
	int r;

	for (unsigned i = 0; i < supervisor->crew.n_members; i++)
		silent[i] = !supervisor->crew.members[i].parked;
	text = park_facts_encode(&facts);
	r = text ? parkfile_create(&file, text, 0) : -ENOMEM;
	free(text);
	return r < 0 ? r : parkfile_finish(&file);
}

static int
supervisor_store_state(const struct supervisor *supervisor)
{
	struct parked parked = {.n_fds = 1};
	int r;

	parked.fds[0] = r = supervisor_write_state(supervisor);
	if (r < 0)
		return r;
	r = park_store(&parked, supervisor->epoch, PARK_SUPERVISOR);
	(void)close(parked.fds[0]);
	return r;
}

static int
supervisor_add_listener(void *context, const char *name, int fd, bool bound)
{
	(void)bound;
	reexec_add(context, name, fd);
	return 0;
}

/* Becomes the new program, or the running one again should that fail. Returns if neither goes. */
static int
supervisor_become(struct supervisor *supervisor)
{
	char *argv[] = {
		(char *)"millgated", (char *)"--config", (char *)supervisor->conf_path, NULL};
	int state = supervisor_write_state(supervisor), r;
	struct reexec reexec = {0};
	char name[PARK_NAME_MAX];

	(void)listener_each(
		&supervisor->listeners, supervisor->conf, supervisor_add_listener, &reexec);
	for (unsigned i = 0; i < supervisor->crew.n_members; i++) {
		const struct crew_member *member = &supervisor->crew.members[i];

		for (unsigned n = 0; n < member->n_parked_fds; n++) {
			park_name(supervisor->epoch, i, n, name);
			reexec_add(&reexec, name, member->parked_fds[n]);
		}
	}
	park_name(supervisor->epoch, PARK_SUPERVISOR, 0, name);
	if (state >= 0)
		reexec_add(&reexec, name, state);
	r = reexec_run(&reexec, supervisor->program, argv);
	log_error(NULL, "%s does not start: %s; going on with the program that runs",
		supervisor->program, strerror(-r));
	return reexec_run(&reexec, "/proc/self/exe", argv);
}

/* Has every worker that was to stop given back what it had, for us to pass on? */
static bool
supervisor_has_all(const struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->crew.n_members; i++)
		if (supervisor->crew.members[i].told_to_stop && !supervisor->crew.members[i].parked)
			return false;
	return true;
}

int
supervisor_pass_on(struct supervisor *supervisor)
{
	bool store = notify_has_store();
	int r;

	if (supervisor->stop == SUPERVISOR_STOP_NONE || supervisor->stop == SUPERVISOR_STOP_CLOSE)
		return 0;
	if (store) {
		r = supervisor_store_state(supervisor);
		if (r < 0)
			log_error(NULL, "systemd does not keep what the supervisor knows: %s",
				strerror(-r));
	}
	if (supervisor->stop == SUPERVISOR_STOP_STORE)
		return 0;
	if (store && !supervisor_has_all(supervisor)) {
		log_warning(NULL, "a worker has not given back what it had: systemd, which has it, "
				  "is to start the program");
		return -EAGAIN;
	}
	r = supervisor_become(supervisor);
	log_error(NULL, "no program starts%s: %s", store ? "" : ", and all connections are lost",
		strerror(-r));
	return r;
}

/* The new program has been asked whether it can start. */
static void
supervisor_on_checked(void *context, bool good, const char *text)
{
	struct supervisor *supervisor = context;
	struct mg_error error;

	if (supervisor->stop != SUPERVISOR_STOP_NONE) {
		good = false;
		text = "the gateway is stopping";
	} else if (good && supervisor_try(supervisor, &error) < 0) {
		good = false;
		text = error.text;
	}
	if (good)
		log_info(NULL, "upgrading: %s takes over", supervisor->program);
	else
		log_error(NULL, "no upgrade: %s", text);
	if (supervisor->upgrade_asked)
		supervisor->upgrade_asked(
			supervisor->upgrade_context, good, good ? supervisor->program : text);
	supervisor->upgrade_asked = NULL;
	if (!good)
		return;
	if (supervisor->ready)
		notify_reloading(clock_now_usec());
	supervisor_begin_stop(supervisor, SUPERVISOR_STOP_UPGRADE);
}

int
supervisor_upgrade(struct supervisor *supervisor,
	void (*asked)(void *context, bool good, const char *text), void *context,
	struct mg_error *reterr_error)
{
	struct upgrade *upgrade = &supervisor->upgrade;
	int r;

	if (supervisor->stop != SUPERVISOR_STOP_NONE || supervisor->restore.running)
		return mg_error_set(reterr_error, -EBUSY, "the gateway is %s",
			supervisor->restore.running ? "still taking up connections" : "stopping");
	upgrade->base = supervisor->base;
	upgrade->path = supervisor->program;
	upgrade->conf_path = supervisor->conf_path;
	upgrade->checked = supervisor_on_checked;
	upgrade->context = supervisor;
	r = upgrade_check(upgrade, reterr_error);
	if (r < 0)
		return r;
	supervisor->upgrade_asked = asked;
	supervisor->upgrade_context = context;
	return 0;
}
