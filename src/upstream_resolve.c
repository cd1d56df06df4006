/*
 * upstream_resolve: see upstream_resolve.h.
 *
 * The two families of a name are two questions: what one of them did not get an answer to is left
 * as it was, while the other one's answer counts. libevent tells of a question's end later, even
 * when it was cancelled; so a question is memory of its own, and knows whether its name still wants
 * to hear of it.
 */
#include "upstream_resolve.h"

#include <assert.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/event_struct.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "upstream_hosts.h"

/* The second nameserver must have had its turn when settling is over. */
#define UPSTREAM_RESOLVE_TIMEOUT "2"
#define UPSTREAM_RESOLVE_ATTEMPTS "3"
#define UPSTREAM_RESOLVE_TURNS_MAX 64 /* of the loop, until libevent has let go */

enum upstream_family {
	UPSTREAM_IPV4,
	UPSTREAM_IPV6,
	UPSTREAM_FAMILIES,
};

static const uint8_t UPSTREAM_ADDR_FAMILY[UPSTREAM_FAMILIES] = {ADDR_IPV4, ADDR_IPV6};

struct upstream_question {
	struct upstream_resolve *resolve;
	struct upstream_resolve_name *name; /* NULL: nobody waits for the answer */
	enum upstream_family family;
	struct evdns_request *request;
};

struct upstream_answer {
	int error; /* DNS_ERR_... */
	size_t n;
	struct addr addrs[UPSTREAM_RESOLVE_ADDRESSES_MAX];
};

struct upstream_resolve_name {
	struct upstream_resolve *resolve;
	bool is_in_use;
	bool is_added; /* since upstream_resolve_begin() */
	bool is_due;
	bool is_tried;
	const char *problem; /* NULL: it was resolved, or is to be for the first time */
	unsigned listener;
	uint64_t interval_usec;
	char text[UPSTREAM_NAME_MAX + 1];
	char host[UPSTREAM_NAME_MAX + 1];
	uint16_t port;
	struct event timer;
	struct upstream_question *questions[UPSTREAM_FAMILIES]; /* under way, or NULL */
	struct upstream_answer answers[UPSTREAM_FAMILIES];
};

static bool
upstream_resolve_is_under_way(const struct upstream_resolve_name *name)
{
	return name->questions[UPSTREAM_IPV4] || name->questions[UPSTREAM_IPV6];
}

static bool
upstream_resolve_failed(const struct upstream_answer *answer)
{
	return answer->error != DNS_ERR_NONE && answer->error != DNS_ERR_NODATA &&
	       answer->error != DNS_ERR_NOTEXIST;
}

/* libevent asks again after "server failed", and calls that a timeout too. */
static const char *
upstream_resolve_error_text(int error)
{
	switch (error) {
	case DNS_ERR_TIMEOUT:
		return "no nameserver gives an answer";
	case DNS_ERR_TRUNCATED: /* it asks by UDP only, and RFC 1035, section 4.2.1, has 512 bytes */
		return "the answer is damaged, or has more addresses than fit into 512 bytes (some "
		       "28 of IPv4, 17 of IPv6)";
	default:
		return evdns_err_to_string(error);
	}
}

/* A failure says more than that there is nothing. */
static const char *
upstream_resolve_problem(const struct upstream_resolve_name *name)
{
	for (unsigned i = 0; i < UPSTREAM_FAMILIES; i++)
		if (upstream_resolve_failed(&name->answers[i]))
			return upstream_resolve_error_text(name->answers[i].error);
	for (unsigned i = 0; i < UPSTREAM_FAMILIES; i++)
		if (name->answers[i].error == DNS_ERR_NODATA)
			return "it has no address";
	return "there is no such name";
}

