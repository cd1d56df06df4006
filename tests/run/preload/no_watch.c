/* Preloaded by a test: fs.epoll.max_user_watches is reached whenever a connect is to be waited for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/epoll.h>

int
epoll_ctl(int set, int op, int fd, struct epoll_event *event)
{
	int (*next)(int, int, int, struct epoll_event *) = dlsym(RTLD_NEXT, "epoll_ctl");

	if (op != EPOLL_CTL_ADD || event->events != EPOLLOUT)
		return next(set, op, fd, event);
	errno = ENOSPC;
	return -1;
}
