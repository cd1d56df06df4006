/* addr: see addr.h. */
#include "addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define ADDR_QUOTE_MAX 160
#define ADDR_UNIX_PREFIX "unix:"
#define ADDR_UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define ADDR_LISTEN_FORMS "\"127.0.0.1:7000\", \"[::]:7000\", \"unix:/path\" and \"unix:@name\""

/* How a mapped address begins. */
static const uint8_t ADDR_MAPPED[12] = {[10] = 0xff, [11] = 0xff};

static unsigned
addr_family_bits(uint8_t family)
{
	assert(family == ADDR_IPV4 || family == ADDR_IPV6);
	return family == ADDR_IPV4 ? 32 : 128;
}

static bool
addr_is_mapped(const uint8_t bytes[static 16])
{
	return memcmp(bytes, ADDR_MAPPED, sizeof(ADDR_MAPPED)) == 0;
}

static void
addr_unmap_bytes(uint8_t bytes[static 16])
{
	memmove(bytes, bytes + 12, 4);
	memset(bytes + 4, 0, 12);
}

void
addr_unmap(struct addr *addr)
{
	if (addr->family == ADDR_IPV6 && addr_is_mapped(addr->bytes)) {
		addr->family = ADDR_IPV4;
		addr_unmap_bytes(addr->bytes);
	}
}

void
addr_map(struct addr *addr)
{
	if (addr->family != ADDR_IPV4)
		return;
	addr->family = ADDR_IPV6;
	memmove(addr->bytes + 12, addr->bytes, 4);
	memcpy(addr->bytes, ADDR_MAPPED, sizeof(ADDR_MAPPED));
}

struct addr
addr_from_sockaddr(const struct sockaddr *sa, socklen_t length)
{
	struct addr addr = {.family = ADDR_NONE};
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;

	if (!sa || length < sizeof(sa->sa_family))
		return addr;
	if (sa->sa_family == AF_UNIX) {
		addr.family = ADDR_UNIX;
	} else if (sa->sa_family == AF_INET && length >= sizeof(sin)) {
		memcpy(&sin, sa, sizeof(sin));
		addr.family = ADDR_IPV4;
		addr.port = ntohs(sin.sin_port);
		memcpy(addr.bytes, &sin.sin_addr, sizeof(sin.sin_addr));
	} else if (sa->sa_family == AF_INET6 && length >= sizeof(sin6)) {
		memcpy(&sin6, sa, sizeof(sin6));
		addr.family = ADDR_IPV6;
		addr.port = ntohs(sin6.sin6_port);
		memcpy(addr.bytes, &sin6.sin6_addr, sizeof(sin6.sin6_addr));
		addr_unmap(&addr);
	}
	return addr;
}

socklen_t
addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *ret_sa)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};

	memset(ret_sa, 0, sizeof(*ret_sa));
	if (addr->family == ADDR_IPV4) {
		memcpy(&sin.sin_addr, addr->bytes, sizeof(sin.sin_addr));
		memcpy(ret_sa, &sin, sizeof(sin));
		return sizeof(sin);
	}
	assert(addr->family == ADDR_IPV6);
	memcpy(&sin6.sin6_addr, addr->bytes, sizeof(sin6.sin6_addr));
	memcpy(ret_sa, &sin6, sizeof(sin6));
	return sizeof(sin6);
}

static void
addr_format_bytes(uint8_t family, const uint8_t *bytes, char host[static INET6_ADDRSTRLEN])
{
	const char *text =
		inet_ntop(family == ADDR_IPV4 ? AF_INET : AF_INET6, bytes, host, INET6_ADDRSTRLEN);

	assert(text);
}

const char *
addr_format_host(const struct addr *addr, char buf[static ADDR_TEXT_MAX])
{
	if (addr->family == ADDR_IPV4 || addr->family == ADDR_IPV6)
		addr_format_bytes(addr->family, addr->bytes, buf);
	else
		strcpy(buf, addr->family == ADDR_UNIX ? "unix" : "unknown");
	return buf;
}

const char *
addr_format(const struct addr *addr, char buf[static ADDR_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN];

	if (addr->family != ADDR_IPV4 && addr->family != ADDR_IPV6)
		return addr_format_host(addr, buf);
	addr_format_bytes(addr->family, addr->bytes, host);
	snprintf(buf, ADDR_TEXT_MAX, addr->family == ADDR_IPV4 ? "%s:%u" : "[%s]:%u", host,
		(unsigned)addr->port);
	return buf;
}

struct cidr
addr_network(const struct addr *addr, unsigned prefix)
{
	struct cidr cidr = {.family = addr->family, .prefix = (uint8_t)prefix};

	assert(prefix <= addr_family_bits(addr->family));
	memcpy(cidr.bytes, addr->bytes, prefix / 8);
	if (prefix % 8 != 0)
		cidr.bytes[prefix / 8] =
			addr->bytes[prefix / 8] & (uint8_t)(0xff00 >> (prefix % 8));
	return cidr;
}

