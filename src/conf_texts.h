/*
 * conf_texts: the lists of texts in a configuration.
 *
 * Process: both. Pure.
 */
#ifndef MILLGATE_CONF_TEXTS_H
#define MILLGATE_CONF_TEXTS_H

#include <jansson.h>
#include <stdbool.h>

#include "conf.h"
#include "error.h"

#define CONF_TEXT_MAX 260 /* bytes of one; see UPSTREAM_NAME_MAX */
/* Visible ASCII but for the comma: what stands in a field of an HTTP head, and no list. */
#define CONF_TEXT_PATTERN "^[!-+\\--~]{1,260}$"

/* Copies the texts. -ENOMEM. */
int conf_texts_copy(const struct conf_texts *from, struct conf_texts *ret_texts) MG_MUST_CHECK;
/* One text of a list as the file has it. -EINVAL with "found X, allowed are Y". */
int conf_texts_check(const json_t *element, struct mg_error *reterr_error) MG_MUST_CHECK;
/* A list as the file has it. -EINVAL: it is none, or one of its texts is not allowed. -ENOMEM. */
int conf_texts_from_json(const json_t *json, struct conf_texts *ret_texts) MG_MUST_CHECK;
/* NULL: no memory. */
json_t *conf_texts_to_json(const struct conf_texts *texts);
bool conf_texts_equal(const struct conf_texts *a, const struct conf_texts *b);
void conf_texts_done(struct conf_texts *texts);

#endif
