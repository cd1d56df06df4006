/* Tests of ws_handshake. The numbers in the names are sections of RFC 6455. */
#include "fixture.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ws_handshake.h"

#define LINE "GET /chat HTTP/1.1\r\n"
#define HOST "Host: server.example.com\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define GOOD LINE HOST UPGRADE KEY VERSION

#define TEXTS(...)                                                          \
	{                                                                   \
		.items = (const char *const[]){__VA_ARGS__},                \
		.n = sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *) \
	}

static const struct ws_policy OPEN = {.health_path = ""};

static struct ws_handshake
judge(const struct ws_policy *policy, const char *head)
{
	struct ws_handshake handshake;
	char text[4096];

	snprintf(text, sizeof(text), "%s\r\n", head);
	ws_handshake_judge(policy, text, strlen(text), &handshake);
	return handshake;
}

static void
assert_judged(const struct ws_policy *policy, const char *head, enum ws_outcome outcome)
{
	struct ws_handshake handshake = judge(policy, head);

	if (handshake.outcome != outcome)
		fail_msg("outcome %d, not %d, of: %s", handshake.outcome, outcome, head);
}

static void
assert_accepts(const char *head)
{
	assert_judged(&OPEN, head, WS_OUTCOME_ACCEPTED);
}

static void
assert_refuses(const char *head, enum ws_outcome outcome)
{
	assert_judged(&OPEN, head, outcome);
}

/* The answer holds this, each line of it a whole one. */
static void
assert_answers(const struct ws_handshake *handshake, const char *wanted)
{
	char answer[WS_ANSWER_MAX];
	size_t length = ws_handshake_answer(handshake, answer);

	assert_int_equal(length, strlen(answer));
	if (!strstr(answer, wanted))
		fail_msg("not in the answer: %s", answer);
}

