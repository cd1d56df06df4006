/* acceptor: see acceptor.h. */
#include "acceptor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "ws_handshake.h"

const char *
acceptor_state_name(enum acceptor_state state)
{
	static const char *const names[ACCEPTOR_STATE_COUNT] = {
		[ACCEPTOR_ACCEPTING] = "accepting",
		[ACCEPTOR_FULL] = "full",
		[ACCEPTOR_RATE] = "rate_limited",
		[ACCEPTOR_NO_WORKER] = "no_worker",
		[ACCEPTOR_NO_SERVER] = "no_server",
		[ACCEPTOR_PAUSED] = "paused",
		[ACCEPTOR_HALTED] = "halted",
	};
	return names[state];
}

static uint64_t *
acceptor_metric(struct acceptor *acceptor, enum metric metric)
{
	return &acceptor->metrics->slots[0].value[metric];
}

static uint64_t *
acceptor_listener_metric(struct acceptor *acceptor, unsigned listener, enum listener_metric metric)
{
	return &acceptor->metrics->slots[0].listener[listener][metric];
}

/* Watches the sockets of a listener, or not. */
static void
acceptor_set_state(struct acceptor *acceptor, unsigned listener, enum acceptor_state state)
{
	if (acceptor->state[listener] == state)
		return;
	acceptor->state[listener] = state;
	for (size_t i = 0; i < acceptor->n_sockets; i++) {
		if (acceptor->sockets[i].socket->listener != listener)
			continue;
		if (state == ACCEPTOR_ACCEPTING)
			event_add(acceptor->sockets[i].event, NULL);
		else
			event_del(acceptor->sockets[i].event);
	}
}

static void
acceptor_set_all(struct acceptor *acceptor, enum acceptor_state state)
{
	for (unsigned i = 0; i < (*acceptor->conf)->n_listeners; i++)
		acceptor_set_state(acceptor, i, state);
}

/* The state that holds for all listeners alike; ACCEPTOR_ACCEPTING: each has its own. */
static enum acceptor_state
acceptor_common_state(const struct acceptor *acceptor)
{
	if (acceptor->halted)
		return ACCEPTOR_HALTED;
	return acceptor->paused ? ACCEPTOR_PAUSED : ACCEPTOR_ACCEPTING;
}

void
acceptor_wake(struct acceptor *acceptor)
{
	if (acceptor_common_state(acceptor) == ACCEPTOR_ACCEPTING)
		acceptor_set_all(acceptor, ACCEPTOR_ACCEPTING);
}

void
acceptor_halt(struct acceptor *acceptor, enum acceptor_halt why)
{
	acceptor->halted |= why;
	acceptor_set_all(acceptor, ACCEPTOR_HALTED);
}

void
acceptor_resume(struct acceptor *acceptor, enum acceptor_halt why)
{
	acceptor->halted &= ~(unsigned)why;
	acceptor_set_all(acceptor, acceptor_common_state(acceptor));
}

static void
acceptor_on_rate(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	acceptor_wake(arg);
}

static void
acceptor_on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *acceptor = arg;

	(void)fd;
	(void)what;
	acceptor->paused = false;
	metrics_write(acceptor_metric(acceptor, METRIC_ACCEPT_PAUSED), 0);
	acceptor_wake(acceptor);
	/* Tried before anybody is told that all is well. */
	for (size_t i = 0; i < acceptor->n_sockets; i++)
		if (event_pending(acceptor->sockets[i].event, EV_READ, NULL))
			event_active(acceptor->sockets[i].event, EV_READ, 0);
}

/* The kernel has no descriptor or no memory for us. The connection stays in the backlog. */
static void
acceptor_pause(struct acceptor *acceptor, int error, uint64_t now_usec)
{
	struct timeval wait = clock_timeval(ACCEPTOR_PAUSE_USEC);
	unsigned dropped;

	acceptor->paused = true;
	metrics_write(acceptor_metric(acceptor, METRIC_ACCEPT_PAUSED), 1);
	metrics_add(acceptor_metric(acceptor, METRIC_ACCEPT_PAUSES), 1);
	acceptor_set_all(acceptor, ACCEPTOR_PAUSED);
	evtimer_add(acceptor->pause_event, &wait);
	if (log_limit_pass(&acceptor->pause_log, now_usec, &dropped))
		log_warning(NULL, "accepting pauses for %u ms: %s (%u more since the last message)",
			ACCEPTOR_PAUSE_USEC / 1000, strerror(error), dropped);
}

