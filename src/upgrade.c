/* upgrade: see upgrade.h. */
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

extern char **environ;

static void
upgrade_on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *upgrade = arg;

	(void)fd;
	(void)what;
	if (upgrade->pid > 0)
		(void)kill(upgrade->pid, SIGKILL);
}

/* Our signals are blocked, and its must not be. Its output goes into the pipe. */
static int
upgrade_spawn(struct upgrade *upgrade, int output)
{
	char *argv[] = {(char *)upgrade->path, (char *)"--check", (char *)upgrade->conf_path, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	sigemptyset(&none);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return -ENOMEM;
	}
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(&upgrade->pid, upgrade->path, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		upgrade->pid = 0;
	return -r;
}

int
upgrade_check(struct upgrade *upgrade, struct mg_error *reterr_error)
{
	struct timeval timeout = clock_timeval(UPGRADE_TIMEOUT_USEC);
	int ends[2], r;

	if (upgrade->pid > 0)
		return mg_error_set(reterr_error, -EBUSY, "an upgrade is under way");
	if (!upgrade->timeout)
		upgrade->timeout = evtimer_new(upgrade->base, upgrade_on_timeout, upgrade);
	if (!upgrade->path || !upgrade->timeout)
		return mg_error_set(reterr_error, -ENOENT, "the program's own path is not known");
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return mg_error_set(reterr_error, -errno, "a pipe: %s", strerror(errno));
	r = upgrade_spawn(upgrade, ends[1]);
	(void)close(ends[1]);
	if (r < 0) {
		(void)close(ends[0]);
		return mg_error_set(reterr_error, r, "%s: %s", upgrade->path, strerror(-r));
	}
	upgrade->output = ends[0];
	evtimer_add(upgrade->timeout, &timeout);
	return 0;
}

/* What it printed, without the last newline. */
static void
upgrade_read_output(int fd, char *text, size_t size)
{
	size_t length = 0;
	ssize_t n;

	while (length < size - 1 && (n = read(fd, text + length, size - 1 - length)) > 0)
		length += (size_t)n;
	while (length > 0 && text[length - 1] == '\n')
		length--;
	text[length] = '\0';
}

bool
upgrade_reap(struct upgrade *upgrade, pid_t pid, int status)
{
	char text[UPGRADE_OUTPUT_MAX];
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	if (upgrade->pid != pid)
		return false;
	upgrade->pid = 0;
	evtimer_del(upgrade->timeout);
	upgrade_read_output(upgrade->output, text, sizeof(text));
	(void)close(upgrade->output);
	if (!good && !text[0])
		snprintf(text, sizeof(text), "%s --check ended with %s %d", upgrade->path,
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	upgrade->checked(upgrade->context, good, text);
	return true;
}

void
upgrade_done(struct upgrade *upgrade)
{
	if (upgrade->pid > 0) {
		(void)kill(upgrade->pid, SIGKILL);
		(void)waitpid(upgrade->pid, NULL, 0);
		(void)close(upgrade->output);
		upgrade->checked(upgrade->context, false, "the gateway is stopping");
	}
	if (upgrade->timeout)
		event_free(upgrade->timeout);
	*upgrade = (struct upgrade){0};
}
