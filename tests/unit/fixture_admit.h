/*
 * fixture_admit: an admit to test, and short words for what is asked of it. Time stands at 0.
 */
#ifndef MILLGATE_TESTS_FIXTURE_ADMIT_H
#define MILLGATE_TESTS_FIXTURE_ADMIT_H

#include <stdbool.h>

#include "admit.h"
#include "fixture.h"

#define MAX_CONNECTIONS 1000

/* No limit that a test meets by chance. */
static inline struct admit_limits
make_limits(void)
{
	struct admit_limits limits = {
		.connections = MAX_CONNECTIONS,
		.ipv4_prefix = 32,
		.ipv6_prefix = 64,
	};

	return limits;
}

static inline struct admit *
make_admit(const struct admit_limits *limits)
{
	struct admit *admit = admit_new(limits, MAX_CONNECTIONS, 0);

	assert_non_null(admit);
	return admit;
}

static inline enum close_reason
decide(struct admit *admit, unsigned listener, const char *text, uint32_t *ret_source)
{
	struct addr addr = make_addr(text);

	return admit_decide(admit, listener, &addr, 0, ret_source);
}

/* Lets one in; returns its source. */
static inline uint32_t
enter(struct admit *admit, unsigned listener, const char *text)
{
	uint32_t source = SOURCE_NONE;

	assert_int_equal(decide(admit, listener, text, &source), CLOSE_NONE);
	assert_int_not_equal(source, SOURCE_NONE);
	return source;
}

static inline void
assert_refused(struct admit *admit, unsigned listener, const char *text, enum close_reason expected)
{
	uint32_t before = admit_connections(admit);
	uint32_t listener_before = admit_listener_connections(admit, listener);
	uint32_t source = 4711;

	assert_int_equal(decide(admit, listener, text, &source), expected);
	assert_int_equal(source, 4711);
	assert_int_equal(admit_connections(admit), before);
	assert_int_equal(admit_listener_connections(admit, listener), listener_before);
}

static inline void
assert_gate(struct admit *admit, unsigned listener, enum admit_gate expected)
{
	uint64_t wait_usec;

	assert_int_equal(admit_gate(admit, listener, 0, &wait_usec), expected);
}

static inline void
configure(struct admit *admit, const struct admit_limits *limits, bool expect_recount)
{
	bool recount = !expect_recount;

	assert_int_equal(admit_configure(admit, limits, 0, &recount), 0);
	assert_int_equal(recount, expect_recount);
}

static inline uint32_t
source_count(const struct admit *admit, const char *text)
{
	struct addr addr = make_addr(text);

	return source_table_count(admit_sources(admit), &addr);
}

#endif
