/* upstream: see upstream.h. */
#include "upstream.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

_Static_assert(
	offsetof(struct upstream, address) <= 64, "one cache line is all that choosing reads");

struct upstreams *
upstreams_new(void)
{
	struct upstreams *upstreams = mmap(NULL, sizeof(*upstreams), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return upstreams == MAP_FAILED ? NULL : upstreams;
}

void
upstreams_free(struct upstreams *upstreams)
{
	if (upstreams)
		(void)munmap(upstreams, sizeof(*upstreams));
}

void
upstreams_inherit(struct upstreams *upstreams)
{
	(void)mprotect(upstreams, sizeof(*upstreams), PROT_READ);
}

/* FNV-1a. */
static uint64_t
upstream_hash(const void *bytes, size_t length)
{
	const uint8_t *byte = bytes;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ byte[i]) * 0x100000001b3;
	return hash;
}

/* Makes every bit depend on every other one (splitmix64). */
static uint64_t
upstream_mix(uint64_t bits)
{
	bits += 0x9e3779b97f4a7c15;
	bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
	bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
	return bits ^ bits >> 31;
}

/* By the text, so that it is the same on every machine, and after a restart. */
static uint64_t
upstream_hash_address(const struct upstream_address *address)
{
	char text[UPSTREAM_ADDRESS_TEXT_MAX];

	upstream_address_format(address, text);
	return upstream_mix(upstream_hash(text, strlen(text)));
}

static uint64_t
upstream_hash_client(const struct addr *client)
{
	return upstream_hash(client->bytes, sizeof(client->bytes));
}

static struct upstream *
upstreams_at(struct upstreams *upstreams, uint16_t number)
{
	assert(number < UPSTREAM_MAX && upstreams->items[number].in_use);
	return &upstreams->items[number];
}

/* The server with this name and address, or UPSTREAM_NONE. */
static uint16_t
upstreams_look_up(const struct upstreams *upstreams, unsigned listener, const char *name,
	const struct upstream_address *address)
{
	for (unsigned i = 0; i < upstreams->n_members[listener]; i++) {
		uint16_t number = upstreams->members[listener][i];
		const struct upstream *upstream = &upstreams->items[number];

		if (upstream_address_equal(&upstream->address, address) &&
			strcmp(upstream->name, name) == 0)
			return number;
	}
	return UPSTREAM_NONE;
}

static uint16_t
upstreams_add(struct upstreams *upstreams, unsigned listener, const char *name,
	const struct upstream_address *address)
{
	struct upstream *upstream = upstreams->items;
	uint16_t number = 0;
	uint8_t users;

	while (number < UPSTREAM_MAX && upstream[number].in_use)
		number++;
	if (number == UPSTREAM_MAX)
		return UPSTREAM_NONE;
	upstream += number;
	users = upstream->users;
	memset(upstream, 0, sizeof(*upstream));
	upstream->users = (uint8_t)(users + 1);
	upstream->in_use = upstream->named = true;
	upstream->unresolved = address->length == 0;
	upstream->listener = (uint8_t)listener;
	upstream->address = *address;
	upstream->hash = upstream_hash_address(address);
	strcpy(upstream->name, name);
	upstreams->members[listener][upstreams->n_members[listener]++] = number;
	return number;
}

/* The turn stays with the one that had it, or goes to the one after. */
static void
upstreams_remove_member(struct upstreams *upstreams, unsigned listener, unsigned at)
{
	uint16_t *members = upstreams->members[listener];
	unsigned n = --upstreams->n_members[listener];

	upstreams->items[members[at]].in_use = false;
	memmove(members + at, members + at + 1, (n - at) * sizeof(*members));
	if (upstreams->next[listener] > at)
		upstreams->next[listener]--;
	if (upstreams->next[listener] >= n)
		upstreams->next[listener] = 0;
}

