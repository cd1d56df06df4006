/* conf_field: see conf_field.h. */
#include "conf_field.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "conf_texts.h"
#include "conf_unit.h"

static json_t *
conf_field_ranges_to_json(const struct conf_cidrs *cidrs)
{
	char text[CIDR_TEXT_MAX];
	json_t *array = json_array();

	for (size_t i = 0; i < cidrs->n; i++)
		if (json_array_append_new(array, json_string(cidr_format(&cidrs->items[i], text))) <
			0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

/* One number as such, several as text. */
static json_t *
conf_field_numbers_to_json(const struct sysctl_numbers *numbers)
{
	char text[SYSCTL_TEXT_MAX];

	if (numbers->n == 1)
		return json_integer((json_int_t)numbers->at[0]);
	return json_string(sysctl_format(numbers, text));
}

static json_t *
conf_field_sysctls_to_json(const struct conf_sysctls *sysctls)
{
	json_t *object = json_object();

	for (size_t i = 0; i < sysctls->n; i++)
		if (json_object_set_new(object, sysctls->items[i].key,
			    conf_field_numbers_to_json(&sysctls->items[i].wanted)) < 0) {
			json_decref(object);
			return NULL;
		}
	return object;
}

json_t *
conf_field_to_json(const struct conf_key *key, const void *field)
{
	uint64_t number = key->type <= CONF_TYPE_MODE ? *(const uint64_t *)field : 0;
	char text[CONF_UNIT_TEXT_MAX];
	const char *word;
	size_t length;

	switch (key->type) {
	case CONF_TYPE_AUTO:
		if (number == 0)
			return json_string(CONF_KEY_AUTO);
		return json_integer((json_int_t)number);
	case CONF_TYPE_UINT:
		return json_integer((json_int_t)number);
	case CONF_TYPE_DURATION:
		return json_string(conf_unit_format_duration(number, text));
	case CONF_TYPE_SIZE:
		return json_string(conf_unit_format_size(number, text));
	case CONF_TYPE_MODE:
		return json_string(conf_unit_format_mode(number, text));
	case CONF_TYPE_WORD:
		length = conf_key_word(key, *(const unsigned *)field, &word);
		return json_stringn(word, length);
	case CONF_TYPE_STRING:
	case CONF_TYPE_PATH:
	case CONF_TYPE_ADDRESS:
		return json_string(*(char *const *)field);
	case CONF_TYPE_CIDRS:
		return conf_field_ranges_to_json(field);
	case CONF_TYPE_SYSCTLS:
		return conf_field_sysctls_to_json(field);
	case CONF_TYPE_TEXTS:
		return conf_texts_to_json(field);
	}
	assert(false);
}

bool
conf_field_equal(const struct conf_key *key, const void *a, const void *b)
{
	const struct conf_cidrs *cidrs_a = a, *cidrs_b = b;
	const struct conf_sysctls *sysctls_a = a, *sysctls_b = b;

	switch (key->type) {
	case CONF_TYPE_WORD:
		return *(const unsigned *)a == *(const unsigned *)b;
	case CONF_TYPE_STRING:
	case CONF_TYPE_PATH:
	case CONF_TYPE_ADDRESS:
		return strcmp(*(char *const *)a, *(char *const *)b) == 0;
	case CONF_TYPE_CIDRS:
		return cidrs_a->n == cidrs_b->n && memcmp(cidrs_a->items, cidrs_b->items,
							   cidrs_a->n * sizeof(struct cidr)) == 0;
	case CONF_TYPE_SYSCTLS:
		return sysctls_a->n == sysctls_b->n &&
		       memcmp(sysctls_a->items, sysctls_b->items,
			       sysctls_a->n * sizeof(struct conf_sysctl)) == 0;
	case CONF_TYPE_TEXTS:
		return conf_texts_equal(a, b);
	default:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	}
}

/* A copy of a list's items; at least one byte, so that NULL means no memory. */
static void *
conf_field_copy_items(const void *items, size_t n, size_t size)
{
	void *copy = calloc(n > 0 ? n : 1, size);

	if (copy && n > 0)
		memcpy(copy, items, n * size);
	return copy;
}

int
conf_field_copy(const struct conf_key *key, void *to, const void *from)
{
	const struct conf_cidrs *cidrs = from;
	const struct conf_sysctls *sysctls = from;
	struct conf_texts texts;
	void *items;
	char *string;

	switch (key->type) {
	case CONF_TYPE_WORD:
		*(unsigned *)to = *(const unsigned *)from;
		return 0;
	case CONF_TYPE_STRING:
	case CONF_TYPE_PATH:
	case CONF_TYPE_ADDRESS:
		string = strdup(*(char *const *)from);
		if (!string)
			return -ENOMEM;
		conf_field_done(key, to);
		*(char **)to = string;
		return 0;
	case CONF_TYPE_CIDRS:
		items = conf_field_copy_items(cidrs->items, cidrs->n, sizeof(*cidrs->items));
		if (!items)
			return -ENOMEM;
		conf_field_done(key, to);
		*(struct conf_cidrs *)to = (struct conf_cidrs){.items = items, .n = cidrs->n};
		return 0;
	case CONF_TYPE_SYSCTLS:
		items = conf_field_copy_items(sysctls->items, sysctls->n, sizeof(*sysctls->items));
		if (!items)
			return -ENOMEM;
		conf_field_done(key, to);
		*(struct conf_sysctls *)to = (struct conf_sysctls){.items = items, .n = sysctls->n};
		return 0;
	case CONF_TYPE_TEXTS:
		if (conf_texts_copy(from, &texts) < 0)
			return -ENOMEM;
		conf_field_done(key, to);
		*(struct conf_texts *)to = texts;
		return 0;
	default:
		*(uint64_t *)to = *(const uint64_t *)from;
		return 0;
	}
}

void
conf_field_done(const struct conf_key *key, void *field)
{
	struct conf_cidrs *cidrs = field;
	struct conf_sysctls *sysctls = field;

	switch (key->type) {
	case CONF_TYPE_STRING:
	case CONF_TYPE_PATH:
	case CONF_TYPE_ADDRESS:
		free(*(char **)field);
		*(char **)field = NULL;
		break;
	case CONF_TYPE_CIDRS:
		free(cidrs->items);
		*cidrs = (struct conf_cidrs){0};
		break;
	case CONF_TYPE_SYSCTLS:
		free(sysctls->items);
		*sysctls = (struct conf_sysctls){0};
		break;
	case CONF_TYPE_TEXTS:
		conf_texts_done(field);
		break;
	default:
		break;
	}
}

int
conf_field_copy_all(const struct conf_scope *scope, void *to, const void *from)
{
	int r = 0;

	for (size_t i = 0; i < scope->n && r == 0; i++)
		r = conf_field_copy(&scope->keys[i], conf_key_field(&scope->keys[i], to),
			conf_key_field_const(&scope->keys[i], from));
	return r;
}

void
conf_field_done_all(const struct conf_scope *scope, void *structure)
{
	for (size_t i = 0; i < scope->n; i++)
		conf_field_done(&scope->keys[i], conf_key_field(&scope->keys[i], structure));
}
