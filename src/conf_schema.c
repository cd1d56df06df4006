/*
 * conf_schema: the JSON Schema of the configuration file; see conf_schema() in conf.h.
 *
 * Process: both. Pure. What no schema can say, the range of a duration written as text and what
 * values must be to each other, is left to the parser: the schema never rejects what that accepts.
 */
#include "conf.h"

#include <errno.h>
#include <string.h>

#include "conf_key.h"
#include "conf_print.h"
#include "conf_texts.h"
#include "conf_unit.h"
#include "conf_value.h"
#include "sysctl.h"

#define CONF_SCHEMA_URI "https://json-schema.org/draft/2020-12/schema"
#define NO_NUL "[^\\u0000]"
#define STRING_PATTERN "^" NO_NUL "*$"
#define PATH_PATTERN "^(/" NO_NUL "*)?$"
#define ADDRESS_PATTERN \
	"^([0-9.]+:[0-9]{1,5}|\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,5}|unix:[/@]" NO_NUL "*)?$"
#define RANGE_PATTERN "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"
#define NAME_PATTERN "^[A-Za-z0-9_.-]{1,%d}$"

/* All of these return NULL when there is no memory; jansson takes NULL for an argument as that. */

static json_t *
conf_schema_text(const struct conf_key *key, const char *pattern)
{
	return json_pack("{s:s, s:I, s:I, s:s}", "type", "string", "minLength",
		/* Bytes at most, which are at least as many as the characters counted here. */
		(json_int_t)(key->min > 0), "maxLength", (json_int_t)key->max, "pattern", pattern);
}

static json_t *
conf_schema_pattern(const char *pattern)
{
	return json_pack("{s:s, s:s}", "type", "string", "pattern", pattern);
}

/* A bound in the unit of the file, of which there are `factor` in the one of the table. */
static json_t *
conf_schema_bound(uint64_t value, uint64_t factor)
{
	if (value % factor == 0)
		return json_integer((json_int_t)(value / factor));
	return json_real((double)value / (double)factor);
}

static json_t *
conf_schema_number(const struct conf_key *key, const char *type, uint64_t factor)
{
	return json_pack("{s:s, s:o, s:o}", "type", type, "minimum",
		conf_schema_bound(key->min, factor), "maximum",
		conf_schema_bound(key->max, factor));
}

/* A number, or 0 if that means "off". */
static json_t *
conf_schema_number_or_off(const struct conf_key *key, const char *type, uint64_t factor)
{
	json_t *number = conf_schema_number(key, type, factor);

	if (!conf_key_zero_is_off(key))
		return number;
	return json_pack("{s:[o, {s:i}]}", "anyOf", number, "const", 0);
}

/* A number, or a text of this form. */
static json_t *
conf_schema_quantity(
	const struct conf_key *key, const char *type, uint64_t factor, const char *pattern)
{
	return json_pack("{s:[o, o]}", "anyOf", conf_schema_number_or_off(key, type, factor),
		conf_schema_pattern(pattern));
}

static json_t *
conf_schema_words(const struct conf_key *key)
{
	json_t *words = json_array();
	const char *word;
	size_t length;

	for (unsigned i = 0; (length = conf_key_word(key, i, &word)) > 0; i++)
		if (json_array_append_new(words, json_stringn(word, length)) < 0) {
			json_decref(words);
			return NULL;
		}
	return json_pack("{s:o}", "enum", words);
}

static json_t *
conf_schema_list(const struct conf_key *key, const char *pattern)
{
	return json_pack("{s:s, s:o, s:I, s:I}", "type", "array", "items",
		conf_schema_pattern(pattern), "minItems", (json_int_t)key->min, "maxItems",
		(json_int_t)key->max);
}

static json_t *
conf_schema_sysctls(const struct conf_key *key)
{
	return json_pack("{s:s, s:I, s:I, s:{s:s, s:i}, s:{s:[{s:s, s:i}, o]}}", "type", "object",
		"minProperties", (json_int_t)key->min, "maxProperties", (json_int_t)key->max,
		"propertyNames", "pattern", SYSCTL_KEY_PATTERN, "maxLength", SYSCTL_KEY_MAX,
		"additionalProperties", "anyOf", "type", "integer", "minimum", 0,
		conf_schema_pattern(SYSCTL_NUMBERS_PATTERN));
}

