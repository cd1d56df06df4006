/* conf: whole files. What a file gives, and which errors, is mostly in tests/conf (golden). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf.h"
#include "conf_key.h"

static struct conf *
make_conf(const char *text)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	if (conf_parse(text, strlen(text), "test", &conf, &errors) < 0)
		fail_msg("%s", errors.items[0]);
	assert_int_equal(errors.n, 0);
	return conf;
}

/* The text gives this one error. */
static void
assert_error(const char *text, const char *message)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	assert_int_equal(conf_parse(text, strlen(text), "test", &conf, &errors), -EINVAL);
	assert_null(conf);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.items[0], message);
	conf_errors_done(&errors);
}

static void
test_values_reach_their_fields(void **state)
{
	struct conf *conf = make_conf("{ \"workers\": 3, \"admin\": { \"mode\": \"0600\" },"
				      "\"limits\": { \"idle_timeout\": \"1h\" },"
				      "\"listeners\": { \"a\": { \"service\": \"echo\","
				      "\"limits\": { \"accept_rate\": 7 } } } }");

	(void)state;
	assert_int_equal(conf->workers, 3);
	assert_int_equal(conf->admin_mode, 0600);
	assert_int_equal(conf->idle_timeout, UINT64_C(3600000000));
	assert_int_equal(conf->n_listeners, 1);
	assert_string_equal(conf->listeners[0].name, "a");
	assert_int_equal(conf->listeners[0].service, CONF_SERVICE_ECHO);
	assert_int_equal(conf->listeners[0].accept_rate, 7);
	conf_free(conf);
}

static void
test_defaults(void **state)
{
	struct conf *conf = make_conf("{ \"listeners\": { \"a\": {} } }");

	(void)state;
	assert_int_equal(conf->workers, 0);
	assert_int_equal(conf->log_level, CONF_LOG_INFO);
	assert_int_equal(conf->limit_connections, 100000);
	assert_int_equal(conf->queued_per_connection, 262144);
	assert_string_equal(conf->admin_socket, "");
	assert_int_equal(conf->exempt.n, 0);
	assert_int_equal(conf->sysctl_mode, CONF_SYSCTL_WARN);
	assert_int_equal(conf->sysctl_want.n, 0);
	assert_int_equal(conf->listeners[0].service, CONF_SERVICE_HOLD);
	assert_int_equal(conf->listeners[0].keepalive, 300000000);
	assert_string_equal(conf->listeners[0].heartbeat_payload, "");
	conf_free(conf);
}

static void
test_listeners_inherit_what_stands_behind_them(void **state)
{
	struct conf *conf = make_conf("{ \"listeners\": { \"a\": {},"
				      "\"b\": { \"limits\": { \"idle_timeout\": 0 } } },"
				      "\"limits\": { \"idle_timeout\": 5 } }");

	(void)state;
	assert_int_equal(conf->listeners[0].idle_timeout, 5000000);
	assert_int_equal(conf->listeners[1].idle_timeout, 0);
	conf_free(conf);
}

static void
test_find_listener(void **state)
{
	struct conf *conf = make_conf("{ \"listeners\": { \"a\": {}, \"b\": {} } }");

	(void)state;
	assert_ptr_equal(conf_find_listener(conf, "a"), &conf->listeners[0]);
	assert_ptr_equal(conf_find_listener(conf, "b"), &conf->listeners[1]);
	assert_null(conf_find_listener(conf, "c"));
	assert_null(conf_find_listener(conf, ""));
	conf_free(conf);
}

static void
test_name_lengths(void **state)
{
	char name[CONF_NAME_MAX + 2] = "", text[256], message[512];
	struct conf *conf;

	(void)state;
	memset(name, 'n', CONF_NAME_MAX);
	snprintf(text, sizeof(text), "{ \"listeners\": { \"%s\": {} } }", name);
	conf = make_conf(text);
	assert_string_equal(conf->listeners[0].name, name);
	conf_free(conf);
	name[CONF_NAME_MAX] = 'n';
	snprintf(text, sizeof(text), "{ \"listeners\": { \"%s\": {} } }", name);
	snprintf(message, sizeof(message),
		"test: listeners: found the name \"%s\", allowed are names of 1 to 63 of the "
		"characters A-Z a-z 0-9 _ . -",
		name);
	assert_error(text, message);
}

