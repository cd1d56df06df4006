/*
 * worker_ask: what only the supervisor can decide about a client: may it come in, now that it is
 * known who it is, and which server does it get?
 *
 * Process: W. Questions are gathered, and sent once a turn.
 */
#include <string.h>

#include "worker.h"

static void
worker_send_asked(struct worker *worker, enum control_type type, struct worker_asks *asks)
{
	struct control_header header = {.type = type, .count = (uint16_t)asks->n};

	if (asks->n > 0)
		worker_send(worker, &header, asks->items);
	asks->n = 0;
}

void
worker_send_asks(struct worker *worker)
{
	worker_report_adopted(worker);
	worker_send_asked(worker, CONTROL_IDENTIFIED, &worker->identified);
	worker_send_asked(worker, CONTROL_UNSERVED, &worker->unserved);
}

void
worker_on_ask(void *context, const struct conn *conn, const struct conn_question *question)
{
	struct worker *worker = context;
	struct worker_asks *asks = question->admission ? &worker->identified : &worker->unserved;

	if (asks->n == WORKER_ASKS_MAX)
		worker_send_asks(worker);
	asks->items[asks->n++] = (struct control_ask){
		.id = conn->id,
		.fd = conn_fd(&worker->conns, conn),
		.server = question->admission ? UPSTREAM_NONE : question->server,
		.tries = question->tries,
		.gives_up = question->gives_up,
		.peer = question->peer,
		.error = (uint32_t)question->error,
	};
}

void
worker_on_assign(struct worker *worker, const struct control_message *message)
{
	const struct control_assign *assigns = message->records;

	for (unsigned i = 0; i < message->header.count; i++) {
		struct conn *conn = conn_find(&worker->conns, assigns[i].fd, assigns[i].id);

		/* One that ends has its own reason, and its time. */
		if (!conn || conn->state == CONN_CLOSING)
			continue;
		if (assigns[i].reason != CLOSE_NONE)
			conn_end(&worker->conns, conn, assigns[i].reason);
		else
			conn_assign(&worker->conns, conn, assigns[i].server);
	}
}
