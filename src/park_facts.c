/* park_facts: see park_facts.h. */
#include "config.h"

#include "park_facts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "upstream_name.h"

static json_t *
park_facts_number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static uint64_t
park_facts_value(const json_t *json)
{
	json_int_t value = json_integer_value(json); /* 0 when it is none */

	return value > 0 ? (uint64_t)value : 0;
}

/* Reasons that there were none of are left out. */
static json_t *
park_facts_closed(const uint64_t closed[CLOSE_REASON_COUNT])
{
	json_t *object = json_object();

	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		if (metrics_read(&closed[i]) > 0)
			json_object_set_new(object, close_reason_info(i)->name,
				park_facts_number(metrics_read(&closed[i])));
	return object;
}

static json_t *
park_facts_listener_counters(const struct metrics_slot *slot, unsigned listener)
{
	json_t *object = json_object();

	json_object_set_new(object, "closed", park_facts_closed(slot->listener_closed[listener]));
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		if (listener_metric_info(i)->kind == METRIC_KIND_COUNTER)
			json_object_set_new(object, listener_metric_info(i)->name,
				park_facts_number(metrics_read(&slot->listener[listener][i])));
	return object;
}

static json_t *
park_facts_server_counters(const struct metrics_slot *slot, unsigned server)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < UPSTREAM_METRIC_COUNT; i++)
		if (upstream_metric_info(i)->kind == METRIC_KIND_COUNTER)
			json_object_set_new(object, upstream_metric_info(i)->name,
				park_facts_number(metrics_read(&slot->upstream[server][i])));
	return object;
}

/* By number, as far as there are any. */
static unsigned
park_facts_count_servers(const struct upstreams *upstreams)
{
	unsigned n = UPSTREAM_MAX;

	while (n > 0 && !upstreams->items[n - 1].in_use)
		n--;
	return n;
}

static json_t *
park_facts_servers_counters(const struct upstreams *upstreams, const struct metrics_slot *slot)
{
	unsigned n = park_facts_count_servers(upstreams);
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, park_facts_server_counters(slot, i));
	return list;
}

static json_t *
park_facts_server(const struct conf *conf, const struct upstream *upstream)
{
	char address[UPSTREAM_ADDRESS_TEXT_MAX];

	if (!upstream->in_use)
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:b, s:b, s:b}", "listener",
		conf->listeners[upstream->listener].name, "name", upstream->name, "address",
		upstream_format(upstream, address), "wanted", (int)upstream->wanted, "disabled",
		(int)upstream->disabled, "name_disabled", (int)upstream->name_disabled);
}

static void
park_facts_set_servers(json_t *json, const struct conf *conf, const struct upstreams *upstreams)
{
	unsigned n = park_facts_count_servers(upstreams);
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, park_facts_server(conf, &upstreams->items[i]));
	json_object_set_new(json, "upstreams", list);
}

static json_t *
park_facts_counters(const struct park_writer *writer, unsigned slot_number)
{
	const struct conf *conf = writer->conf;
	const struct metrics_slot *slot = &writer->metrics->slots[slot_number];
	json_t *object = json_object(), *counters = json_object(), *listeners = json_object();

	for (unsigned i = 0; i < METRIC_COUNT; i++)
		if (metric_info(i)->kind == METRIC_KIND_COUNTER)
			json_object_set_new(counters, metric_info(i)->name,
				park_facts_number(metrics_read(&slot->value[i])));
	for (unsigned i = 0; i < conf->n_listeners; i++)
		json_object_set_new(
			listeners, conf->listeners[i].name, park_facts_listener_counters(slot, i));
	json_object_set_new(object, "counters", counters);
	json_object_set_new(object, "closed", park_facts_closed(slot->closed));
	json_object_set_new(object, "listeners", listeners);
	json_object_set_new(
		object, "upstreams", park_facts_servers_counters(writer->upstreams, slot));
	return object;
}

