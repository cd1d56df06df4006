/*
 * conf_value: what the types of conf.def allow in the file: reading and checking one value.
 *
 * Process: both. Pure. From JSON to a field, by its row; conf_field is for the way back.
 */
#ifndef MILLGATE_CONF_VALUE_H
#define MILLGATE_CONF_VALUE_H

#include <jansson.h>

#include "addr.h"
#include "conf.h"
#include "conf_key.h"
#include "error.h"

#define CONF_VALUE_SHOW_MAX 96
#define CONF_VALUE_ALLOWED_MAX 160

/*
 * Reads a value of the key's type, checks it against the row and writes the field, which must be
 * zeroed or done with. -EINVAL with "found X, allowed are Y". -ENOMEM.
 */
int conf_value_parse(const struct conf_key *key, const json_t *json, void *field,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* Reads one element of a CIDRS list. -EINVAL with "found X, allowed are Y". */
int conf_value_parse_range(
	const json_t *json, struct cidr *ret_range, struct mg_error *reterr_error) MG_MUST_CHECK;

/* Reads one member of a SYSCTLS object; the result must be zeroed. -EINVAL as above. */
int conf_value_parse_sysctl(const char *key, const json_t *json, struct conf_sysctl *ret_sysctl,
	struct mg_error *reterr_error) MG_MUST_CHECK;

/* The default as the file would have it; not for a default that is another key's. NULL: no
 * memory. */
json_t *conf_value_default_json(const struct conf_key *key);

/* Compact JSON for a message, cut if it is long. Returns buf. */
const char *conf_value_show(const json_t *json, char buf[static CONF_VALUE_SHOW_MAX]);

/* What the row allows, to be said after "allowed are": "1 to 256". Returns buf. */
const char *conf_value_allowed(const struct conf_key *key, char buf[static CONF_VALUE_ALLOWED_MAX]);

/* The string of a JSON string that holds no NUL; otherwise NULL. Borrowed. */
const char *conf_value_text(const json_t *json);

#endif
