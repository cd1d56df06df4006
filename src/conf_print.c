/* conf_print: see conf_print.h. */
#include "conf_print.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_field.h"
#include "conf_key.h"
#include "conf_value.h"

#define CONF_DESCRIBE_COLUMNS 78

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

/* Writes text in lines of at most CONF_DESCRIBE_COLUMNS, broken at spaces. */
static void
conf_describe_wrap(FILE *out, const char *text)
{
	static const char indent[] = "    ";
	size_t column = CONF_DESCRIBE_COLUMNS, length;

	for (const char *word = text; *word != '\0'; word += length + strspn(word + length, " ")) {
		length = strcspn(word, " ");
		if (column + 1 + length > CONF_DESCRIBE_COLUMNS) {
			fprintf(out, "%s%s%.*s", word == text ? "" : "\n", indent, (int)length,
				word);
			column = strlen(indent) + length;
		} else {
			fprintf(out, " %.*s", (int)length, word);
			column += 1 + length;
		}
	}
	fputc('\n', out);
}

static const char *
conf_describe_type(enum conf_type type)
{
	switch (type) {
	case CONF_TYPE_UINT:
		return "number";
	case CONF_TYPE_AUTO:
		return "number or word";
	case CONF_TYPE_DURATION:
		return "duration";
	case CONF_TYPE_SIZE:
		return "size";
	case CONF_TYPE_MODE:
		return "permissions";
	case CONF_TYPE_WORD:
		return "word";
	case CONF_TYPE_STRING:
		return "text";
	case CONF_TYPE_PATH:
		return "path";
	case CONF_TYPE_ADDRESS:
		return "address";
	case CONF_TYPE_CIDRS:
		return "list";
	case CONF_TYPE_SYSCTLS:
		return "object";
	}
	return "";
}

static void
conf_describe_key(FILE *out, const char *prefix, const struct conf_key *key)
{
	char allowed[CONF_VALUE_ALLOWED_MAX], facts[CONF_VALUE_ALLOWED_MAX + 256];
	bool counts = key->type == CONF_TYPE_UINT || key->type == CONF_TYPE_AUTO;
	const char *text = key->default_text;

	snprintf(facts, sizeof(facts), "%s: %s%s%s; default: %s%s; applies on %s.",
		conf_describe_type(key->type), conf_value_allowed(key, allowed), counts ? " " : "",
		counts ? conf_key_unit(key) : "", *text == '@' ? "that of " : "",
		*text == '\0' ? "none" : text + (*text == '@'),
		key->applies == CONF_APPLIES_RELOAD ? "reload" : "restart");
	fprintf(out, "%s%s\n", prefix, key->path);
	conf_describe_wrap(out, facts);
	conf_describe_wrap(out, key->help);
	fputc('\n', out);
}

void
conf_describe(FILE *out)
{
	for (size_t i = 0; i < CONF_SCOPE_GLOBAL.n; i++)
		conf_describe_key(out, "", &CONF_SCOPE_GLOBAL.keys[i]);
	for (size_t i = 0; i < CONF_SCOPE_LISTENER.n; i++)
		conf_describe_key(out, "listeners.NAME.", &CONF_SCOPE_LISTENER.keys[i]);
}
