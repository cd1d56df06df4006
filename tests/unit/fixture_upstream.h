/*
 * fixture_upstream: servers to choose from. Static functions only.
 */
#ifndef MILLGATE_TESTS_FIXTURE_UPSTREAM_H
#define MILLGATE_TESTS_FIXTURE_UPSTREAM_H

#include <stdbool.h>
#include <string.h>

#include "fixture.h"
#include "upstream.h"

#define NOW 1000000000u

static inline struct upstream_address
make_address(const char *text)
{
	struct upstream_name name;

	if (upstream_parse_name(text, &name, NULL) < 0 || name.address.length == 0)
		fail_msg("not an address: %s", text);
	return name.address;
}

static inline void
count_fresh(void *context, uint16_t number)
{
	unsigned *n = context;

	(void)number;
	(*n)++;
}

/* The number of the server with this name and address, as upstream_format() writes it; or
 * UPSTREAM_NONE. */
static inline uint16_t
find_server(
	const struct upstreams *upstreams, unsigned listener, const char *name, const char *address)
{
	char text[UPSTREAM_ADDRESS_TEXT_MAX];

	for (unsigned i = 0; i < upstreams->n_members[listener]; i++) {
		uint16_t number = upstreams->members[listener][i];
		const struct upstream *upstream = &upstreams->items[number];

		if (strcmp(upstream->name, name) == 0 &&
			strcmp(upstream_format(upstream, text), address) == 0)
			return number;
	}
	return UPSTREAM_NONE;
}

/* Adds a server with its address as its name; the number. */
static inline uint16_t
add_server(struct upstreams *upstreams, unsigned listener, const char *text)
{
	struct upstream_address address = make_address(text);
	unsigned n_fresh = 0;

	assert_int_equal(upstreams_set_addresses(
				 upstreams, listener, text, &address, 1, count_fresh, &n_fresh),
		0);
	assert_int_equal(n_fresh, 1);
	return find_server(upstreams, listener, text, text);
}

/* With `n` servers of listener 0 at 192.0.2.1:9000 and on, of which the numbers are 0 and on. */
static inline struct upstreams *
make_upstreams(enum upstream_balance balance, unsigned n)
{
	struct upstream_policy policy = {.balance = balance, .rise = 2, .fall = 3, .checked = true};
	struct upstreams *upstreams = upstreams_new();
	char text[32];

	assert_non_null(upstreams);
	upstreams_set_policy(upstreams, 0, &policy);
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "192.0.2.%u:9000", i + 1);
		assert_int_equal(add_server(upstreams, 0, text), i);
	}
	return upstreams;
}

static inline uint16_t
pick_for(struct upstreams *upstreams, const char *client)
{
	struct addr addr = make_addr(client);

	return upstreams_pick(upstreams, 0, &addr, UPSTREAM_NONE, NOW);
}

static inline uint16_t
pick(struct upstreams *upstreams)
{
	return pick_for(upstreams, "198.51.100.1");
}

#endif
