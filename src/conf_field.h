/*
 * conf_field: what can be done with the field of any key: printing, comparing, copying, freeing.
 *
 * Process: both. Pure. Works through the key's row; conf_value fills fields from JSON.
 */
#ifndef MILLGATE_CONF_FIELD_H
#define MILLGATE_CONF_FIELD_H

#include <stdbool.h>

#include <jansson.h>

#include "conf_key.h"
#include "error.h"

/* The value as the file would have it, in canonical form. NULL: no memory. */
json_t *conf_field_to_json(const struct conf_key *key, const void *field);

bool conf_field_equal(const struct conf_key *key, const void *a, const void *b);

/* Gives the field `to` a copy of `from`, and frees what it had. -ENOMEM: `to` is as before. */
int conf_field_copy(const struct conf_key *key, void *to, const void *from) MG_MUST_CHECK;

/* Frees what the field owns. */
void conf_field_done(const struct conf_key *key, void *field);

/* The same for all fields of a structure. */
int conf_field_copy_all(const struct conf_scope *scope, void *to, const void *from) MG_MUST_CHECK;
void conf_field_done_all(const struct conf_scope *scope, void *structure);

#endif