static void
test_many_listeners(void **state)
{
	char text[4096] = "{ \"listeners\": { \"l0\": {}";
	struct conf *conf;

	(void)state;
	for (int i = 1; i < CONF_LISTENERS_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", \"l%d\": {}", i);
	strcat(text, " } }");
	conf = make_conf(text);
	assert_int_equal(conf->n_listeners, CONF_LISTENERS_MAX);
	conf_free(conf);
	strcpy(text + strlen(text) - strlen(" } }"), ", \"one_more\": {} } }");
	assert_error(text, "test: listeners: found 65 listeners, allowed are 1 to 64");
}

static void
test_duplicate_key_is_named_after_other_alphabets(void **state)
{
	(void)state;
	assert_error("{ \"$schema\": \"\u00e4\u00f6\u00fc \U0001f493\",\n \"limits\": {},\n"
		     " \"a long key with a \\\" in it\": 1, \"a long key with a \\\" in it\": 1}",
		"test:3:62: found the key \"a long key with a \\\" in it\" twice in one object, "
		"allowed is once");
}

static void
test_control_characters_do_not_reach_messages(void **state)
{
	(void)state;
	assert_error("{ \033[2J", "test:1:3: string or '}' expected near '?'");
}

static void
test_text_may_have_any_bytes(void **state)
{
	static const char text[] = "{ \"listeners\":\0 { \"a\": {} } }";
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	(void)state;
	assert_int_equal(conf_parse(text, sizeof(text) - 1, "test", &conf, &errors), -EINVAL);
	conf_errors_done(&errors);
	assert_int_equal(conf_parse("\xff\xfe{", 3, "test", &conf, &errors), -EINVAL);
	conf_errors_done(&errors);
	assert_int_equal(conf_parse("", 0, "test", &conf, &errors), -EINVAL);
	assert_string_equal(errors.items[0], "test:1:1: '[' or '{' expected near end of file");
	conf_errors_done(&errors);
}

/* A file of so many unknown keys gives so many messages and a last one. */
static void
assert_dropped(size_t n_keys, size_t n_items, const char *last)
{
	char *text = calloc(1, 64 * (n_keys + 1));
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	assert_non_null(text);
	strcpy(text, "{ \"listeners\": { \"a\": {} }");
	for (size_t i = 0; i < n_keys; i++)
		sprintf(text + strlen(text), ", \"%zu\": 0", i);
	strcat(text, " }");
	assert_int_equal(conf_parse(text, strlen(text), "test", &conf, &errors), -EINVAL);
	assert_int_equal(errors.n, n_items);
	assert_int_equal(errors.n_dropped, n_keys > CONF_ERRORS_MAX ? n_keys - CONF_ERRORS_MAX : 0);
	assert_true(strncmp(errors.items[n_items - 1], last, strlen(last)) == 0);
	conf_errors_done(&errors);
	free(text);
}

static void
test_errors_beyond_the_limit_are_counted(void **state)
{
	(void)state;
	assert_dropped(CONF_ERRORS_MAX - 1, CONF_ERRORS_MAX - 1, "test: 98: unknown key");
	assert_dropped(CONF_ERRORS_MAX, CONF_ERRORS_MAX, "test: 99: unknown key");
	assert_dropped(CONF_ERRORS_MAX + 1, CONF_ERRORS_MAX + 1, "test: and 1 more errors");
	assert_dropped(5000, CONF_ERRORS_MAX + 1, "test: and 4900 more errors");
}

static void
write_file(const char *path, const char *head, size_t length)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(head, file);
	for (size_t i = strlen(head); i < length; i++)
		fputc(' ', file);
	assert_int_equal(fclose(file), 0);
}

