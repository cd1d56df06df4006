/* upstream_source: see upstream_source.h. */
#include "upstream_source.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reset.h"
#include "sysctl.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h, since Linux 6.3 */
#endif

#define UPSTREAM_WINDOW_PORTS 128
#define UPSTREAM_WINDOWS 8 /* are tried, before all ports are */

static void
upstream_sources_read_ports(struct upstream_sources *sources)
{
	struct sysctl_numbers range = {.n = 0};
	char *text = NULL;

	sources->n_ports = 0;
	if (sysctl_read("", "net.ipv4.ip_local_port_range", &text) == 0 &&
		sysctl_parse(text, &range) == 0 && range.n == 2 && range.at[1] <= UINT16_MAX &&
		range.at[0] + UPSTREAM_WINDOWS * UPSTREAM_WINDOW_PORTS <= range.at[1]) {
		sources->first_port = (uint32_t)range.at[0];
		sources->n_ports = (uint32_t)(range.at[1] - range.at[0] + 1);
	}
	free(text);
}

void
upstream_sources_set(struct upstream_sources *sources, const char *const *texts, size_t n_texts)
{
	upstream_sources_done(sources);
	upstream_sources_read_ports(sources);
	sources->items = n_texts > 0 ? calloc(n_texts, sizeof(*sources->items)) : NULL;
	for (size_t i = 0; sources->items && i < n_texts; i++)
		if (upstream_parse_source(texts[i], &sources->items[sources->n], NULL) == 0)
			sources->n++;
}

void
upstream_sources_done(struct upstream_sources *sources)
{
	free(sources->items);
	*sources = (struct upstream_sources){0};
}

/* Where nobody listens on a port that the kernel also gives to clients, a connect may meet itself. */
static bool
upstream_source_met_itself(int fd, const struct upstream_address *server)
{
	struct upstream_address ours = {.length = sizeof(ours.sa)};

	return server->sa.ss_family != AF_UNIX &&
	       getsockname(fd, (struct sockaddr *)&ours.sa, &ours.length) == 0 &&
	       upstream_address_equal(&ours, server);
}

static int
upstream_source_connect(int fd, const struct upstream_address *server)
{
	int r = connect(fd, (const struct sockaddr *)&server->sa, server->length) < 0 ? -errno : 0;

	if ((r < 0 && r != -EINPROGRESS) || !upstream_source_met_itself(fd, server))
		return r;
	/* The server may come yet, and wants its port: nothing of this is to wait there. */
	reset_on_close(fd);
	return -ECONNREFUSED;
}

/* The kernel is to choose among these ports; 0, 0: among all. -errno: it cannot be told so. */
static int
upstream_source_narrow(int fd, uint32_t first, uint32_t last)
{
	uint32_t range = last << 16 | first;

	return setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range)) < 0 ? -errno
											  : 0;
}

/*
 * The kernel goes through every other port until it finds one that this address has free for this
 * server, and then through the rest. Once half of them are used it looks at all of that half each
 * time, which takes longer than all else of a connect together. In a small part of them, which is
 * another one each time, it finds one soon, until hardly any are left.
 */
static int
upstream_source_connect_within(const struct upstream_sources *sources, uint64_t spread, int fd,
	const struct upstream_address *server)
{
	uint32_t span = sources->n_ports - UPSTREAM_WINDOW_PORTS + 1;
	int r = -EADDRNOTAVAIL;

	if (server->sa.ss_family == AF_UNIX || sources->n_ports == 0)
		return upstream_source_connect(fd, server);
	for (unsigned i = 0; i < UPSTREAM_WINDOWS && r == -EADDRNOTAVAIL; i++) {
		uint32_t at = (uint32_t)((spread + i) * 0x9e3779b97f4a7c15u >> 32) % span;
		uint32_t first = sources->first_port + at;

		if (upstream_source_narrow(fd, first, first + UPSTREAM_WINDOW_PORTS - 1) < 0)
			return upstream_source_connect(fd, server);
		r = upstream_source_connect(fd, server);
	}
	if (r == -EADDRNOTAVAIL && upstream_source_narrow(fd, 0, 0) == 0)
		r = upstream_source_connect(fd, server);
	return r;
}

int
upstream_sources_connect(const struct upstream_sources *sources, uint64_t spread, int fd,
	const struct upstream_address *server)
{
	int one = 1, r = -EADDRNOTAVAIL;
	bool chosen = false;

	for (size_t i = 0; i < sources->n && r == -EADDRNOTAVAIL; i++) {
		const struct upstream_address *from =
			&sources->items[(spread % sources->n + i) % sources->n];

		if (from->sa.ss_family != server->sa.ss_family)
			continue;
		chosen = true;
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, (const struct sockaddr *)&from->sa, from->length) < 0)
			r = -errno;
		else
			r = upstream_source_connect_within(sources, spread, fd, server);
	}
	return chosen ? r : upstream_source_connect_within(sources, spread, fd, server);
}

bool
upstream_sources_suit(const struct upstream_sources *sources, const struct upstream_address *server)
{
	bool suits = sources->n == 0 || server->sa.ss_family == AF_UNIX;

	for (size_t i = 0; i < sources->n && !suits; i++)
		suits = sources->items[i].sa.ss_family == server->sa.ss_family;
	return suits;
}

int
upstream_source_try(const char *text)
{
	struct upstream_address address;
	int r = upstream_parse_source(text, &address, NULL);
	int fd = r < 0 ? r : socket(address.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return r < 0 ? r : -errno;
	r = bind(fd, (const struct sockaddr *)&address.sa, address.length) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}
