/* source: see source.h. */
#include "source.h"

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lazy.h"

#define SOURCE_CHAIN_MAX 2u /* on average: beyond it there are more heads */
/* One page of chain heads to begin with. */
#define SOURCE_HEADS_BITS_MIN 10
#define SOURCE_HEADS_BITS_MAX 30

/* Upper half of `hi` in the key of an IPv4 network. As an IPv6 network it would lie in 0000::/8,
 * which is reserved (RFC 4291 section 2.4): no client has such an address. */
#define SOURCE_IPV4_MARK 0x0000ffffu

/* A network: an IPv6 address, or SOURCE_IPV4_MARK and the IPv4 address in `hi`. */
struct source_key {
	uint64_t hi, lo;
};

struct source_entry {
	uint64_t hi;          /* of the key; lo stands apart, since few tables need it */
	uint32_t connections; /* 0: not in use */
	uint32_t next;        /* handle, in the chain or in the free list; 0 at the end */
};

_Static_assert(sizeof(struct source_entry) == 16, "the cost that source.h promises");

struct source_table {
	struct source_entry *entries; /* by handle, from 1 */
	uint64_t *lo;                 /* by handle; NULL: IPv6 prefixes end before it, all are 0 */
	uint32_t *heads;              /* handles; 1 << heads_bits of them */
	unsigned heads_bits;
	unsigned ipv4_prefix, ipv6_prefix;
	uint32_t max;
	uint32_t touched;   /* the highest handle that was ever in use */
	uint32_t free_list; /* handles up to `touched` that are not in use */
	uint32_t size;
	uint64_t seed[5];
};

static size_t
source_heads_bytes(unsigned bits)
{
	return sizeof(uint32_t) << bits;
}

struct source_table *
source_table_new(uint32_t max_sources, unsigned ipv4_prefix, unsigned ipv6_prefix)
{
	struct source_table *table = calloc(1, sizeof(*table));
	size_t n = (size_t)max_sources + 1;

	assert(max_sources > 0 && max_sources < UINT32_MAX);
	assert(ipv4_prefix <= 32 && ipv6_prefix <= 128);
	if (!table)
		return NULL;
	table->max = max_sources;
	table->ipv4_prefix = ipv4_prefix;
	table->ipv6_prefix = ipv6_prefix;
	table->heads_bits = SOURCE_HEADS_BITS_MIN;
	table->heads = lazy_alloc(source_heads_bytes(table->heads_bits));
	table->entries = lazy_alloc(n * sizeof(*table->entries));
	if (ipv6_prefix > 64)
		table->lo = lazy_alloc(n * sizeof(*table->lo));
	if (!table->heads || !table->entries || (ipv6_prefix > 64 && !table->lo) ||
		getentropy(table->seed, sizeof(table->seed)) < 0) {
		source_table_free(table);
		return NULL;
	}
	return table;
}

void
source_table_free(struct source_table *table)
{
	size_t n;

	if (!table)
		return;
	n = (size_t)table->max + 1;
	lazy_free(table->lo, n * sizeof(*table->lo));
	lazy_free(table->entries, n * sizeof(*table->entries));
	lazy_free(table->heads, source_heads_bytes(table->heads_bits));
	free(table);
}

static bool
source_make_key(
	const struct source_table *table, const struct addr *addr, struct source_key *ret_key)
{
	struct cidr network;
	uint64_t words[2];

	if (addr->family != ADDR_IPV4 && addr->family != ADDR_IPV6)
		return false;
	network = addr_network(
		addr, addr->family == ADDR_IPV4 ? table->ipv4_prefix : table->ipv6_prefix);
	memcpy(words, network.bytes, sizeof(words));
	ret_key->hi = be64toh(words[0]);
	ret_key->lo = be64toh(words[1]);
	if (addr->family == ADDR_IPV4)
		ret_key->hi = (uint64_t)SOURCE_IPV4_MARK << 32 | ret_key->hi >> 32;
	return true;
}

static struct source_key
source_key_at(const struct source_table *table, uint32_t handle)
{
	struct source_key key = {
		.hi = table->entries[handle].hi,
		.lo = table->lo ? table->lo[handle] : 0,
	};

	return key;
}

/*
 * Clients choose their addresses, so chains must stay short whatever they choose. The upper bits
 * of this sum are strongly universal (Dietzfelbinger 1996): over the random seed, any two keys
 * share a chain with a probability of one in the number of chains.
 */
static uint32_t *
source_head(const struct source_table *table, uint32_t *heads, unsigned bits, struct source_key key)
{
	const uint64_t *seed = table->seed;
	uint64_t sum = seed[0];

	sum += seed[1] * (uint32_t)(key.hi >> 32);
	sum += seed[2] * (uint32_t)key.hi;
	sum += seed[3] * (uint32_t)(key.lo >> 32);
	sum += seed[4] * (uint32_t)key.lo;
	return &heads[sum >> (64 - bits)];
}

