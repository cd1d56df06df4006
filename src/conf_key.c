/* conf_key: see conf_key.h. */
#include "conf_key.h"

#include <stdio.h>
#include <string.h>

#include "conf.h"

#define ROW(structure, path, field, type, words, default_text, min, max, unit, applies, help)      \
	{path, offsetof(struct structure, field), CONF_TYPE_##type, words, default_text, min, max, \
		unit, CONF_APPLIES_##applies, help},

#define ZERO_IS_OFF "0|"

static const struct conf_key GLOBAL_KEYS[] = {
#define CONF_GLOBAL(...) ROW(conf, __VA_ARGS__)
#define CONF_LISTENER(...)
#include "conf.def"
#undef CONF_GLOBAL
#undef CONF_LISTENER
};

static const struct conf_key LISTENER_KEYS[] = {
#define CONF_GLOBAL(...)
#define CONF_LISTENER(...) ROW(conf_listener, __VA_ARGS__)
#include "conf.def"
#undef CONF_GLOBAL
#undef CONF_LISTENER
};

#define N_ROWS(rows) (sizeof(rows) / sizeof(rows[0]))

_Static_assert(N_ROWS(GLOBAL_KEYS) <= CONF_KEYS_MAX, "a set of keys is a uint64_t");
_Static_assert(N_ROWS(LISTENER_KEYS) <= CONF_KEYS_MAX, "a set of keys is a uint64_t");

const struct conf_scope CONF_SCOPE_GLOBAL = {GLOBAL_KEYS, N_ROWS(GLOBAL_KEYS), "listeners"};
const struct conf_scope CONF_SCOPE_LISTENER = {LISTENER_KEYS, N_ROWS(LISTENER_KEYS), NULL};

void *
conf_key_field(const struct conf_key *key, void *structure)
{
	return (char *)structure + key->offset;
}

const void *
conf_key_field_const(const struct conf_key *key, const void *structure)
{
	return (const char *)structure + key->offset;
}

bool
conf_key_zero_is_off(const struct conf_key *key)
{
	return strncmp(key->unit, ZERO_IS_OFF, strlen(ZERO_IS_OFF)) == 0;
}

const char *
conf_key_unit(const struct conf_key *key)
{
	return conf_key_zero_is_off(key) ? key->unit + strlen(ZERO_IS_OFF) : key->unit;
}

size_t
conf_key_word(const struct conf_key *key, unsigned index, const char **ret_word)
{
	const char *words = key->words;

	for (; index > 0 && *words != '\0'; index--) {
		words += strcspn(words, "|");
		words += *words == '|';
	}
	*ret_word = words;
	return strcspn(words, "|");
}

const struct conf_key *
conf_scope_find(const struct conf_scope *scope, const char *path)
{
	for (size_t i = 0; i < scope->n; i++)
		if (strcmp(scope->keys[i].path, path) == 0)
			return &scope->keys[i];
	return NULL;
}

uint64_t
conf_scope_below(const struct conf_scope *scope, const char *path)
{
	size_t length = strlen(path);
	uint64_t set = 0;

	for (size_t i = 0; i < scope->n; i++) {
		const char *other = scope->keys[i].path;

		if (strncmp(other, path, length) == 0 &&
			(other[length] == '\0' || other[length] == '.'))
			set |= UINT64_C(1) << i;
	}
	return set;
}

/* The name that a key, or the group it is in, has in `group`; its length, or 0 if it has none. */
static size_t
conf_key_name_in(const struct conf_key *key, const char *group, const char **ret_name)
{
	size_t length = strlen(group);

	if (strncmp(key->path, group, length) != 0)
		return 0;
	*ret_name = key->path + length;
	return strcspn(*ret_name, ".");
}

bool
conf_scope_next_name(const struct conf_scope *scope, const char *group, size_t *position,
	char ret_name[static CONF_KEY_PATH_MAX])
{
	const char *name, *before = NULL;
	size_t length, length_before;

	for (; *position < scope->n; (*position)++) {
		const struct conf_key *key = &scope->keys[*position];

		length = conf_key_name_in(key, group, &name);
		if (length == 0)
			continue;
		/* The keys of a group follow each other in the table. */
		length_before = *position == 0 ? 0 : conf_key_name_in(key - 1, group, &before);
		if (length == length_before && strncmp(name, before, length) == 0)
			continue;
		snprintf(ret_name, CONF_KEY_PATH_MAX, "%.*s", (int)length, name);
		(*position)++;
		return true;
	}
	if (*position > scope->n || !scope->map || *group != '\0')
		return false;
	snprintf(ret_name, CONF_KEY_PATH_MAX, "%s", scope->map);
	(*position)++;
	return true;
}

static size_t
min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many letters must be put in, left out, changed or swapped with their neighbour. */
static size_t
conf_key_distance(const char *a, const char *b)
{
	size_t rows[3][CONF_KEY_PATH_MAX];
	size_t *before_last = rows[0], *last = rows[1], *row = rows[2], *spare;
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		last[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			row[j] = min_of(last[j - 1] + (a[i - 1] != b[j - 1]),
				min_of(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = min_of(row[j], before_last[j - 2] + 1);
		}
		spare = before_last;
		before_last = last;
		last = row;
		row = spare;
	}
	return last[n];
}

bool
conf_scope_nearest(const struct conf_scope *scope, const char *group, const char *name,
	char ret_path[static CONF_KEY_PATH_MAX])
{
	char candidate[CONF_KEY_PATH_MAX];
	size_t length = strlen(name), best, distance, position = 0;

	if (length >= CONF_KEY_PATH_MAX)
		return false;
	best = length / 3 + 1; /* a distance below this is close */
	while (conf_scope_next_name(scope, group, &position, candidate)) {
		distance = conf_key_distance(name, candidate);
		if (distance < best) {
			best = distance;
			snprintf(ret_path, CONF_KEY_PATH_MAX, "%s%s", group, candidate);
		}
	}
	for (size_t i = 0; i < scope->n; i++) {
		const char *path = scope->keys[i].path;
		const char *dot = strrchr(path, '.');

		distance = conf_key_distance(name, dot ? dot + 1 : path);
		if (distance < best) {
			best = distance;
			snprintf(ret_path, CONF_KEY_PATH_MAX, "%s", path);
		}
	}
	return best <= length / 3;
}
