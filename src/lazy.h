/*
 * lazy: big tables that cost only what is touched.
 *
 * Process: both. Anonymous memory, zeroed, without huge pages (a touched byte costs one page, not
 * 512), and left out of forked children: a worker has no use for the supervisor's tables.
 */
#ifndef MILLGATE_LAZY_H
#define MILLGATE_LAZY_H

#include <stddef.h>

#include "error.h"

/* `bytes` of zeroed memory, or NULL. */
void *lazy_alloc(size_t bytes) MG_MUST_CHECK;
/* NULL is allowed. */
void lazy_free(void *memory, size_t bytes);

#endif
