/* keepalive: see keepalive.h. */
#include "keepalive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

void
keepalive_set(int fd, uint64_t after_usec)
{
	int on = after_usec > 0, idle = (int)(after_usec / 1000000);
	int interval = idle / KEEPALIVE_PROBES, probes = KEEPALIVE_PROBES;

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (!on)
		return;
	if (interval < 1)
		interval = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}
