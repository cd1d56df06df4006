/* upstream_watch: see upstream_watch.h. */
#include "upstream_watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "log.h"

_Static_assert(UPSTREAM_LISTENERS_MAX == CONF_LISTENERS_MAX, "each listener has its place");
_Static_assert(UPSTREAM_MAX == METRICS_UPSTREAMS_MAX, "each server has its metrics");

static void
upstream_watch_on_change(
	void *context, uint16_t number, enum upstream_change change, const char *problem)
{
	struct upstream_watch *watch = context;
	const struct upstream *upstream = &watch->upstreams->items[number];
	const struct log_context about = {.listener = watch->listeners[upstream->listener]};
	char label[UPSTREAM_LABEL_MAX];

	upstream_label(upstream, label);
	if (change == UPSTREAM_WENT_DOWN) {
		log_warning(&about, "%s: server %s is down: %s", about.listener, label,
			problem ? problem : "unknown");
	} else if (change == UPSTREAM_CAME_UP) {
		log_info(&about, "%s: server %s is up again", about.listener, label);
		watch->callbacks.available(watch->context);
	}
}

void
upstream_watch_connect_failed(
	struct upstream_watch *watch, uint16_t number, int error, uint64_t now_usec)
{
	uint64_t connected = metrics_upstream_sum(watch->metrics, number, UPSTREAM_METRIC_CONNECTS);
	char problem[128];

	snprintf(problem, sizeof(problem), "connect: %s", strerror(error));
	upstream_watch_on_change(watch, number,
		upstreams_connect_failed(watch->upstreams, number, connected, now_usec), problem);
}

/* What is to be known while the addresses of a name are entered. */
struct upstream_watch_entry {
	struct upstream_watch *watch;
	bool is_disabled; /* the name is */
	unsigned n_fresh;
};

static void
upstream_watch_on_fresh(void *context, uint16_t number)
{
	struct upstream_watch_entry *entry = context;

	entry->n_fresh++;
	if (entry->is_disabled)
		upstreams_set_disabled(entry->watch->upstreams, number, true, true);
	metrics_upstream_clear(entry->watch->metrics, number);
	upstream_check_forget(&entry->watch->check, number);
}

static bool
upstream_watch_is_disabled(const struct upstream_watch *watch, unsigned listener, const char *name)
{
	const struct upstreams *upstreams = watch->upstreams;

	for (unsigned i = 0; i < upstreams->n_members[listener]; i++) {
		const struct upstream *upstream =
			&upstreams->items[upstreams->members[listener][i]];

		if (upstream->name_disabled && strcmp(upstream->name, name) == 0)
			return true;
	}
	return false;
}

/* Which servers a name has, by their numbers; returns how many. */
static unsigned
upstream_watch_list(const struct upstream_watch *watch, unsigned listener, const char *name,
	bool ret_wanted[static UPSTREAM_MAX])
{
	const struct upstreams *upstreams = watch->upstreams;
	unsigned n = 0;

	memset(ret_wanted, 0, UPSTREAM_MAX * sizeof(*ret_wanted));
	for (unsigned i = 0; i < upstreams->n_members[listener]; i++) {
		uint16_t number = upstreams->members[listener][i];
		const struct upstream *upstream = &upstreams->items[number];

		ret_wanted[number] = upstream->wanted && !upstream->unresolved &&
				     strcmp(upstream->name, name) == 0;
		n += ret_wanted[number];
	}
	return n;
}

/* No address (n is 0): there is none yet. True: the name has other servers than before. One that has
 * gone while clients are left, and comes back, is no fresh one. */
