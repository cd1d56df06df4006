/*
 * bench_client: one client process of millgate-bench, its event loop and its connections.
 *
 * Process: bench client. Connections are entries of a flat array, 64 bytes each; their index goes
 * with epoll events. An entry is connected anew while no events are pending only, so an event is
 * never one of the connection before.
 */
#ifndef MILLGATE_BENCH_CLIENT_H
#define MILLGATE_BENCH_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bench_options.h"
#include "bench_pace.h"
#include "bench_plan.h"
#include "bench_ring.h"
#include "bench_shared.h"
#include "bench_work.h"
#include "wheel.h"

enum bench_state {
	BENCH_STATE_QUEUED, /* in the queue of those to connect */
	BENCH_STATE_CONNECTING,
	BENCH_STATE_SHAKING, /* TCP is up; the answer to the WebSocket handshake is to come */
	BENCH_STATE_UP,
	BENCH_STATE_WAITING, /* its timer says when it is queued */
	BENCH_STATE_ENDED,
};

enum bench_flag {
	BENCH_FLAG_AWAY = 1 << 0,    /* it was up and is to come back */
	BENCH_FLAG_OLD = 1 << 1,     /* receive: was up when the measured phase began */
	BENCH_FLAG_IDLE = 1 << 2,    /* echo: in the queue of those with nothing under way */
	BENCH_FLAG_BLOCKED = 1 << 3, /* slow: the last send found no room */
};

/* Messages on a connection are numbered; those from `done` up to `due` are under way. */
struct bench_conn_echo {
	uint64_t unsent_bytes; /* heads of frames included */
	uint32_t due, done;
	uint32_t partial_bytes; /* of the next echo that have come */
	uint16_t sent_at, received_at;
};

struct bench_conn_receive {
	uint64_t since_nsec; /* up and measured since */
};

struct bench_conn_slow {
	uint16_t sent_at; /* in what is sent over and over */
};

struct bench_conn {
	struct wheel_node timer;
	int fd; /* valid when CONNECTING, SHAKING or UP */
	uint8_t state, flags;
	uint16_t attempts;   /* connects that failed in a row */
	uint64_t stamp_nsec; /* start of the connect; later the workload's: last arrival or send */
	uint64_t away_nsec;  /* with FLAG_AWAY: when it went down */
	union {
		struct bench_conn_echo echo;
		struct bench_conn_receive receive;
		struct bench_conn_slow slow;
	};
};

_Static_assert(sizeof(struct bench_conn) <= 64, "a connection is one cache line");

struct bench_echo;

struct bench_client {
	const struct bench_options *options;
	const struct bench_plan *plan;
	struct bench_shared *shared;
	struct bench_slot *slot;
	uint32_t process, first, n; /* its connections are first to first + n - 1 of the plan */

	enum bench_phase phase;
	uint64_t now_nsec;    /* read once a turn; bench_client_clock() reads it anew */
	uint64_t looked_nsec; /* when it last looked for events, and took all; 0: there are more */
	int epoll_fd;
	char *buffer; /* BENCH_BUFFER_BYTES, for reading */
	uint64_t random;

	struct bench_conn *conns;
	struct wheel wheel;      /* over conns */
	struct bench_ring queue; /* those to connect */
	struct bench_pace ramp;  /* of the first connects */
	uint64_t pause_nsec;     /* no connects until then: the server's backlog is full */
	uint32_t n_connecting, n_waiting;
	uint32_t n_away; /* those with FLAG_AWAY */

	const struct bench_work *work;
	struct bench_echo *echo;
	struct bench_ws *ws; /* NULL: the protocol is raw */
	double heartbeats_due;
	struct bench_pace churn;
	uint32_t churn_n, churn_next; /* the first churn_n connections take turns */
};

#define BENCH_BUFFER_BYTES 65536

/* The whole life of a client process; returns its exit status. `process` is its number. */
int bench_client_run(const struct bench_options *options, const struct bench_plan *plan,
	struct bench_shared *shared, uint32_t process);

static inline uint64_t
bench_client_clock(struct bench_client *client)
{
	return client->now_nsec = bench_clock_nsec();
}

static inline bool
bench_client_measures(const struct bench_client *client)
{
	return client->phase == BENCH_PHASE_MEASURE;
}

/* Makes epoll report again what a connection is ready for. */
void bench_client_rearm(struct bench_client *client, uint32_t index);

/* The pace of this process for a rate of all together, of which it has as large a part as of the
 * connections. Processes take turns within the time between two events. */
struct bench_pace bench_client_pace(
	const struct bench_client *client, uint64_t start_nsec, double rate);

/* Uniform below `limit`, which is above 0. */
uint64_t bench_client_random(struct bench_client *client, uint64_t limit);

#endif