static void
test_load(void **state)
{
	char path[] = "/tmp/test_conf.XXXXXX", message[128];
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	write_file(path, "{ \"listeners\": { \"a\": {} } }", CONF_FILE_MAX);
	assert_int_equal(conf_load(path, &conf, &errors), 0);
	assert_int_equal(conf->n_listeners, 1);
	conf_free(conf);
	write_file(path, "{ \"listeners\": { \"a\": {} } }", CONF_FILE_MAX + 1);
	assert_int_equal(conf_load(path, &conf, &errors), -EFBIG);
	snprintf(message, sizeof(message), "%s: is too large, allowed are 1048576 bytes", path);
	assert_string_equal(errors.items[0], message);
	conf_errors_done(&errors);
	unlink(path);
	assert_int_equal(conf_load(path, &conf, &errors), -ENOENT);
	snprintf(message, sizeof(message), "%s: cannot be read: No such file or directory", path);
	assert_string_equal(errors.items[0], message);
	conf_errors_done(&errors);
}

static void
test_load_of_a_directory(void **state)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	(void)state;
	assert_int_equal(conf_load("/", &conf, &errors), -EISDIR);
	assert_string_equal(errors.items[0], "/: cannot be read: Is a directory");
	conf_errors_done(&errors);
}

static void
test_free_of_nothing(void **state)
{
	struct conf_errors errors = {0};

	(void)state;
	conf_free(NULL);
	conf_errors_done(&errors);
}

static void
test_to_json_has_every_key(void **state)
{
	struct conf *conf = make_conf("{ \"listeners\": { \"a.b\": {} } }");
	json_t *json = conf_to_json(conf), *listener;

	(void)state;
	assert_non_null(json_object_get(json, "workers"));
	assert_int_equal(json_object_size(json), 10);
	assert_int_equal(json_object_size(json_object_get(json, "sysctl")), 2);
	assert_int_equal(json_object_size(json_object_get(json, "limits")), 15);
	listener = json_object_get(json_object_get(json, "listeners"), "a.b");
	assert_int_equal(json_object_size(listener), 12);
	assert_int_equal(json_object_size(json_object_get(listener, "upstream")), 10);
	assert_int_equal(json_object_size(json_object_get(listener, "proxy_protocol")), 2);
	assert_int_equal(json_object_size(json_object_get(listener, "limits")), 9);
	json_decref(json);
	conf_free(conf);
}

/* The property of a schema that stands at a path like "limits/connections". */
static const json_t *
find_property(const json_t *schema, const char *path)
{
	char copy[128], *rest = copy, *name;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((name = strsep(&rest, "/")) != NULL)
		schema = json_object_get(json_object_get(schema, "properties"), name);
	return schema;
}

static void
test_schema_has_every_key(void **state)
{
	char *text = conf_schema();
	json_t *schema = json_loads(text, 0, NULL);
	const json_t *listener;

	(void)state;
	assert_string_equal(json_string_value(json_object_get(schema, "$schema")),
		"https://json-schema.org/draft/2020-12/schema");
	assert_non_null(find_property(schema, "$schema"));
	assert_int_equal(json_integer_value(json_object_get(
				 find_property(schema, "limits/connections"), "maximum")),
		16000000);
	assert_int_equal(json_integer_value(json_object_get(
				 find_property(schema, "limits/connections"), "default")),
		100000);
	assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
	assert_int_equal(json_integer_value(json_object_get(
				 find_property(schema, "sysctl/want"), "maxProperties")),
		64);
	listener = json_object_get(find_property(schema, "listeners"), "additionalProperties");
	assert_non_null(find_property(listener, "heartbeat/interval"));
	assert_null(json_object_get(find_property(listener, "limits/idle_timeout"), "default"));
	json_decref(schema);
	free(text);
}

static void
test_describe_has_every_key(void **state)
{
	char *text, *line;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	(void)state;
	conf_describe(&(struct reference){.out = out, .form = REFERENCE_TEXT});
	fclose(out);
	for (size_t i = 0; i < CONF_SCOPE_GLOBAL.n; i++)
		assert_non_null(strstr(text, CONF_SCOPE_GLOBAL.keys[i].path));
	assert_non_null(strstr(text, "listeners.NAME.heartbeat.interval\n"));
	assert_non_null(strstr(text, "default: that of limits.idle_timeout"));
	for (char *rest = text; (line = strsep(&rest, "\n")) != NULL;)
		assert_in_range(strlen(line), 0, 78);
	free(text);
}

