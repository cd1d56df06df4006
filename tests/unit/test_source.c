/* source: counts by network, whatever comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "source.h"

/* The n-th of many IPv4 addresses. */
static struct addr
make_nth(uint32_t n)
{
	struct addr addr = {.family = ADDR_IPV4};

	n = htonl(n);
	memcpy(addr.bytes, &n, sizeof(n));
	return addr;
}

static struct source_table *
make_table(uint32_t max, unsigned ipv4_prefix, unsigned ipv6_prefix)
{
	struct source_table *table = source_table_new(max, ipv4_prefix, ipv6_prefix);

	assert_non_null(table);
	return table;
}

static uint32_t
acquire(struct source_table *table, const char *text)
{
	struct addr addr = make_addr(text);
	uint32_t source = source_table_acquire(table, &addr);

	assert_int_not_equal(source, SOURCE_NONE);
	return source;
}

static uint32_t
count(const struct source_table *table, const char *text)
{
	struct addr addr = make_addr(text);

	return source_table_count(table, &addr);
}

static void
assert_network(const struct source_count *found, const char *network, uint32_t connections)
{
	char buf[CIDR_TEXT_MAX];

	assert_string_equal(cidr_format(&found->network, buf), network);
	assert_int_equal(found->connections, connections);
}

static void
test_empty_table(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	struct source_count top[2];

	(void)state;
	assert_int_equal(source_table_size(table), 0);
	assert_int_equal(count(table, "192.0.2.1"), 0);
	assert_int_equal(source_table_top(table, top, 2), 0);
	source_table_free(table);
}

static void
test_free_of_null(void **state)
{
	(void)state;
	source_table_free(NULL);
}

static void
test_counts_up_and_down(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	uint32_t source = acquire(table, "192.0.2.1");

	(void)state;
	assert_int_equal(acquire(table, "192.0.2.1"), source);
	assert_int_equal(count(table, "192.0.2.1"), 2);
	assert_int_equal(count(table, "192.0.2.2"), 0);
	assert_int_equal(source_table_size(table), 1);
	source_table_release(table, source);
	assert_int_equal(count(table, "192.0.2.1"), 1);
	source_table_release(table, source);
	assert_int_equal(count(table, "192.0.2.1"), 0);
	assert_int_equal(source_table_size(table), 0);
	source_table_free(table);
}

static void
test_port_does_not_matter(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	struct addr addr = make_addr("192.0.2.1");
	uint32_t source = source_table_acquire(table, &addr);

	(void)state;
	addr.port = 1;
	assert_int_equal(source_table_acquire(table, &addr), source);
	source_table_free(table);
}

static void
test_families_without_a_source(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	struct addr unix_addr = {.family = ADDR_UNIX}, none = {.family = ADDR_NONE};

	(void)state;
	assert_int_equal(source_table_acquire(table, &unix_addr), SOURCE_NONE);
	assert_int_equal(source_table_acquire(table, &none), SOURCE_NONE);
	assert_int_equal(source_table_count(table, &unix_addr), 0);
	assert_int_equal(source_table_count(table, &none), 0);
	assert_int_equal(source_table_size(table), 0);
	source_table_release(table, SOURCE_NONE);
	source_table_free(table);
}

static void
test_ipv4_prefix(void **state)
{
	struct source_table *table = make_table(8, 24, 64);
	uint32_t source = acquire(table, "192.0.2.0");
	struct source_count found;

	(void)state;
	assert_int_equal(acquire(table, "192.0.2.255"), source);
	assert_int_not_equal(acquire(table, "192.0.3.0"), source);
	assert_int_equal(count(table, "192.0.2.77"), 2);
	assert_int_equal(count(table, "192.0.1.255"), 0);
	found = source_table_get(table, source);
	assert_network(&found, "192.0.2.0/24", 2);
	source_table_free(table);
}

static void
test_ipv6_prefix_of_64(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	uint32_t source = acquire(table, "2001:db8:0:1::1");
	struct source_count found;

	(void)state;
	assert_int_equal(acquire(table, "2001:db8:0:1:ffff:ffff:ffff:ffff"), source);
	assert_int_not_equal(acquire(table, "2001:db8:0:2::1"), source);
	assert_int_not_equal(acquire(table, "2001:db8::1"), source);
	found = source_table_get(table, source);
	assert_network(&found, "2001:db8:0:1::/64", 2);
	source_table_free(table);
}

static void
test_ipv6_prefix_of_65(void **state)
{
	struct source_table *table = make_table(8, 32, 65);
	uint32_t source = acquire(table, "2001:db8::7fff:0:0:1");
	struct source_count found;

	(void)state;
	assert_int_equal(acquire(table, "2001:db8::1"), source);
	found = source_table_get(table, source);
	assert_network(&found, "2001:db8::/65", 2);
	source = acquire(table, "2001:db8::8000:0:0:1");
	found = source_table_get(table, source);
	assert_network(&found, "2001:db8:0:0:8000::/65", 1);
	source_table_free(table);
}