/* The link that leads to the source of this key, or the one at the end of its chain. */
static uint32_t *
source_find_link(const struct source_table *table, struct source_key key)
{
	uint32_t *link = source_head(table, table->heads, table->heads_bits, key);

	for (; *link != SOURCE_NONE; link = &table->entries[*link].next) {
		struct source_key other = source_key_at(table, *link);

		if (other.hi == key.hi && other.lo == key.lo)
			break;
	}
	return link;
}

/* Without memory for more heads the chains get longer, and the next new source tries again. */
static void
source_grow_heads(struct source_table *table)
{
	unsigned bits = table->heads_bits + 1;
	uint32_t *heads, *head, handle;

	if (bits > SOURCE_HEADS_BITS_MAX)
		return;
	heads = lazy_alloc(source_heads_bytes(bits));
	if (!heads)
		return;
	for (handle = 1; handle <= table->touched; handle++) {
		if (table->entries[handle].connections == 0)
			continue;
		head = source_head(table, heads, bits, source_key_at(table, handle));
		table->entries[handle].next = *head;
		*head = handle;
	}
	lazy_free(table->heads, source_heads_bytes(table->heads_bits));
	table->heads = heads;
	table->heads_bits = bits;
}

static uint32_t
source_take_handle(struct source_table *table)
{
	uint32_t handle = table->free_list;

	if (handle != SOURCE_NONE)
		table->free_list = table->entries[handle].next;
	else if (table->touched < table->max)
		handle = ++table->touched;
	return handle;
}

static uint32_t
source_add(struct source_table *table, struct source_key key)
{
	uint32_t handle = source_take_handle(table);
	uint32_t *head;

	if (handle == SOURCE_NONE)
		return SOURCE_NONE;
	if (table->size >= SOURCE_CHAIN_MAX << table->heads_bits)
		source_grow_heads(table);
	head = source_head(table, table->heads, table->heads_bits, key);
	table->entries[handle] = (struct source_entry){
		.hi = key.hi,
		.connections = 1,
		.next = *head,
	};
	/* Not written when it is 0 already: that would pay for a page in vain. */
	if (table->lo && table->lo[handle] != key.lo)
		table->lo[handle] = key.lo;
	*head = handle;
	table->size++;
	return handle;
}

uint32_t
source_table_count(const struct source_table *table, const struct addr *addr)
{
	struct source_key key;
	uint32_t handle;

	if (!source_make_key(table, addr, &key))
		return 0;
	handle = *source_find_link(table, key);
	return handle == SOURCE_NONE ? 0 : table->entries[handle].connections;
}

uint32_t
source_table_acquire(struct source_table *table, const struct addr *addr)
{
	struct source_key key;
	uint32_t handle;

	if (!source_make_key(table, addr, &key))
		return SOURCE_NONE;
	handle = *source_find_link(table, key);
	if (handle == SOURCE_NONE)
		return source_add(table, key);
	assert(table->entries[handle].connections < UINT32_MAX);
	table->entries[handle].connections++;
	return handle;
}

static void
source_assert_used(const struct source_table *table, uint32_t source)
{
	assert(source != SOURCE_NONE && source <= table->touched);
	assert(table->entries[source].connections > 0);
}

void
source_table_release(struct source_table *table, uint32_t source)
{
	uint32_t *link;

	if (source == SOURCE_NONE)
		return;
	source_assert_used(table, source);
	if (--table->entries[source].connections > 0)
		return;
	link = source_find_link(table, source_key_at(table, source));
	assert(*link == source);
	*link = table->entries[source].next;
	table->entries[source].next = table->free_list;
	table->free_list = source;
	table->size--;
}

struct source_count
source_table_get(const struct source_table *table, uint32_t source)
{
	struct source_count count = {.connections = 0};
	struct source_key key;
	uint64_t words[2];
	bool is_ipv4;

	source_assert_used(table, source);
	key = source_key_at(table, source);
	is_ipv4 = key.hi >> 32 == SOURCE_IPV4_MARK;
	words[0] = htobe64(is_ipv4 ? key.hi << 32 : key.hi);
	words[1] = htobe64(key.lo);
	count.network.family = is_ipv4 ? ADDR_IPV4 : ADDR_IPV6;
	count.network.prefix = (uint8_t)(is_ipv4 ? table->ipv4_prefix : table->ipv6_prefix);
	memcpy(count.network.bytes, words, sizeof(words));
	count.connections = table->entries[source].connections;
	return count;
}

uint32_t
source_table_size(const struct source_table *table)
{
	return table->size;
}

unsigned
source_table_top(const struct source_table *table, struct source_count *top, unsigned max)
{
	uint32_t handle, connections;
	unsigned n = 0, i;

	if (max == 0)
		return 0;
	for (handle = 1; handle <= table->touched; handle++) {
		connections = table->entries[handle].connections;
		if (connections == 0 || (n == max && connections <= top[n - 1].connections))
			continue;
		if (n < max)
			n++;
		for (i = n - 1; i > 0 && top[i - 1].connections < connections; i--)
			top[i] = top[i - 1];
		top[i] = source_table_get(table, handle);
	}
	return n;
}