static bool
upstream_watch_enter(struct upstream_watch *watch, unsigned listener, const char *name,
	const struct upstream_address *addresses, size_t n)
{
	bool before[UPSTREAM_MAX], after[UPSTREAM_MAX];
	struct upstream_watch_entry entry = {
		.watch = watch, .is_disabled = upstream_watch_is_disabled(watch, listener, name)};
	int r;

	(void)upstream_watch_list(watch, listener, name, before);
	r = n == 0 ? upstreams_await_address(
			     watch->upstreams, listener, name, upstream_watch_on_fresh, &entry)
		   : upstreams_set_addresses(watch->upstreams, listener, name, addresses, n,
			     upstream_watch_on_fresh, &entry);
	(void)upstream_watch_list(watch, listener, name, after);
	if (r < 0 && !watch->is_full) {
		const struct log_context about = {.listener = watch->listeners[listener]};

		watch->is_full = true;
		log_warning(&about, "%s: not all addresses of %s are used: there are %u servers",
			about.listener, name, UPSTREAM_MAX);
	}
	return entry.n_fresh > 0 || memcmp(before, after, sizeof(before)) != 0;
}

static void
upstream_watch_on_resolved(void *context, unsigned listener, const char *name,
	const struct upstream_address *addresses, size_t n)
{
	struct upstream_watch *watch = context;
	const struct log_context about = {.listener = watch->listeners[listener]};

	if (!upstream_watch_enter(watch, listener, name, addresses, n))
		return;
	log_info(&about, "%s: server %s has %zu address%s now", about.listener, name, n,
		n == 1 ? "" : "es");
	upstream_check_update(&watch->check);
	watch->callbacks.available(watch->context);
}

static void
upstream_watch_on_trouble(void *context, unsigned listener, const char *name, const char *problem)
{
	struct upstream_watch *watch = context;
	const struct log_context about = {.listener = watch->listeners[listener]};
	bool kept[UPSTREAM_MAX];

	if (problem)
		log_warning(&about,
			"%s: server %s cannot be resolved: %s; addresses that are kept: %u",
			about.listener, name, problem,
			upstream_watch_list(watch, listener, name, kept));
	else
		log_info(&about, "%s: server %s is resolved again", about.listener, name);
}

static void
upstream_watch_settle(struct upstream_watch *watch)
{
	if (watch->is_settled)
		return;
	watch->is_settled = true;
	(void)event_del(watch->settle_event);
	watch->callbacks.settled(watch->context);
}

static void
upstream_watch_on_settled(void *context)
{
	upstream_watch_settle(context);
}

static void
upstream_watch_on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	upstream_watch_settle(arg);
}

int
upstream_watch_init(struct upstream_watch *watch, struct event_base *base,
	struct upstreams *upstreams, struct metrics *metrics,
	const struct upstream_watch_callbacks *callbacks, void *context)
{
	int r;

	memset(watch, 0, sizeof(*watch));
	watch->upstreams = upstreams;
	watch->metrics = metrics;
	watch->callbacks = *callbacks;
	watch->context = context;
	watch->settle_usec = UPSTREAM_SETTLE_USEC;
	watch->check = (struct upstream_check){
		.base = base,
		.upstreams = upstreams,
		.metrics = metrics,
		.changed = upstream_watch_on_change,
		.context = watch,
	};
	watch->resolve = (struct upstream_resolve){
		.base = base,
		.upstreams = upstreams,
		.hosts_path = "/etc/hosts",
		.resolv_conf_path = "/etc/resolv.conf",
		.resolved = upstream_watch_on_resolved,
		.trouble = upstream_watch_on_trouble,
		.settled = upstream_watch_on_settled,
		.context = watch,
	};
	watch->settle_event = event_new(base, -1, 0, upstream_watch_on_timer, watch);
	r = watch->settle_event ? upstream_check_init(&watch->check) : -ENOMEM;
	if (r == 0)
		r = upstream_resolve_init(&watch->resolve);
	if (r < 0)
		upstream_watch_done(watch);
	return r;
}

void
upstream_watch_done(struct upstream_watch *watch)
{
	if (watch->settle_event)
		event_free(watch->settle_event);
	watch->settle_event = NULL;
	watch->is_settled = true;
	upstream_check_done(&watch->check);
	upstream_resolve_done(&watch->resolve);
}

