/* conf_texts: see conf_texts.h. A list is one allocation: the pointers, then what they point to. */
#include "conf_texts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_value.h"

int
conf_texts_copy(const struct conf_texts *from, struct conf_texts *ret_texts)
{
	size_t bytes = (from->n + 1) * sizeof(*from->items);
	const char **items;
	char *at;

	for (size_t i = 0; i < from->n; i++)
		bytes += strlen(from->items[i]) + 1;
	items = malloc(bytes);
	if (!items)
		return -ENOMEM;
	at = (char *)(items + from->n + 1);
	for (size_t i = 0; i < from->n; i++) {
		items[i] = at;
		at = stpcpy(at, from->items[i]) + 1;
	}
	*ret_texts = (struct conf_texts){.items = items, .n = from->n};
	return 0;
}

static bool
conf_text_is_visible(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == ',')
			return false;
	return true;
}

int
conf_texts_check(const json_t *element, struct mg_error *reterr_error)
{
	const char *text = json_string_value(element);
	size_t length = json_string_length(element);
	char found[CONF_VALUE_SHOW_MAX];

	if (!text)
		return mg_error_set(reterr_error, -EINVAL, "found %s, allowed are texts",
			conf_value_show(element, found));
	if (!conf_text_is_visible(text, length))
		return mg_error_set(reterr_error, -EINVAL,
			"found %s, allowed are visible ASCII characters but the comma",
			conf_value_show(element, found));
	if (length == 0 || length > CONF_TEXT_MAX)
		return mg_error_set(reterr_error, -EINVAL,
			"found a text of %zu bytes, allowed are 1 to %d", length, CONF_TEXT_MAX);
	return 0;
}

int
conf_texts_from_json(const json_t *json, struct conf_texts *ret_texts)
{
	struct conf_texts borrowed = {.n = json_array_size(json)};
	int r = json_is_array(json) ? 0 : -EINVAL;

	borrowed.items = calloc(borrowed.n + 1, sizeof(*borrowed.items));
	if (!borrowed.items)
		return -ENOMEM;
	for (size_t i = 0; i < borrowed.n && r == 0; i++) {
		r = conf_texts_check(json_array_get(json, i), NULL);
		borrowed.items[i] = json_string_value(json_array_get(json, i));
	}
	if (r == 0)
		r = conf_texts_copy(&borrowed, ret_texts);
	free(borrowed.items);
	return r;
}

json_t *
conf_texts_to_json(const struct conf_texts *texts)
{
	json_t *array = json_array();

	for (size_t i = 0; i < texts->n; i++)
		if (json_array_append_new(array, json_string(texts->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

bool
conf_texts_equal(const struct conf_texts *a, const struct conf_texts *b)
{
	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return a->n == b->n;
}

void
conf_texts_done(struct conf_texts *texts)
{
	free(texts->items);
	*texts = (struct conf_texts){0};
}
