/* park_facts: what a process counted is carried on by name, whatever the tables of the next are. */
#include "fixture_park.h"

#include "park_facts.h"

static const char *const NAMES[] = {"a", "b", "c"};

struct world {
	struct conf *conf;
	struct metrics *metrics;
	struct upstreams *upstreams;
	struct metrics_slot slot; /* into which is counted */
};

static int
setup(void **state)
{
	struct world *world = aligned_alloc(4096, sizeof(*world));

	assert_non_null(world);
	memset(world, 0, sizeof(*world));
	world->conf = make_conf(NAMES, 3);
	world->metrics = metrics_new(2);
	world->upstreams = upstreams_new();
	assert_non_null(world->metrics);
	assert_non_null(world->upstreams);
	*state = world;
	return 0;
}

static int
teardown(void **state)
{
	struct world *world = *state;

	conf_free(world->conf);
	metrics_free(world->metrics);
	upstreams_free(world->upstreams);
	free(world);
	return 0;
}

static struct park_facts
decode(const char *text, const struct conf *conf)
{
	struct mg_error error = {""};
	struct park_facts facts;

	if (park_facts_decode(text, strlen(text), conf, &facts, &error) < 0)
		fail_msg("%s", error.text);
	return facts;
}

static char *
encode(const struct world *world, unsigned slot)
{
	const struct park_writer writer = {.conf = world->conf,
		.metrics = world->metrics,
		.upstreams = world->upstreams,
		.slot = slot,
		.parked_usec = 123456789012345,
		.generation = 77};
	char *text = park_facts_encode(&writer);

	assert_non_null(text);
	return text;
}

/* Every value of a slot is another. */
static void
fill_slot(struct metrics_slot *slot, uint64_t first)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		slot->value[i] = first++;
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		slot->closed[i] = first++;
	for (unsigned i = 0; i < 3; i++)
		for (unsigned n = 0; n < LISTENER_METRIC_COUNT; n++)
			slot->listener[i][n] = first++;
}

/* `slot` has the counters of `from`, on top of `before` each, and no gauge. */
static void
assert_counters(const struct metrics_slot *slot, const struct metrics_slot *from, uint64_t before)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		assert_int_equal(slot->value[i],
			metric_info(i)->kind == METRIC_KIND_COUNTER ? before + from->value[i] : 0);
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		assert_int_equal(slot->closed[i], before + from->closed[i]);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned n = 0; n < LISTENER_METRIC_COUNT; n++)
			assert_int_equal(slot->listener[i][n],
				listener_metric_info(n)->kind == METRIC_KIND_COUNTER
					? before + from->listener[i][n]
					: 0);
}

static void
assert_nothing_counted(const struct world *world)
{
	static const struct metrics_slot zero;

	assert_memory_equal(&world->slot, &zero, sizeof(zero));
}

static void
test_a_supervisors_facts(void **state)
{
	struct world *world = *state;
	struct park_facts facts;
	char *text;

	fill_slot(&world->metrics->slots[0], 1000);
	fill_slot(&world->metrics->slots[1], 5000);
	text = encode(world, 0);
	facts = decode(text, world->conf);
	assert_true(facts.supervisor);
	assert_int_equal(facts.parked_usec, 123456789012345);
	assert_int_equal(facts.generation, 77);
	park_facts_add_counters(&facts, true, world->conf, &world->slot);
	assert_nothing_counted(world);
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	assert_counters(&world->slot, &world->metrics->slots[0], 0);
	park_facts_done(&facts);
	free(text);
}

static void
test_a_workers_facts_have_the_supervisors_counters(void **state)
{
	struct world *world = *state;
	struct park_facts facts;
	char *text;

	fill_slot(&world->metrics->slots[0], 1000);
	fill_slot(&world->metrics->slots[1], 5000);
	fill_slot(&world->metrics->slots[2], 9000);
	text = encode(world, 2);
	facts = decode(text, world->conf);
	assert_false(facts.supervisor);
	assert_int_equal(facts.parked_usec, 123456789012345);
	assert_int_equal(facts.generation, 0);
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	assert_counters(&world->slot, &world->metrics->slots[2], 0);
	memset(&world->slot, 0, sizeof(world->slot));
	park_facts_add_counters(&facts, true, world->conf, &world->slot);
	assert_counters(&world->slot, &world->metrics->slots[0], 0);
	park_facts_done(&facts);
	free(text);
}

