/* reexec: see reexec.h. */
#include "reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define REEXEC_NAME_MAX 256
#define REEXEC_DELETED " (deleted)" /* what the kernel adds, proc(5) */

struct reexec_fd {
	int fd;
	char name[REEXEC_NAME_MAX];
};

char *
reexec_path(void)
{
	const size_t suffix = strlen(REEXEC_DELETED);
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0)
		return NULL;
	path[n] = '\0';
	if ((size_t)n > suffix && strcmp(path + n - suffix, REEXEC_DELETED) == 0 &&
		access(path, F_OK) < 0)
		path[(size_t)n - suffix] = '\0';
	return strdup(path);
}

void
reexec_add(struct reexec *reexec, const char *name, int fd)
{
	struct reexec_fd *fds = reallocarray(reexec->fds, reexec->n + 1, sizeof(*fds));

	if (!fds) {
		reexec->failed = true;
		return;
	}
	reexec->fds = fds;
	fds[reexec->n].fd = fd;
	snprintf(fds[reexec->n].name, sizeof(fds[reexec->n].name), "%s", name);
	reexec->n++;
}

/* To the numbers 3, 4, ... which may be those of others: so first all go above. */
static int
reexec_move(struct reexec *reexec)
{
	int first = SD_LISTEN_FDS_START, n = (int)reexec->n;

	for (int i = 0; i < n; i++) {
		reexec->fds[i].fd = fcntl(reexec->fds[i].fd, F_DUPFD_CLOEXEC, first + n);
		if (reexec->fds[i].fd < 0)
			return -errno;
	}
	for (int i = 0; i < n; i++)
		if (dup2(reexec->fds[i].fd, first + i) < 0)
			return -errno;
	return 0;
}

static int
reexec_set_environment(const struct reexec *reexec)
{
	char *names = malloc(reexec->n * REEXEC_NAME_MAX + 1), *end = names, number[16];
	int r;

	if (!names)
		return -ENOMEM;
	*end = '\0';
	for (size_t i = 0; i < reexec->n; i++)
		end += sprintf(end, "%s%s", i > 0 ? ":" : "", reexec->fds[i].name);
	r = setenv("LISTEN_FDNAMES", names, 1);
	free(names);
	snprintf(number, sizeof(number), "%zu", reexec->n);
	r |= setenv("LISTEN_FDS", number, 1);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	r |= setenv("LISTEN_PID", number, 1);
	return r < 0 ? -ENOMEM : 0;
}

int
reexec_run(struct reexec *reexec, const char *path, char *const *argv)
{
	int r = reexec->failed ? -ENOMEM : reexec_set_environment(reexec);

	if (r == 0)
		r = reexec_move(reexec);
	if (r < 0)
		return r;
	(void)execv(path, argv);
	return -errno;
}
