/*
 * conf_merge: what a reload changes; see conf_merge_running() in conf.h.
 *
 * Process: both. Pure.
 */
#include "conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_field.h"
#include "conf_key.h"

#define CONF_MERGE_PATH_MAX (CONF_NAME_MAX + CONF_KEY_PATH_MAX + 16)

/* Who wants to know of changes. */
struct conf_merge {
	void (*changed)(void *context, const char *path, bool needs_restart);
	void *context;
};

/* Compares one structure with the one that runs. `waiting` are keys that need a restart this time
 * although the table does not say so. */
static int
conf_merge_scope(const struct conf_merge *merge, const char *prefix, const struct conf_scope *scope,
	void *fresh, const void *running, uint64_t waiting)
{
	char path[CONF_MERGE_PATH_MAX];
	int r = 0;

	for (size_t i = 0; i < scope->n && r == 0; i++) {
		const struct conf_key *key = &scope->keys[i];
		bool waits = key->applies == CONF_APPLIES_RESTART || (waiting >> i & 1) != 0;
		const void *old = conf_key_field_const(key, running);
		void *new = conf_key_field(key, fresh);

		if (conf_field_equal(key, new, old))
			continue;
		snprintf(path, sizeof(path), "%s%s", prefix, key->path);
		merge->changed(merge->context, path, waits);
		if (waits)
			r = conf_field_copy(key, new, old);
	}
	return r;
}

static void
conf_merge_say_listener(const struct conf_merge *merge, const char *name)
{
	char path[CONF_MERGE_PATH_MAX];

	snprintf(path, sizeof(path), "listeners.%s", name);
	merge->changed(merge->context, path, true);
}

/* Makes of a fresh listener, or of a zeroed one if it went, what is in force. */
static int
conf_merge_listener(const struct conf_merge *merge, struct conf_listener *fresh,
	const struct conf_listener *running, bool went)
{
	const struct conf_scope *scope = &CONF_SCOPE_LISTENER;
	char prefix[CONF_MERGE_PATH_MAX];
	uint64_t waiting = 0;

	if (went) {
		conf_merge_say_listener(merge, running->name);
		strcpy(fresh->name, running->name);
		return conf_field_copy_all(scope, fresh, running);
	}
	/* Heartbeats and servers have no meaning for another service than the one they came with. */
	if (fresh->service != running->service)
		waiting =
			conf_scope_below(scope, "heartbeat") | conf_scope_below(scope, "upstream");
	/* And these none for another protocol. */
	if (fresh->protocol != running->protocol)
		waiting |= conf_scope_below(scope, "websocket");
	snprintf(prefix, sizeof(prefix), "listeners.%s.", running->name);
	return conf_merge_scope(merge, prefix, scope, fresh, running, waiting);
}

static void
conf_merge_free_listeners(struct conf_listener *listeners, size_t n)
{
	for (size_t i = 0; i < n; i++)
		conf_field_done_all(&CONF_SCOPE_LISTENER, &listeners[i]);
	free(listeners);
}

/* Moves the fresh listener of this name, if there is one, and leaves zeroes in its place. */
static bool
conf_merge_take(struct conf *fresh, const char *name, struct conf_listener *ret_listener)
{
	for (size_t i = 0; i < fresh->n_listeners; i++)
		if (strcmp(fresh->listeners[i].name, name) == 0) {
			*ret_listener = fresh->listeners[i];
			fresh->listeners[i] = (struct conf_listener){0};
			return true;
		}
	return false;
}

static int
conf_merge_listeners(const struct conf_merge *merge, struct conf *fresh, const struct conf *running)
{
	struct conf_listener *merged = calloc(running->n_listeners, sizeof(*merged));
	int r = 0;

	if (!merged)
		return -ENOMEM;
	for (size_t i = 0; i < running->n_listeners && r == 0; i++) {
		const struct conf_listener *listener = &running->listeners[i];
		bool went = !conf_merge_take(fresh, listener->name, &merged[i]);

		r = conf_merge_listener(merge, &merged[i], listener, went);
	}
	if (r < 0) {
		conf_merge_free_listeners(merged, running->n_listeners);
		return r;
	}
	/* Those that were not taken came with the new file. */
	for (size_t i = 0; i < fresh->n_listeners; i++)
		if (fresh->listeners[i].name[0] != '\0')
			conf_merge_say_listener(merge, fresh->listeners[i].name);
	conf_merge_free_listeners(fresh->listeners, fresh->n_listeners);
	fresh->listeners = merged;
	fresh->n_listeners = running->n_listeners;
	return 0;
}

int
conf_merge_running(struct conf *fresh, const struct conf *running,
	void (*changed)(void *context, const char *path, bool needs_restart), void *context)
{
	const struct conf_merge merge = {.changed = changed, .context = context};
	int r;

	r = conf_merge_scope(&merge, "", &CONF_SCOPE_GLOBAL, fresh, running, 0);
	if (r < 0)
		return r;
	return conf_merge_listeners(&merge, fresh, running);
}
