/*
 * supervisor_reload: a new configuration while running.
 *
 * Process: S. A bad file changes nothing. Keys that need a restart keep their running value and
 * are named.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "notify.h"
#include "supervisor_private.h"

struct admit_limits
supervisor_admit_limits(const struct conf *conf)
{
	struct admit_limits limits = {
		.connections = conf->limit_connections,
		.per_source = conf->limit_per_source,
		.ipv4_prefix = (unsigned)conf->ipv4_prefix,
		.ipv6_prefix = (unsigned)conf->ipv6_prefix,
		.exempt = conf->exempt.items,
		.n_exempt = conf->exempt.n,
		.rate = {conf->accept_rate, conf->accept_burst},
	};

	for (size_t i = 0; i < conf->n_listeners; i++)
		limits.listeners[i] = (struct admit_listener_limits){
			.connections = conf->listeners[i].limit_connections,
			.rate = {conf->listeners[i].accept_rate, conf->listeners[i].accept_burst},
			.when_full = (enum admit_when_full)conf->listeners[i].when_full,
		};
	return limits;
}

static void
supervisor_on_change(void *context, const char *path, bool needs_restart)
{
	struct supervisor_changes *changes = context;

	json_array_append_new(
		needs_restart ? changes->needs_restart : changes->changed, json_string(path));
}

static void
supervisor_log_changes(const struct supervisor_changes *changes)
{
	const json_t *path;
	size_t i;

	json_array_foreach(changes->changed, i, path)
		log_info(NULL, "reload: %s changed", json_string_value(path));
	json_array_foreach(changes->needs_restart, i, path)
		log_warning(NULL, "reload: %s changed, which needs a restart to apply",
			json_string_value(path));
	log_info(NULL, "reloaded: %zu keys changed, %zu need a restart",
		json_array_size(changes->changed), json_array_size(changes->needs_restart));
}

/* What is new may not go together with what only a restart changes: the file is good, but what
 * would be in force is not, and no worker would take it. */
static int
supervisor_check_merged(
	const struct supervisor *supervisor, const char *text, struct conf_errors *errors)
{
	struct conf *again;
	char *origin;
	int r;

	if (asprintf(&origin, "%s: with what only a restart changes", supervisor->conf_path) < 0)
		return -ENOMEM;
	r = conf_parse(text, strlen(text), origin, &again, errors);
	free(origin);
	if (r == 0)
		conf_free(again);
	return r;
}

/* A file in memory with this text, or -errno. */
static int
supervisor_memory_file(const char *text)
{
	size_t length = strlen(text);
	int fd = memfd_create("millgate-conf", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (write(fd, text, length) != (ssize_t)length) {
		(void)close(fd);
		return -ENOMEM;
	}
	return fd;
}

/* The configuration as the workers get it: a file in memory, or -errno. */
static int
supervisor_conf_file(
	const struct supervisor *supervisor, const struct conf *conf, struct conf_errors *errors)
{
	char *text = conf_print(conf);
	int r;

	if (!text)
		return -ENOMEM;
	r = supervisor_check_merged(supervisor, text, errors);
	if (r == 0)
		r = supervisor_memory_file(text);
	free(text);
	return r;
}

/* Everything that can fail comes before the first change. */
static int
supervisor_apply(struct supervisor *supervisor, struct conf *fresh, struct conf_errors *errors)
{
	struct admit_limits limits = supervisor_admit_limits(fresh);
	int fd = supervisor_conf_file(supervisor, fresh, errors);
	bool recount;
	int r;

	if (fd < 0)
		return fd;
	r = admit_configure(supervisor->admit, &limits, clock_now_usec(), &recount);
	if (r == 0) {
		conf_free(supervisor->conf);
		supervisor->conf = fresh;
		log_set_level((enum log_level)fresh->log_level);
		supervisor->shed.limit_bytes = fresh->queued_total;
		listener_set_options(&supervisor->listeners, fresh);
		crew_send_conf(&supervisor->crew, fd);
		shed_start(&supervisor->shed);
		supervisor_apply_servers(supervisor);
		if (recount)
			recount_start(&supervisor->recount);
		acceptor_wake(&supervisor->acceptor);
	}
	(void)close(fd);
	return r;
}

static int
supervisor_reload_conf(struct supervisor *supervisor, struct supervisor_changes *changes,
	struct conf_errors *errors)
{
	struct conf *fresh;
	int r = conf_load(supervisor->conf_path, &fresh, errors);

	if (r < 0)
		return r;
	r = supervisor->recount.running || supervisor->restore.running ? -EBUSY : 0;
	if (r == 0)
		r = conf_merge_running(fresh, supervisor->conf, supervisor_on_change, changes);
	if (r == 0)
		r = supervisor_apply(supervisor, fresh, errors);
	if (r < 0)
		conf_free(fresh);
	return r;
}

int
supervisor_reload(struct supervisor *supervisor, struct supervisor_changes *ret_changes,
	struct conf_errors *errors)
{
	struct supervisor_changes changes = {json_array(), json_array()};
	struct metrics_slot *slot = &supervisor->metrics->slots[0];
	int r;

	if (supervisor->ready)
		notify_reloading(clock_now_usec());
	r = supervisor_reload_conf(supervisor, &changes, errors);
	metrics_add(&slot->value[r < 0 ? METRIC_RELOAD_ERRORS : METRIC_RELOADS], 1);
	for (size_t i = 0; i < errors->n; i++)
		log_error(NULL, "%s", errors->items[i]);
	if (r < 0)
		log_error(NULL, "reload failed: %s; nothing was changed",
			errors->n ? "the configuration is in error"
			: r == -EBUSY
				? "connections are still being taken up, or counted after the last one"
				: strerror(-r));
	else
		supervisor_log_changes(&changes);
	if (supervisor->ready)
		supervisor_say_reloaded(supervisor);
	if (r < 0) {
		json_decref(changes.changed);
		json_decref(changes.needs_restart);
		return r;
	}
	*ret_changes = changes;
	return 0;
}
