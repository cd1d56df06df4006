/*
 * supervisor: the process that owns the listeners, the limits and the workers.
 *
 * Process: S. Starts, stops and reloads; keeps the counts right when connections close and workers
 * die. Never reads a byte that a client sent.
 */
#ifndef MILLGATE_SUPERVISOR_H
#define MILLGATE_SUPERVISOR_H

#include "acceptor.h"
#include "admin.h"
#include "admit.h"
#include "assign.h"
#include "conf.h"
#include "crew.h"
#include "inspect.h"
#include "listener.h"
#include "metrics.h"
#include "recount.h"
#include "reexec.h"
#include "restore.h"
#include "roster.h"
#include "shed.h"
#include "signals.h"
#include "upgrade.h"
#include "upstream.h"
#include "upstream_watch.h"

/* What becomes of the connections when the supervisor ends. */
enum supervisor_stop {
	SUPERVISOR_STOP_NONE = 0, /* it goes on */
	SUPERVISOR_STOP_CLOSE,    /* they are closed */
	SUPERVISOR_STOP_STORE,    /* systemd keeps them for the next process */
	SUPERVISOR_STOP_UPGRADE,  /* the program that this process becomes gets them */
};

struct supervisor {
	struct event_base *base;
	const char *conf_path; /* borrowed */
	char *program;         /* the path of this program; NULL: not known */
	struct conf *conf;
	struct metrics *metrics;
	struct admit *admit;
	struct roster *roster;
	struct upstreams *upstreams; /* shared with the workers, which read it */
	struct upstream_watch upstream_watch;
	struct assign assign;
	struct listener_set listeners;
	struct crew crew;
	struct acceptor acceptor;
	struct signals signals;
	struct shed shed;
	struct recount recount;
	struct inspect inspect;
	struct restore restore;
	struct upgrade upgrade;
	/* Who asked for the upgrade that is being checked. */
	void (*upgrade_asked)(void *context, bool good, const char *text);
	void *upgrade_context;
	uint32_t epoch;                      /* counts restarts in which connections were kept */
	struct admin *admin, *metrics_admin; /* NULL: no admin socket, no metrics socket */
	struct event *tick_event, *watchdog_event, *stop_event;
	uint64_t start_usec;
	struct log_limit closed_log;
	bool ready; /* systemd was told */
	bool draining;
	enum supervisor_stop stop;
	bool stop_wanted; /* as soon as all parked connections are taken up */
	uint64_t orphans; /* METRIC_ORPHANS at the last tick */
	char status[256]; /* what systemd was last told */
};

/* Runs until SIGTERM or SIGINT. Takes `conf`. Returns the exit status of the process. */
int supervisor_run(const char *conf_path, struct conf *conf);

/* Reads the configuration file again (supervisor_reload.c). What changed and what would need a
 * restart is returned as lists of keys, owned by the caller. -EINVAL: `errors` says what is wrong,
 * nothing was changed. */
struct supervisor_changes {
	json_t *changed, *needs_restart;
};
int supervisor_reload(struct supervisor *supervisor, struct supervisor_changes *ret_changes,
	struct conf_errors *errors) MG_MUST_CHECK;

/* The limits of the configuration, as admit wants them. */
struct admit_limits supervisor_admit_limits(const struct conf *conf);

/* Asks the program on disk whether it can start with the configuration, and if so becomes it, with
 * all connections. `asked` (optional) is called when it has answered, with the path of the program
 * or with what is wrong. -errno with text: not now. */
int supervisor_upgrade(struct supervisor *supervisor,
	void (*asked)(void *context, bool good, const char *text), void *context,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Stops accepting and closes all over so many microseconds, until resumed. */
void supervisor_drain(struct supervisor *supervisor, uint64_t over_usec);
void supervisor_resume(struct supervisor *supervisor);

/* What is wrong, and what will be one day, as JSON lists of sentences. New references. */
json_t *supervisor_problems(const struct supervisor *supervisor);
json_t *supervisor_warnings(const struct supervisor *supervisor);

/* What GET /tuning answers, from the machine as it is now; NULL: no memory. */
json_t *supervisor_tuning(const struct supervisor *supervisor);

/* Compares the machine with the configuration at start, and logs what falls short, as sysctl.mode
 * says. -ERANGE: one of sysctl.want does, and is required. */
int supervisor_check_tuning(const struct conf *conf, struct mg_error *reterr_error) MG_MUST_CHECK;

/* Brings the gauges of the supervisor's metrics up to date, before somebody looks. */
void supervisor_refresh_metrics(struct supervisor *supervisor);

/* Clients that the workers' file descriptor limits allow. */
uint64_t supervisor_capacity(const struct supervisor *supervisor);

/* In supervisor_upstreams.c. The numbers of all servers, in the order of the listeners. Returns how
 * many. */
size_t supervisor_list_upstreams(
	const struct supervisor *supervisor, uint16_t ret_numbers[static UPSTREAM_MAX]);

/* Is the server called so, by its name in the configuration or its address, and of this listener?
 * -1: of any. */
bool supervisor_upstream_is(const struct supervisor *supervisor, uint16_t number, int listener,
	const char *name_or_address);

/* Takes all servers that are called so out, for maintenance, or in again. Returns how many. */
unsigned supervisor_disable_upstreams(
	struct supervisor *supervisor, int listener, const char *name_or_address, bool disabled);

#endif
