/* upstream_check: see upstream_check.h. */
#include "upstream_check.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

struct upstream_check_slot {
	struct upstream_check *check;
	uint16_t number;
	bool is_on;
	uint64_t interval_usec;
	bool is_under_way; /* `fd` is a connect that has not ended */
	int fd;
	struct event timer; /* of the next check */
	struct event event; /* of the one under way */
};

uint64_t
upstream_check_delay(uint64_t now_usec, uint64_t interval_usec, uint16_t number)
{
	uint64_t reversed = 0, earliest = now_usec + interval_usec / 2;

	/* With its bits reversed, numbers that count up fall into the widest gap each. */
	for (unsigned bit = 1; bit < UPSTREAM_MAX; bit <<= 1)
		reversed = reversed << 1 | (number & bit ? 1 : 0);
	return earliest - now_usec +
	       (interval_usec * reversed / UPSTREAM_MAX + interval_usec -
		       earliest % interval_usec) %
		       interval_usec;
}

static const struct upstream_check_policy *
upstream_check_policy(const struct upstream_check_slot *slot)
{
	const struct upstream_check *check = slot->check;

	return &check->policies[check->upstreams->items[slot->number].listener];
}

static void
upstream_check_cancel(struct upstream_check_slot *slot)
{
	if (!slot->is_under_way)
		return;
	slot->is_under_way = false;
	(void)event_del(&slot->event);
	(void)close(slot->fd);
}

/* What is wrong on our side says nothing about the server. */
static bool
upstream_check_is_ours(const struct upstream_check_slot *slot, int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case EADDRNOTAVAIL: /* no port is left */
		return true;
	case EAGAIN: /* the same; but with Unix sockets, that the backlog is full */
		return slot->check->upstreams->items[slot->number].address.sa.ss_family != AF_UNIX;
	}
	return false;
}

static void
upstream_check_say_ours(const struct upstream_check_slot *slot, int error)
{
	struct upstream_check *check = slot->check;
	char address[UPSTREAM_ADDRESS_TEXT_MAX];
	unsigned dropped;

	if (log_limit_pass(&check->log, clock_now_usec(), &dropped))
		log_warning(NULL, "cannot check server %s: %s (%u more since the last message)",
			upstream_format(&check->upstreams->items[slot->number], address),
			strerror(error), dropped);
}

/* `error` 0: it accepted. */
static void
upstream_check_ended(struct upstream_check_slot *slot, int error)
{
	struct upstream_check *check = slot->check;
	uint64_t *metrics = check->metrics->slots[0].upstream[slot->number];
	enum upstream_change change;
	char problem[128];

	if (upstream_check_is_ours(slot, error)) {
		upstream_check_say_ours(slot, error);
		return;
	}
	metrics_add(&metrics[UPSTREAM_METRIC_CHECKS], 1);
	if (error != 0)
		metrics_add(&metrics[UPSTREAM_METRIC_CHECK_FAILURES], 1);
	snprintf(problem, sizeof(problem), "connect: %s", strerror(error));
	change = upstreams_checked(check->upstreams, slot->number, error == 0);
	if (change != UPSTREAM_SAME)
		check->changed(check->context, slot->number, change, error ? problem : NULL);
}

static void
upstream_check_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_check_slot *slot = arg;
	socklen_t length = sizeof(int);
	int error = ETIMEDOUT;

	if (what & EV_WRITE && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	upstream_check_cancel(slot);
	upstream_check_ended(slot, error);
}

/* 0; EINPROGRESS, with the event set; or an error. */
static int
upstream_check_connect(struct upstream_check_slot *slot)
{
	const struct upstream_address *address =
		&slot->check->upstreams->items[slot->number].address;
	const struct upstream_check_policy *policy = upstream_check_policy(slot);
	const struct timeval timeout = clock_timeval(policy->timeout_usec);
	int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return errno;
	error = -upstream_sources_connect(&policy->sources, slot->number, fd, address);
	if (error == EINPROGRESS) {
		(void)event_assign(&slot->event, slot->check->base, fd, EV_WRITE,
			upstream_check_on_event, slot);
		if (event_add(&slot->event, &timeout) == 0) {
			slot->fd = fd;
			slot->is_under_way = true;
			return EINPROGRESS;
		}
		error = ENOMEM;
	}
	(void)close(fd);
	return error;
}

static void
upstream_check_set_timer(struct upstream_check_slot *slot, uint64_t delay_usec)
{
	const struct timeval delay = clock_timeval(delay_usec);

	(void)event_add(&slot->timer, &delay);
}

static void
upstream_check_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_check_slot *slot = arg;
	int error;

	(void)fd;
	(void)what;
	if (!slot->check->upstreams->items[slot->number].in_use) {
		slot->is_on = false; /* its last connection has gone, and with that the server */
		return;
	}
	upstream_check_set_timer(
		slot, upstream_check_delay(clock_now_usec(), slot->interval_usec, slot->number));
	if (slot->is_under_way)
		return;
	error = upstream_check_connect(slot);
	if (error != EINPROGRESS)
		upstream_check_ended(slot, error);
}

int
upstream_check_init(struct upstream_check *check)
{
	check->slots = calloc(UPSTREAM_MAX, sizeof(*check->slots));
	return check->slots ? 0 : -ENOMEM;
}

static void
upstream_check_stop(struct upstream_check_slot *slot)
{
	if (!slot->is_on)
		return;
	slot->is_on = false;
	(void)event_del(&slot->timer);
	upstream_check_cancel(slot);
}

void
upstream_check_forget(struct upstream_check *check, uint16_t number)
{
	upstream_check_stop(&check->slots[number]);
}

void
upstream_check_done(struct upstream_check *check)
{
	if (!check->slots)
		return;
	for (unsigned i = 0; i < UPSTREAM_MAX; i++)
		upstream_check_stop(&check->slots[i]);
	free(check->slots);
	check->slots = NULL;
	for (unsigned i = 0; i < UPSTREAM_LISTENERS_MAX; i++)
		upstream_sources_done(&check->policies[i].sources);
}

/* At once if it is new; who is checked already may have another interval now. */
static void
upstream_check_go_on(struct upstream_check *check, uint16_t number)
{
	struct upstream_check_slot *slot = &check->slots[number];
	bool is_new = !slot->is_on;
	uint64_t interval_usec;

	slot->check = check;
	slot->number = number;
	interval_usec = upstream_check_policy(slot)->interval_usec;
	if (!is_new && slot->interval_usec == interval_usec)
		return;
	if (is_new)
		(void)event_assign(&slot->timer, check->base, -1, 0, upstream_check_on_timer, slot);
	slot->is_on = true;
	slot->interval_usec = interval_usec;
	upstream_check_set_timer(
		slot, is_new ? 0 : upstream_check_delay(clock_now_usec(), interval_usec, number));
}

void
upstream_check_update(struct upstream_check *check)
{
	for (uint16_t i = 0; i < UPSTREAM_MAX; i++) {
		const struct upstream *upstream = &check->upstreams->items[i];

		if (upstream->in_use && upstream->wanted && !upstream->unresolved &&
			check->policies[upstream->listener].interval_usec != 0)
			upstream_check_go_on(check, i);
		else
			upstream_check_stop(&check->slots[i]);
	}
}
