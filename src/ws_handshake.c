/* ws_handshake: see ws_handshake.h. The numbers are sections of RFC 6455. */
#include "ws_handshake.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* 1.3 */
#define WS_VERSION "13"

static const struct ws_outcome_info {
	unsigned status;
	const char *phrase, *fields;
} WS_OUTCOMES[] = {
#define WS_OUTCOME(symbol, status, phrase, metric, fields) {status, phrase, fields},
#include "ws_outcome.def"
#undef WS_OUTCOME
};

/* Texts with and without regard to case. */
typedef int ws_compare(const char *a, const char *b, size_t length);

/* Whether a text fits a pattern, in which the first "*" stands for any text. */
static bool
ws_pattern_fits(const char *pattern, const struct http_text *text, ws_compare *compare)
{
	size_t before = strcspn(pattern, "*"), after;

	if (pattern[before] == '\0')
		return text->length == before && compare(text->at, pattern, before) == 0;
	after = strlen(pattern + before + 1);
	return text->length >= before + after && compare(text->at, pattern, before) == 0 &&
	       compare(text->at + text->length - after, pattern + before + 1, after) == 0;
}

static bool
ws_texts_allow(const struct ws_texts *patterns, const struct http_text *text, ws_compare *compare)
{
	for (size_t i = 0; i < patterns->n; i++)
		if (ws_pattern_fits(patterns->items[i], text, compare))
			return true;
	return patterns->n == 0;
}

/* The host without its port: "[::1]:80" is "[::1]". */
static struct http_text
ws_host_name(struct http_text host)
{
	const char *bracket = memrchr(host.at, ']', host.length);
	const char *colon = memrchr(host.at, ':', host.length);

	if (colon && colon > bracket)
		host.length = (size_t)(colon - host.at);
	return host;
}

static bool
ws_policy_allows_host(const struct ws_policy *policy, const struct http_text *host)
{
	struct http_text name = ws_host_name(*host);

	return ws_texts_allow(&policy->hosts, host, strncasecmp) ||
	       ws_texts_allow(&policy->hosts, &name, strncasecmp);
}

/* 4.2.1: 16 bytes in base64, which end with two bits of padding that are 0. */
static bool
ws_key_is_valid(const struct http_text *key)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	if (key->length != WS_KEY_LENGTH || memcmp(key->at + 22, "==", 2) != 0)
		return false;
	for (size_t i = 0; i < 22; i++)
		if (!memchr(letters, key->at[i], sizeof(letters) - 1))
			return false;
	return memchr("AQgw", key->at[21], 4);
}

/* The first of ours that the client offers (4.2.2): our order is the one that counts. */
static const char *
ws_choose_subprotocol(const struct ws_policy *policy, const struct http_head *head)
{
	for (size_t i = 0; i < policy->subprotocols.n; i++) {
		struct http_text fields = head->fields, offered;
		struct http_field field;

		while (http_head_next(&fields, &field)) {
			if (!http_text_is(&field.name, "Sec-WebSocket-Protocol"))
				continue;
			while (http_text_next(&field.value, &offered))
				if (strlen(policy->subprotocols.items[i]) == offered.length &&
					memcmp(policy->subprotocols.items[i], offered.at,
						offered.length) == 0)
					return policy->subprotocols.items[i];
		}
	}
	return NULL;
}

/* A request that brings a body is none of ours, and reading bodies is not either. */
static bool
ws_head_has_body(const struct http_head *head)
{
	struct http_text length;

	if (http_head_find(head, "Transfer-Encoding", &length) > 0)
		return true;
	return http_head_find(head, "Content-Length", &length) > 0 && !http_text_is(&length, "0");
}

/* Whether the request may be answered at all here, whatever it asks for. */
static enum ws_outcome
ws_judge_request(const struct ws_policy *policy, const struct http_head *head)
{
	struct http_text host;

	if (head->minor < 1)
		return WS_OUTCOME_BAD_VERSION;
	if (http_head_find(head, "Host", &host) != 1)
		return WS_OUTCOME_BAD_REQUEST;
	if (head->method.length != 3 || memcmp(head->method.at, "GET", 3) != 0)
		return WS_OUTCOME_BAD_METHOD;
	if (ws_head_has_body(head))
		return WS_OUTCOME_HAS_BODY;
	if (*policy->health_path && head->path.length == strlen(policy->health_path) &&
		memcmp(head->path.at, policy->health_path, head->path.length) == 0)
		return WS_OUTCOME_HEALTHY;
	if (!ws_policy_allows_host(policy, &host))
		return WS_OUTCOME_FORBIDDEN;
	if (!ws_texts_allow(&policy->paths, &head->path, strncmp))
		return WS_OUTCOME_NOT_FOUND;
	return WS_OUTCOME_ACCEPTED;
}

