/*
 * ws_handshake: is this request the opening handshake of a WebSocket that is wanted here, and what
 * is to be answered (RFC 6455 section 4)?
 *
 * Process: both. Pure but for the hash, which is libcrypto's. The facts of each outcome stand in
 * ws_outcome.def.
 */
#ifndef MILLGATE_WS_HANDSHAKE_H
#define MILLGATE_WS_HANDSHAKE_H

#include "http_head.h"

#define WS_KEY_LENGTH 24    /* 16 bytes in base64 */
#define WS_ACCEPT_LENGTH 28 /* 20 bytes in base64 */
#define WS_SUBPROTOCOL_MAX 64
#define WS_ANSWER_MAX 512

enum ws_outcome {
#define WS_OUTCOME(symbol, status, phrase, metric, fields) WS_OUTCOME_##symbol,
#include "ws_outcome.def"
#undef WS_OUTCOME
	WS_OUTCOME_COUNT,
};

/* A list of texts; borrowed. */
struct ws_texts {
	const char *const *items;
	size_t n;
};

/* What is wanted here. An empty list allows all. In patterns a "*" stands for any text. */
struct ws_policy {
	struct ws_texts paths, hosts, origins;
	struct ws_texts subprotocols; /* the best first */
	const char *health_path;      /* "" for none */
};

struct ws_handshake {
	enum ws_outcome outcome;
	const char *subprotocol;           /* of the policy's; NULL: none */
	char accept[WS_ACCEPT_LENGTH + 1]; /* when accepted: what shows that the key was read */
};

/* `data` is a whole head, as http_head_find_end() found it. */
void ws_handshake_judge(const struct ws_policy *policy, const char *data, size_t length,
	struct ws_handshake *ret_handshake);

/* Writes the answer, and returns how long it is. */
size_t ws_handshake_answer(
	const struct ws_handshake *handshake, char ret_answer[static WS_ANSWER_MAX]);

/* The whole answer of an outcome that needs nothing else; all but WS_OUTCOME_ACCEPTED. */
size_t ws_handshake_refuse(enum ws_outcome outcome, char ret_answer[static WS_ANSWER_MAX]);

/* What the server makes of a client's key of WS_KEY_LENGTH (4.2.2); -EIO if libcrypto cannot. */
int ws_handshake_accept(
	const char *key, char ret_accept[static WS_ACCEPT_LENGTH + 1]) MG_MUST_CHECK;

/* Lets libcrypto make now what it would make at the first handshake. */
void ws_handshake_prepare(void);

#endif