/* In a family whose question failed it keeps those that it has. */
static void
upstream_resolve_keep_old(struct upstream_resolve_name *name, enum upstream_family family)
{
	const struct upstreams *upstreams = name->resolve->upstreams;
	struct upstream_answer *answer = &name->answers[family];

	for (unsigned i = 0; i < upstreams->n_members[name->listener]; i++) {
		const struct upstream *upstream =
			&upstreams->items[upstreams->members[name->listener][i]];
		struct addr addr = addr_from_sockaddr(
			(const struct sockaddr *)&upstream->address.sa, upstream->address.length);

		if (upstream->wanted && strcmp(upstream->name, name->text) == 0 &&
			addr.family == UPSTREAM_ADDR_FAMILY[family] &&
			answer->n < UPSTREAM_RESOLVE_ADDRESSES_MAX)
			answer->addrs[answer->n++] = addr;
	}
}

static int
upstream_resolve_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

/* All of the answers, sorted, no two the same. */
static size_t
upstream_resolve_merge(
	const struct upstream_resolve_name *name, struct upstream_address *ret_addresses)
{
	struct addr all[UPSTREAM_FAMILIES * UPSTREAM_RESOLVE_ADDRESSES_MAX];
	size_t n = 0, n_merged = 0;

	for (unsigned family = 0; family < UPSTREAM_FAMILIES; family++)
		for (size_t i = 0; i < name->answers[family].n; i++) {
			all[n] = name->answers[family].addrs[i];
			all[n++].port = name->port;
		}
	qsort(all, n, sizeof(all[0]), upstream_resolve_compare);
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && upstream_resolve_compare(&all[i - 1], &all[i]) == 0)
			continue;
		ret_addresses[n_merged].length =
			addr_to_sockaddr(&all[i], &ret_addresses[n_merged].sa);
		n_merged++;
	}
	return n_merged;
}

static void
upstream_resolve_check_settled(struct upstream_resolve *resolve)
{
	const struct timeval now = {0, 0};

	for (unsigned i = 0; i < UPSTREAM_MAX; i++)
		if (resolve->names[i].is_in_use && !resolve->names[i].is_tried)
			return;
	if (resolve->is_settled)
		return;
	resolve->is_settled = true;
	(void)event_add(resolve->settle_event, &now);
}

/* All answers are there. */
static void
upstream_resolve_finish(struct upstream_resolve_name *name)
{
	struct upstream_address addresses[UPSTREAM_FAMILIES * UPSTREAM_RESOLVE_ADDRESSES_MAX];
	struct upstream_resolve *resolve = name->resolve;
	const struct timeval interval = clock_timeval(name->interval_usec);
	size_t n = name->answers[UPSTREAM_IPV4].n + name->answers[UPSTREAM_IPV6].n;
	bool had_problem;

	for (unsigned family = 0; family < UPSTREAM_FAMILIES && n > 0; family++)
		if (upstream_resolve_failed(&name->answers[family]))
			upstream_resolve_keep_old(name, family);
	if (n > 0)
		n = upstream_resolve_merge(name, addresses);
	name->is_tried = true;
	if (name->interval_usec != 0)
		(void)event_add(&name->timer, &interval);
	had_problem = name->problem;
	name->problem = n > 0 ? NULL : upstream_resolve_problem(name);
	if (had_problem != (n == 0))
		resolve->trouble(resolve->context, name->listener, name->text, name->problem);
	if (n > 0)
		resolve->resolved(resolve->context, name->listener, name->text, addresses, n);
	upstream_resolve_check_settled(resolve);
}

static void
upstream_resolve_take(struct upstream_answer *answer, char type, int count, const void *addresses)
{
	for (int i = 0; i < count && answer->n < UPSTREAM_RESOLVE_ADDRESSES_MAX; i++) {
		struct sockaddr_in sin = {.sin_family = AF_INET};
		struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};

		if (type == DNS_IPv4_A) {
			sin.sin_addr = ((const struct in_addr *)addresses)[i];
			answer->addrs[answer->n++] =
				addr_from_sockaddr((struct sockaddr *)&sin, sizeof(sin));
		} else {
			sin6.sin6_addr = ((const struct in6_addr *)addresses)[i];
			answer->addrs[answer->n++] =
				addr_from_sockaddr((struct sockaddr *)&sin6, sizeof(sin6));
		}
	}
}