/* 4.2.1. Who sends no Origin is no browser, and could send any (10.2). */
static enum ws_outcome
ws_judge_upgrade(
	const struct ws_policy *policy, const struct http_head *head, struct http_text *ret_key)
{
	struct http_text value;
	unsigned n;

	if (!http_head_lists(head, "Upgrade", "websocket") ||
		!http_head_lists(head, "Connection", "Upgrade"))
		return WS_OUTCOME_NO_UPGRADE;
	n = http_head_find(head, "Sec-WebSocket-Version", &value);
	if (n > 1)
		return WS_OUTCOME_BAD_REQUEST;
	if (n == 0 || !http_text_is(&value, WS_VERSION))
		return WS_OUTCOME_NO_UPGRADE;
	if (http_head_find(head, "Sec-WebSocket-Key", ret_key) != 1 || !ws_key_is_valid(ret_key))
		return WS_OUTCOME_BAD_REQUEST;
	n = http_head_find(head, "Origin", &value);
	if (n > 1)
		return WS_OUTCOME_BAD_REQUEST;
	if (n == 1 && !ws_texts_allow(&policy->origins, &value, strncasecmp))
		return WS_OUTCOME_FORBIDDEN;
	return WS_OUTCOME_ACCEPTED;
}

void
ws_handshake_judge(const struct ws_policy *policy, const char *data, size_t length,
	struct ws_handshake *ret_handshake)
{
	struct http_head head;
	struct http_text key;
	enum ws_outcome outcome;
	int r = http_head_parse(data, length, &head);

	*ret_handshake = (struct ws_handshake){.outcome = WS_OUTCOME_BAD_REQUEST};
	if (r == -EPROTONOSUPPORT)
		ret_handshake->outcome = WS_OUTCOME_BAD_VERSION;
	if (r < 0)
		return;
	outcome = ws_judge_request(policy, &head);
	if (outcome == WS_OUTCOME_ACCEPTED)
		outcome = ws_judge_upgrade(policy, &head, &key);
	if (outcome == WS_OUTCOME_ACCEPTED) {
		ret_handshake->subprotocol = ws_choose_subprotocol(policy, &head);
		if (ws_handshake_accept(key.at, ret_handshake->accept) < 0)
			outcome = WS_OUTCOME_UNAVAILABLE;
	}
	ret_handshake->outcome = outcome;
}

int
ws_handshake_accept(const char *key, char ret_accept[static WS_ACCEPT_LENGTH + 1])
{
	unsigned char text[WS_KEY_LENGTH + sizeof(WS_GUID) - 1], hash[SHA_DIGEST_LENGTH];

	memcpy(text, key, WS_KEY_LENGTH);
	memcpy(text + WS_KEY_LENGTH, WS_GUID, sizeof(WS_GUID) - 1);
	if (!SHA1(text, sizeof(text), hash))
		return -EIO;
	EVP_EncodeBlock((unsigned char *)ret_accept, hash, sizeof(hash));
	return 0;
}

void
ws_handshake_prepare(void)
{
	static const char key[WS_KEY_LENGTH + 1] = "AAAAAAAAAAAAAAAAAAAAAA==";
	char accept[WS_ACCEPT_LENGTH + 1];

	(void)!ws_handshake_accept(key, accept);
}

/* The body is the status as text, for a person who looks at it with a browser. */
size_t
ws_handshake_refuse(enum ws_outcome outcome, char ret_answer[static WS_ANSWER_MAX])
{
	const struct ws_outcome_info *info = &WS_OUTCOMES[outcome];
	int length = snprintf(ret_answer, WS_ANSWER_MAX,
		"HTTP/1.1 %u %s\r\n%sConnection: close\r\nContent-Type: text/plain\r\n"
		"Content-Length: %zu\r\n\r\n%s\n",
		info->status, info->phrase, info->fields, strlen(info->phrase) + 1, info->phrase);

	assert(outcome != WS_OUTCOME_ACCEPTED && length > 0 && length < WS_ANSWER_MAX);
	return (size_t)length;
}

size_t
ws_handshake_answer(const struct ws_handshake *handshake, char ret_answer[static WS_ANSWER_MAX])
{
	const struct ws_outcome_info *info = &WS_OUTCOMES[handshake->outcome];
	bool chosen = handshake->subprotocol;
	int length;

	if (handshake->outcome != WS_OUTCOME_ACCEPTED)
		return ws_handshake_refuse(handshake->outcome, ret_answer);
	length = snprintf(ret_answer, WS_ANSWER_MAX,
		"HTTP/1.1 %u %s\r\n%sSec-WebSocket-Accept: %s\r\n%s%s%s\r\n", info->status,
		info->phrase, info->fields, handshake->accept,
		chosen ? "Sec-WebSocket-Protocol: " : "", chosen ? handshake->subprotocol : "",
		chosen ? "\r\n" : "");
	assert(length > 0 && length < WS_ANSWER_MAX);
	return (size_t)length;
}
