/*
 * utf8: is this UTF-8? Asked piece by piece (RFC 3629).
 *
 * Process: both. Pure. A character may begin in one piece and end in another; what must be known
 * of it meanwhile is one byte, which the caller keeps.
 */
#ifndef MILLGATE_UTF8_H
#define MILLGATE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_START 0 /* the state before the first byte, and between two characters */

/* Goes on from *state. False: the text is wrong here, whatever may follow; *state is then
 * meaningless. Text that ends with a state other than UTF8_START ends within a character. */
bool utf8_check(uint8_t *state, const void *data, size_t length);

/* Whether this can be such a state. */
bool utf8_is_state(uint8_t state);

#endif