static const struct conf_listener *
acceptor_conf(const struct acceptor *acceptor, unsigned listener)
{
	return &(*acceptor->conf)->listeners[listener];
}

/* The clients of a relay may be to wait outside for a server. Who waits inside came first. */
static bool
acceptor_lacks_server(const struct acceptor *acceptor, unsigned listener)
{
	const struct conf_listener *conf = acceptor_conf(acceptor, listener);

	return conf->service == CONF_SERVICE_RELAY &&
	       (conf->upstream_when_down == CONF_WHEN_FULL_WAIT || acceptor->unsettled) &&
	       (!upstreams_available(acceptor->upstreams, listener) ||
		       roster_waiting(acceptor->roster, (uint8_t)listener) > 0);
}

/* May one be accepted? Otherwise the listener is not watched until that changes. */
static bool
acceptor_gate(struct acceptor *acceptor, unsigned listener, uint64_t now_usec)
{
	uint64_t wait_usec = 0;
	struct timeval wait;

	if (acceptor_lacks_server(acceptor, listener)) {
		acceptor_set_state(acceptor, listener, ACCEPTOR_NO_SERVER);
		return false;
	}
	switch (admit_gate(acceptor->admit, listener, now_usec, &wait_usec)) {
	case ADMIT_GATE_OPEN:
		return true;
	case ADMIT_GATE_FULL:
		acceptor_set_state(acceptor, listener, ACCEPTOR_FULL);
		return false;
	case ADMIT_GATE_RATE:
		acceptor_set_state(acceptor, listener, ACCEPTOR_RATE);
		/* One timer, set to the first of all listeners; the others ask and wait again. */
		if (evtimer_pending(acceptor->rate_event, NULL) &&
			acceptor->rate_usec <= now_usec + wait_usec)
			return false;
		acceptor->rate_usec = now_usec + wait_usec;
		wait = clock_timeval(wait_usec);
		evtimer_add(acceptor->rate_event, &wait);
		return false;
	}
	return false;
}

static bool
acceptor_waits_when_full(const struct acceptor *acceptor, unsigned listener)
{
	return acceptor_conf(acceptor, listener)->when_full == CONF_WHEN_FULL_WAIT;
}

