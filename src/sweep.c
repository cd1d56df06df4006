/* sweep: see sweep.h. */
#include "sweep.h"

#include <errno.h>

static void
sweep_on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval next_turn = {0, 0};
	struct sweep *sweep = arg;
	struct conns *conns = sweep->conns;
	bool last;

	(void)fd;
	(void)what;
	conns_read_clock(conns);
	for (uint32_t i = 0; i < SWEEP_SLICE && sweep->next < conns->fd_end; i++, sweep->next++)
		if (conn_is_client(&conns->table[sweep->next]))
			sweep->visit(sweep->context, &conns->table[sweep->next]);
	last = sweep->next >= conns->fd_end;
	if (!last)
		evtimer_add(sweep->event, &next_turn);
	if (sweep->slice)
		sweep->slice(sweep->context, last);
}

int
sweep_init(struct sweep *sweep, struct event_base *base)
{
	sweep->event = evtimer_new(base, sweep_on_turn, sweep);
	return sweep->event ? 0 : -ENOMEM;
}

void
sweep_done(struct sweep *sweep)
{
	if (sweep->event)
		event_free(sweep->event);
	sweep->event = NULL;
}

void
sweep_start(struct sweep *sweep)
{
	static const struct timeval now = {0, 0};

	sweep->next = 0;
	evtimer_add(sweep->event, &now);
}