static void
assert_nearest(
	const struct conf_scope *scope, const char *group, const char *name, const char *path)
{
	char nearest[CONF_KEY_PATH_MAX] = "";

	assert_int_equal(conf_scope_nearest(scope, group, name, nearest), path != NULL);
	assert_string_equal(nearest, path ? path : "");
}

static void
test_nearest_key(void **state)
{
	(void)state;
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "worker", "workers");
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "wokrers", "workers");
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "log-level", "log_level");
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "listener", "listeners");
	assert_nearest(&CONF_SCOPE_GLOBAL, "limits.", "idletimeout", "limits.idle_timeout");
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "idle_timeout", "limits.idle_timeout");
	assert_nearest(&CONF_SCOPE_LISTENER, "", "payload", "heartbeat.payload");
	assert_nearest(&CONF_SCOPE_LISTENER, "", "listeners", NULL);
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "", NULL);
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "ab", NULL);
	assert_nearest(&CONF_SCOPE_GLOBAL, "", "something_else", NULL);
}

/* jansson's next allocations, and then none. */
static size_t allocations_left;

static void *
count_allocation(size_t bytes)
{
	if (allocations_left == 0)
		return NULL;
	allocations_left--;
	return malloc(bytes);
}

static void
test_out_of_memory_is_told_from_errors(void **state)
{
	static const char text[] = "{ \"wrokers\": 2, \"admin\": { \"socket\": \"/run/x\" },"
				   "\"limits\": { \"exempt\": [ \"::1\" ] },"
				   "\"sysctl\": { \"want\": { \"a.b\": \"1 2\" } },"
				   "\"listeners\": { \"a\": { \"backlog\": 0 } } }";
	int r = -ENOMEM;

	(void)state;
	json_set_alloc_funcs(count_allocation, free);
	for (size_t n = 0; r == -ENOMEM; n++) {
		struct conf_errors errors = {0};
		struct conf *conf = NULL;

		allocations_left = n;
		r = conf_parse(text, strlen(text), "test", &conf, &errors);
		assert_null(conf);
		conf_errors_done(&errors);
	}
	json_set_alloc_funcs(malloc, free);
	assert_int_equal(r, -EINVAL);
}

static void
test_printing_out_of_memory(void **state)
{
	struct conf *conf = make_conf("{ \"listeners\": { \"a\": {} },"
				      "\"limits\": { \"exempt\": [ \"::1\" ] } }");
	char *expected = conf_print(conf), *text = NULL;

	(void)state;
	json_set_alloc_funcs(count_allocation, free);
	for (size_t n = 0; !text; n++) {
		allocations_left = n;
		text = conf_print(conf);
	}
	json_set_alloc_funcs(malloc, free);
	assert_string_equal(text, expected);
	free(text);
	free(expected);
	conf_free(conf);
}

static void
test_schema_out_of_memory(void **state)
{
	char *expected = conf_schema(), *text = NULL;

	(void)state;
	json_set_alloc_funcs(count_allocation, free);
	for (size_t n = 0; !text; n++) {
		allocations_left = n;
		text = conf_schema();
	}
	json_set_alloc_funcs(malloc, free);
	assert_string_equal(text, expected);
	free(text);
	free(expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_reach_their_fields),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_listeners_inherit_what_stands_behind_them),
		cmocka_unit_test(test_find_listener),
		cmocka_unit_test(test_name_lengths),
		cmocka_unit_test(test_many_listeners),
		cmocka_unit_test(test_duplicate_key_is_named_after_other_alphabets),
		cmocka_unit_test(test_control_characters_do_not_reach_messages),
		cmocka_unit_test(test_text_may_have_any_bytes),
		cmocka_unit_test(test_errors_beyond_the_limit_are_counted),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_load_of_a_directory),
		cmocka_unit_test(test_free_of_nothing),
		cmocka_unit_test(test_to_json_has_every_key),
		cmocka_unit_test(test_schema_has_every_key),
		cmocka_unit_test(test_describe_has_every_key),
		cmocka_unit_test(test_nearest_key),
		cmocka_unit_test(test_out_of_memory_is_told_from_errors),
		cmocka_unit_test(test_printing_out_of_memory),
		cmocka_unit_test(test_schema_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