bool
cidr_contains(const struct cidr *cidr, const struct addr *addr)
{
	struct cidr network;

	if (addr->family != cidr->family)
		return false;
	network = addr_network(addr, cidr->prefix);
	return memcmp(network.bytes, cidr->bytes, sizeof(network.bytes)) == 0;
}

const char *
cidr_format(const struct cidr *cidr, char buf[static CIDR_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN];

	addr_format_bytes(cidr->family, cidr->bytes, host);
	snprintf(buf, CIDR_TEXT_MAX, "%s/%u", host, (unsigned)cidr->prefix);
	return buf;
}

/* What was found, made fit for a message: short, and with no byte that a terminal obeys. */
static const char *
addr_quote(const char *text, char buf[static ADDR_QUOTE_MAX])
{
	static const char cut[] = "...";
	size_t i;

	for (i = 0; text[i] != '\0' && i < ADDR_QUOTE_MAX - sizeof(cut); i++)
		buf[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	strcpy(buf + i, text[i] != '\0' ? cut : "");
	return buf;
}

bool
addr_parse_number(const char *text, size_t length, unsigned max, unsigned *ret_number)
{
	unsigned number = 0;

	if (length == 0 || (text[0] == '0' && length > 1))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		number = number * 10 + (unsigned)(text[i] - '0');
		if (number > max)
			return false;
	}
	*ret_number = number;
	return true;
}

bool
addr_parse_host(const char *text, size_t length, struct addr *ret_addr)
{
	struct addr addr = {.family = ADDR_NONE};
	char host[INET6_ADDRSTRLEN];

	if (length >= sizeof(host) || memchr(text, '\0', length))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (inet_pton(AF_INET, host, addr.bytes) == 1)
		addr.family = ADDR_IPV4;
	else if (inet_pton(AF_INET6, host, addr.bytes) == 1)
		addr.family = ADDR_IPV6;
	else
		return false;
	*ret_addr = addr;
	return true;
}

/* The error for text in which no address was found. */
static int
addr_fail_host(const char *text, const char *allowed, struct mg_error *reterr_error)
{
	char quote[ADDR_QUOTE_MAX];

	addr_quote(text, quote);
	if (strchr(text, '%'))
		return mg_error_set(reterr_error, -EINVAL,
			"found \"%s\" with a zone id, allowed are addresses without one", quote);
	return mg_error_set(reterr_error, -EINVAL, "found \"%s\", allowed are %s", quote, allowed);
}

static int
cidr_check_host_bits(const char *text, const struct addr *addr, const struct cidr *network,
	struct mg_error *reterr_error)
{
	char quote[ADDR_QUOTE_MAX], range[CIDR_TEXT_MAX];

	if (memcmp(addr->bytes, network->bytes, sizeof(addr->bytes)) == 0)
		return 0;
	return mg_error_set(reterr_error, -EINVAL,
		"found \"%s\" with bits set behind the prefix, allowed is \"%s\"",
		addr_quote(text, quote), cidr_format(network, range));
}

int
cidr_parse(const char *text, struct cidr *ret_cidr, struct mg_error *reterr_error)
{
	size_t host_length = strcspn(text, "/");
	char quote[ADDR_QUOTE_MAX];
	struct addr addr;
	struct cidr cidr;
	unsigned prefix;
	int r;

	if (!addr_parse_host(text, host_length, &addr))
		return addr_fail_host(text,
			"an address such as \"192.0.2.1\" or \"2001:db8::1\" and a range such as "
			"\"10.0.0.0/8\" or \"2001:db8::/32\"",
			reterr_error);
	prefix = addr_family_bits(addr.family);
	if (text[host_length] == '/' && !addr_parse_number(text + host_length + 1,
						strlen(text + host_length + 1), prefix, &prefix))
		return mg_error_set(reterr_error, -EINVAL,
			"found \"%s\", allowed are prefixes of 0 to %u bits",
			addr_quote(text, quote), prefix);
	cidr = addr_network(&addr, prefix);
	r = cidr_check_host_bits(text, &addr, &cidr, reterr_error);
	if (r < 0)
		return r;
	/* Clients with such addresses count as IPv4, so that an IPv6 range would hold none. */
	if (cidr.family == ADDR_IPV6 && prefix >= 96 && addr_is_mapped(cidr.bytes)) {
		cidr.family = ADDR_IPV4;
		cidr.prefix = (uint8_t)(prefix - 96);
		addr_unmap_bytes(cidr.bytes);
	}
	*ret_cidr = cidr;
	return 0;
}

/* `path` is what stands behind "unix:". In the abstract namespace the name is all of sun_path
 * behind a zero byte, and its length is part of it: no zero byte at the end. */