/* The names that the records' numbers stand for, in the order of the numbers. */
static void
park_facts_set_names(json_t *json, const struct conf *conf)
{
	json_t *listeners = json_array(), *reasons = json_array();

	for (unsigned i = 0; i < conf->n_listeners; i++)
		json_array_append_new(listeners, json_string(conf->listeners[i].name));
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		json_array_append_new(reasons, json_string(close_reason_info(i)->name));
	json_object_set_new(json, "listeners", listeners);
	json_object_set_new(json, "close_reasons", reasons);
}

/* The key of a worker in "workers". */
static const char *
park_facts_worker_key(unsigned worker, char buf[static 16])
{
	snprintf(buf, 16, "%u", worker);
	return buf;
}

static void
park_facts_set_silent(json_t *json, const struct park_writer *writer)
{
	json_t *workers = json_object();
	char key[16];

	for (unsigned i = 0; writer->silent && i < writer->metrics->n_slots - 1; i++)
		if (writer->silent[i])
			json_object_set_new(workers, park_facts_worker_key(i, key),
				park_facts_counters(writer, 1 + i));
	json_object_set_new(json, "workers", workers);
}

char *
park_facts_encode(const struct park_writer *writer)
{
	json_t *json = json_object();
	char *text;

	json_object_set_new(json, "version", json_string(PACKAGE_VERSION));
	json_object_set_new(json, "parked_usec", park_facts_number(writer->parked_usec));
	park_facts_set_names(json, writer->conf);
	park_facts_set_servers(json, writer->conf, writer->upstreams);
	json_object_set_new(json, "own", park_facts_counters(writer, writer->slot));
	if (writer->slot == 0) {
		json_object_set_new(json, "generation", json_integer(writer->generation));
		park_facts_set_silent(json, writer);
	} else {
		json_object_set_new(json, "worker", json_integer(writer->slot - 1));
		json_object_set_new(json, "supervisor", park_facts_counters(writer, 0));
	}
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

static void
park_facts_map_listeners(const json_t *names, const struct conf *conf, uint8_t map[256])
{
	const json_t *name;
	size_t i;

	memset(map, PARK_FACTS_UNKNOWN, 256);
	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);
		const struct conf_listener *listener = text ? conf_find_listener(conf, text) : NULL;

		if (i < 256 && listener)
			map[i] = (uint8_t)(listener - conf->listeners);
	}
}

static void
park_facts_map_reasons(const json_t *names, uint8_t map[256])
{
	const json_t *name;
	size_t i;

	memset(map, PARK_FACTS_UNKNOWN, 256);
	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);

		for (unsigned reason = 0; text && i < 256 && reason < CLOSE_REASON_COUNT; reason++)
			if (strcmp(text, close_reason_info(reason)->name) == 0)
				map[i] = (uint8_t)reason;
	}
}

int
park_facts_decode(const char *text, size_t length, const struct conf *conf,
	struct park_facts *ret_facts, struct mg_error *reterr_error)
{
	struct park_facts facts = {0};
	json_error_t error;

	facts.json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(facts.json)) {
		json_decref(facts.json);
		return mg_error_set(reterr_error, -EBADMSG, "its facts are no JSON object: %s",
			facts.json ? "something else" : error.text);
	}
	facts.supervisor = !json_object_get(facts.json, "worker");
	facts.parked_usec = park_facts_value(json_object_get(facts.json, "parked_usec"));
	facts.generation = (uint32_t)park_facts_value(json_object_get(facts.json, "generation"));
	park_facts_map_listeners(json_object_get(facts.json, "listeners"), conf, facts.listeners);
	park_facts_map_reasons(json_object_get(facts.json, "close_reasons"), facts.reasons);
	for (unsigned i = 0; i < UPSTREAM_MAX; i++)
		facts.servers[i] = UPSTREAM_NONE;
	*ret_facts = facts;
	return 0;
}

void
park_facts_done(struct park_facts *facts)
{
	json_decref(facts->json);
	facts->json = NULL;
}

