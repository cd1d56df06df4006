/* reset: see reset.h. */
#include "reset.h"

#include <sys/socket.h>

void
reset_on_close(int fd)
{
	static const struct linger at_once = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}
