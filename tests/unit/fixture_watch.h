/*
 * fixture_watch: servers that are watched, with a real loop. Static functions only.
 */
#ifndef MILLGATE_TESTS_FIXTURE_WATCH_H
#define MILLGATE_TESTS_FIXTURE_WATCH_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "clock.h"
#include "fixture_upstream.h"
#include "upstream_watch.h"

#define WAIT_USEC 10000000 /* for what should come at once */
#define WATCH_TEXT_MAX 65536

struct watched {
	struct event_base *base;
	struct upstreams *upstreams;
	struct metrics *metrics;
	struct upstream_watch watch;
	unsigned n_available, n_settled;
	char hosts[32];     /* the path of a file in place of /etc/hosts */
	int log, stderr_fd; /* what is logged, and where it would have gone */
	char text[WATCH_TEXT_MAX];
};

static inline void
watched_on_available(void *context)
{
	struct watched *watched = context;

	watched->n_available++;
}

static inline void
watched_on_settled(void *context)
{
	struct watched *watched = context;

	watched->n_settled++;
}

static inline void
watched_write_hosts(struct watched *watched, const char *text)
{
	FILE *file = fopen(watched->hosts, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static inline struct watched *
make_watched(void)
{
	static const struct upstream_watch_callbacks callbacks = {
		.available = watched_on_available, .settled = watched_on_settled};
	struct watched *watched = calloc(1, sizeof(*watched));
	int fd;

	assert_non_null(watched);
	watched->base = event_base_new();
	watched->upstreams = upstreams_new();
	watched->metrics = metrics_new(0);
	assert_true(watched->base && watched->upstreams && watched->metrics);
	strcpy(watched->hosts, "/tmp/millgate-hosts-XXXXXX");
	fd = mkstemp(watched->hosts);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(upstream_watch_init(&watched->watch, watched->base, watched->upstreams,
				 watched->metrics, &callbacks, watched),
		0);
	watched->watch.resolve.hosts_path = watched->hosts;
	watched->watch.resolve.resolv_conf_path = "/dev/null";
	watched->log = memfd_create("log", MFD_CLOEXEC);
	watched->stderr_fd = dup(STDERR_FILENO);
	assert_true(watched->log >= 0 && watched->stderr_fd >= 0);
	unsetenv("JOURNAL_STREAM");
	dup2(watched->log, STDERR_FILENO);
	return watched;
}

static inline void
free_watched(struct watched *watched)
{
	upstream_watch_done(&watched->watch);
	dup2(watched->stderr_fd, STDERR_FILENO);
	close(watched->stderr_fd);
	close(watched->log);
	unlink(watched->hosts);
	event_base_free(watched->base);
	metrics_free(watched->metrics);
	upstreams_free(watched->upstreams);
	free(watched);
}

/* What was logged so far. */
static inline const char *
watched_log(struct watched *watched)
{
	ssize_t n = pread(watched->log, watched->text, sizeof(watched->text) - 1, 0);

	watched->text[n > 0 ? n : 0] = '\0';
	return watched->text;
}

static inline void
watched_fail(struct watched *watched, const char *what)
{
	dup2(watched->stderr_fd, STDERR_FILENO);
	fail_msg("%s; logged was:\n%s", what, watched_log(watched));
}

static inline unsigned
count_in_log(struct watched *watched, const char *wanted)
{
	unsigned n = 0;

	for (const char *at = watched_log(watched); (at = strstr(at, wanted)); at++)
		n++;
	return n;
}

static inline void
assert_logged(struct watched *watched, const char *wanted, unsigned n)
{
	if (count_in_log(watched, wanted) != n)
		watched_fail(watched, wanted);
}

/* One turn of the loop, of at most 2 ms. */
static inline void
turn(struct watched *watched)
{
	const struct timeval soon = {0, 2000};

	event_base_loopexit(watched->base, &soon);
	event_base_loop(watched->base, EVLOOP_ONCE);
}

#define wait_until(watched, condition)                               \
	do {                                                         \
		uint64_t end_ = clock_now_usec() + WAIT_USEC;        \
		while (!(condition)) {                               \
			if (clock_now_usec() > end_)                 \
				watched_fail((watched), #condition); \
			turn(watched);                               \
		}                                                    \
	} while (0)

/* One relay listener, "public", with these servers (the inside of a JSON list); checked and resolved
 * much more often than a configuration may say. */
static inline struct conf *
make_relay(const char *servers, const char *nameserver)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	char text[16384];

	snprintf(text, sizeof(text),
		"{ \"resolver\": { \"nameservers\": [%s%s%s] }, \"listeners\": { \"public\": {"
		" \"service\": \"relay\", \"upstream\": { \"servers\": [%s] } } } }",
		nameserver ? "\"" : "", nameserver ? nameserver : "", nameserver ? "\"" : "",
		servers);
	if (conf_parse(text, strlen(text), "test", &conf, &errors) < 0)
		fail_msg("%s", errors.items[0]);
	conf->listeners[0].upstream_health_interval = 20000;
	conf->listeners[0].upstream_health_timeout = 1000000;
	conf->listeners[0].upstream_health_rise = 2;
	conf->listeners[0].upstream_health_fall = 3;
	conf->listeners[0].upstream_resolve_interval = 20000;
	return conf;
}

static inline void
apply_and_free(struct watched *watched, struct conf *conf)
{
	upstream_watch_apply(&watched->watch, conf);
	conf_free(conf);
}

static inline uint64_t
checks_of(const struct watched *watched, uint16_t number)
{
	return metrics_upstream_sum(watched->metrics, number, UPSTREAM_METRIC_CHECKS);
}

static inline uint64_t
failures_of(const struct watched *watched, uint16_t number)
{
	return metrics_upstream_sum(watched->metrics, number, UPSTREAM_METRIC_CHECK_FAILURES);
}

#endif
