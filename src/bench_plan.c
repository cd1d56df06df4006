/* bench_plan: see bench_plan.h. */
#include "bench_plan.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* The kernel finds a free port fast as long as most are free; of the whole range it would use at
 * first only half, the odd or the even ones. */
#define PORTS_USED_FRACTION 4

/* Where default sources begin; 127.0.0.1 stays free for everybody else. */
#define LOOPBACK_FIRST 0x7f010001u /* 127.1.0.1 */
#define LOOPBACK_SOURCES_MAX 0x00feff00u

static bool
bench_target_is_loopback_ipv4(const struct bench_target *target)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)&target->address;

	return sin->sin_family == AF_INET && ntohl(sin->sin_addr.s_addr) >> 24 == 127;
}

static uint32_t
divide_up(uint64_t dividend, uint64_t divisor)
{
	return (uint32_t)((dividend + divisor - 1) / divisor);
}

static uint32_t
bench_plan_default_sources(const struct bench_plan *plan)
{
	uint32_t per_target = divide_up(plan->connections, plan->n_targets);
	uint32_t per_source = plan->ports / PORTS_USED_FRACTION;
	uint32_t n = divide_up(per_target, per_source > 0 ? per_source : 1);

	return n < LOOPBACK_SOURCES_MAX ? n : LOOPBACK_SOURCES_MAX;
}

/* A range's own address and the one of all ones are no hosts' addresses in IPv4. */
static bool
bench_plan_skips_ends(const struct cidr *cidr)
{
	return cidr->family == ADDR_IPV4 && cidr->prefix < 31;
}

static uint32_t
bench_plan_cidr_sources(const struct bench_plan *plan)
{
	unsigned bits = (plan->source.family == ADDR_IPV4 ? 32 : 128) - plan->source.prefix;
	uint64_t n = bits < 32 ? UINT64_C(1) << bits : UINT64_C(1) << 32;

	if (bench_plan_skips_ends(&plan->source))
		n -= 2;
	return n < plan->connections ? (uint32_t)n : plan->connections;
}

int
bench_plan_make(struct bench_plan *plan, struct mg_error *reterr_error)
{
	uint64_t per_process;
	uint32_t needed;

	assert(plan->connections > 0 && plan->n_targets > 0);
	if (plan->fd_limit <= BENCH_FDS_RESERVED)
		return mg_error_set(reterr_error, -EINVAL,
			"the limit of %llu open files (RLIMIT_NOFILE) is too low",
			(unsigned long long)plan->fd_limit);
	per_process = plan->fd_limit - BENCH_FDS_RESERVED;
	needed = divide_up(plan->connections, per_process);
	if (plan->processes == 0)
		plan->processes = needed;
	if (plan->processes > plan->connections)
		plan->processes = plan->connections;
	if (plan->processes < needed || plan->processes > BENCH_PROCESSES_MAX)
		return mg_error_set(reterr_error, -EINVAL,
			"%u connections need %u processes of %llu open files (RLIMIT_NOFILE); "
			"the processes are %u, at most %u are possible",
			plan->connections, needed, (unsigned long long)plan->fd_limit,
			plan->processes, BENCH_PROCESSES_MAX);
	plan->sources =
		plan->has_source ? bench_plan_cidr_sources(plan) : bench_plan_default_sources(plan);
	return 0;
}

uint32_t
bench_plan_first(const struct bench_plan *plan, uint32_t process)
{
	return (uint32_t)((uint64_t)plan->connections * process / plan->processes);
}

uint32_t
bench_plan_share(const struct bench_plan *plan, uint32_t process, uint32_t total)
{
	uint64_t from = bench_plan_first(plan, process), to = bench_plan_first(plan, process + 1);

	return (uint32_t)(to * total / plan->connections - from * total / plan->connections);
}

const struct bench_target *
bench_plan_target(const struct bench_plan *plan, uint32_t connection)
{
	return &plan->targets[connection % plan->n_targets];
}

/* Adds to the last 32 bits of an address, which a range's prefix leaves free or which do not
 * overflow. */
static void
bytes_add(uint8_t *last_four, uint32_t n)
{
	uint32_t value;

	memcpy(&value, last_four, sizeof(value));
	value = htonl(ntohl(value) + n);
	memcpy(last_four, &value, sizeof(value));
}

static void
bench_plan_source_ipv4(const struct bench_plan *plan, uint32_t source, struct sockaddr_in *sin)
{
	sin->sin_family = AF_INET;
	if (!plan->has_source) {
		sin->sin_addr.s_addr = htonl(LOOPBACK_FIRST + source);
		return;
	}
	memcpy(&sin->sin_addr, plan->source.bytes, 4);
	bytes_add((uint8_t *)&sin->sin_addr, source + bench_plan_skips_ends(&plan->source));
}

bool
bench_plan_source(const struct bench_plan *plan, uint32_t connection,
	struct sockaddr_storage *ret_sa, socklen_t *ret_length)
{
	const struct bench_target *target = bench_plan_target(plan, connection);
	uint32_t source = connection / plan->n_targets % plan->sources;
	int family = target->address.ss_family;

	if (plan->has_source) {
		if (family != (plan->source.family == ADDR_IPV4 ? AF_INET : AF_INET6))
			return false;
	} else if (plan->sources == 1 || !bench_target_is_loopback_ipv4(target)) {
		return false;
	}
	memset(ret_sa, 0, sizeof(*ret_sa));
	if (family == AF_INET) {
		bench_plan_source_ipv4(plan, source, (struct sockaddr_in *)ret_sa);
		*ret_length = sizeof(struct sockaddr_in);
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret_sa;

		sin6->sin6_family = AF_INET6;
		memcpy(&sin6->sin6_addr, plan->source.bytes, 16);
		bytes_add(sin6->sin6_addr.s6_addr + 12, source);
		*ret_length = sizeof(struct sockaddr_in6);
	}
	return true;
}
