/*
 * bench_work_churn: connections that are closed and opened anew at a steady rate, one after the
 * other, while the workload goes on on all of them.
 *
 * Process: bench client.
 */
#include "bench_client.h"
#include "bench_connect.h"

void
bench_churn_begin(struct bench_client *client)
{
	uint32_t total = client->plan->connections;
	uint32_t churning = (uint32_t)(client->options->churn_fraction * total + 0.5);

	client->churn_n = bench_plan_share(client->plan, client->process, churning);
	if (client->churn_n == 0 || client->options->churn_rate <= 0) {
		client->churn_n = 0;
		return;
	}
	client->churn = bench_pace_new(client->shared->measure_start_nsec,
		client->options->churn_rate * client->churn_n / churning);
	/* So that processes do not close and connect all at the same moments. */
	client->churn.start_nsec +=
		bench_client_random(client, (uint64_t)client->churn.period_nsec + 1);
}

uint64_t
bench_churn_turn(struct bench_client *client)
{
	if (client->churn_n == 0)
		return BENCH_NEVER;
	while (bench_pace_is_due(&client->churn, client->now_nsec)) {
		uint32_t index = client->churn_next;

		client->churn.n++;
		client->churn_next = index + 1 < client->churn_n ? index + 1 : 0;
		if (client->conns[index].state == BENCH_STATE_UP)
			bench_connect_drop(client, index, true);
	}
	return bench_pace_next(&client->churn);
}
