/* upstream_name: see upstream_name.h. */
#include "upstream_name.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#define UPSTREAM_HOST_MAX 253 /* bytes of a name in the DNS as it is written, RFC 1035 */
#define UPSTREAM_LABEL_MAX 63 /* bytes between its dots */
#define UPSTREAM_UNIX "unix:"
#define UPSTREAM_FORMS                                                              \
	"\"127.0.0.1:8080\", \"[::1]:8080\", \"app.example:9000\", \"unix:/path\" " \
	"and \"unix:@name\""

static bool
upstream_is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool
upstream_is_in_label(char byte)
{
	return upstream_is_digit(byte) || (byte >= 'a' && byte <= 'z') ||
	       (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '_';
}

/* A name with at least one label; a dot may stand at its end. One whose last label is a number is
 * an address with a typing error. */
static bool
upstream_is_host(const char *text, size_t length)
{
	size_t label = 0;
	bool is_number = true;

	if (length > 0 && text[length - 1] == '.')
		length--;
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
			is_number = true;
			continue;
		}
		if (!upstream_is_in_label(text[i]) || ++label > UPSTREAM_LABEL_MAX)
			return false;
		is_number = is_number && upstream_is_digit(text[i]);
	}
	return label > 0 && length <= UPSTREAM_HOST_MAX && !is_number;
}

/* "127.0.0.1" or "[::1]" */
static bool
upstream_is_address(const char *text, size_t length)
{
	struct addr addr;

	if (length > 2 && text[0] == '[' && text[length - 1] == ']')
		return addr_parse_host(text + 1, length - 2, &addr) && addr.family == ADDR_IPV6;
	return addr_parse_host(text, length, &addr) && addr.family == ADDR_IPV4;
}

/* "UNIX:/path", which is neither a socket nor a name with its port. */
static bool
upstream_is_unix_in_capitals(const char *text)
{
	size_t length = strlen(UPSTREAM_UNIX);

	return strncasecmp(text, UPSTREAM_UNIX, length) == 0 &&
	       strncmp(text, UPSTREAM_UNIX, length) != 0 &&
	       (text[length] == '/' || text[length] == '@');
}

static int
upstream_fail(const char *text, const char *allowed, struct mg_error *reterr_error)
{
	if (strchr(text, '%') && !strchr(text, '/')) /* in a path or a URL it is none */
		return mg_error_set(reterr_error, -EINVAL,
			"found \"%s\" with a zone id, allowed are addresses without one", text);
	return mg_error_set(reterr_error, -EINVAL, "found \"%s\", allowed are %s", text, allowed);
}

int
upstream_parse_name(const char *text, struct upstream_name *ret_name, struct mg_error *reterr_error)
{
	const char *colon = strrchr(text, ':');
	struct upstream_name name;
	size_t length = colon ? (size_t)(colon - text) : 0;
	unsigned port;

	memset(&name, 0, sizeof(name));
	if (addr_parse_listen(text, &name.address.sa, &name.address.length, NULL) == 0) {
		*ret_name = name;
		return 0;
	}
	memset(&name.address, 0, sizeof(name.address));
	if (strncmp(text, UPSTREAM_UNIX, strlen(UPSTREAM_UNIX)) == 0)
		return addr_parse_listen(
			text, &name.address.sa, &name.address.length, reterr_error);
	if (upstream_is_unix_in_capitals(text))
		return upstream_fail(text,
			"\"unix:/path\" and \"unix:@name\", with \"unix:\" in lower case",
			reterr_error);
	if (strchr(text, '/') ||
		!(upstream_is_host(text, length) || upstream_is_address(text, length)))
		return upstream_fail(text, UPSTREAM_FORMS, reterr_error);
	/* Of an address it is wrong, or that would have been read above. */
	if (!addr_parse_number(colon + 1, strlen(colon + 1), UINT16_MAX, &port) || port == 0 ||
		!upstream_is_host(text, length))
		return upstream_fail(
			text, "ports from 1 to 65535, without leading zeros", reterr_error);
	name.port = (uint16_t)port;
	memcpy(name.host, text, length);
	*ret_name = name;
	return 0;
}

int
upstream_parse_source(
	const char *text, struct upstream_address *ret_address, struct mg_error *reterr_error)
{
	struct upstream_address address = {.length = 0};
	struct addr addr;
	struct cidr cidr;

	if (strchr(text, '/') || cidr_parse(text, &cidr, NULL) < 0)
		return upstream_fail(
			text, "addresses such as \"192.0.2.1\" and \"2001:db8::1\"", reterr_error);
	addr = (struct addr){.family = cidr.family};
	memcpy(addr.bytes, cidr.bytes, sizeof(addr.bytes));
	address.length = addr_to_sockaddr(&addr, &address.sa);
	*ret_address = address;
	return 0;
}

int
upstream_parse_nameserver(
	const char *text, struct upstream_address *ret_address, struct mg_error *reterr_error)
{
	struct upstream_address address;

	memset(&address, 0, sizeof(address));
	if (addr_parse_listen(text, &address.sa, &address.length, NULL) < 0 ||
		address.sa.ss_family == AF_UNIX)
		return upstream_fail(text,
			"addresses with port, such as \"192.0.2.1:53\" and \"[2001:db8::1]:53\"",
			reterr_error);
	*ret_address = address;
	return 0;
}

bool
upstream_address_equal(const struct upstream_address *a, const struct upstream_address *b)
{
	return a->length == b->length && memcmp(&a->sa, &b->sa, a->length) == 0;
}

const char *
upstream_address_format(
	const struct upstream_address *address, char buf[static UPSTREAM_ADDRESS_TEXT_MAX])
{
	return addr_format_listen((const struct sockaddr *)&address->sa, address->length, buf);
}

static enum upstream_kind
upstream_address_kind_ipv4(in_addr_t address)
{
	if (address == INADDR_ANY)
		return UPSTREAM_KIND_UNSPECIFIED;
	if (address == INADDR_BROADCAST)
		return UPSTREAM_KIND_BROADCAST;
	return IN_MULTICAST(address) ? UPSTREAM_KIND_MULTICAST : UPSTREAM_KIND_OWN;
}

enum upstream_kind
upstream_address_kind(const struct upstream_address *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&address->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->sa;

	if (address->sa.ss_family == AF_INET)
		return upstream_address_kind_ipv4(ntohl(in->sin_addr.s_addr));
	if (address->sa.ss_family != AF_INET6)
		return UPSTREAM_KIND_OWN;
	if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		return UPSTREAM_KIND_UNSPECIFIED;
	if (IN6_IS_ADDR_MULTICAST(&in6->sin6_addr))
		return UPSTREAM_KIND_MULTICAST;
	return IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) ? UPSTREAM_KIND_LINK_LOCAL
						      : UPSTREAM_KIND_OWN;
}

bool
upstream_address_is_loopback(const struct upstream_address *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&address->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->sa;

	if (address->sa.ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
	return address->sa.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}