static void
upstream_watch_set_policy(
	struct upstream_watch *watch, unsigned listener, const struct conf_listener *conf)
{
	const struct upstream_policy policy = {
		.balance = (enum upstream_balance)conf->upstream_balance,
		.max_connections = conf->upstream_max,
		.rise = (unsigned)conf->upstream_health_rise,
		.fall = (unsigned)conf->upstream_health_fall,
		.checked = conf->upstream_health_interval != 0,
	};
	struct upstream_check_policy *check = &watch->check.policies[listener];

	upstreams_set_policy(watch->upstreams, listener, &policy);
	check->interval_usec = conf->upstream_health_interval;
	check->timeout_usec = conf->upstream_health_timeout;
	upstream_sources_set(
		&check->sources, conf->upstream_sources.items, conf->upstream_sources.n);
}

/* What was checked with the configuration can be read, and there is room for all names. */
static void
upstream_watch_add_name(struct upstream_watch *watch, unsigned listener, const char *text,
	const struct conf_listener *conf)
{
	struct upstream_name name;

	if (upstream_parse_name(text, &name, NULL) < 0)
		return;
	if (name.address.length != 0)
		(void)upstream_watch_enter(watch, listener, text, &name.address, 1);
	else if (upstream_resolve_add(&watch->resolve, listener, text, &name,
			 conf->upstream_resolve_interval) < 0)
		log_warning(NULL, "%s: server %s is left out: there are %u names", conf->name, text,
			UPSTREAM_MAX);
	else
		(void)upstream_watch_enter(watch, listener, text, NULL, 0);
}

/* Names that went make room before any comes. */
static void
upstream_watch_apply_listeners(struct upstream_watch *watch, const struct conf *conf)
{
	for (unsigned i = 0; i < UPSTREAM_LISTENERS_MAX; i++) {
		const struct conf_listener *listener =
			i < conf->n_listeners ? &conf->listeners[i] : NULL;
		bool is_relay = listener && listener->service == CONF_SERVICE_RELAY;

		upstreams_keep_names(watch->upstreams, i,
			is_relay ? listener->upstream_servers.items : NULL,
			is_relay ? listener->upstream_servers.n : 0);
		watch->check.policies[i].interval_usec = 0;
		if (!is_relay)
			continue;
		snprintf(watch->listeners[i], sizeof(watch->listeners[i]), "%s", listener->name);
		upstream_watch_set_policy(watch, i, listener);
	}
	for (unsigned i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];

		for (size_t k = 0;
			listener->service == CONF_SERVICE_RELAY && k < listener->upstream_servers.n;
			k++)
			upstream_watch_add_name(
				watch, i, listener->upstream_servers.items[k], listener);
	}
}

void
upstream_watch_apply(struct upstream_watch *watch, const struct conf *conf)
{
	const struct timeval settle = clock_timeval(watch->settle_usec);

	watch->is_full = false;
	upstream_resolve_begin(&watch->resolve);
	upstream_watch_apply_listeners(watch, conf);
	upstream_check_update(&watch->check);
	upstream_resolve_end(&watch->resolve, conf->nameservers.items, conf->nameservers.n);
	if (!watch->is_applied)
		(void)event_add(watch->settle_event, &settle);
	watch->is_applied = true;
	watch->callbacks.available(watch->context);
}

unsigned
upstream_watch_set_disabled(
	struct upstream_watch *watch, int listener, const char *text, bool is_disabled)
{
	struct upstreams *upstreams = watch->upstreams;
	unsigned n = 0;

	for (uint16_t i = 0; i < UPSTREAM_MAX; i++) {
		const struct upstream *upstream = &upstreams->items[i];

		if (!upstream_is_called(upstream, text) ||
			(listener >= 0 && upstream->listener != listener))
			continue;
		upstreams_set_disabled(
			upstreams, i, is_disabled, strcasecmp(upstream->name, text) == 0);
		n++;
	}
	if (n > 0 && !is_disabled)
		watch->callbacks.available(watch->context);
	return n;
}
