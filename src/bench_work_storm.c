/*
 * bench_work_storm: every client loses its connection at the same moment, as when a network link
 * goes down, and all want to be back.
 *
 * Process: bench client.
 */
#include "bench_client.h"
#include "bench_connect.h"

void
bench_storm_begin(struct bench_client *client)
{
	for (uint32_t i = 0; i < client->n; i++)
		if (client->conns[i].state == BENCH_STATE_UP)
			bench_connect_drop(client, i, true);
}
