/* park_facts: servers behind relays keep their number's meaning, their counters and what an operator
 * did with them, by name. */
#include "fixture_park.h"

#include "park_facts.h"

static const char *const NAMES[] = {"a", "b"};

struct world {
	struct conf *conf;
	struct metrics *metrics;
	struct upstreams *before, *after;
	struct metrics_slot *slot; /* into which is counted */
};

static int
setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->conf = make_conf(NAMES, 2);
	world->metrics = metrics_new(1);
	world->before = upstreams_new();
	world->after = upstreams_new();
	world->slot = aligned_alloc(4096, sizeof(*world->slot));
	assert_true(world->metrics && world->before && world->after && world->slot);
	memset(world->slot, 0, sizeof(*world->slot));
	*state = world;
	return 0;
}

static int
teardown(void **state)
{
	struct world *world = *state;

	conf_free(world->conf);
	metrics_free(world->metrics);
	upstreams_free(world->before);
	upstreams_free(world->after);
	free(world->slot);
	free(world);
	return 0;
}

static uint16_t
add(struct upstreams *upstreams, unsigned listener, const char *name, const char *address)
{
	struct upstream_name parsed;
	uint16_t number;

	assert_int_equal(upstream_parse_name(address, &parsed, NULL), 0);
	number = upstreams_restore(upstreams, listener, name, &parsed.address, true);
	assert_int_not_equal(number, UPSTREAM_NONE);
	return number;
}

/* What is parked of `before`, as it is understood with this configuration. */
static struct park_facts
pass_on(const struct world *world, const struct conf *conf)
{
	const struct park_writer writer = {.conf = world->conf,
		.metrics = world->metrics,
		.upstreams = world->before,
		.slot = 1};
	char *text = park_facts_encode(&writer);
	struct mg_error error = {""};
	struct park_facts facts;

	assert_non_null(text);
	if (park_facts_decode(text, strlen(text), conf, &facts, &error) < 0)
		fail_msg("%s", error.text);
	free(text);
	return facts;
}

static void
enter_text(struct world *world, const char *upstreams, struct park_facts *ret_facts)
{
	struct mg_error error = {""};
	char text[1024];

	snprintf(text, sizeof(text), "{\"upstreams\":%s}", upstreams);
	assert_int_equal(park_facts_decode(text, strlen(text), world->conf, ret_facts, &error), 0);
	park_facts_enter_servers(ret_facts, world->conf, world->after);
}

static void
test_numbers_follow_the_servers(void **state)
{
	struct world *world = *state;
	uint16_t one = add(world->before, 0, "127.0.0.1:1", "127.0.0.1:1");
	uint16_t two = add(world->before, 1, "app.example:2", "192.0.2.1:2");
	uint16_t other = add(world->after, 1, "app.example:2", "192.0.2.2:2");
	struct park_facts facts = pass_on(world, world->conf);

	assert_int_equal(facts.servers[one], UPSTREAM_NONE); /* until they are entered */
	park_facts_enter_servers(&facts, world->conf, world->after);
	assert_int_not_equal(facts.servers[two], other);
	assert_string_equal(world->after->items[facts.servers[one]].name, "127.0.0.1:1");
	assert_string_equal(world->after->items[facts.servers[two]].name, "app.example:2");
	assert_int_equal(world->after->items[facts.servers[two]].listener, 1);
	assert_int_equal(facts.servers[two + 1], UPSTREAM_NONE);
	park_facts_done(&facts);
}

static void
test_what_an_operator_did_holds(void **state)
{
	struct world *world = *state;
	uint16_t out = add(world->before, 0, "unix:/a", "unix:/a");
	uint16_t in = add(world->before, 0, "unix:/b", "unix:/b");
	struct park_facts facts;

	world->before->items[out].disabled = true;
	facts = pass_on(world, world->conf);
	park_facts_enter_servers(&facts, world->conf, world->after);
	assert_true(world->after->items[facts.servers[out]].disabled);
	assert_false(world->after->items[facts.servers[in]].disabled);
	park_facts_done(&facts);
}

