/*
 * conf_describe: the keys of conf.def as a reference; see conf_describe() in conf.h.
 *
 * Process: none. Pure.
 */
#include "conf.h"

#include <stdio.h>

#include "conf_key.h"
#include "conf_value.h"

#define PATH_MAX_BYTES (CONF_KEY_PATH_MAX + sizeof("listeners.NAME."))
#define FACTS_MAX (CONF_VALUE_ALLOWED_MAX + 256)

static const char *
conf_describe_type(enum conf_type type)
{
	switch (type) {
	case CONF_TYPE_UINT:
		return "Number";
	case CONF_TYPE_AUTO:
		return "Number or word";
	case CONF_TYPE_DURATION:
		return "Duration";
	case CONF_TYPE_SIZE:
		return "Size";
	case CONF_TYPE_MODE:
		return "Permissions";
	case CONF_TYPE_WORD:
		return "Word";
	case CONF_TYPE_STRING:
		return "Text";
	case CONF_TYPE_PATH:
		return "Path";
	case CONF_TYPE_ADDRESS:
		return "Address";
	case CONF_TYPE_CIDRS:
	case CONF_TYPE_TEXTS:
		return "List";
	case CONF_TYPE_SYSCTLS:
		return "Object";
	}
	return "";
}

/* The value that holds when the key is not in the file, in words. */
static const char *
conf_describe_default(const struct conf_key *key)
{
	if (*key->default_text == '\0')
		return "none";
	return key->default_text + (*key->default_text == '@');
}

static void
conf_describe_key(const struct reference *reference, const char *prefix, const struct conf_key *key)
{
	char path[PATH_MAX_BYTES], allowed[CONF_VALUE_ALLOWED_MAX], facts[FACTS_MAX];
	bool counts = key->type == CONF_TYPE_UINT || key->type == CONF_TYPE_AUTO;

	snprintf(path, sizeof(path), "%s%s", prefix, key->path);
	snprintf(facts, sizeof(facts), "%s: %s%s%s; default: %s%s; applies on %s.",
		conf_describe_type(key->type), conf_value_allowed(key, allowed), counts ? " " : "",
		counts ? conf_key_unit(key) : "", *key->default_text == '@' ? "that of " : "",
		conf_describe_default(key),
		key->applies == CONF_APPLIES_RELOAD ? "reload" : "restart");
	reference_put(
		reference, &(struct reference_entry){REFERENCE_WORD, path, {facts, key->help}});
}

void
conf_describe(const struct reference *reference)
{
	for (size_t i = 0; i < CONF_SCOPE_GLOBAL.n; i++)
		conf_describe_key(reference, "", &CONF_SCOPE_GLOBAL.keys[i]);
	for (size_t i = 0; i < CONF_SCOPE_LISTENER.n; i++)
		conf_describe_key(reference, "listeners.NAME.", &CONF_SCOPE_LISTENER.keys[i]);
}
