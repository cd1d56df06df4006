/* upstream_source: see upstream_source.h. */
#include "upstream_source.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

void
upstream_sources_set(struct upstream_sources *sources, const char *const *texts, size_t n_texts)
{
	free(sources->items);
	sources->n = 0;
	sources->items = n_texts > 0 ? calloc(n_texts, sizeof(*sources->items)) : NULL;
	for (size_t i = 0; sources->items && i < n_texts; i++)
		if (upstream_parse_source(texts[i], &sources->items[sources->n], NULL) == 0)
			sources->n++;
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
	/* The server may come yet, and wants its port: nothing of this is to wait there. */
	static const struct linger reset = {.l_onoff = 1};
	int r = connect(fd, (const struct sockaddr *)&server->sa, server->length) < 0 ? -errno : 0;

	if ((r < 0 && r != -EINPROGRESS) || !upstream_source_met_itself(fd, server))
		return r;
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return -ECONNREFUSED;
}

int
upstream_sources_connect(const struct upstream_sources *sources, uint64_t first, int fd,
	const struct upstream_address *server)
{
	int one = 1, r = -EADDRNOTAVAIL;
	bool chosen = false;

	for (size_t i = 0; i < sources->n && r == -EADDRNOTAVAIL; i++) {
		const struct upstream_address *from =
			&sources->items[(first % sources->n + i) % sources->n];

		if (from->sa.ss_family != server->sa.ss_family)
			continue;
		chosen = true;
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, (const struct sockaddr *)&from->sa, from->length) < 0)
			r = -errno;
		else
			r = upstream_source_connect(fd, server);
	}
	return chosen ? r : upstream_source_connect(fd, server);
}