static uint16_t
park_facts_enter_server(const json_t *json, const struct conf *conf, struct upstreams *upstreams)
{
	const char *listener = json_string_value(json_object_get(json, "listener"));
	const char *name = json_string_value(json_object_get(json, "name"));
	const char *address = json_string_value(json_object_get(json, "address"));
	const struct conf_listener *found = listener ? conf_find_listener(conf, listener) : NULL;

	struct upstream_name parsed = {.address.length = 0};
	uint16_t number;

	if (!found || !name || !address || strlen(name) > UPSTREAM_NAME_MAX)
		return UPSTREAM_NONE;
	/* A name that was not resolved is known as well, and has the empty address. */
	if (*address != '\0' &&
		(upstream_parse_name(address, &parsed, NULL) < 0 || parsed.address.length == 0))
		return UPSTREAM_NONE;
	number = upstreams_restore(upstreams, (unsigned)(found - conf->listeners), name,
		&parsed.address, json_is_true(json_object_get(json, "wanted")));
	/* Its clients are not counted yet: whether it stays is decided later. */
	if (number != UPSTREAM_NONE && json_is_true(json_object_get(json, "disabled"))) {
		upstreams->items[number].disabled = true;
		upstreams->items[number].name_disabled |=
			json_is_true(json_object_get(json, "name_disabled"));
	}
	return number;
}

void
park_facts_enter_servers(
	struct park_facts *facts, const struct conf *conf, struct upstreams *upstreams)
{
	const json_t *list = json_object_get(facts->json, "upstreams"), *server;
	size_t i;

	json_array_foreach(list, i, server)
		if (i < UPSTREAM_MAX)
			facts->servers[i] = park_facts_enter_server(server, conf, upstreams);
}

static void
park_facts_add(uint64_t *field, const json_t *object, const char *name)
{
	metrics_add(field, park_facts_value(json_object_get(object, name)));
}

static void
park_facts_add_servers(
	const struct park_facts *facts, const json_t *list, struct metrics_slot *slot)
{
	for (unsigned i = 0; i < UPSTREAM_MAX; i++) {
		const json_t *counters = json_array_get(list, i);

		if (facts->servers[i] == UPSTREAM_NONE)
			continue;
		for (unsigned n = 0; n < UPSTREAM_METRIC_COUNT; n++)
			if (upstream_metric_info(n)->kind == METRIC_KIND_COUNTER)
				park_facts_add(&slot->upstream[facts->servers[i]][n], counters,
					upstream_metric_info(n)->name);
	}
}

static void
park_facts_add_closed(uint64_t closed[CLOSE_REASON_COUNT], const json_t *object)
{
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
		park_facts_add(&closed[i], object, close_reason_info(i)->name);
}

/* `all` as park_facts_counters() makes it; NULL: none. */
static void
park_facts_add_all(const struct park_facts *facts, const json_t *all, const struct conf *conf,
	struct metrics_slot *slot)
{
	const json_t *counters = json_object_get(all, "counters");
	const json_t *listeners = json_object_get(all, "listeners");

	for (unsigned i = 0; i < METRIC_COUNT; i++)
		if (metric_info(i)->kind == METRIC_KIND_COUNTER)
			park_facts_add(&slot->value[i], counters, metric_info(i)->name);
	park_facts_add_closed(slot->closed, json_object_get(all, "closed"));
	park_facts_add_servers(facts, json_object_get(all, "upstreams"), slot);
	for (unsigned i = 0; i < conf->n_listeners; i++) {
		const json_t *listener = json_object_get(listeners, conf->listeners[i].name);

		park_facts_add_closed(
			slot->listener_closed[i], json_object_get(listener, "closed"));
		for (unsigned n = 0; n < LISTENER_METRIC_COUNT; n++)
			if (listener_metric_info(n)->kind == METRIC_KIND_COUNTER)
				park_facts_add(&slot->listener[i][n], listener,
					listener_metric_info(n)->name);
	}
}

void
park_facts_add_counters(const struct park_facts *facts, bool of_supervisor, const struct conf *conf,
	struct metrics_slot *slot)
{
	park_facts_add_all(facts,
		json_object_get(facts->json, of_supervisor ? "supervisor" : "own"), conf, slot);
}

void
park_facts_add_silent(const struct park_facts *facts, unsigned worker, const struct conf *conf,
	struct metrics_slot *slot)
{
	const json_t *workers = json_object_get(facts->json, "workers");
	char key[16];

	park_facts_add_all(
		facts, json_object_get(workers, park_facts_worker_key(worker, key)), conf, slot);
}