static void
test_counters_go_on(void **state)
{
	struct world *world = *state;
	uint16_t there = add(world->before, 0, "unix:/a", "unix:/a"), here;
	struct park_facts facts;

	for (unsigned i = 0; i < UPSTREAM_METRIC_COUNT; i++) {
		world->metrics->slots[0].upstream[there][i] = 1000 + i;
		world->metrics->slots[1].upstream[there][i] = 100 + i;
	}
	(void)add(world->after, 1, "unix:/x", "unix:/x"); /* so that the number is another one */
	facts = pass_on(world, world->conf);
	park_facts_enter_servers(&facts, world->conf, world->after);
	here = facts.servers[there];
	assert_int_not_equal(here, there);
	park_facts_add_counters(&facts, false, world->conf, world->slot);
	park_facts_add_counters(&facts, true, world->conf, world->slot);
	for (unsigned i = 0; i < UPSTREAM_METRIC_COUNT; i++) {
		bool counter = upstream_metric_info(i)->kind == METRIC_KIND_COUNTER;

		assert_int_equal(world->slot->upstream[here][i], counter ? 1100 + 2 * i : 0);
		assert_int_equal(world->slot->upstream[there][i], 0);
	}
	park_facts_done(&facts);
}

static void
test_a_listener_that_went_takes_its_servers_along(void **state)
{
	struct world *world = *state;
	uint16_t gone = add(world->before, 0, "unix:/a", "unix:/a");
	uint16_t stays = add(world->before, 1, "unix:/b", "unix:/b");
	struct conf *conf = make_conf(&NAMES[1], 1);
	struct park_facts facts = pass_on(world, conf);

	park_facts_enter_servers(&facts, conf, world->after);
	assert_int_equal(facts.servers[gone], UPSTREAM_NONE);
	assert_int_equal(world->after->items[facts.servers[stays]].listener, 0);
	park_facts_done(&facts);
	conf_free(conf);
}

/* Nothing of another process is trusted. */
static void
test_what_is_no_server(void **state)
{
	static const char *const texts[] = {
		"[{\"listener\":\"a\",\"name\":\"x:1\",\"address\":\"x:1\"}]", /* not resolved */
		"[{\"listener\":\"a\",\"name\":\"x:1\",\"address\":\"127.0.0.1:0\"}]",
		"[{\"listener\":\"a\",\"name\":\"x:1\"}]",
		"[{\"listener\":\"a\",\"address\":\"127.0.0.1:1\"}]",
		"[{\"listener\":\"c\",\"name\":\"x:1\",\"address\":\"127.0.0.1:1\"}]",
		"[{\"listener\":1,\"name\":2,\"address\":3}]",
		"[null, 1, \"x\", []]",
		"{}",
		"7",
	};
	struct world *world = *state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct park_facts facts;

		enter_text(world, texts[i], &facts);
		for (unsigned n = 0; n < UPSTREAM_MAX; n++)
			assert_int_equal(facts.servers[n], UPSTREAM_NONE);
		park_facts_done(&facts);
	}
	for (unsigned n = 0; n < UPSTREAM_MAX; n++)
		assert_false(world->after->items[n].in_use);
}

static void
test_a_name_that_is_too_long(void **state)
{
	static const unsigned lengths[] = {
		UPSTREAM_NAME_MAX - 1, UPSTREAM_NAME_MAX, UPSTREAM_NAME_MAX + 1};
	struct world *world = *state;
	char text[768], name[UPSTREAM_NAME_MAX + 2];

	for (size_t i = 0; i < 3; i++) {
		struct park_facts facts;

		memset(name, 'x', lengths[i]);
		name[lengths[i]] = '\0';
		snprintf(text, sizeof(text),
			"[{\"listener\":\"a\",\"name\":\"%s\",\"address\":\"127.0.0.1:1\"}]", name);
		enter_text(world, text, &facts);
		assert_int_equal(
			facts.servers[0] != UPSTREAM_NONE, lengths[i] <= UPSTREAM_NAME_MAX);
		park_facts_done(&facts);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_numbers_follow_the_servers),
		TEST(test_what_an_operator_did_holds),
		TEST(test_counters_go_on),
		TEST(test_a_listener_that_went_takes_its_servers_along),
		TEST(test_what_is_no_server),
		TEST(test_a_name_that_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