static bool
upstreams_is_listed(
	const struct upstream *upstream, const struct upstream_address *addresses, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (upstream_address_equal(&upstream->address, &addresses[i]))
			return true;
	return false;
}

/* One that is not wanted stays while connections are left, or to be known as disabled should its
 * name have this address again; if the name is disabled, that is enough. */
static bool
upstream_stays(const struct upstream *upstream)
{
	bool remembered = upstream->disabled && !upstream->name_disabled && upstream->named;

	return upstream->wanted || upstream->connections > 0 || remembered;
}

static void
upstreams_set_wanted(struct upstreams *upstreams, unsigned listener, unsigned at, bool wanted)
{
	struct upstream *upstream = &upstreams->items[upstreams->members[listener][at]];

	upstream->wanted = wanted;
	if (!upstream_stays(upstream))
		upstreams_remove_member(upstreams, listener, at);
}

int
upstreams_set_addresses(struct upstreams *upstreams, unsigned listener, const char *name,
	const struct upstream_address *addresses, size_t n,
	void (*fresh)(void *context, uint16_t number), void *context)
{
	assert(listener < UPSTREAM_LISTENERS_MAX && strlen(name) <= UPSTREAM_NAME_MAX);
	/* Those that go make room for those that come. */
	for (unsigned i = upstreams->n_members[listener]; i-- > 0;) {
		const struct upstream *upstream =
			&upstreams->items[upstreams->members[listener][i]];

		if (strcmp(upstream->name, name) == 0)
			upstreams_set_wanted(upstreams, listener, i,
				upstreams_is_listed(upstream, addresses, n));
	}
	for (size_t i = 0; i < n; i++) {
		uint16_t number;

		if (upstreams_look_up(upstreams, listener, name, &addresses[i]) != UPSTREAM_NONE)
			continue;
		number = upstreams_add(upstreams, listener, name, &addresses[i]);
		if (number == UPSTREAM_NONE)
			return -ENOSPC;
		upstreams->items[number].wanted = true;
		if (fresh)
			fresh(context, number);
	}
	return 0;
}

int
upstreams_await_address(struct upstreams *upstreams, unsigned listener, const char *name,
	void (*fresh)(void *context, uint16_t number), void *context)
{
	static const struct upstream_address none = {.length = 0};

	for (unsigned i = 0; i < upstreams->n_members[listener]; i++) {
		const struct upstream *upstream =
			&upstreams->items[upstreams->members[listener][i]];

		if (upstream->wanted && strcmp(upstream->name, name) == 0)
			return 0;
	}
	return upstreams_set_addresses(upstreams, listener, name, &none, 1, fresh, context);
}

void
upstreams_keep_names(
	struct upstreams *upstreams, unsigned listener, const char *const *names, size_t n)
{
	assert(listener < UPSTREAM_LISTENERS_MAX);
	for (unsigned i = upstreams->n_members[listener]; i-- > 0;) {
		struct upstream *upstream = &upstreams->items[upstreams->members[listener][i]];

		upstream->named = false;
		for (size_t k = 0; k < n && !upstream->named; k++)
			upstream->named = strcmp(upstream->name, names[k]) == 0;
		upstreams_set_wanted(upstreams, listener, i, upstream->wanted && upstream->named);
	}
}

uint16_t
upstreams_restore(struct upstreams *upstreams, unsigned listener, const char *name,
	const struct upstream_address *address, bool wanted)
{
	uint16_t number;

	assert(listener < UPSTREAM_LISTENERS_MAX && strlen(name) <= UPSTREAM_NAME_MAX);
	number = upstreams_look_up(upstreams, listener, name, address);
	if (number == UPSTREAM_NONE)
		number = upstreams_add(upstreams, listener, name, address);
	if (number != UPSTREAM_NONE && wanted)
		upstreams->items[number].wanted = true;
	return number;
}