static void upstream_resolve_pump(struct upstream_resolve *resolve);

static void
upstream_resolve_on_answer(
	int result, char type, int count, int ttl, void *addresses, void *context)
{
	struct upstream_question *question = context;
	struct upstream_resolve *resolve = question->resolve;
	struct upstream_resolve_name *name = question->name;
	enum upstream_family family = question->family;

	(void)ttl;
	resolve->n_questions--;
	free(question);
	if (name) {
		name->questions[family] = NULL;
		name->answers[family].error = result;
		if (result == DNS_ERR_NONE)
			upstream_resolve_take(&name->answers[family], type, count, addresses);
		if (!upstream_resolve_is_under_way(name))
			upstream_resolve_finish(name);
	}
	upstream_resolve_pump(resolve);
}

static void
upstream_resolve_ask(struct upstream_resolve_name *name, enum upstream_family family)
{
	struct upstream_resolve *resolve = name->resolve;
	struct upstream_question *question = resolve->dns ? calloc(1, sizeof(*question)) : NULL;

	name->answers[family].error = DNS_ERR_UNKNOWN;
	if (!question)
		return;
	*question = (struct upstream_question){.resolve = resolve, .name = name, .family = family};
	if (family == UPSTREAM_IPV4)
		question->request = evdns_base_resolve_ipv4(
			resolve->dns, name->host, 0, upstream_resolve_on_answer, question);
	else
		question->request = evdns_base_resolve_ipv6(
			resolve->dns, name->host, 0, upstream_resolve_on_answer, question);
	if (!question->request) {
		free(question);
		return;
	}
	name->questions[family] = question;
	resolve->n_questions++;
}

/* The families of which this machine has an address; one that is not of its own alone, too. */
struct upstream_families {
	bool any[UPSTREAM_FAMILIES], outside[UPSTREAM_FAMILIES];
};

static bool
upstream_resolve_is_outside(const struct sockaddr *sa)
{
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;

	if (sa->sa_family == AF_INET) {
		memcpy(&sin, sa, sizeof(sin));
		return ntohl(sin.sin_addr.s_addr) >> 24 != 127;
	}
	memcpy(&sin6, sa, sizeof(sin6));
	return !IN6_IS_ADDR_LOOPBACK(&sin6.sin6_addr) && !IN6_IS_ADDR_LINKLOCAL(&sin6.sin6_addr);
}

static struct upstream_families
upstream_resolve_families(void)
{
	struct upstream_families families = {{false}, {false}};
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0)
		return (struct upstream_families){{true, true}, {true, true}};
	for (struct ifaddrs *one = all; one; one = one->ifa_next) {
		int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
		unsigned i = family == AF_INET6 ? UPSTREAM_IPV6 : UPSTREAM_IPV4;

		if (family != AF_INET && family != AF_INET6)
			continue;
		families.any[i] = true;
		if (upstream_resolve_is_outside(one->ifa_addr))
			families.outside[i] = true;
	}
	freeifaddrs(all);
	/* Without a network all that can be reached is here. */
	if (!families.outside[UPSTREAM_IPV4] && !families.outside[UPSTREAM_IPV6])
		memcpy(families.outside, families.any, sizeof(families.outside));
	return families;
}

/* False: the file has nothing that this machine can reach. */
static bool
upstream_resolve_by_hosts(
	struct upstream_resolve_name *name, const struct upstream_families *families)
{
	struct addr addrs[UPSTREAM_RESOLVE_ADDRESSES_MAX];
	size_t n = upstream_hosts_find(
		name->resolve->hosts_path, name->host, addrs, UPSTREAM_RESOLVE_ADDRESSES_MAX);
	bool is_found = false;