static void
test_a_supervisor_speaks_for_silent_workers(void **state)
{
	struct world *world = *state;
	const bool silent[] = {false, true};
	const struct park_writer writer = {.conf = world->conf,
		.metrics = world->metrics,
		.upstreams = world->upstreams,
		.silent = silent};
	struct park_facts facts;
	char *text;

	for (unsigned i = 0; i < 3; i++)
		fill_slot(&world->metrics->slots[i], 1000 * i);
	text = park_facts_encode(&writer);
	facts = decode(text, world->conf);
	park_facts_add_silent(&facts, 0, world->conf, &world->slot);
	park_facts_add_silent(&facts, 2, world->conf, &world->slot);
	assert_nothing_counted(world);
	park_facts_add_silent(&facts, 1, world->conf, &world->slot);
	assert_counters(&world->slot, &world->metrics->slots[2], 0);
	park_facts_done(&facts);
	free(text);
}

static void
test_counters_are_added_to_what_is_there(void **state)
{
	struct world *world = *state;
	struct metrics_slot *from = &world->metrics->slots[1];
	struct park_facts facts;
	char *text;

	fill_slot(from, 1);
	text = encode(world, 1);
	facts = decode(text, world->conf);
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	assert_int_equal(world->slot.value[METRIC_BYTES_SENT], 2 * from->value[METRIC_BYTES_SENT]);
	assert_int_equal(
		world->slot.closed[CLOSE_SLOW_READER], 2 * from->closed[CLOSE_SLOW_READER]);
	park_facts_done(&facts);
	free(text);
}

static void
test_the_largest_numbers(void **state)
{
	struct world *world = *state;
	uint64_t *slot = world->metrics->slots[1].value;
	struct park_facts facts;
	char *text;

	slot[METRIC_BYTES_SENT] = INT64_MAX;
	slot[METRIC_BYTES_RECEIVED] = INT64_MAX - 1;
	slot[METRIC_HEARTBEATS] = (uint64_t)INT64_MAX + 1; /* JSON as we write it has no such */
	text = encode(world, 1);
	facts = decode(text, world->conf);
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	assert_true(world->slot.value[METRIC_BYTES_SENT] == INT64_MAX);
	assert_true(world->slot.value[METRIC_BYTES_RECEIVED] == INT64_MAX - 1);
	assert_true(world->slot.value[METRIC_HEARTBEATS] == 0);
	park_facts_done(&facts);
	free(text);
}

static void
test_numbers_of_records_are_the_same_by_default(void **state)
{
	struct world *world = *state;
	char *text = encode(world, 1);
	struct park_facts facts = decode(text, world->conf);

	for (unsigned i = 0; i < 256; i++) {
		assert_int_equal(facts.listeners[i], i < 3 ? i : PARK_FACTS_UNKNOWN);
		assert_int_equal(facts.reasons[i], i < CLOSE_REASON_COUNT ? i : PARK_FACTS_UNKNOWN);
	}
	park_facts_done(&facts);
	free(text);
}

/* Written with a, b, c; read with c, new, a. */
static void
test_listeners_that_went_came_and_moved(void **state)
{
	static const char *const others[] = {"c", "new", "a"};
	struct world *world = *state;
	struct conf *conf = make_conf(others, 3);
	struct metrics_slot *from = &world->metrics->slots[1];
	struct park_facts facts;
	char *text;

	fill_slot(from, 1000);
	text = encode(world, 1);
	facts = decode(text, conf);
	assert_int_equal(facts.listeners[0], 2);
	assert_int_equal(facts.listeners[1], PARK_FACTS_UNKNOWN);
	assert_int_equal(facts.listeners[2], 0);
	park_facts_add_counters(&facts, false, conf, &world->slot);
	for (unsigned n = 0; n < LISTENER_METRIC_COUNT; n++) {
		if (listener_metric_info(n)->kind != METRIC_KIND_COUNTER)
			continue;
		assert_int_equal(world->slot.listener[0][n], from->listener[2][n]);
		assert_int_equal(world->slot.listener[1][n], 0);
		assert_int_equal(world->slot.listener[2][n], from->listener[0][n]);
	}
	park_facts_done(&facts);
	conf_free(conf);
	free(text);
}

