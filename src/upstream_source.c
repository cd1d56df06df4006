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

static int
upstream_source_connect(int fd, const struct upstream_address *server)
{
	return connect(fd, (const struct sockaddr *)&server->sa, server->length) < 0 ? -errno : 0;
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