/* Who comes for a WebSocket is told that there is none to be had, unasked: nothing is read here. */
static void
acceptor_answer(struct acceptor *acceptor, unsigned listener, int fd)
{
	char answer[WS_ANSWER_MAX];
	size_t length = ws_handshake_refuse(WS_OUTCOME_UNAVAILABLE, answer);

	if (send(fd, answer, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length)
		metrics_add(acceptor_listener_metric(
				    acceptor, listener, LISTENER_METRIC_HANDSHAKES_UNAVAILABLE),
			1);
	(void)shutdown(fd, SHUT_WR);
}

static void
acceptor_refuse(struct acceptor *acceptor, unsigned listener, int fd, const struct addr *peer,
	enum close_reason reason, uint64_t now_usec)
{
	const struct close_reason_info *info = close_reason_info(reason);
	char text[ADDR_TEXT_MAX];
	unsigned dropped;

	if (acceptor_conf(acceptor, listener)->protocol == CONF_PROTOCOL_WEBSOCKET)
		acceptor_answer(acceptor, listener, fd);
	(void)close(fd);
	metrics_add(acceptor_metric(acceptor, METRIC_REFUSED), 1);
	metrics_add(acceptor_listener_metric(acceptor, listener, LISTENER_METRIC_REFUSED), 1);
	acceptor->refused(acceptor->context, listener, reason);
	if (log_limit_pass(&acceptor->refuse_log, now_usec, &dropped)) {
		struct log_context context = {
			.listener = acceptor_conf(acceptor, listener)->name,
			.peer = addr_format(peer, text),
			.reason = info->name,
		};

		log_info(&context, "%s: refused %s: %s (%u more since the last message)",
			context.listener, text, info->text, dropped);
	}
}

/* Is it a load balancer's, whose header tells who the client is? A Unix socket is guarded by its
 * permissions. */
static bool
acceptor_is_trusted(const struct conf_cidrs *from, const struct addr *peer)
{
	for (size_t i = 0; i < from->n; i++)
		if (cidr_contains(&from->items[i], peer))
			return true;
	return peer->family == ADDR_UNIX;
}

/* Lets it in, and finds it a server if it is to have one now. CLOSE_NONE, or why not; then nothing is
 * counted. */
static enum close_reason
acceptor_decide(struct acceptor *acceptor, const struct addr *peer, uint64_t now_usec,
	struct control_handover *record, uint32_t *ret_source)
{
	/* Who is behind a load balancer is not known yet, and counts for nobody until then. */
	static const struct addr unknown = {.family = ADDR_NONE};
	const struct conf_listener *conf = acceptor_conf(acceptor, record->listener);
	bool proxied = conf->proxy_from.n > 0;
	enum close_reason reason = admit_decide(
		acceptor->admit, record->listener, proxied ? &unknown : peer, now_usec, ret_source);

	if (reason != CLOSE_NONE)
		return reason;
	if (proxied && !acceptor_is_trusted(&conf->proxy_from, peer))
		reason = CLOSE_REFUSED_PROXY;
	if (proxied)
		record->flags |= HANDOVER_PROXIED;
	else if (conf->service == CONF_SERVICE_RELAY)
		record->server = upstreams_pick(
			acceptor->upstreams, record->listener, peer, UPSTREAM_NONE, now_usec);
	if (!proxied && conf->service == CONF_SERVICE_RELAY && record->server == UPSTREAM_NONE)
		reason = CLOSE_REFUSED_UPSTREAM;
	if (reason != CLOSE_NONE)
		admit_release(acceptor->admit, record->listener, *ret_source, false);
	return reason;
}

static void
acceptor_admit(struct acceptor *acceptor, unsigned listener, struct crew_member *member, int fd,
	const struct addr *peer, uint64_t now_usec)
{
	struct control_handover record = {
		.opened_usec = now_usec, .listener = (uint8_t)listener, .server = UPSTREAM_NONE};
	enum close_reason reason;
	uint32_t source;

	reason = acceptor_decide(acceptor, peer, now_usec, &record, &source);
	if (reason != CLOSE_NONE) {
		acceptor_refuse(acceptor, listener, fd, peer, reason, now_usec);
		return;
	}
	if (member)
		record.id = roster_add(
			acceptor->roster, (uint8_t)member->index, (uint8_t)listener, source);
	if (!record.id) { /* the roster has as many places as admit lets in */
		admit_release(acceptor->admit, listener, source, false);
		(void)upstreams_release(acceptor->upstreams, record.server);
		acceptor_refuse(acceptor, listener, fd, peer,
			member ? CLOSE_REFUSED_TOTAL : CLOSE_REFUSED_WORKERS, now_usec);
		return;
	}
	if (record.server != UPSTREAM_NONE)
		roster_set_server(acceptor->roster, record.id, record.server);
	metrics_add(acceptor_metric(acceptor, METRIC_ACCEPTED), 1);
	metrics_add(acceptor_listener_metric(acceptor, listener, LISTENER_METRIC_ACCEPTED), 1);
	crew_give(member, &record, fd, conf_fds_each(acceptor_conf(acceptor, listener)));
}

/* From here to the end of the turn the kernel keeps some descriptors from us. It cannot fail: a
 * process may lower its soft limit, and raise it again. */
static void
acceptor_spare_fds(struct acceptor *acceptor)
{
	struct rlimit lower;
	rlim_t spare;

	(void)getrlimit(RLIMIT_NOFILE, &acceptor->limit);
	lower = acceptor->limit;
	spare = lower.rlim_cur / 8;
	lower.rlim_cur -= spare < ACCEPTOR_SPARE_FDS ? spare : ACCEPTOR_SPARE_FDS;
	(void)setrlimit(RLIMIT_NOFILE, &lower);
}

/* Clients get the lowest numbers that are free: one of the upper half is the first sign that they
 * may become scarce. Most gateways never see it, and do not pay for the system calls. */
static void
acceptor_watch_fd(struct acceptor *acceptor, int fd)
{
	if (acceptor->scarce || (rlim_t)fd < acceptor->limit.rlim_cur / 2)
		return;
	acceptor->scarce = true;
	acceptor_spare_fds(acceptor);
}

/* Accepts one. False: no more in this turn. */
static bool
acceptor_accept(struct acceptor *acceptor, const struct listener_socket *item, uint64_t now_usec)
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	struct crew_member *member;
	struct addr peer;
	bool full;
	int fd;

	if (!acceptor_gate(acceptor, item->listener, now_usec))
		return false;
	member = crew_pick(
		acceptor->crew, conf_fds_each(acceptor_conf(acceptor, item->listener)), &full);
	if (!member && !full) {
		acceptor_set_all(acceptor, ACCEPTOR_NO_WORKER);
		return false;
	}
	if (!member && acceptor_waits_when_full(acceptor, item->listener)) {
		acceptor_set_state(acceptor, item->listener, ACCEPTOR_FULL);
		return false;
	}
	fd = accept4(item->fd, (struct sockaddr *)&sa, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		acceptor_watch_fd(acceptor, fd);
		peer = addr_from_sockaddr((struct sockaddr *)&sa, length);
		acceptor_admit(acceptor, item->listener, member, fd, &peer, now_usec);
		return true;
	}
	switch (errno) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		acceptor_pause(acceptor, errno, now_usec);
		return false;
	case EAGAIN:
		return false;
	default:
		/* ECONNABORTED and what accept(2) passes on from the network: the next may do. */
		return true;
	}
}