static void
test_ipv6_prefix_of_128(void **state)
{
	struct source_table *table = make_table(8, 32, 128);
	uint32_t source = acquire(table, "2001:db8::1");
	struct source_count found;

	(void)state;
	assert_int_not_equal(acquire(table, "2001:db8::2"), source);
	assert_int_equal(acquire(table, "2001:db8::1"), source);
	found = source_table_get(table, source);
	assert_network(&found, "2001:db8::1/128", 2);
	source_table_free(table);
}

static void
test_prefix_of_1(void **state)
{
	struct source_table *table = make_table(8, 1, 1);
	uint32_t low = acquire(table, "10.0.0.1"), high = acquire(table, "192.0.2.1");
	uint32_t low6 = acquire(table, "2001:db8::1");

	(void)state;
	assert_int_not_equal(low, high);
	assert_int_not_equal(low, low6);
	assert_int_equal(acquire(table, "127.255.255.255"), low);
	assert_int_equal(acquire(table, "128.0.0.0"), high);
	assert_int_equal(acquire(table, "::1"), low6);
	source_table_free(table);
}

static void
test_families_do_not_mix(void **state)
{
	struct source_table *table = make_table(8, 32, 128);

	(void)state;
	acquire(table, "0.0.0.1");
	acquire(table, "::1");
	acquire(table, "::");
	acquire(table, "0.0.0.0");
	assert_int_equal(source_table_size(table), 4);
	assert_int_equal(count(table, "::1"), 1);
	assert_int_equal(count(table, "0.0.0.0"), 1);
	source_table_free(table);
}

/* The low half of the key of the one before must not stay behind. */
static void
test_handle_goes_from_ipv6_to_ipv4(void **state)
{
	struct source_table *table = make_table(1, 32, 128);
	struct source_count found;
	uint32_t source;

	(void)state;
	source_table_release(table, acquire(table, "2001:db8::1"));
	source = acquire(table, "192.0.2.1");
	assert_int_equal(count(table, "192.0.2.1"), 1);
	found = source_table_get(table, source);
	assert_network(&found, "192.0.2.1/32", 1);
	source_table_release(table, source);
	assert_int_equal(source_table_size(table), 0);
	source_table_free(table);
}

static void
test_full_table(void **state)
{
	struct source_table *table = make_table(3, 32, 64);
	struct addr fourth = make_addr("192.0.2.4");
	uint32_t second;

	(void)state;
	acquire(table, "192.0.2.1");
	second = acquire(table, "192.0.2.2");
	acquire(table, "192.0.2.3");
	assert_int_equal(source_table_acquire(table, &fourth), SOURCE_NONE);
	assert_int_equal(source_table_count(table, &fourth), 0);
	assert_int_equal(source_table_size(table), 3);
	assert_int_equal(acquire(table, "192.0.2.2"), second);
	source_table_release(table, second);
	assert_int_equal(source_table_acquire(table, &fourth), SOURCE_NONE);
	source_table_release(table, second);
	assert_int_equal(source_table_acquire(table, &fourth), second);
	assert_int_equal(count(table, "192.0.2.2"), 0);
	source_table_free(table);
}

/* Far more than the chain heads of the beginning. */
static void
test_growth_keeps_counts(void **state)
{
	const uint32_t n = 10000;
	struct source_table *table = make_table(n, 32, 64);
	uint32_t *sources = calloc(n, sizeof(*sources));
	uint32_t i;

	(void)state;
	assert_non_null(sources);
	for (i = 0; i < n; i++) {
		struct addr addr = make_nth(i * 256);

		sources[i] = source_table_acquire(table, &addr);
		assert_int_not_equal(sources[i], SOURCE_NONE);
		if (i % 3 == 0)
			assert_int_equal(source_table_acquire(table, &addr), sources[i]);
	}
	assert_int_equal(source_table_size(table), n);
	for (i = 0; i < n; i++) {
		struct addr addr = make_nth(i * 256);

		assert_int_equal(source_table_count(table, &addr), i % 3 == 0 ? 2 : 1);
		source_table_release(table, sources[i]);
		assert_int_equal(source_table_count(table, &addr), i % 3 == 0 ? 1 : 0);
	}
	assert_int_equal(source_table_size(table), (n + 2) / 3);
	free(sources);
	source_table_free(table);
}

/* So many with the same upper half that some share a chain. */
static void
test_lower_half_tells_sources_apart(void **state)
{
	const uint32_t n = 5000;
	struct source_table *table = make_table(n, 32, 128);
	struct addr addr = make_addr("2001:db8::");
	uint32_t i;

	(void)state;
	for (i = 0; i < n; i++) {
		memcpy(addr.bytes + 12, &i, sizeof(i));
		assert_int_not_equal(source_table_acquire(table, &addr), SOURCE_NONE);
		assert_int_equal(source_table_count(table, &addr), 1);
	}
	assert_int_equal(source_table_size(table), n);
	source_table_free(table);
}

