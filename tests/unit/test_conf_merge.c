/* conf_merge: what a reload changes, and what waits for a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf.h"

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

/* What a merge says, one "path" or "path!" (needs a restart) after the other. */
static void
note_change(void *context, const char *path, bool needs_restart)
{
	char *notes = context;

	strcat(notes, path);
	strcat(notes, needs_restart ? "! " : " ");
}

static void
assert_merge(const char *running_text, const char *fresh_text, const char *expected_notes,
	const char *expected_text)
{
	struct conf *running = make_conf(running_text), *fresh = make_conf(fresh_text);
	struct conf *expected = make_conf(expected_text);
	char notes[1024] = "", *printed, *expected_print;

	assert_int_equal(conf_merge_running(fresh, running, note_change, notes), 0);
	assert_string_equal(notes, expected_notes);
	printed = conf_print(fresh);
	expected_print = conf_print(expected);
	assert_string_equal(printed, expected_print);
	free(printed);
	free(expected_print);
	conf_free(running);
	conf_free(fresh);
	conf_free(expected);
}

static void
test_merge_of_the_same(void **state)
{
	static const char text[] = "{ \"listeners\": { \"a\": { \"address\": \"[::]:1\" } },"
				   "\"limits\": { \"exempt\": [ \"::1\" ] } }";

	(void)state;
	assert_merge(text, text, "", text);
}

static void
test_merge_takes_what_applies_on_reload(void **state)
{
	static const char fresh[] =
		"{ \"log_level\": \"debug\", \"limits\": { \"exempt\": [ \"::1\" ] },"
		"\"listeners\": { \"a\": { \"keepalive\": 9 } } }";

	(void)state;
	assert_merge("{ \"listeners\": { \"a\": {} } }", fresh,
		"log_level limits.exempt listeners.a.keepalive ", fresh);
}

static void
test_merge_of_kernel_settings(void **state)
{
	(void)state;
	assert_merge("{ \"listeners\": { \"a\": {} }, \"sysctl\": { \"want\": { \"a.b\": 1 } } }",
		"{ \"listeners\": { \"a\": {} }, \"sysctl\": {"
		"\"mode\": \"off\", \"want\": { \"a.b\": \"1 2\" } } }",
		"sysctl.mode! sysctl.want ",
		"{ \"listeners\": { \"a\": {} }, \"sysctl\": { \"want\": { \"a.b\": \"1 2\" } } }");
}

static void
test_merge_keeps_what_needs_a_restart(void **state)
{
	(void)state;
	assert_merge("{ \"workers\": 2, \"listeners\": { \"a\": { \"address\": \"[::]:1\" } } }",
		"{ \"workers\": 3, \"admin\": { \"socket\": \"/x\" },"
		"\"metrics\": { \"address\": \"unix:/y\" },"
		"\"listeners\": { \"a\": { \"address\": \"[::]:2\" } } }",
		"workers! admin.socket! metrics.address! listeners.a.address! ",
		"{ \"workers\": 2, \"listeners\": { \"a\": { \"address\": \"[::]:1\" } } }");
}

static void
test_merge_of_an_inherited_value(void **state)
{
	static const char fresh[] = "{ \"limits\": { \"idle_timeout\": 5 },"
				    "\"listeners\": { \"a\": {},"
				    "\"b\": { \"limits\": { \"idle_timeout\": 0 } } } }";

	(void)state;
	assert_merge("{ \"listeners\": { \"a\": {}, \"b\": {} } }", fresh,
		"limits.idle_timeout listeners.a.limits.idle_timeout ", fresh);
}

static void
test_merge_keeps_the_listeners(void **state)
{
	static const char running[] = "{ \"listeners\": { \"a\": { \"backlog\": 1 },"
				      "\"b\": { \"backlog\": 2 }, \"c\": { \"backlog\": 3 } } }";

	(void)state;
	/* In the order that runs, too: workers know listeners by their numbers. */
	assert_merge(running,
		"{ \"listeners\": { \"new\": {}, \"c\": { \"backlog\": 3 },"
		"\"a\": { \"backlog\": 1 } } }",
		"listeners.b! listeners.new! ", running);
	assert_merge(running, "{ \"listeners\": { \"new\": {} } }",
		"listeners.a! listeners.b! listeners.c! listeners.new! ", running);
}

static void
test_merge_keeps_heartbeats_with_their_service(void **state)
{
	static const char echo[] = "{ \"listeners\": { \"a\": { \"service\": \"echo\" } } }";
	static const char hold[] = "{ \"listeners\": { \"a\": {"
				   "\"heartbeat\": { \"interval\": 1, \"payload\": \"x\" } } } }";
	static const char notes[] = "listeners.a.service! listeners.a.heartbeat.interval! "
				    "listeners.a.heartbeat.payload! ";

	(void)state;
	assert_merge(echo, hold, notes, echo);
	assert_merge(hold, echo, notes, hold);
}

static void
test_merge_keeps_servers_with_their_service(void **state)
{
	static const char hold[] = "{ \"listeners\": { \"a\": { \"service\": \"hold\" } } }";
	static const char relay[] =
		"{ \"listeners\": { \"a\": { \"service\": \"relay\","
		"\"upstream\": { \"servers\": [\"a:1\"], \"retries\": 0 } } } }";
	static const char other[] =
		"{ \"listeners\": { \"a\": { \"service\": \"relay\","
		"\"upstream\": { \"servers\": [\"b:1\"], \"retries\": 0 } } } }";
	static const char notes[] = "listeners.a.service! listeners.a.upstream.servers! "
				    "listeners.a.upstream.retries! ";

	(void)state;
	assert_merge(relay, hold, notes, relay);
	assert_merge(hold, relay, notes, hold);
	assert_merge(relay, other, "listeners.a.upstream.servers ", other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge_of_the_same),
		cmocka_unit_test(test_merge_takes_what_applies_on_reload),
		cmocka_unit_test(test_merge_of_kernel_settings),
		cmocka_unit_test(test_merge_keeps_what_needs_a_restart),
		cmocka_unit_test(test_merge_of_an_inherited_value),
		cmocka_unit_test(test_merge_keeps_the_listeners),
		cmocka_unit_test(test_merge_keeps_heartbeats_with_their_service),
		cmocka_unit_test(test_merge_keeps_servers_with_their_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
