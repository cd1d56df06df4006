/* admit: see admit.h. */
#include "admit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Tokens are counted in millionths: at N per second, N of them come in each microsecond. So all
 * is whole numbers, and no fraction is ever lost. */
#define ADMIT_TOKEN 1000000u

struct admit_bucket {
	uint64_t per_second; /* 0: no limit */
	uint64_t capacity;   /* in millionths of a token, like `fill` */
	uint64_t fill;       /* at filled_usec */
	uint64_t filled_usec;
};

struct admit {
	struct admit_limits limits; /* .exempt is `exempt` */
	struct cidr *exempt;        /* owned */
	uint32_t max_connections;
	uint32_t connections;
	uint32_t listener_connections[ADMIT_LISTENERS_MAX];
	struct admit_bucket bucket;
	struct admit_bucket listener_buckets[ADMIT_LISTENERS_MAX];
	struct source_table *sources;
	struct source_table *old_sources; /* while a recount lasts */
};

static void
admit_bucket_refill(struct admit_bucket *bucket, uint64_t now_usec)
{
	uint64_t elapsed_usec, missing;

	if (now_usec <= bucket->filled_usec)
		return;
	elapsed_usec = now_usec - bucket->filled_usec;
	bucket->filled_usec = now_usec;
	if (bucket->per_second == 0)
		return;
	missing = bucket->capacity - bucket->fill;
	/* A division, since the product overflows after a long silence. */
	if (elapsed_usec > missing / bucket->per_second)
		bucket->fill = bucket->capacity;
	else
		bucket->fill += elapsed_usec * bucket->per_second;
}

/*
 * A bucket that had no limit so far is full. It holds a little more than the burst, less than what
 * comes in a microsecond and less than a token: a wait is rounded up to whole microseconds, and
 * what comes in the last of them must not be lost, or small bursts would fall behind their rate.
 */
static void
admit_bucket_configure(
	struct admit_bucket *bucket, const struct admit_rate *rate, uint64_t now_usec)
{
	uint64_t burst = rate->burst != 0 ? rate->burst : rate->per_second;
	uint64_t slack = rate->per_second < ADMIT_TOKEN ? rate->per_second : ADMIT_TOKEN;
	bool had_limit = bucket->per_second != 0;

	assert(burst < UINT64_MAX / ADMIT_TOKEN);
	admit_bucket_refill(bucket, now_usec);
	bucket->per_second = rate->per_second;
	if (rate->per_second == 0)
		return;
	bucket->capacity = burst * ADMIT_TOKEN + slack - 1;
	if (!had_limit)
		bucket->fill = burst * ADMIT_TOKEN;
	else if (bucket->fill > bucket->capacity)
		bucket->fill = bucket->capacity;
}

/* How long until there is a token; 0: there is one. */
static uint64_t
admit_bucket_wait(struct admit_bucket *bucket, uint64_t now_usec)
{
	uint64_t missing;

	if (bucket->per_second == 0)
		return 0;
	admit_bucket_refill(bucket, now_usec);
	if (bucket->fill >= ADMIT_TOKEN)
		return 0;
	missing = ADMIT_TOKEN - bucket->fill;
	return missing / bucket->per_second + (missing % bucket->per_second != 0);
}

static void
admit_bucket_take(struct admit_bucket *bucket, uint64_t now_usec)
{
	if (bucket->per_second == 0)
		return;
	admit_bucket_refill(bucket, now_usec);
	assert(bucket->fill >= ADMIT_TOKEN);
	bucket->fill -= ADMIT_TOKEN;
}

/* A copy of the list; NULL when it is empty, too. */
static int
admit_copy_exempt(const struct admit_limits *limits, struct cidr **ret_exempt)
{
	struct cidr *exempt = NULL;

	if (limits->n_exempt > 0) {
		exempt = calloc(limits->n_exempt, sizeof(*exempt));
		if (!exempt)
			return -ENOMEM;
		memcpy(exempt, limits->exempt, limits->n_exempt * sizeof(*exempt));
	}
	*ret_exempt = exempt;
	return 0;
}

/* Takes `exempt`, the copy of the list in `limits`. */
static void
admit_set_limits(struct admit *admit, const struct admit_limits *limits, struct cidr *exempt,
	uint64_t now_usec)
{
	unsigned i;

	assert(limits->connections <= admit->max_connections);
	free(admit->exempt);
	admit->exempt = exempt;
	admit->limits = *limits;
	admit->limits.exempt = exempt;
	admit_bucket_configure(&admit->bucket, &limits->rate, now_usec);
	for (i = 0; i < ADMIT_LISTENERS_MAX; i++)
		admit_bucket_configure(
			&admit->listener_buckets[i], &limits->listeners[i].rate, now_usec);
}

struct admit *
admit_new(const struct admit_limits *limits, uint32_t max_connections, uint64_t now_usec)
{
	struct admit *admit = calloc(1, sizeof(*admit));
	struct cidr *exempt;

	if (!admit)
		return NULL;
	admit->max_connections = max_connections;
	admit->sources =
		source_table_new(max_connections, limits->ipv4_prefix, limits->ipv6_prefix);
	if (!admit->sources || admit_copy_exempt(limits, &exempt) < 0) {
		admit_free(admit);
		return NULL;
	}
	admit_set_limits(admit, limits, exempt, now_usec);
	return admit;
}

void
admit_free(struct admit *admit)
{
	if (!admit)
		return;
	source_table_free(admit->old_sources);
	source_table_free(admit->sources);
	free(admit->exempt);
	free(admit);
}