static json_t *
conf_schema_type(const struct conf_key *key)
{
	switch (key->type) {
	case CONF_TYPE_UINT:
		return conf_schema_number_or_off(key, "integer", 1);
	case CONF_TYPE_AUTO:
		return json_pack("{s:[o, {s:s}]}", "anyOf",
			conf_schema_number_or_off(key, "integer", 1), "const", CONF_KEY_AUTO);
	case CONF_TYPE_DURATION:
		return conf_schema_quantity(key, "number", 1000000, CONF_UNIT_DURATION_PATTERN);
	case CONF_TYPE_SIZE:
		return conf_schema_quantity(key, "integer", 1, CONF_UNIT_SIZE_PATTERN);
	case CONF_TYPE_MODE:
		return conf_schema_pattern(CONF_UNIT_MODE_PATTERN);
	case CONF_TYPE_WORD:
		return conf_schema_words(key);
	case CONF_TYPE_STRING:
		return conf_schema_text(key, STRING_PATTERN);
	case CONF_TYPE_PATH:
		return conf_schema_text(key, PATH_PATTERN);
	case CONF_TYPE_ADDRESS:
		return conf_schema_text(key, ADDRESS_PATTERN);
	case CONF_TYPE_CIDRS:
		return conf_schema_list(key, RANGE_PATTERN);
	case CONF_TYPE_TEXTS:
		return conf_schema_list(key, CONF_TEXT_PATTERN);
	case CONF_TYPE_SYSCTLS:
		return conf_schema_sysctls(key);
	}
	return NULL;
}

static json_t *
conf_schema_key(const struct conf_key *key)
{
	char allowed[CONF_VALUE_ALLOWED_MAX];
	bool is_own = key->default_text[0] != '@';
	json_t *schema = conf_schema_type(key);

	if (json_object_set_new(schema, "description",
		    json_sprintf("%s Allowed are %s.%s%s%s", key->help,
			    conf_value_allowed(key, allowed),
			    is_own ? "" : " The default is that of ",
			    is_own ? "" : key->default_text + 1, is_own ? "" : ".")) < 0 ||
		(is_own &&
			json_object_set_new(schema, "default", conf_value_default_json(key)) < 0)) {
		json_decref(schema);
		return NULL;
	}
	return schema;
}

static json_t *
conf_schema_object(void)
{
	return json_pack(
		"{s:s, s:{}, s:b}", "type", "object", "properties", "additionalProperties", 0);
}

/* Puts a schema at "limits.connections" below that of an object, with the objects on the way.
 * Takes `value`. */
static int
conf_schema_put(json_t *schema, const char *path, json_t *value)
{
	json_t *properties = json_object_get(schema, "properties"), *group;
	const char *dot;

	for (; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
		size_t length = (size_t)(dot - path);

		group = json_object_getn(properties, path, length);
		if (!group) {
			group = conf_schema_object();
			if (json_object_setn_new(properties, path, length, group) < 0) {
				json_decref(value);
				return -ENOMEM;
			}
		}
		properties = json_object_get(group, "properties");
	}
	return json_object_set_new(properties, path, value) < 0 ? -ENOMEM : 0;
}

static json_t *
conf_schema_scope(const struct conf_scope *scope)
{
	json_t *schema = conf_schema_object();

	for (size_t i = 0; i < scope->n; i++)
		if (conf_schema_put(schema, scope->keys[i].path, conf_schema_key(&scope->keys[i])) <
			0) {
			json_decref(schema);
			return NULL;
		}
	return schema;
}

static json_t *
conf_schema_listeners(void)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:{s:o, s:{s:[s, s]}}, s:o}", "type", "object",
		"description",
		"The listeners by name, which is the FileDescriptorName= of the systemd socket.",
		"minProperties", 1, "maxProperties", CONF_LISTENERS_MAX, "propertyNames", "pattern",
		json_sprintf(NAME_PATTERN, CONF_NAME_MAX), "not", "enum", CONF_ADMIN_NAME,
		CONF_METRICS_NAME, "additionalProperties", conf_schema_scope(&CONF_SCOPE_LISTENER));
}

char *
conf_schema(void)
{
	json_t *schema = json_pack("{s:s, s:s, s:s, s:[s]}", "$schema", CONF_SCHEMA_URI, "title",
		"millgate.json", "description",
		"The configuration file of millgated. What values must be to each other is checked "
		"by millgated --check.",
		"required", "listeners");
	json_t *keys = conf_schema_scope(&CONF_SCOPE_GLOBAL);
	char *text = NULL;

	if (json_object_update_new(schema, json_incref(keys)) == 0 &&
		conf_schema_put(schema, "$schema", json_pack("{s:s}", "type", "string")) == 0 &&
		conf_schema_put(schema, "listeners", conf_schema_listeners()) == 0)
		text = conf_print_text(schema);
	json_decref(keys);
	json_decref(schema);
	return text;
}