	for (size_t i = 0; i < n; i++) {
		unsigned family = addrs[i].family == ADDR_IPV6 ? UPSTREAM_IPV6 : UPSTREAM_IPV4;
		struct upstream_answer *answer = &name->answers[family];

		if (!families->any[family])
			continue;
		answer->addrs[answer->n++] = addrs[i];
		answer->error = DNS_ERR_NONE;
		is_found = true;
	}
	return is_found;
}

static void
upstream_resolve_start(struct upstream_resolve_name *name)
{
	struct upstream_families families = upstream_resolve_families();

	name->is_due = false;
	for (unsigned family = 0; family < UPSTREAM_FAMILIES; family++) {
		name->answers[family].n = 0;
		name->answers[family].error = DNS_ERR_NOTEXIST;
	}
	if (!upstream_resolve_by_hosts(name, &families))
		for (unsigned family = 0; family < UPSTREAM_FAMILIES; family++)
			if (families.outside[family])
				upstream_resolve_ask(name, family);
	if (!upstream_resolve_is_under_way(name))
		upstream_resolve_finish(name);
}

/* Starts what is due, as far as questions may be under way. */
static void
upstream_resolve_pump(struct upstream_resolve *resolve)
{
	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		struct upstream_resolve_name *name = &resolve->names[resolve->next];

		if (resolve->n_questions + UPSTREAM_FAMILIES > UPSTREAM_RESOLVE_QUESTIONS_MAX)
			return;
		resolve->next = (resolve->next + 1) % UPSTREAM_MAX;
		if (name->is_in_use && name->is_due && !upstream_resolve_is_under_way(name))
			upstream_resolve_start(name);
	}
}

static void
upstream_resolve_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_resolve_name *name = arg;

	(void)fd;
	(void)what;
	name->is_due = true;
	upstream_resolve_pump(name->resolve);
}

static void
upstream_resolve_on_settled(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_resolve *resolve = arg;

	(void)fd;
	(void)what;
	resolve->settled(resolve->context);
}

int
upstream_resolve_init(struct upstream_resolve *resolve)
{
	resolve->names = calloc(UPSTREAM_MAX, sizeof(*resolve->names));
	resolve->settle_event =
		event_new(resolve->base, -1, 0, upstream_resolve_on_settled, resolve);
	if (resolve->names && resolve->settle_event)
		return 0;
	upstream_resolve_done(resolve);
	return -ENOMEM;
}

static void
upstream_resolve_forget(struct upstream_resolve_name *name)
{
	if (!name->is_in_use)
		return;
	name->is_in_use = name->is_due = false;
	(void)event_del(&name->timer);
	for (unsigned family = 0; family < UPSTREAM_FAMILIES; family++) {
		struct upstream_question *question = name->questions[family];

		if (!question)
			continue;
		name->questions[family] = NULL;
		question->name = NULL;
		evdns_cancel_request(name->resolve->dns, question->request);
	}
}

void
upstream_resolve_done(struct upstream_resolve *resolve)
{
	if (resolve->settle_event)
		event_free(resolve->settle_event);
	resolve->settle_event = NULL;
	for (unsigned i = 0; resolve->names && i < UPSTREAM_MAX; i++)
		upstream_resolve_forget(&resolve->names[i]);
	for (unsigned i = 0; resolve->n_questions > 0 && i < UPSTREAM_RESOLVE_TURNS_MAX; i++)
		(void)event_base_loop(resolve->base, EVLOOP_NONBLOCK);
	if (resolve->dns)
		evdns_base_free(resolve->dns, 0);
	free(resolve->names);
	resolve->dns = NULL;
	resolve->names = NULL;
}

void
upstream_resolve_begin(struct upstream_resolve *resolve)
{
	/* Places that were never used stay untouched memory. */
	for (unsigned i = 0; i < UPSTREAM_MAX; i++)
		if (resolve->names[i].is_in_use)
			resolve->names[i].is_added = false;
}

