/*
 * conf_read: fills a configuration from JSON, key by key.
 *
 * Process: both. Pure. Judges each value alone; what values mean together is for conf_check.
 */
#ifndef MILLGATE_CONF_READ_H
#define MILLGATE_CONF_READ_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "conf.h"
#include "conf_key.h"
#include "conf_report.h"

#define CONF_PREFIX_MAX 160

/* One structure that is being filled. */
struct conf_part {
	const struct conf_scope *scope;
	void *structure;
	char prefix[CONF_PREFIX_MAX]; /* before its keys in messages: "" or "listeners.public." */
	uint64_t set; /* the keys that have a value from the file; bit i is scope->keys[i] */
	uint64_t bad; /* those about which enough has been said */
};

/* A configuration on its way, and what is wrong with it. */
struct conf_draft {
	struct conf *conf;
	struct conf_report report;
	struct conf_part global;
	struct conf_part listeners[CONF_LISTENERS_MAX];
	bool has_listeners;
};

/* Reads the whole file into draft->conf (zeroed; the report set up by the caller), then the
 * defaults of what it does not have. Errors go to the report. */
void conf_read(struct conf_draft *draft, json_t *json);

#endif