static void
test_names_of_another_version_are_left_out(void **state)
{
	static const char text[] =
		"{\"worker\":0,\"close_reasons\":[\"eaten\",\"slow_reader\",\"killed\"],"
		"\"listeners\":[\"b\"],\"later\":{\"a\":[]},\"own\":{\"later\":1,"
		"\"counters\":{\"moons_total\":9,\"bytes_sent_total\":5,"
		"\"connections_current\":8},"
		"\"closed\":{\"eaten\":4,\"slow_reader\":6},"
		"\"listeners\":{\"z\":{\"accepted_total\":3},"
		"\"b\":{\"moons_total\":2,\"accepted_total\":7,\"connections\":1}}}}";
	struct world *world = *state;
	struct park_facts facts = decode(text, world->conf);
	struct metrics_slot expected = {.value[METRIC_BYTES_SENT] = 5,
		.closed[CLOSE_SLOW_READER] = 6,
		.listener[1][LISTENER_METRIC_ACCEPTED] = 7};

	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	assert_memory_equal(&world->slot, &expected, sizeof(expected));
	assert_int_equal(facts.reasons[0], PARK_FACTS_UNKNOWN);
	assert_int_equal(facts.reasons[1], CLOSE_SLOW_READER);
	assert_int_equal(facts.reasons[2], CLOSE_KILLED);
	assert_int_equal(facts.reasons[3], PARK_FACTS_UNKNOWN);
	assert_int_equal(facts.listeners[0], 1);
	assert_int_equal(facts.listeners[1], PARK_FACTS_UNKNOWN);
	park_facts_done(&facts);
}

static void
test_facts_that_say_nothing(void **state)
{
	struct world *world = *state;
	struct park_facts facts = decode("{}", world->conf);

	assert_true(facts.supervisor);
	assert_int_equal(facts.parked_usec, 0);
	assert_int_equal(facts.generation, 0);
	for (unsigned i = 0; i < 256; i++) {
		assert_int_equal(facts.listeners[i], PARK_FACTS_UNKNOWN);
		assert_int_equal(facts.reasons[i], PARK_FACTS_UNKNOWN);
	}
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	park_facts_add_counters(&facts, true, world->conf, &world->slot);
	assert_nothing_counted(world);
	park_facts_done(&facts);
	assert_null(facts.json);
	park_facts_done(&facts);
}

static void
test_negative_numbers_count_nothing(void **state)
{
	struct world *world = *state;
	struct park_facts facts =
		decode("{\"parked_usec\":-1,\"generation\":-9223372036854775808,\"own\":"
		       "{\"counters\":{\"bytes_sent_total\":-1},\"closed\":{\"killed\":-5},"
		       "\"listeners\":{\"a\":{\"accepted_total\":-9223372036854775808}}}}",
			world->conf);

	assert_int_equal(facts.parked_usec, 0);
	assert_int_equal(facts.generation, 0);
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	assert_nothing_counted(world);
	park_facts_done(&facts);
}

static void
test_more_names_than_a_record_can_tell_apart(void **state)
{
	struct world *world = *state;
	struct park_facts facts;
	char text[8192] = "{\"listeners\":[", *end;

	for (unsigned i = 0; i < 300; i++)
		strcat(text, i == 255 ? "\"b\"," : i == 256 ? "\"c\"," : "\"x\",");
	strcat(text, "\"a\"],\"close_reasons\":[");
	for (unsigned i = 0; i < 300; i++)
		strcat(text, i == 255 ? "\"killed\"," : i == 256 ? "\"shutdown\"," : "\"x\",");
	end = text + strlen(text) - 1;
	strcpy(end, "]}");
	facts = decode(text, world->conf);
	for (unsigned i = 0; i < 255; i++) {
		assert_int_equal(facts.listeners[i], PARK_FACTS_UNKNOWN);
		assert_int_equal(facts.reasons[i], PARK_FACTS_UNKNOWN);
	}
	assert_int_equal(facts.listeners[255], 1);
	assert_int_equal(facts.reasons[255], CLOSE_KILLED);
	park_facts_done(&facts);
}

static void
test_the_most_listeners(void **state)
{
	struct world *world = *state;
	char names[CONF_LISTENERS_MAX][8];
	const char *pointers[CONF_LISTENERS_MAX];
	struct park_facts facts;
	char *text;

	for (unsigned i = 0; i < CONF_LISTENERS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "l%u", i);
		pointers[i] = names[i];
	}
	conf_free(world->conf);
	world->conf = make_conf(pointers, CONF_LISTENERS_MAX);
	world->metrics->slots[1].listener[CONF_LISTENERS_MAX - 1][LISTENER_METRIC_ACCEPTED] = 3;
	text = encode(world, 1);
	facts = decode(text, world->conf);
	assert_int_equal(facts.listeners[CONF_LISTENERS_MAX - 1], CONF_LISTENERS_MAX - 1);
	assert_int_equal(facts.listeners[CONF_LISTENERS_MAX], PARK_FACTS_UNKNOWN);
	park_facts_add_counters(&facts, false, world->conf, &world->slot);
	assert_int_equal(world->slot.listener[CONF_LISTENERS_MAX - 1][LISTENER_METRIC_ACCEPTED], 3);
	park_facts_done(&facts);
	free(text);
}

