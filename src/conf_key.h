/*
 * conf_key: the rows of conf.def as data, so that one piece of code serves every key.
 *
 * Process: both. Pure. Knows nothing of JSON; conf_value gives the types their meaning.
 */
#ifndef MILLGATE_CONF_KEY_H
#define MILLGATE_CONF_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_type {
	CONF_TYPE_UINT,
	CONF_TYPE_AUTO,
	CONF_TYPE_DURATION,
	CONF_TYPE_SIZE,
	CONF_TYPE_MODE,
	CONF_TYPE_WORD,
	CONF_TYPE_STRING,
	CONF_TYPE_PATH,
	CONF_TYPE_ADDRESS,
	CONF_TYPE_CIDRS,
	CONF_TYPE_SYSCTLS,
	CONF_TYPE_TEXTS,
};

enum conf_applies {
	CONF_APPLIES_RELOAD,
	CONF_APPLIES_RESTART
};

/* The columns are explained at the head of conf.def. */
struct conf_key {
	const char *path;
	size_t offset; /* of the field in the scope's structure */
	enum conf_type type;
	const char *words;
	const char *default_text;
	uint64_t min, max;
	const char *unit;
	enum conf_applies applies;
	const char *help;
};

/* Keys that live in one structure: struct conf, or each struct conf_listener. */
struct conf_scope {
	const struct conf_key *keys;
	size_t n;        /* at most CONF_KEYS_MAX */
	const char *map; /* a name at the top that is no key but a map of other scopes, or NULL */
};

#define CONF_KEY_AUTO "auto" /* the word of the type AUTO */
#define CONF_KEYS_MAX 64     /* so that a set of keys fits in a uint64_t */
#define CONF_KEY_PATH_MAX 128

extern const struct conf_scope CONF_SCOPE_GLOBAL;
extern const struct conf_scope CONF_SCOPE_LISTENER;

/* Where a key's value is in its structure. */
void *conf_key_field(const struct conf_key *key, void *structure);
const void *conf_key_field_const(const struct conf_key *key, const void *structure);

/* Whether the key may be 0 below its min, and the unit without the mark that says so. */
bool conf_key_zero_is_off(const struct conf_key *key);
const char *conf_key_unit(const struct conf_key *key);

/* The word of this index among the key's words; returns its length, 0 when there is none. */
size_t conf_key_word(const struct conf_key *key, unsigned index, const char **ret_word);

/* The key of this path, or NULL. */
const struct conf_key *conf_scope_find(const struct conf_scope *scope, const char *path);

/* The keys that are `path` itself or below it, as a set: bit i is scope->keys[i]. */
uint64_t conf_scope_below(const struct conf_scope *scope, const char *path);

/* Iterates the names that may stand in a group ("" or "limits."): writes the next one and moves
 * *position, which starts as 0. False at the end. */
bool conf_scope_next_name(const struct conf_scope *scope, const char *group, size_t *position,
	char ret_name[static CONF_KEY_PATH_MAX]);

/* The path that was probably meant by an unknown name in a group: a similar name there, or else
 * one like it in another group. False when nothing is close. */
bool conf_scope_nearest(const struct conf_scope *scope, const char *group, const char *name,
	char ret_path[static CONF_KEY_PATH_MAX]);

#endif
