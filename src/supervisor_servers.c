/*
 * supervisor_servers: the servers behind relay listeners: what the supervisor does when one comes or
 * goes.
 *
 * Process: S.
 */
#include <string.h>

#include "supervisor_private.h"
#include "upstream_name.h"

static void
supervisor_on_server_down(void *context, uint16_t number, int error)
{
	(void)context;
	(void)number;
	(void)error;
}

void
supervisor_apply_servers(struct supervisor *supervisor)
{
	const struct conf *conf = supervisor->conf;

	for (unsigned i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *l = &conf->listeners[i];
		struct upstream_policy policy = {
			.balance = (enum upstream_balance)l->upstream_balance,
			.max_connections = l->upstream_max,
			.rise = 2,
			.fall = 3,
			.checked = false};
		upstreams_set_policy(supervisor->upstreams, i, &policy);
		for (size_t n = 0; n < l->upstream_servers.n; n++) {
			struct upstream_name name;
			if (upstream_parse_name(l->upstream_servers.items[n], &name, NULL) == 0 &&
				name.address.length)
				(void)!upstreams_set_addresses(supervisor->upstreams, i,
					l->upstream_servers.items[n], &name.address, 1, NULL, NULL);
		}
	}
}

int
supervisor_init_servers(struct supervisor *supervisor)
{
	supervisor->assign = (struct assign){
		.conf = &supervisor->conf,
		.admit = supervisor->admit,
		.roster = supervisor->roster,
		.upstreams = supervisor->upstreams,
		.metrics = supervisor->metrics,
		.down = supervisor_on_server_down,
		.context = supervisor,
	};
	supervisor_apply_servers(supervisor);
	return 0;
}
