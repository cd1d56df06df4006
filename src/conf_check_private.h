/*
 * conf_check_private: what the files of conf_check share.
 *
 * Process: both. Pure.
 */
#ifndef MILLGATE_CONF_CHECK_PRIVATE_H
#define MILLGATE_CONF_CHECK_PRIVATE_H

#include <stdbool.h>

#include "conf_check.h"

/* Whether these keys of a part, as far as it has them, can be judged. */
bool conf_check_is_good(const struct conf_part *part, const char *a, const char *b);

/* "PATH: found VALUE, MESSAGE" */
void conf_check_fail(struct conf_draft *draft, const struct conf_part *part, const char *path,
	const char *message);

/* "PATH[INDEX]: TEXT", about one text of a list. */
void conf_check_fail_element(struct conf_draft *draft, const struct conf_part *part,
	const char *path, size_t index, const char *text);

/* The keys of WebSocket listeners, and that nobody else has them. */
void conf_check_websocket(struct conf_draft *draft, const struct conf_part *part);

/* The servers behind a listener, and the way to them. */
void conf_check_relay(struct conf_draft *draft, const struct conf_part *part);
void conf_check_nameservers(struct conf_draft *draft);
/* Of all listeners together. */
void conf_check_servers(struct conf_draft *draft);

#endif