void
upstreams_set_policy(
	struct upstreams *upstreams, unsigned listener, const struct upstream_policy *policy)
{
	assert(listener < UPSTREAM_LISTENERS_MAX);
	upstreams->policies[listener] = *policy;
	for (unsigned i = 0; i < upstreams->n_members[listener] && !policy->checked; i++) {
		struct upstream *upstream = &upstreams->items[upstreams->members[listener][i]];

		upstream->down = false;
		upstream->streak = 0;
	}
}

/* It would get a client now. */
static bool
upstreams_is_open(const struct upstreams *upstreams, const struct upstream *upstream)
{
	uint64_t max = upstreams->policies[upstream->listener].max_connections;

	return upstream_is_up(upstream) && (max == 0 || upstream->connections < max);
}

/* 0 is the best; 2 a server that this very client has just failed at. */
static unsigned
upstream_rank(const struct upstream *upstream, bool has_failed_it, uint64_t now_usec)
{
	if (has_failed_it)
		return 2;
	return upstream->failed_usec != 0 && now_usec < upstream->failed_usec + UPSTREAM_SHY_USEC;
}

/* The lowest is taken among those of the same rank; the first of equal ones in turn. */
static uint64_t
upstream_cost(const struct upstream *upstream, enum upstream_balance balance, uint64_t client_hash)
{
	switch (balance) {
	case UPSTREAM_LEAST_CONNECTIONS:
		return upstream->connections;
	case UPSTREAM_ROUND_ROBIN:
		return 0;
	case UPSTREAM_SOURCE:
		return upstream_mix(client_hash ^ upstream->hash);
	}
	return 0;
}

static enum upstream_balance
upstreams_balance(const struct upstreams *upstreams, unsigned listener, const struct addr *client)
{
	enum upstream_balance balance = upstreams->policies[listener].balance;
	bool has_source = client->family == ADDR_IPV4 || client->family == ADDR_IPV6;

	return balance == UPSTREAM_SOURCE && !has_source ? UPSTREAM_LEAST_CONNECTIONS : balance;
}

uint16_t
upstreams_pick(struct upstreams *upstreams, unsigned listener, const struct addr *client,
	uint16_t not_this, uint64_t now_usec)
{
	enum upstream_balance balance = upstreams_balance(upstreams, listener, client);
	uint64_t client_hash = balance == UPSTREAM_SOURCE ? upstream_hash_client(client) : 0;
	const uint16_t *members = upstreams->members[listener];
	unsigned n = upstreams->n_members[listener], at = upstreams->next[listener];
	unsigned best = n, best_rank = 0;
	uint64_t best_cost = 0;

	assert(listener < UPSTREAM_LISTENERS_MAX);
	for (unsigned i = 0; i < n; i++, at = at + 1 < n ? at + 1 : 0) {
		const struct upstream *upstream = &upstreams->items[members[at]];
		unsigned rank;
		uint64_t cost;

		if (!upstreams_is_open(upstreams, upstream))
			continue;
		rank = upstream_rank(upstream, members[at] == not_this, now_usec);
		cost = upstream_cost(upstream, balance, client_hash);
		if (best < n && (rank > best_rank || (rank == best_rank && cost >= best_cost)))
			continue;
		best = at;
		best_rank = rank;
		best_cost = cost;
	}
	if (best == n)
		return UPSTREAM_NONE;
	if (balance != UPSTREAM_SOURCE)
		upstreams->next[listener] = (uint16_t)(best + 1 < n ? best + 1 : 0);
	upstreams->items[members[best]].connections++;
	return members[best];
}

bool
upstreams_available(const struct upstreams *upstreams, unsigned listener)
{
	assert(listener < UPSTREAM_LISTENERS_MAX);
	for (unsigned i = 0; i < upstreams->n_members[listener]; i++)
		if (upstreams_is_open(
			    upstreams, &upstreams->items[upstreams->members[listener][i]]))
			return true;
	return false;
}

void
upstreams_count(struct upstreams *upstreams, uint16_t number)
{
	upstreams_at(upstreams, number)->connections++;
}