static void
test_1_3_the_example_of_the_rfc(void **state)
{
	struct ws_handshake handshake = judge(&OPEN, GOOD);
	char answer[WS_ANSWER_MAX];

	(void)state;
	assert_int_equal(handshake.outcome, WS_OUTCOME_ACCEPTED);
	assert_string_equal(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	(void)ws_handshake_answer(&handshake, answer);
	assert_string_equal(answer,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

static void
test_4_2_1_any_case_and_order_and_more_fields(void **state)
{
	(void)state;
	assert_accepts("GET /?x=y HTTP/1.1\r\nUser-Agent: x\r\nsec-websocket-version: 13\r\n"
		       "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		       "connection: keep-alive, upgrade\r\nupgrade: WebSocket\r\nhost: a\r\n"
		       "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
}

static void
test_4_2_1_1_the_request_is_a_get_of_http_1_1(void **state)
{
	(void)state;
	assert_refuses("POST /chat HTTP/1.1\r\n" HOST UPGRADE KEY VERSION, WS_OUTCOME_BAD_METHOD);
	assert_refuses("get /chat HTTP/1.1\r\n" HOST UPGRADE KEY VERSION, WS_OUTCOME_BAD_METHOD);
	assert_refuses("GET /chat HTTP/1.0\r\n" HOST UPGRADE KEY VERSION, WS_OUTCOME_BAD_VERSION);
	assert_refuses("GET /chat HTTP/2.0\r\n" HOST UPGRADE KEY VERSION, WS_OUTCOME_BAD_VERSION);
	assert_refuses("nonsense\r\n", WS_OUTCOME_BAD_REQUEST);
}

static void
test_4_2_1_2_there_is_one_host(void **state)
{
	(void)state;
	assert_refuses(LINE UPGRADE KEY VERSION, WS_OUTCOME_BAD_REQUEST);
	assert_refuses(LINE HOST HOST UPGRADE KEY VERSION, WS_OUTCOME_BAD_REQUEST);
}

static void
test_4_2_1_3_and_4_the_upgrade_is_asked_for(void **state)
{
	(void)state;
	assert_refuses(LINE HOST "Connection: Upgrade\r\n" KEY VERSION, WS_OUTCOME_NO_UPGRADE);
	assert_refuses(LINE HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY VERSION,
		WS_OUTCOME_NO_UPGRADE);
	assert_refuses(LINE HOST "Upgrade: websocket\r\n" KEY VERSION, WS_OUTCOME_NO_UPGRADE);
	assert_refuses(LINE HOST "Upgrade: websocket\r\nConnection: close\r\n" KEY VERSION,
		WS_OUTCOME_NO_UPGRADE);
	assert_refuses(LINE HOST, WS_OUTCOME_NO_UPGRADE);
}

static void
test_4_2_1_5_the_key_is_16_bytes_in_base64(void **state)
{
	static const char *const bad[] = {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ",
		"dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZR==",
		"dGhlIHNhbXBs SBub25jZQ==", "dGhlIHNhbXBs_SBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ==="};
	char head[512];

	(void)state;
	assert_refuses(LINE HOST UPGRADE VERSION, WS_OUTCOME_BAD_REQUEST);
	assert_refuses(LINE HOST UPGRADE KEY KEY VERSION, WS_OUTCOME_BAD_REQUEST);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(head, sizeof(head), LINE HOST UPGRADE VERSION "Sec-WebSocket-Key: %s\r\n",
			bad[i]);
		assert_refuses(head, WS_OUTCOME_BAD_REQUEST);
	}
}

static void
test_4_2_1_6_and_4_4_another_version_is_told_which_one_we_have(void **state)
{
	struct ws_handshake handshake =
		judge(&OPEN, LINE HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n");

	(void)state;
	assert_int_equal(handshake.outcome, WS_OUTCOME_NO_UPGRADE);
	assert_answers(&handshake, "HTTP/1.1 426 Upgrade Required\r\n");
	assert_answers(&handshake, "\r\nSec-WebSocket-Version: 13\r\n");
	assert_answers(&handshake, "\r\nUpgrade: websocket\r\n");
	assert_refuses(LINE HOST UPGRADE KEY, WS_OUTCOME_NO_UPGRADE);
	assert_refuses(
		LINE HOST UPGRADE KEY "Sec-WebSocket-Version: 013\r\n", WS_OUTCOME_NO_UPGRADE);
	assert_refuses(LINE HOST UPGRADE KEY VERSION VERSION, WS_OUTCOME_BAD_REQUEST);
}

static void
test_4_2_2_the_first_subprotocol_of_ours_that_is_offered_is_chosen(void **state)
{
	const struct ws_policy policy = {.health_path = "", .subprotocols = TEXTS("v2", "v1")};
	struct ws_handshake handshake = judge(&policy, GOOD "Sec-WebSocket-Protocol: v0, v1\r\n"
							    "Sec-WebSocket-Protocol: v2\r\n");

	(void)state;
	assert_string_equal(handshake.subprotocol, "v2");
	assert_answers(&handshake, "\r\nSec-WebSocket-Protocol: v2\r\n\r\n");
	handshake = judge(&policy, GOOD "Sec-WebSocket-Protocol: v1,v0\r\n");
	assert_string_equal(handshake.subprotocol, "v1");
}

static void
test_4_2_2_without_a_common_subprotocol_none_is_chosen(void **state)
{
	const struct ws_policy policy = {.health_path = "", .subprotocols = TEXTS("v2")};

	(void)state;
	assert_null(judge(&policy, GOOD "Sec-WebSocket-Protocol: V2, v22\r\n").subprotocol);
	assert_null(judge(&policy, GOOD).subprotocol);
	assert_null(judge(&OPEN, GOOD "Sec-WebSocket-Protocol: v2\r\n").subprotocol);
	assert_int_equal(judge(&policy, GOOD).outcome, WS_OUTCOME_ACCEPTED);
}

static void
test_9_1_no_extension_is_agreed_on(void **state)
{
	struct ws_handshake handshake =
		judge(&OPEN, GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n");
	char answer[WS_ANSWER_MAX];

	(void)state;
	(void)ws_handshake_answer(&handshake, answer);
	assert_null(strstr(answer, "Extensions"));
}

static void
test_paths_are_exact_or_have_a_star(void **state)
{
	const struct ws_policy policy = {.health_path = "", .paths = TEXTS("/a", "/b/*", "/c*d")};

	(void)state;
	assert_judged(&policy, GOOD, WS_OUTCOME_NOT_FOUND);
#define AT(path, outcome)                                                            \
	assert_judged(&policy, "GET " path " HTTP/1.1\r\n" HOST UPGRADE KEY VERSION, \
		WS_OUTCOME_##outcome)
	AT("/a", ACCEPTED);
	AT("/a?b", ACCEPTED);
	AT("/A", NOT_FOUND);
	AT("/a/", NOT_FOUND);
	AT("/aa", NOT_FOUND);
	AT("/b", NOT_FOUND);
	AT("/b/", ACCEPTED);
	AT("/b/c/d", ACCEPTED);
	AT("/cd", ACCEPTED);
	AT("/c1d", ACCEPTED);
	AT("/c", NOT_FOUND);
#undef AT
}

static void
test_hosts_are_compared_without_port_unless_it_is_named(void **state)
{
	const struct ws_policy policy = {
		.health_path = "", .hosts = TEXTS("a.example", "*.b.example", "c:81", "[::1]")};

	(void)state;
#define OF(host, outcome) \
	assert_judged(&policy, LINE "Host: " host "\r\n" UPGRADE KEY VERSION, WS_OUTCOME_##outcome)
	OF("a.example", ACCEPTED);
	OF("A.Example:8080", ACCEPTED);
	OF("b.example", FORBIDDEN);
	OF("x.b.example", ACCEPTED);
	OF("x.y.b.example:1", ACCEPTED);
	OF("c", FORBIDDEN);
	OF("c:81", ACCEPTED);
	OF("c:82", FORBIDDEN);
	OF("[::1]", ACCEPTED);
	OF("[::1]:7000", ACCEPTED);
	OF("[::2]", FORBIDDEN);
	OF("", FORBIDDEN);
#undef OF
}

static void
test_10_2_origins_are_for_browsers(void **state)
{
	const struct ws_policy policy = {
		.health_path = "", .origins = TEXTS("https://a.example", "https://*.b.example")};

	(void)state;
#define FROM(origin, outcome) \
	assert_judged(&policy, GOOD "Origin: " origin "\r\n", WS_OUTCOME_##outcome)
	FROM("https://a.example", ACCEPTED);
	FROM("HTTPS://A.example", ACCEPTED);
	FROM("http://a.example", FORBIDDEN);
	FROM("https://a.example.evil", FORBIDDEN);
	FROM("https://evila.example", FORBIDDEN);
	FROM("https://x.b.example", ACCEPTED);
	FROM("null", FORBIDDEN);
	FROM("", FORBIDDEN);
#undef FROM
	assert_judged(&policy, GOOD, WS_OUTCOME_ACCEPTED);
	assert_refuses(GOOD "Origin: a\r\nOrigin: b\r\n", WS_OUTCOME_BAD_REQUEST);
}

static void
test_a_body_is_too_much(void **state)
{
	(void)state;
	assert_refuses(GOOD "Content-Length: 1\r\n", WS_OUTCOME_HAS_BODY);
	assert_refuses(GOOD "Transfer-Encoding: chunked\r\n", WS_OUTCOME_HAS_BODY);
	assert_accepts(GOOD "Content-Length: 0\r\n");
}

static void
test_the_health_path_wants_no_upgrade_and_no_host_of_ours(void **state)
{
	const struct ws_policy policy = {
		.health_path = "/healthz", .hosts = TEXTS("a"), .paths = TEXTS("/chat")};
	struct ws_handshake handshake = judge(&policy, "GET /healthz HTTP/1.1\r\nHost: x\r\n");

	(void)state;
	assert_int_equal(handshake.outcome, WS_OUTCOME_HEALTHY);
	assert_answers(&handshake, "HTTP/1.1 200 OK\r\n");
	assert_answers(&handshake, "\r\nContent-Length: 3\r\n\r\nOK\n");
	assert_judged(&policy, "GET /healthz2 HTTP/1.1\r\nHost: a\r\n", WS_OUTCOME_NOT_FOUND);
	assert_judged(&policy, "POST /healthz HTTP/1.1\r\nHost: a\r\n", WS_OUTCOME_BAD_METHOD);
}

static void
test_every_outcome_has_an_answer_that_is_a_whole_response(void **state)
{
	char answer[WS_ANSWER_MAX], wanted[64];

	(void)state;
	for (unsigned outcome = WS_OUTCOME_ACCEPTED + 1; outcome < WS_OUTCOME_COUNT; outcome++) {
		size_t length = ws_handshake_refuse(outcome, answer);
		const char *body = strstr(answer, "\r\n\r\n");

		assert_int_equal(length, strlen(answer));
		assert_non_null(body);
		snprintf(wanted, sizeof(wanted), "\r\nContent-Length: %zu\r\n", strlen(body + 4));
		assert_non_null(strstr(answer, wanted));
		assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_3_the_example_of_the_rfc),
		cmocka_unit_test(test_4_2_1_any_case_and_order_and_more_fields),
		cmocka_unit_test(test_4_2_1_1_the_request_is_a_get_of_http_1_1),
		cmocka_unit_test(test_4_2_1_2_there_is_one_host),
		cmocka_unit_test(test_4_2_1_3_and_4_the_upgrade_is_asked_for),
		cmocka_unit_test(test_4_2_1_5_the_key_is_16_bytes_in_base64),
		cmocka_unit_test(test_4_2_1_6_and_4_4_another_version_is_told_which_one_we_have),
		cmocka_unit_test(
			test_4_2_2_the_first_subprotocol_of_ours_that_is_offered_is_chosen),
		cmocka_unit_test(test_4_2_2_without_a_common_subprotocol_none_is_chosen),
		cmocka_unit_test(test_9_1_no_extension_is_agreed_on),
		cmocka_unit_test(test_paths_are_exact_or_have_a_star),
		cmocka_unit_test(test_hosts_are_compared_without_port_unless_it_is_named),
		cmocka_unit_test(test_10_2_origins_are_for_browsers),
		cmocka_unit_test(test_a_body_is_too_much),
		cmocka_unit_test(test_the_health_path_wants_no_upgrade_and_no_host_of_ours),
		cmocka_unit_test(test_every_outcome_has_an_answer_that_is_a_whole_response),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