static void
acceptor_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor_socket *item = arg;
	struct acceptor *acceptor = item->acceptor;
	uint64_t now_usec = clock_now_usec();

	(void)fd;
	(void)what;
	if (acceptor->scarce)
		acceptor_spare_fds(acceptor);
	for (unsigned i = 0; i < ACCEPTOR_BURST; i++)
		if (!acceptor_accept(acceptor, item->socket, now_usec))
			break;
	if (acceptor->scarce)
		(void)setrlimit(RLIMIT_NOFILE, &acceptor->limit);
	crew_flush(acceptor->crew);
}

int
acceptor_init(struct acceptor *acceptor, const struct listener_set *set)
{
	acceptor->rate_event = evtimer_new(acceptor->base, acceptor_on_rate, acceptor);
	acceptor->pause_event = evtimer_new(acceptor->base, acceptor_on_pause_over, acceptor);
	acceptor->sockets = calloc(set->n, sizeof(*acceptor->sockets));
	if (!acceptor->rate_event || !acceptor->pause_event || !acceptor->sockets)
		return -ENOMEM;
	if (getrlimit(RLIMIT_NOFILE, &acceptor->limit) < 0)
		return -errno;
	for (size_t i = 0; i < set->n; i++) {
		struct acceptor_socket *item = &acceptor->sockets[i];

		acceptor->n_sockets = i + 1;
		item->acceptor = acceptor;
		item->socket = &set->sockets[i];
		item->event = event_new(acceptor->base, item->socket->fd, EV_READ | EV_PERSIST,
			acceptor_on_readable, item);
		if (!item->event || event_add(item->event, NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

void
acceptor_done(struct acceptor *acceptor)
{
	for (size_t i = 0; i < acceptor->n_sockets; i++)
		if (acceptor->sockets[i].event)
			event_free(acceptor->sockets[i].event);
	free(acceptor->sockets);
	acceptor->sockets = NULL;
	acceptor->n_sockets = 0;
	if (acceptor->rate_event)
		event_free(acceptor->rate_event);
	if (acceptor->pause_event)
		event_free(acceptor->pause_event);
	acceptor->rate_event = acceptor->pause_event = NULL;
}
