/*
 * conf_check_websocket: what keys of WebSocket listeners must be; see conf_check.h.
 *
 * Process: both. Pure.
 */
#include "conf_check_private.h"

#include <stdio.h>
#include <string.h>

/* Could anything that a client sends fit this pattern? */
static bool
conf_check_is_path(const char *pattern)
{
	return *pattern == '/' || *pattern == '*';
}

static bool
conf_check_is_host(const char *pattern)
{
	return strchr(pattern, '/') == NULL;
}

/* RFC 6454, 7: a scheme, a host and a port, or "null". */
static bool
conf_check_is_origin(const char *pattern)
{
	const char *scheme = strstr(pattern, "://");

	if (strchr(pattern, '*') || strcmp(pattern, "null") == 0)
		return true;
	return scheme && strchr(scheme + 3, '/') == NULL;
}

static const struct {
	const char *path;
	bool (*fits)(const char *pattern); /* NULL: any text may */
	const char *allowed;
} LISTS[] = {
	{"websocket.paths", conf_check_is_path, "texts that begin with \"/\" or \"*\""},
	{"websocket.hosts", conf_check_is_host, "texts as \"example.com\", with no \"/\""},
	{"websocket.origins", conf_check_is_origin,
		"texts as \"https://example.com\", with no path, and \"null\""},
	{"websocket.subprotocols", NULL, NULL},
};

#define N_LISTS (sizeof(LISTS) / sizeof(LISTS[0]))

static const struct conf_texts *
conf_check_texts(const struct conf_part *part, const char *path)
{
	return conf_key_field(conf_scope_find(part->scope, path), part->structure);
}

/* A pattern that fits nothing lets nobody in, and that is found out by clients. */
static void
conf_check_patterns(struct conf_draft *draft, const struct conf_part *part)
{
	for (size_t i = 0; i < N_LISTS; i++) {
		const struct conf_texts *texts = conf_check_texts(part, LISTS[i].path);
		char message[2 * 256];

		for (size_t k = 0; LISTS[i].fits && k < texts->n; k++) {
			if (LISTS[i].fits(texts->items[k]))
				continue;
			snprintf(message, sizeof(message), "found \"%s\", allowed are %s",
				texts->items[k], LISTS[i].allowed);
			conf_check_fail_element(draft, part, LISTS[i].path, k, message);
		}
	}
}

/* Lists that nobody would ever look at are a mistake, and one about who is let in. */
void
conf_check_websocket(struct conf_draft *draft, const struct conf_part *part)
{
	static const char head[] = "websocket.head_bytes",
			  queue[] = "limits.queued_bytes_per_connection";
	const struct conf_listener *listener = part->structure;

	if (listener->protocol == CONF_PROTOCOL_WEBSOCKET) {
		if (listener->ws_head_max > listener->queued_per_connection &&
			conf_check_is_good(part, head, queue))
			conf_check_fail(draft, part, head,
				"allowed is at most limits.queued_bytes_per_connection");
		conf_check_patterns(draft, part);
		return;
	}
	for (size_t i = 0; i < N_LISTS; i++) {
		const char *path = LISTS[i].path;

		if (conf_check_texts(part, path)->n > 0 &&
			conf_check_is_good(part, path, "protocol"))
			conf_check_fail(draft, part, path,
				"allowed is only [] unless protocol is \"websocket\"");
	}
}
