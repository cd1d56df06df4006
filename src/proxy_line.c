/* proxy_line: see proxy_line.h. */
#include "proxy_line.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 107 /* with its end */
#define LINE_END "\r\n"
#define ADDRESS_MAX 39 /* letters, also of an IPv6 address that is written with dots */
#define PORT_MAX 5

/* A line that is read from its start. Once it is cut or bad, nothing more is read of it. */
struct proxy_line {
	const uint8_t *at;
	size_t left;
	const char *wanted; /* if bad: what may stand here */
	enum {
		LINE_GOOD,
		LINE_CUT, /* all that is here is good, and more must come */
		LINE_BAD,
	} state;
};

static void
proxy_line_fail(struct proxy_line *line, const char *wanted)
{
	line->state = LINE_BAD;
	line->wanted = wanted;
}

static void
proxy_line_skip(struct proxy_line *line, size_t n)
{
	line->at += n;
	line->left -= n;
}

/* The next byte; '\0' if there is none to judge. */
static char
proxy_line_peek(struct proxy_line *line)
{
	if (line->state == LINE_GOOD && line->left == 0)
		line->state = LINE_CUT;
	return line->state == LINE_GOOD ? (char)*line->at : '\0';
}

static void
proxy_line_take(struct proxy_line *line, const char *text, const char *name)
{
	size_t wanted = strlen(text), n = line->left < wanted ? line->left : wanted;

	if (line->state != LINE_GOOD)
		return;
	if (memcmp(line->at, text, n) != 0)
		proxy_line_fail(line, name);
	else if (n < wanted)
		line->state = LINE_CUT;
	else
		proxy_line_skip(line, n);
}

static bool
proxy_address_parse(const char *text, size_t length, uint8_t family, struct addr *ret_addr)
{
	return length <= ADDRESS_MAX && addr_parse_host(text, length, ret_addr) &&
	       ret_addr->family == family;
}

/* Can it become an address? Wherever it was cut, one of these is the shortest end that it has. */
static bool
proxy_address_begins(const char *text, size_t length, uint8_t family)
{
	static const char *const ends[] = {
		"", "0", ":", "::", ".0", "0.0", ".0.0", "0.0.0", ".0.0.0", "0.0.0.0"};
	char whole[ADDRESS_MAX + sizeof("0.0.0.0")];
	struct addr addr;

	if (length > ADDRESS_MAX)
		return false;
	memcpy(whole, text, length);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		strcpy(whole + length, ends[i]);
		if (proxy_address_parse(whole, strlen(ends[i]) + length, family, &addr))
			return true;
	}
	return false;
}

static void
proxy_line_take_address(struct proxy_line *line, uint8_t family, struct addr *ret_addr)
{
	const char *text = (const char *)line->at;
	size_t n = 0;

	if (line->state != LINE_GOOD)
		return;
	while (n < line->left && n <= ADDRESS_MAX && text[n] != ' ')
		n++;
	if (n == line->left && proxy_address_begins(text, n, family))
		line->state = LINE_CUT;
	else if (n < line->left && proxy_address_parse(text, n, family, ret_addr))
		proxy_line_skip(line, n);
	else
		proxy_line_fail(line, family == ADDR_IPV4 ? "an IPv4 address" : "an IPv6 address");
}

static void
proxy_line_take_port(struct proxy_line *line, uint16_t *ret_port)
{
	const char *text = (const char *)line->at;
	unsigned port = 0;
	size_t n = 0;

	if (line->state != LINE_GOOD)
		return;
	while (n < line->left && n <= PORT_MAX && text[n] >= '0' && text[n] <= '9')
		n++;
	if (!(n == 0 && line->left == 0) && !addr_parse_number(text, n, UINT16_MAX, &port)) {
		proxy_line_fail(line, "a port of 0 to 65535");
	} else if (n == line->left) {
		line->state = LINE_CUT;
	} else {
		proxy_line_skip(line, n);
		*ret_port = (uint16_t)port;
	}
}

