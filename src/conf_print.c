/* conf_print: see conf_print.h. */
#include "conf_print.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_field.h"
#include "conf_key.h"

/* Puts a value at "limits.connections" below the object, and makes the objects on the way. Takes
 * the value, which may be NULL for no memory. */
static int
conf_print_put(json_t *object, const char *path, json_t *value)
{
	const char *dot;

	for (; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
		size_t length = (size_t)(dot - path);
		json_t *group = json_object_getn(object, path, length);

		if (!group) {
			group = json_object();
			if (json_object_setn_new(object, path, length, group) < 0) {
				json_decref(value);
				return -ENOMEM;
			}
		}
		object = group;
	}
	return json_object_set_new(object, path, value) < 0 ? -ENOMEM : 0;
}

static int
conf_print_scope(json_t *object, const struct conf_scope *scope, const void *structure)
{
	int r = 0;

	for (size_t i = 0; i < scope->n && r == 0; i++) {
		const struct conf_key *key = &scope->keys[i];

		r = conf_print_put(object, key->path,
			conf_field_to_json(key, conf_key_field_const(key, structure)));
	}
	return r;
}

static int
conf_print_listener(json_t *listeners, const struct conf_listener *listener)
{
	json_t *object = json_object();

	/* Not by conf_print_put(): there may be dots in a name. */
	if (json_object_set_new(listeners, listener->name, object) < 0)
		return -ENOMEM;
	return conf_print_scope(object, &CONF_SCOPE_LISTENER, listener);
}

json_t *
conf_to_json(const struct conf *conf)
{
	json_t *root = json_object(), *listeners = json_object();
	int r = conf_print_scope(root, &CONF_SCOPE_GLOBAL, conf);

	for (size_t i = 0; i < conf->n_listeners && r == 0; i++)
		r = conf_print_listener(listeners, &conf->listeners[i]);
	if (json_object_set_new(root, "listeners", listeners) < 0 || r < 0) {
		json_decref(root);
		return NULL;
	}
	return root;
}

char *
conf_print_text(json_t *json)
{
	char *text = json_dumps(json, JSON_INDENT(4) | JSON_REAL_PRECISION(15));
	char *line = NULL;

	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

char *
conf_print(const struct conf *conf)
{
	json_t *json = conf_to_json(conf);
	char *text = conf_print_text(json);

	json_decref(json);
	return text;
}
