/* conf_read: see conf_read.h. */
#include "conf_read.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_field.h"
#include "conf_texts.h"
#include "conf_value.h"

#define CONF_READ_LISTENERS "listeners"
#define CONF_READ_ALLOWED_MAX 512
#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"

static bool
conf_read_is_plain_name(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length <= CONF_NAME_MAX && strspn(name, NAME_LETTERS) == length;
}

/* A name as it stands in a path: quoted when it is not a plain one. */
static const char *
conf_read_quote(const char *name, char buf[static CONF_VALUE_SHOW_MAX])
{
	json_t *json;

	if (conf_read_is_plain_name(name))
		return strcpy(buf, name);
	json = json_string(name);
	if (!json)
		return strcpy(buf, "?");
	conf_value_show(json, buf);
	json_decref(json);
	return buf;
}

/* Adds a message about what is at `path` in the part. */
static void
conf_read_fail(struct conf_draft *draft, const struct conf_part *part, const char *path,
	const char *message)
{
	char full[CONF_PREFIX_MAX + CONF_KEY_PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", part->prefix, path);
	conf_report_add(&draft->report, full, "%s", message);
}

static void
conf_read_fail_object(struct conf_draft *draft, const char *path, const json_t *found)
{
	char shown[CONF_VALUE_SHOW_MAX];

	conf_report_add(&draft->report, path, "found %s, allowed is an object, {...}",
		conf_value_show(found, shown));
}

static uint64_t
conf_part_bit(const struct conf_part *part, const struct conf_key *key)
{
	return UINT64_C(1) << (key - part->scope->keys);
}

/* "a, b and c": the names that a group may have. */
static void
conf_read_list_names(
	const struct conf_scope *scope, const char *group, char buf[static CONF_READ_ALLOWED_MAX])
{
	char name[CONF_KEY_PATH_MAX], next[CONF_KEY_PATH_MAX];
	size_t position = 0, used = 0;
	bool more = conf_scope_next_name(scope, group, &position, name);

	*buf = '\0';
	for (bool first = true; more; first = false) {
		more = conf_scope_next_name(scope, group, &position, next);
		used += (size_t)snprintf(buf + used, CONF_READ_ALLOWED_MAX - used, "%s%s",
			first  ? ""
			: more ? ", "
			       : " and ",
			name);
		assert(used < CONF_READ_ALLOWED_MAX);
		strcpy(name, next);
	}
}

static void
conf_read_unknown(
	struct conf_draft *draft, struct conf_part *part, const char *group, const char *name)
{
	char path[CONF_KEY_PATH_MAX], near[CONF_KEY_PATH_MAX], quoted[CONF_VALUE_SHOW_MAX];
	char allowed[CONF_READ_ALLOWED_MAX], message[CONF_READ_ALLOWED_MAX + 64];

	if (conf_report_is_full(&draft->report)) {
		conf_report_add(&draft->report, "", "unknown key"); /* only counted */
		return;
	}
	if (strchr(name, '.')) {
		snprintf(message, sizeof(message),
			"unknown key, a dot in a path stands for an "
			"object within an object");
	} else if (conf_scope_nearest(part->scope, group, name, near)) {
		snprintf(message, sizeof(message), "unknown key, did you mean \"%s%s\"?",
			part->prefix, near);
		/* That it seems to be missing is no error of its own. */
		part->bad |= conf_scope_below(part->scope, near);
		draft->has_listeners |= strcmp(near, CONF_READ_LISTENERS) == 0;
	} else {
		conf_read_list_names(part->scope, group, allowed);
		snprintf(message, sizeof(message), "unknown key, allowed are %s", allowed);
	}
	snprintf(path, sizeof(path), "%s%s", group, conf_read_quote(name, quoted));
	conf_read_fail(draft, part, path, message);
}

/* Every element of a list that is wrong, with its index; false if one is. */
static bool
conf_read_check_list(
	struct conf_draft *draft, struct conf_part *part, const struct conf_key *key, json_t *array)
{
	char path[CONF_KEY_PATH_MAX];
	struct mg_error error;
	struct cidr range;
	json_t *element;
	size_t i;
	bool good = true;

	json_array_foreach(array, i, element) {
		if ((key->type == CONF_TYPE_TEXTS
				    ? conf_texts_check(element, &error)
				    : conf_value_parse_range(element, &range, &error)) == 0)
			continue;
		snprintf(path, sizeof(path), "%s[%zu]", key->path, i);
		conf_read_fail(draft, part, path, error.text);
		good = false;
	}
	return good;
}

/* The same for every member of an object of kernel settings. */
static bool
conf_read_check_sysctls(struct conf_draft *draft, struct conf_part *part,
	const struct conf_key *key, json_t *object)
{
	char path[CONF_KEY_PATH_MAX], quoted[CONF_VALUE_SHOW_MAX];
	struct conf_sysctl sysctl;
	struct mg_error error;
	const char *name;
	json_t *value;
	bool good = true;

	json_object_foreach(object, name, value) {
		if (conf_value_parse_sysctl(name, value, &sysctl, &error) == 0)
			continue;
		snprintf(path, sizeof(path), "%s.%s", key->path, conf_read_quote(name, quoted));
		conf_read_fail(draft, part, path, error.text);
		good = false;
	}
	return good;
}

/* What is said of each element of a value goes before what is said of the whole. */
static bool
conf_read_check_elements(
	struct conf_draft *draft, struct conf_part *part, const struct conf_key *key, json_t *json)
{
	if ((key->type == CONF_TYPE_CIDRS || key->type == CONF_TYPE_TEXTS) &&
		json_array_size(json) <= key->max)
		return conf_read_check_list(draft, part, key, json);
	if (key->type == CONF_TYPE_SYSCTLS && json_object_size(json) <= key->max)
		return conf_read_check_sysctls(draft, part, key, json);
	return true;
}

static void
conf_read_value(
	struct conf_draft *draft, struct conf_part *part, const struct conf_key *key, json_t *json)
{
	uint64_t bit = conf_part_bit(part, key);
	struct mg_error error;
	int r;

	if (!conf_read_check_elements(draft, part, key, json)) {
		part->bad |= bit;
		return;
	}
	r = conf_value_parse(key, json, conf_key_field(key, part->structure), &error);
	if (r == -ENOMEM) {
		draft->report.no_memory = true;
	} else if (r < 0) {
		part->bad |= bit;
		conf_read_fail(draft, part, key->path, error.text);
	} else {
		part->set |= bit;
	}
}

static void conf_read_members(
	struct conf_draft *draft, struct conf_part *part, const char *group, json_t *object);

/* The recursion ends with the groups that the table knows, however deep the file goes. */
static void
conf_read_member(struct conf_draft *draft, struct conf_part *part, const char *group,
	const char *name, json_t *json)
{
	char path[CONF_KEY_PATH_MAX], full[CONF_PREFIX_MAX + CONF_KEY_PATH_MAX];
	const struct conf_key *key;
	uint64_t below;

	snprintf(path, sizeof(path), "%s%s", group, name);
	key = conf_scope_find(part->scope, path);
	below = conf_scope_below(part->scope, path);
	if (strchr(name, '.') || *name == '\0' || below == 0) {
		conf_read_unknown(draft, part, group, name);
	} else if (key) {
		conf_read_value(draft, part, key, json);
	} else if (json_is_object(json)) {
		strcat(path, ".");
		conf_read_members(draft, part, path, json);
	} else {
		part->bad |= below;
		snprintf(full, sizeof(full), "%s%s", part->prefix, path);
		conf_read_fail_object(draft, full, json);
	}
}

static void
conf_read_members(
	struct conf_draft *draft, struct conf_part *part, const char *group, json_t *object)
{
	const char *name;
	json_t *json;

	json_object_foreach(object, name, json)
		conf_read_member(draft, part, group, name, json);
}

static void
conf_read_check_name(struct conf_draft *draft, const char *name)
{
	char quoted[CONF_VALUE_SHOW_MAX];

	if (strcmp(name, CONF_ADMIN_NAME) == 0 || strcmp(name, CONF_METRICS_NAME) == 0)
		conf_report_add(&draft->report, CONF_READ_LISTENERS,
			"found the name %s, allowed are all but " CONF_ADMIN_NAME
			" and " CONF_METRICS_NAME ", which are sockets of millgate's own",
			name);
	else if (!conf_read_is_plain_name(name))
		conf_report_add(&draft->report, CONF_READ_LISTENERS,
			"found the name %s, allowed are names of 1 to %d of the characters "
			"A-Z a-z 0-9 _ . -",
			conf_read_quote(name, quoted), CONF_NAME_MAX);
}

static void
conf_read_listener(struct conf_draft *draft, const char *name, json_t *json)
{
	struct conf_listener *listener = &draft->conf->listeners[draft->conf->n_listeners];
	struct conf_part *part = &draft->listeners[draft->conf->n_listeners++];
	char quoted[CONF_VALUE_SHOW_MAX], path[CONF_PREFIX_MAX];

	part->scope = &CONF_SCOPE_LISTENER;
	part->structure = listener;
	snprintf(part->prefix, sizeof(part->prefix), CONF_READ_LISTENERS ".%s.",
		conf_read_quote(name, quoted));
	snprintf(listener->name, sizeof(listener->name), "%s", name);
	conf_read_check_name(draft, name);
	if (json_is_object(json)) {
		conf_read_members(draft, part, "", json);
		return;
	}
	part->bad = UINT64_MAX;
	snprintf(path, sizeof(path), CONF_READ_LISTENERS ".%s", quoted);
	conf_read_fail_object(draft, path, json);
}

static void
conf_read_listeners(struct conf_draft *draft, json_t *json)
{
	size_t n = json_object_size(json);
	const char *name;
	json_t *listener;

	draft->has_listeners = true;
	if (!json_is_object(json)) {
		conf_read_fail_object(draft, CONF_READ_LISTENERS, json);
		return;
	}
	if (n == 0 || n > CONF_LISTENERS_MAX)
		conf_report_add(&draft->report, CONF_READ_LISTENERS,
			"found %zu listeners, allowed are 1 to %d", n, CONF_LISTENERS_MAX);
	draft->conf->listeners = calloc(CONF_LISTENERS_MAX, sizeof(*draft->conf->listeners));
	if (!draft->conf->listeners) {
		draft->report.no_memory = true;
		return;
	}
	json_object_foreach(json, name, listener)
		if (draft->conf->n_listeners < CONF_LISTENERS_MAX)
			conf_read_listener(draft, name, listener);
}

static void
conf_read_root(struct conf_draft *draft, json_t *root)
{
	char shown[CONF_VALUE_SHOW_MAX];
	const char *name;
	json_t *json;

	json_object_foreach(root, name, json) {
		if (strcmp(name, CONF_READ_LISTENERS) == 0)
			conf_read_listeners(draft, json);
		else if (strcmp(name, "$schema") != 0)
			conf_read_member(draft, &draft->global, "", name, json);
		else if (!json_is_string(json)) /* for editors; of no meaning here */
			conf_report_add(&draft->report, name, "found %s, allowed are texts",
				conf_value_show(json, shown));
	}
	if (!draft->has_listeners)
		conf_report_add(&draft->report, CONF_READ_LISTENERS,
			"found nothing, allowed are 1 to %d listeners", CONF_LISTENERS_MAX);
}

/* Gives a key that the file does not have its default. */
static void
conf_read_default(struct conf_draft *draft, struct conf_part *part, const struct conf_key *key)
{
	void *field = conf_key_field(key, part->structure);
	const struct conf_key *source;
	json_t *json;
	int r;

	if (key->default_text[0] == '@') {
		source = conf_scope_find(&CONF_SCOPE_GLOBAL, key->default_text + 1);
		assert(source && source->type == key->type);
		r = conf_field_copy(key, field, conf_key_field(source, draft->conf));
	} else {
		json = conf_value_default_json(key);
		r = json ? conf_value_parse(key, json, field, NULL) : -ENOMEM;
		json_decref(json);
	}
	assert(r != -EINVAL);
	draft->report.no_memory |= r < 0;
}

static void
conf_read_defaults(struct conf_draft *draft, struct conf_part *part)
{
	for (size_t i = 0; i < part->scope->n; i++)
		if (!(part->set & UINT64_C(1) << i))
			conf_read_default(draft, part, &part->scope->keys[i]);
}

/* Nobody is blamed for a value that the file does not have: this default gives way. */
static void
conf_read_fit_health(const struct conf_part *part)
{
	struct conf_listener *listener = part->structure;
	uint64_t interval = listener->upstream_health_interval;

	if (!(part->set & conf_scope_below(part->scope, "upstream.health.timeout")) &&
		interval != 0 && listener->upstream_health_timeout > interval)
		listener->upstream_health_timeout = interval;
}

void
conf_read(struct conf_draft *draft, json_t *json)
{
	draft->global.scope = &CONF_SCOPE_GLOBAL;
	draft->global.structure = draft->conf;
	if (json_is_object(json))
		conf_read_root(draft, json);
	else
		conf_read_fail_object(draft, "", json);
	/* The listeners' defaults may be global values, so those come first. */
	conf_read_defaults(draft, &draft->global);
	for (size_t i = 0; i < draft->conf->n_listeners; i++) {
		conf_read_defaults(draft, &draft->listeners[i]);
		conf_read_fit_health(&draft->listeners[i]);
	}
}