/* Against a plain array of counts, with handles in constant reuse. */
static void
test_agrees_with_a_plain_model(void **state)
{
	enum {
		ADDRESSES = 50,
		STEPS = 20000
	};
	struct source_table *table = make_table(ADDRESSES, 32, 64);
	uint32_t model[ADDRESSES] = {0}, handles[ADDRESSES] = {0};
	uint32_t seed = 1, size = 0;
	int step;

	(void)state;
	for (step = 0; step < STEPS; step++) {
		uint32_t i = next_random(&seed) % ADDRESSES;
		struct addr addr = make_nth(i);

		if (model[i] > 0 && next_random(&seed) % 2 == 0) {
			source_table_release(table, handles[i]);
			size -= --model[i] == 0;
		} else {
			uint32_t handle = source_table_acquire(table, &addr);

			if (model[i] > 0)
				assert_int_equal(handle, handles[i]);
			handles[i] = handle;
			size += model[i]++ == 0;
		}
		assert_int_equal(source_table_count(table, &addr), model[i]);
		assert_int_equal(source_table_size(table), size);
	}
	source_table_free(table);
}

static void
acquire_times(struct source_table *table, const char *text, int times)
{
	while (times-- > 0)
		acquire(table, text);
}

static void
test_top_is_sorted(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	struct source_count top[8];

	(void)state;
	acquire_times(table, "192.0.2.1", 2);
	acquire_times(table, "192.0.2.2", 5);
	acquire_times(table, "2001:db8::1", 3);
	acquire_times(table, "192.0.2.4", 1);
	assert_int_equal(source_table_top(table, top, 8), 4);
	assert_network(&top[0], "192.0.2.2/32", 5);
	assert_network(&top[1], "2001:db8::/64", 3);
	assert_network(&top[2], "192.0.2.1/32", 2);
	assert_network(&top[3], "192.0.2.4/32", 1);
	source_table_free(table);
}

static void
test_top_takes_the_largest(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	struct source_count top[3];

	(void)state;
	acquire_times(table, "192.0.2.1", 2);
	acquire_times(table, "192.0.2.2", 1);
	acquire_times(table, "192.0.2.3", 4);
	acquire_times(table, "192.0.2.4", 3);
	memset(top, 0, sizeof(top));
	assert_int_equal(source_table_top(table, top, 0), 0);
	assert_int_equal(top[0].connections, 0);
	assert_int_equal(source_table_top(table, top, 1), 1);
	assert_network(&top[0], "192.0.2.3/32", 4);
	assert_int_equal(top[1].connections, 0);
	assert_int_equal(source_table_top(table, top, 2), 2);
	assert_network(&top[1], "192.0.2.4/32", 3);
	assert_int_equal(top[2].connections, 0);
	source_table_free(table);
}

static void
test_top_leaves_out_who_has_gone(void **state)
{
	struct source_table *table = make_table(8, 32, 64);
	uint32_t first = acquire(table, "192.0.2.1"), second = acquire(table, "192.0.2.2");
	struct source_count top[3];

	(void)state;
	acquire(table, "192.0.2.3");
	source_table_release(table, first);
	source_table_release(table, second);
	assert_int_equal(source_table_top(table, top, 3), 1);
	assert_network(&top[0], "192.0.2.3/32", 1);
	source_table_free(table);
}

static void
release_twice(void)
{
	struct source_table *table = source_table_new(8, 32, 64);
	struct addr addr = make_nth(1);
	uint32_t source = source_table_acquire(table, &addr);

	source_table_release(table, source);
	source_table_release(table, source);
}

static void
release_what_never_was(void)
{
	source_table_release(source_table_new(8, 32, 64), 1);
}

static void
release_beyond_the_table(void)
{
	source_table_release(source_table_new(8, 32, 64), 1000000);
}

static void
test_counts_never_underflow(void **state)
{
	(void)state;
	assert_aborts(release_twice);
	assert_aborts(release_what_never_was);
	assert_aborts(release_beyond_the_table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_table),
		cmocka_unit_test(test_free_of_null),
		cmocka_unit_test(test_counts_up_and_down),
		cmocka_unit_test(test_port_does_not_matter),
		cmocka_unit_test(test_families_without_a_source),
		cmocka_unit_test(test_ipv4_prefix),
		cmocka_unit_test(test_ipv6_prefix_of_64),
		cmocka_unit_test(test_ipv6_prefix_of_65),
		cmocka_unit_test(test_ipv6_prefix_of_128),
		cmocka_unit_test(test_prefix_of_1),
		cmocka_unit_test(test_families_do_not_mix),
		cmocka_unit_test(test_handle_goes_from_ipv6_to_ipv4),
		cmocka_unit_test(test_full_table),
		cmocka_unit_test(test_growth_keeps_counts),
		cmocka_unit_test(test_lower_half_tells_sources_apart),
		cmocka_unit_test(test_agrees_with_a_plain_model),
		cmocka_unit_test(test_top_is_sorted),
		cmocka_unit_test(test_top_takes_the_largest),
		cmocka_unit_test(test_top_leaves_out_who_has_gone),
		cmocka_unit_test(test_counts_never_underflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