static void
upstreams_forget(struct upstreams *upstreams, uint16_t number)
{
	unsigned listener = upstreams->items[number].listener, at = 0;

	while (upstreams->members[listener][at] != number)
		at++;
	upstreams_remove_member(upstreams, listener, at);
}

bool
upstreams_release(struct upstreams *upstreams, uint16_t number)
{
	struct upstream *upstream;
	bool was_open;

	if (number == UPSTREAM_NONE)
		return false;
	upstream = upstreams_at(upstreams, number);
	assert(upstream->connections > 0);
	was_open = upstreams_is_open(upstreams, upstream);
	upstream->connections--;
	if (!upstream_stays(upstream))
		upstreams_forget(upstreams, number);
	return !was_open && upstreams_is_open(upstreams, upstream);
}

void
upstreams_set_disabled(struct upstreams *upstreams, uint16_t number, bool is_disabled, bool by_name)
{
	struct upstream *upstream = upstreams_at(upstreams, number);

	upstream->disabled = is_disabled;
	upstream->name_disabled = is_disabled && (by_name || upstream->name_disabled);
	if (!upstream_stays(upstream))
		upstreams_forget(upstreams, number);
}

bool
upstream_is_called(const struct upstream *upstream, const char *name_or_address)
{
	struct upstream_name parsed;

	if (!upstream->in_use || upstream_parse_name(name_or_address, &parsed, NULL) < 0)
		return false;
	if (parsed.address.length == 0)
		return strcasecmp(upstream->name, name_or_address) == 0;
	return strcmp(upstream->name, name_or_address) == 0 ||
	       upstream_address_equal(&upstream->address, &parsed.address);
}

/* `good` or not, one more result. */
static enum upstream_change
upstream_count_result(struct upstream *upstream, const struct upstream_policy *policy, bool good)
{
	if (good != upstream->down) {
		upstream->streak = 0;
		return UPSTREAM_SAME;
	}
	if (++upstream->streak < (good ? policy->rise : policy->fall))
		return UPSTREAM_SAME;
	upstream->down = !good;
	upstream->streak = 0;
	return good ? UPSTREAM_CAME_UP : UPSTREAM_WENT_DOWN;
}

enum upstream_change
upstreams_checked(struct upstreams *upstreams, uint16_t number, bool good)
{
	struct upstream *upstream = upstreams_at(upstreams, number);
	const struct upstream_policy *policy = &upstreams->policies[upstream->listener];

	if (good)
		upstream->failed_usec = 0;
	return policy->checked ? upstream_count_result(upstream, policy, good) : UPSTREAM_SAME;
}

enum upstream_change
upstreams_connect_failed(
	struct upstreams *upstreams, uint16_t number, uint64_t connected, uint64_t now_usec)
{
	struct upstream *upstream = upstreams_at(upstreams, number);
	const struct upstream_policy *policy = &upstreams->policies[upstream->listener];

	if (!upstream->down && connected != upstream->connected)
		upstream->streak = 0;
	upstream->connected = connected;
	upstream->failed_usec = now_usec;
	return policy->checked ? upstream_count_result(upstream, policy, false) : UPSTREAM_SAME;
}

const char *
upstream_format(const struct upstream *upstream, char buf[static UPSTREAM_ADDRESS_TEXT_MAX])
{
	if (!upstream->unresolved)
		return upstream_address_format(&upstream->address, buf);
	buf[0] = '\0';
	return buf;
}

const char *
upstream_label(const struct upstream *upstream, char buf[static UPSTREAM_LABEL_MAX])
{
	char address[UPSTREAM_ADDRESS_TEXT_MAX];

	upstream_format(upstream, address);
	if (upstream->unresolved || strcmp(address, upstream->name) == 0)
		strcpy(buf, upstream->name);
	else
		snprintf(buf, UPSTREAM_LABEL_MAX, "%s (%s)", upstream->name, address);
	return buf;
}
