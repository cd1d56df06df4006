/*
 * worker_conf: the part of the configuration that connections look at, made ready for use.
 *
 * Process: W.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "proto_framed.h"
#include "proto_raw.h"
#include "proto_upstream.h"
#include "proto_ws.h"
#include "service_echo.h"
#include "service_hold.h"
#include "service_relay.h"
#include "worker.h"

static const struct service_ops *const SERVICES[] = {
	[CONF_SERVICE_HOLD] = &SERVICE_HOLD,
	[CONF_SERVICE_ECHO] = &SERVICE_ECHO,
	[CONF_SERVICE_RELAY] = &SERVICE_RELAY,
};

static const struct proto_ops *const FRAMINGS[] = {
	[CONF_FRAMING_NONE] = &PROTO_RAW,
	[CONF_FRAMING_LINE] = &PROTO_LINE,
	[CONF_FRAMING_LENGTH32] = &PROTO_LENGTH32,
};

/* A worker that is merely late must not be taken for one that hangs. */
static void
worker_set_tick(struct worker *worker)
{
	uint64_t usec = worker->conf->worker_timeout / WORKER_TICKS_MIN;
	struct timeval tick;

	worker->tick_period_usec = usec < WORKER_TICK_USEC ? usec : WORKER_TICK_USEC;
	tick = clock_timeval(worker->tick_period_usec);
	event_add(worker->tick_event, &tick);
}

static const struct proto_ops *
worker_proto(const struct conf_listener *from)
{
	return from->protocol == CONF_PROTOCOL_WEBSOCKET ? &PROTO_WS : FRAMINGS[from->framing];
}

static struct ws_texts
worker_texts(const struct conf_texts *from)
{
	return (struct ws_texts){.items = from->items, .n = from->n};
}

/* How the servers behind a listener are treated. */
static struct conn_listener
worker_upstream_side(const struct conf_listener *from)
{
	return (struct conn_listener){
		.proto = &PROTO_UPSTREAM,
		.service = SERVICES[from->service],
		.linger_usec = WORKER_LINGER_USEC,
		.queued_max = from->queued_per_connection,
		.connect_timeout_usec = from->upstream_connect_timeout,
	};
}

static void
worker_apply_listener(struct worker *worker, size_t i)
{
	const struct conf_listener *from = &worker->conf->listeners[i];

	worker->ws_policies[i] = (struct ws_policy){
		.paths = worker_texts(&from->ws_paths),
		.hosts = worker_texts(&from->ws_hosts),
		.origins = worker_texts(&from->ws_origins),
		.subprotocols = worker_texts(&from->ws_subprotocols),
		.health_path = from->ws_health_path,
	};
	worker->conns.listeners[i] = (struct conn_listener){
		.proto = worker_proto(from),
		.service = SERVICES[from->service],
		.first_byte_timeout_usec = from->first_byte_timeout,
		.idle_timeout_usec = from->idle_timeout,
		.lifetime_usec = from->lifetime,
		.handshake_timeout_usec = from->ws_handshake_timeout,
		.linger_usec = from->protocol == CONF_PROTOCOL_WEBSOCKET ? from->ws_close_timeout
									 : WORKER_LINGER_USEC,
		.lifetime_jitter = (unsigned)worker->conf->lifetime_jitter,
		.queued_max = from->queued_per_connection,
		.message_max = from->message_max,
		.heartbeat_usec = from->heartbeat_interval,
		.heartbeat = from->heartbeat_payload,
		.heartbeat_length = strlen(from->heartbeat_payload),
		.ping_usec = from->ws_ping_interval,
		.ws_head_max = from->ws_head_max,
		.ws_policy = &worker->ws_policies[i],
		.proxy_timeout_usec = from->proxy_timeout,
		.keepalive_usec = from->keepalive,
		.send_proxy = from->upstream_send_proxy, /* the words are off, v1 and v2 */
		.sources = &worker->sources[i],
	};
	worker->conns.upstream_sides[i] = worker_upstream_side(from);
}

void
worker_apply_conf(struct worker *worker)
{
	worker_set_tick(worker);
	log_set_level((enum log_level)worker->conf->log_level);
	worker->conns.queued_limit = worker->conf->queued_total;
	for (size_t i = 0; i < worker->conf->n_listeners; i++) {
		const struct conf_listener *from = &worker->conf->listeners[i];

		if (from->service == CONF_SERVICE_RELAY)
			upstream_sources_set(&worker->sources[i], from->upstream_sources.items,
				from->upstream_sources.n);
		worker_apply_listener(worker, i);
	}
}

void
worker_conf_done(struct worker *worker)
{
	for (size_t i = 0; i < CONF_LISTENERS_MAX; i++)
		upstream_sources_done(&worker->sources[i]);
	conf_free(worker->conf);
}