bool
upstream_resolve_trouble(const struct upstream_resolve *resolve, unsigned index,
	unsigned *ret_listener, const char **ret_name, const char **ret_problem)
{
	const struct upstream_resolve_name *name = &resolve->names[index];

	if (!name->is_in_use || !name->problem)
		return false;
	*ret_listener = name->listener;
	*ret_name = name->text;
	*ret_problem = name->problem;
	return true;
}

static struct upstream_resolve_name *
upstream_resolve_find(struct upstream_resolve *resolve, unsigned listener, const char *text)
{
	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		struct upstream_resolve_name *name = &resolve->names[i];

		if (name->is_in_use && name->listener == listener && strcmp(name->text, text) == 0)
			return name;
	}
	return NULL;
}

static struct upstream_resolve_name *
upstream_resolve_new(struct upstream_resolve *resolve, unsigned listener, const char *text,
	const struct upstream_name *parsed)
{
	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		struct upstream_resolve_name *name = &resolve->names[i];

		if (name->is_in_use)
			continue;
		*name = (struct upstream_resolve_name){
			.resolve = resolve,
			.is_in_use = true,
			.listener = listener,
			.port = parsed->port,
		};
		strcpy(name->text, text);
		strcpy(name->host, parsed->host);
		(void)event_assign(
			&name->timer, resolve->base, -1, 0, upstream_resolve_on_timer, name);
		return name;
	}
	return NULL;
}

int
upstream_resolve_add(struct upstream_resolve *resolve, unsigned listener, const char *text,
	const struct upstream_name *parsed, uint64_t interval_usec)
{
	struct upstream_resolve_name *name = upstream_resolve_find(resolve, listener, text);

	assert(strlen(text) <= UPSTREAM_NAME_MAX && parsed->address.length == 0);
	if (!name)
		name = upstream_resolve_new(resolve, listener, text, parsed);
	if (!name)
		return -ENOSPC;
	name->is_added = true;
	name->interval_usec = interval_usec;
	return 0;
}

/* Questions that are under way are asked again, of the nameservers that there are now. */
static void
upstream_resolve_configure(
	struct upstream_resolve *resolve, const char *const *nameservers, size_t n)
{
	int options = DNS_OPTION_SEARCH | DNS_OPTION_MISC | (n == 0 ? DNS_OPTION_NAMESERVERS : 0);

	if (resolve->dns) {
		(void)evdns_base_clear_nameservers_and_suspend(resolve->dns);
		evdns_base_search_clear(resolve->dns);
	} else {
		resolve->dns = evdns_base_new(resolve->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
		if (!resolve->dns)
			return;
		(void)evdns_base_set_option(resolve->dns, "timeout", UPSTREAM_RESOLVE_TIMEOUT);
		(void)evdns_base_set_option(resolve->dns, "attempts", UPSTREAM_RESOLVE_ATTEMPTS);
	}
	(void)evdns_base_resolv_conf_parse(resolve->dns, options, resolve->resolv_conf_path);
	for (size_t i = 0; i < n; i++) {
		struct upstream_address address;

		if (upstream_parse_nameserver(nameservers[i], &address, NULL) == 0)
			(void)evdns_base_nameserver_sockaddr_add(resolve->dns,
				(const struct sockaddr *)&address.sa, address.length, 0);
	}
	(void)evdns_base_resume(resolve->dns);
}

void
upstream_resolve_end(struct upstream_resolve *resolve, const char *const *nameservers, size_t n)
{
	bool is_needed = false;

	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		struct upstream_resolve_name *name = &resolve->names[i];

		if (!name->is_in_use)
			continue;
		if (!name->is_added)
			upstream_resolve_forget(name);
		else
			name->is_due = is_needed = true;
	}
	resolve->is_settled = false;
	if (is_needed)
		upstream_resolve_configure(resolve, nameservers, n);
	upstream_resolve_pump(resolve);
	upstream_resolve_check_settled(resolve);
}
