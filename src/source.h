/*
 * source: how many connections each source address has.
 *
 * Process: S. Pure. A source is the network of `ipv4_prefix` or `ipv6_prefix` bits that holds the
 * client's address. Entries live in parallel arrays, paid for as touched: 16 bytes a source with
 * an IPv4 address or an IPv6 prefix up to 64, 24 otherwise, and 2 to 4 for the hash chains.
 */
#ifndef MILLGATE_SOURCE_H
#define MILLGATE_SOURCE_H

#include <stdint.h>

#include "addr.h"

#define SOURCE_NONE 0u /* no source: a Unix client, or an address not known */

struct source_table;

struct source_count {
	struct cidr network;
	uint32_t connections;
};

/* For at most `max_sources` sources at once. NULL when there is no memory. The arrays are left
 * out of forked children (MADV_DONTFORK). */
struct source_table *source_table_new(
	uint32_t max_sources, unsigned ipv4_prefix, unsigned ipv6_prefix) MG_MUST_CHECK;
void source_table_free(struct source_table *table);

/* The count of the source that holds this address; 0 for families without one. */
uint32_t source_table_count(const struct source_table *table, const struct addr *addr);

/* Counts one more; returns the source's handle, SOURCE_NONE for families without one or when the
 * table is full (which max_sources >= connections rules out) or out of memory. */
uint32_t source_table_acquire(struct source_table *table, const struct addr *addr);

/* Counts one less. SOURCE_NONE is allowed. The handle of a source with no connection left is
 * given to another. */
void source_table_release(struct source_table *table, uint32_t source);

/* The network and count of a handle in use. */
struct source_count source_table_get(const struct source_table *table, uint32_t source);

/* Sources with at least one connection. */
uint32_t source_table_size(const struct source_table *table);

/* Fills `top` with up to `max` sources, most connections first; returns how many. O(sources). */
unsigned source_table_top(const struct source_table *table, struct source_count *top, unsigned max);

#endif