static void
proxy_line_take_addresses(struct proxy_line *line, uint8_t family, struct proxy_header *header)
{
	uint16_t source_port = 0, destination_port = 0;

	proxy_line_take(line, " ", "a space");
	proxy_line_take_address(line, family, &header->source);
	proxy_line_take(line, " ", "a space");
	proxy_line_take_address(line, family, &header->destination);
	proxy_line_take(line, " ", "a space");
	proxy_line_take_port(line, &source_port);
	proxy_line_take(line, " ", "a space");
	proxy_line_take_port(line, &destination_port);
	proxy_line_take(line, LINE_END, "CR LF");
	header->source.port = source_port;
	header->destination.port = destination_port;
	addr_unmap(&header->source);
	addr_unmap(&header->destination);
}

/* Behind UNKNOWN: what stands before the end of the line is ignored. `room` is what is allowed. */
static void
proxy_line_take_rest(struct proxy_line *line, size_t room)
{
	size_t n = line->left < room ? line->left : room;
	const uint8_t *end;

	if (proxy_line_peek(line) != ' ') {
		proxy_line_take(line, LINE_END, "a space or CR LF");
		return;
	}
	end = memmem(line->at, n, LINE_END, strlen(LINE_END));
	if (end)
		proxy_line_skip(line, (size_t)(end - line->at) + strlen(LINE_END));
	else if (n + (line->at[n - 1] == '\r' ? 1 : 2) <= room)
		line->state = LINE_CUT;
	else
		proxy_line_fail(line, "a line of at most 107 bytes with CR LF");
}

static void
proxy_line_read(struct proxy_line *line, const uint8_t *start, struct proxy_header *header)
{
	char family;

	proxy_line_take(line, "PROXY ", "\"PROXY \"");
	if (proxy_line_peek(line) == 'U') {
		proxy_line_take(line, "UNKNOWN", "TCP4, TCP6 or UNKNOWN");
		proxy_line_take_rest(line, LINE_MAX_BYTES - (size_t)(line->at - start));
		return;
	}
	proxy_line_take(line, "TCP", "TCP4, TCP6 or UNKNOWN");
	family = proxy_line_peek(line);
	if (line->state != LINE_GOOD)
		return;
	if (family != '4' && family != '6') {
		proxy_line_fail(line, "TCP4, TCP6 or UNKNOWN");
		return;
	}
	proxy_line_skip(line, 1);
	proxy_line_take_addresses(line, family == '4' ? ADDR_IPV4 : ADDR_IPV6, header);
}

ssize_t
proxy_line_parse(const uint8_t *data, size_t length, struct proxy_header *ret_header,
	struct mg_error *reterr_error)
{
	struct proxy_line line = {.at = data, .left = length};
	struct proxy_header header = {0};

	proxy_line_read(&line, data, &header);
	if (line.state == LINE_CUT)
		return 0;
	if (line.state == LINE_BAD)
		return mg_error_set(reterr_error, -EBADMSG,
			"PROXY header, version 1: from byte %zu on allowed is %s",
			(size_t)(line.at - data), line.wanted);
	*ret_header = header;
	return line.at - data;
}

size_t
proxy_line_put(char buf[static PROXY_HEADER_PUT_MAX], const struct proxy_header *header)
{
	char source[ADDR_TEXT_MAX], destination[ADDR_TEXT_MAX];
	int n;

	if (header->source.family == ADDR_NONE)
		n = snprintf(buf, PROXY_HEADER_PUT_MAX, "PROXY UNKNOWN" LINE_END);
	else
		n = snprintf(buf, PROXY_HEADER_PUT_MAX, "PROXY %s %s %s %u %u" LINE_END,
			header->source.family == ADDR_IPV4 ? "TCP4" : "TCP6",
			addr_format_host(&header->source, source),
			addr_format_host(&header->destination, destination),
			(unsigned)header->source.port, (unsigned)header->destination.port);
	assert(n > 0 && n < PROXY_HEADER_PUT_MAX);
	return (size_t)n;
}