static int
addr_parse_unix(const char *path, struct sockaddr_storage *ret_sa, socklen_t *ret_length,
	struct mg_error *reterr_error)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	bool is_abstract = path[0] == '@';
	const char *name = is_abstract ? path + 1 : path;
	size_t name_length = strlen(name);
	char quote[ADDR_QUOTE_MAX];

	if (!is_abstract && path[0] != '/')
		return mg_error_set(reterr_error, -EINVAL,
			"found \"" ADDR_UNIX_PREFIX
			"%s\", allowed are \"unix:/path\" (an absolute path) and "
			"\"unix:@name\"",
			addr_quote(path, quote));
	if (name_length == 0 || name_length > ADDR_UNIX_PATH_MAX)
		return mg_error_set(reterr_error, -EINVAL,
			"found a Unix socket %s of %zu bytes, allowed are 1 to %zu",
			is_abstract ? "name" : "path", name_length, ADDR_UNIX_PATH_MAX);
	memcpy(sun.sun_path + is_abstract, name, name_length);
	memset(ret_sa, 0, sizeof(*ret_sa));
	memcpy(ret_sa, &sun, sizeof(sun));
	*ret_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_length + 1);
	return 0;
}

/* Finds the two parts of "host:port" and "[host]:port". */
static bool
addr_split_listen(
	const char *text, const char **ret_host, size_t *ret_host_length, const char **ret_port)
{
	const char *host = text[0] == '[' ? text + 1 : text;
	const char *end = strchr(text, text[0] == '[' ? ']' : ':');
	const char *colon = end && *end == ']' ? end + 1 : end;

	if (!colon || *colon != ':')
		return false;
	*ret_host = host;
	*ret_host_length = (size_t)(end - host);
	*ret_port = colon + 1;
	return true;
}

static int
addr_parse_inet(const char *text, struct sockaddr_storage *ret_sa, socklen_t *ret_length,
	struct mg_error *reterr_error)
{
	const char *host, *port;
	char quote[ADDR_QUOTE_MAX];
	size_t host_length;
	unsigned number;
	struct addr addr;

	if (text[0] != '[' && strchr(text, ':') != strrchr(text, ':'))
		return mg_error_set(reterr_error, -EINVAL,
			"found \"%s\", allowed are IPv6 addresses in brackets, such as "
			"\"[::1]:7000\"",
			addr_quote(text, quote));
	if (!addr_split_listen(text, &host, &host_length, &port) ||
		!addr_parse_host(host, host_length, &addr) ||
		(addr.family == ADDR_IPV6) != (text[0] == '['))
		return addr_fail_host(
			text, ADDR_LISTEN_FORMS "; host names are not resolved", reterr_error);
	if (!addr_parse_number(port, strlen(port), UINT16_MAX, &number) || number == 0)
		return mg_error_set(reterr_error, -EINVAL,
			"found port \"%s\", allowed are 1 to 65535", addr_quote(port, quote));
	addr.port = (uint16_t)number;
	addr_unmap(&addr);
	*ret_length = addr_to_sockaddr(&addr, ret_sa);
	return 0;
}

int
addr_parse_listen(const char *text, struct sockaddr_storage *ret_sa, socklen_t *ret_length,
	struct mg_error *reterr_error)
{
	size_t prefix_length = strlen(ADDR_UNIX_PREFIX);

	if (strncmp(text, ADDR_UNIX_PREFIX, prefix_length) == 0)
		return addr_parse_unix(text + prefix_length, ret_sa, ret_length, reterr_error);
	return addr_parse_inet(text, ret_sa, ret_length, reterr_error);
}

static const char *
addr_format_unix(const struct sockaddr *sa, socklen_t length, char buf[static ADDR_LISTEN_TEXT_MAX])
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t n, i;

	if (length > sizeof(sun))
		length = sizeof(sun);
	memcpy(&sun, sa, length);
	n = length > head ? length - head : 0;
	if (n > 0 && sun.sun_path[0] != '\0')
		n = strnlen(sun.sun_path, n);
	/* Zero bytes are allowed in abstract names; they are shown as in /proc/net/unix. */
	for (i = 0; i < n; i++)
		if (sun.sun_path[i] == '\0')
			sun.sun_path[i] = '@';
	snprintf(buf, ADDR_LISTEN_TEXT_MAX, ADDR_UNIX_PREFIX "%.*s", (int)n, sun.sun_path);
	return buf;
}

const char *
addr_format_listen(
	const struct sockaddr *sa, socklen_t length, char buf[static ADDR_LISTEN_TEXT_MAX])
{
	struct addr addr = addr_from_sockaddr(sa, length);

	if (addr.family == ADDR_UNIX)
		return addr_format_unix(sa, length, buf);
	return addr_format(&addr, buf);
}