/* Puts each of these in the place of a member, however deep, and sees that nobody falls. */
static void
check_wrong_types(const struct world *world, json_t *whole, json_t *object)
{
	static const char *const values[] = {"null", "true", "1", "-1", "1.5", "1e300", "\"a\"",
		"\"\"", "[]", "[null,1,[],{},\"a\"]", "{}", "{\"a\":1}", "{\"a\":{\"a\":[]}}"};
	const char *key;
	json_t *member;
	void *next;

	json_object_foreach_safe(object, next, key, member)
	{
		json_t *right = json_incref(member);

		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			struct metrics_slot slot = {0};
			struct park_facts facts;
			char *text;

			json_object_set_new(
				object, key, json_loads(values[i], JSON_DECODE_ANY, NULL));
			text = json_dumps(whole, 0);
			facts = decode(text, world->conf);
			park_facts_add_counters(&facts, false, world->conf, &slot);
			park_facts_add_counters(&facts, true, world->conf, &slot);
			park_facts_done(&facts);
			free(text);
		}
		json_object_set_new(object, key, right);
		if (json_is_object(right))
			check_wrong_types(world, whole, right);
	}
}

static void
test_wrong_types_everywhere(void **state)
{
	struct world *world = *state;

	for (unsigned slot = 0; slot < 2; slot++) {
		char *text = encode(world, slot);
		json_t *whole = json_loads(text, 0, NULL);

		assert_non_null(whole);
		check_wrong_types(world, whole, whole);
		json_decref(whole);
		free(text);
	}
}

static void
assert_refused(const struct world *world, const char *text, size_t length)
{
	struct park_facts facts = {.generation = 4711};
	struct mg_error error = {""};

	assert_int_equal(park_facts_decode(text, length, world->conf, &facts, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "no JSON object"));
	assert_int_equal(facts.generation, 4711);
	assert_int_equal(park_facts_decode(text, length, world->conf, &facts, NULL), -EBADMSG);
}

static void
test_what_is_no_json_object(void **state)
{
	static const char *const texts[] = {"", " ", "x", "{", "[]", "1", "null", "\"{}\"", "{}{}",
		"{\"a\":1,\"a\":1}", "{\"worker\":9223372036854775808}", "{\"\xff\":1}",
		"{\"a\":\"\\u0000\"", "{a:1}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_refused(*state, texts[i], strlen(texts[i]));
	assert_refused(*state, "{}\0", 3);
}

static void
test_text_that_is_cut_off(void **state)
{
	struct world *world = *state;
	char *text = encode(world, 1);

	for (size_t length = 0; length < strlen(text); length++) {
		char *cut = malloc(length + 1); /* so that a sanitizer sees the end */

		assert_non_null(cut);
		memcpy(cut, text, length);
		assert_refused(world, cut, length);
		free(cut);
	}
	free(text);
}

static void
test_text_that_is_nested_too_deep(void **state)
{
	size_t depth = 100000, length = 0;
	char *text = malloc(8 * depth);

	assert_non_null(text);
	for (size_t i = 0; i < depth; i++)
		length += (size_t)sprintf(text + length, "{\"a\":");
	assert_refused(*state, text, length);
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_supervisors_facts),
		TEST(test_a_workers_facts_have_the_supervisors_counters),
		TEST(test_a_supervisor_speaks_for_silent_workers),
		TEST(test_counters_are_added_to_what_is_there),
		TEST(test_the_largest_numbers),
		TEST(test_numbers_of_records_are_the_same_by_default),
		TEST(test_listeners_that_went_came_and_moved),
		TEST(test_names_of_another_version_are_left_out),
		TEST(test_facts_that_say_nothing),
		TEST(test_negative_numbers_count_nothing),
		TEST(test_more_names_than_a_record_can_tell_apart),
		TEST(test_the_most_listeners),
		TEST(test_wrong_types_everywhere),
		TEST(test_what_is_no_json_object),
		TEST(test_text_that_is_cut_off),
		TEST(test_text_that_is_nested_too_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