int
admit_configure(struct admit *admit, const struct admit_limits *limits, uint64_t now_usec,
	bool *ret_recount)
{
	bool recount = limits->ipv4_prefix != admit->limits.ipv4_prefix ||
		       limits->ipv6_prefix != admit->limits.ipv6_prefix;
	struct source_table *fresh = NULL;
	struct cidr *exempt;

	assert(!recount || !admit->old_sources);
	if (admit_copy_exempt(limits, &exempt) < 0)
		return -ENOMEM;
	if (recount) {
		fresh = source_table_new(
			admit->max_connections, limits->ipv4_prefix, limits->ipv6_prefix);
		if (!fresh) {
			free(exempt);
			return -ENOMEM;
		}
		admit->old_sources = admit->sources;
		admit->sources = fresh;
	}
	admit_set_limits(admit, limits, exempt, now_usec);
	*ret_recount = recount;
	return 0;
}

uint32_t
admit_recount(struct admit *admit, uint32_t old_source, const struct addr *addr)
{
	assert(admit->old_sources);
	source_table_release(admit->old_sources, old_source);
	return source_table_acquire(admit->sources, addr);
}

void
admit_recount_done(struct admit *admit)
{
	assert(admit->old_sources);
	assert(source_table_size(admit->old_sources) == 0);
	source_table_free(admit->old_sources);
	admit->old_sources = NULL;
}

static bool
admit_is_full(const struct admit *admit)
{
	return admit->connections >= admit->limits.connections;
}

static bool
admit_listener_is_full(const struct admit *admit, unsigned listener)
{
	uint64_t limit = admit->limits.listeners[listener].connections;

	return limit != 0 && admit->listener_connections[listener] >= limit;
}

enum admit_gate
admit_gate(struct admit *admit, unsigned listener, uint64_t now_usec, uint64_t *ret_wait_usec)
{
	uint64_t wait_usec, listener_wait_usec;

	assert(listener < ADMIT_LISTENERS_MAX);
	if (admit->limits.listeners[listener].when_full == ADMIT_WAIT &&
		(admit_is_full(admit) || admit_listener_is_full(admit, listener)))
		return ADMIT_GATE_FULL;
	wait_usec = admit_bucket_wait(&admit->bucket, now_usec);
	listener_wait_usec = admit_bucket_wait(&admit->listener_buckets[listener], now_usec);
	if (wait_usec < listener_wait_usec)
		wait_usec = listener_wait_usec;
	if (wait_usec == 0)
		return ADMIT_GATE_OPEN;
	*ret_wait_usec = wait_usec;
	return ADMIT_GATE_RATE;
}

static bool
admit_is_exempt(const struct admit *admit, const struct addr *addr)
{
	size_t i;

	for (i = 0; i < admit->limits.n_exempt; i++)
		if (cidr_contains(&admit->exempt[i], addr))
			return true;
	return false;
}

static bool
admit_source_is_full(const struct admit *admit, const struct addr *addr)
{
	uint64_t limit = admit->limits.per_source;

	return limit != 0 && source_table_count(admit->sources, addr) >= limit &&
	       !admit_is_exempt(admit, addr);
}

enum close_reason
admit_decide(struct admit *admit, unsigned listener, const struct addr *addr, uint64_t now_usec,
	uint32_t *ret_source)
{
	assert(listener < ADMIT_LISTENERS_MAX);
	admit_bucket_take(&admit->bucket, now_usec);
	admit_bucket_take(&admit->listener_buckets[listener], now_usec);
	return admit_restore(admit, listener, addr, ret_source);
}

enum close_reason
admit_restore(struct admit *admit, unsigned listener, const struct addr *addr, uint32_t *ret_source)
{
	assert(listener < ADMIT_LISTENERS_MAX);
	if (admit_is_full(admit))
		return CLOSE_REFUSED_TOTAL;
	if (admit_listener_is_full(admit, listener))
		return CLOSE_REFUSED_LISTENER;
	if (admit_source_is_full(admit, addr))
		return CLOSE_REFUSED_SOURCE;
	admit->connections++;
	admit->listener_connections[listener]++;
	*ret_source = source_table_acquire(admit->sources, addr);
	return CLOSE_NONE;
}

bool
admit_takes_all(const struct admit *admit, uint64_t n)
{
	for (unsigned i = 0; i < ADMIT_LISTENERS_MAX; i++)
		if (admit->limits.listeners[i].connections != 0)
			return false;
	return admit->limits.per_source == 0 && admit->connections + n <= admit->limits.connections;
}

enum close_reason
admit_identify(struct admit *admit, const struct addr *addr, uint32_t *ret_source)
{
	if (admit_source_is_full(admit, addr))
		return CLOSE_REFUSED_SOURCE;
	*ret_source = source_table_acquire(admit->sources, addr);
	return CLOSE_NONE;
}

void
admit_release(struct admit *admit, unsigned listener, uint32_t source, bool from_before_recount)
{
	assert(listener < ADMIT_LISTENERS_MAX);
	assert(admit->connections > 0 && admit->listener_connections[listener] > 0);
	assert(!from_before_recount || admit->old_sources);
	source_table_release(from_before_recount ? admit->old_sources : admit->sources, source);
	admit->connections--;
	admit->listener_connections[listener]--;
}

uint32_t
admit_connections(const struct admit *admit)
{
	return admit->connections;
}

uint32_t
admit_listener_connections(const struct admit *admit, unsigned listener)
{
	assert(listener < ADMIT_LISTENERS_MAX);
	return admit->listener_connections[listener];
}

const struct source_table *
admit_sources(const struct admit *admit)
{
	return admit->sources;
}
