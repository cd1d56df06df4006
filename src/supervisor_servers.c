/*
 * supervisor_servers: what the supervisor does when the servers behind relay listeners change.
 *
 * Process: S. How they are is for upstream_watch to know; what is shown of them, and what an operator
 * does with them, is in supervisor_upstreams.c.
 */
#include "clock.h"
#include "supervisor_private.h"

static void
supervisor_on_server_failed(void *context, uint16_t server, int error)
{
	struct supervisor *supervisor = context;

	upstream_watch_connect_failed(&supervisor->upstream_watch, server, error, clock_now_usec());
}

static void
supervisor_on_server_available(void *context)
{
	struct supervisor *supervisor = context;

	acceptor_wake(&supervisor->acceptor);
}

static void
supervisor_on_servers_settled(void *context)
{
	struct supervisor *supervisor = context;

	supervisor->acceptor.unsettled = false;
	acceptor_wake(&supervisor->acceptor);
}

int
supervisor_init_servers(struct supervisor *supervisor)
{
	const struct upstream_watch_callbacks callbacks = {
		.available = supervisor_on_server_available,
		.settled = supervisor_on_servers_settled,
	};
	int r = upstream_watch_init(&supervisor->upstream_watch, supervisor->base,
		supervisor->upstreams, supervisor->metrics, &callbacks, supervisor);

	if (r < 0)
		return r;
	supervisor->assign = (struct assign){
		.conf = &supervisor->conf,
		.admit = supervisor->admit,
		.roster = supervisor->roster,
		.upstreams = supervisor->upstreams,
		.failed = supervisor_on_server_failed,
		.context = supervisor,
	};
	supervisor->acceptor.unsettled = true;
	supervisor_apply_servers(supervisor);
	return 0;
}

void
supervisor_apply_servers(struct supervisor *supervisor)
{
	upstream_watch_apply(&supervisor->upstream_watch, supervisor->conf);
}
