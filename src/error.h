/*
 * error: the text of an error, for whoever has to show it.
 *
 * Process: both. A function that can fail with more to say than an errno takes a
 * `struct mg_error *reterr_x`, fills it and returns -errno. It logs nothing itself.
 */
#ifndef MILLGATE_ERROR_H
#define MILLGATE_ERROR_H

#include <stddef.h>

#define MG_ERROR_MAX 512

struct mg_error {
	char text[MG_ERROR_MAX];
};

#define MG_MUST_CHECK __attribute__((warn_unused_result))

/*
 * Writes a message, cut at MG_ERROR_MAX - 1 bytes, and returns `error` (a negative errno), so
 * that a caller can say `return mg_error_set(reterr, -EINVAL, ...)`. `reterr_error` may be NULL.
 */
int mg_error_set(struct mg_error *reterr_error, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
