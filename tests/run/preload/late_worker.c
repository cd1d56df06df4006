/* Preloaded by a test: a worker comes late to what the supervisor sends first, while the file is there
 * that MILLGATE_LATE names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNEL_FD 3
#define LATE_USEC 1500000

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
	static int late;
	ssize_t (*next)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
	const char *path = getenv("MILLGATE_LATE");
	char name[17] = "";

	prctl(PR_GET_NAME, name);
	if (!late && fd == CHANNEL_FD && strncmp(name, "millgated:", 10) == 0 && path &&
		access(path, F_OK) == 0) {
		late = 1;
		usleep(LATE_USEC);
	}
	return next(fd, message, flags);
}
