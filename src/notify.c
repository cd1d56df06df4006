/* notify: see notify.h. */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

int
notify_take_fds(struct notify_fd **ret_fds)
{
	char **names = NULL;
	struct notify_fd *fds;
	int n = sd_listen_fds_with_names(1, &names);

	if (n < 0)
		return n;
	fds = calloc((size_t)n + 1, sizeof(*fds));
	if (!fds) {
		for (int i = 0; i < n; i++)
			free(names[i]);
		free(names);
		return -ENOMEM;
	}
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		fds[i] = (struct notify_fd){.fd = fd, .name = names[i]};
	}
	free(names);
	*ret_fds = fds;
	return n;
}

void
notify_fds_free(struct notify_fd *fds, int n)
{
	if (!fds)
		return;
	for (int i = 0; i < n; i++)
		free(fds[i].name);
	free(fds);
}

uint64_t
notify_watchdog_usec(void)
{
	uint64_t usec;

	return sd_watchdog_enabled(0, &usec) > 0 ? usec : 0;
}

void
notify_ready(const char *status)
{
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void
notify_status(const char *status)
{
	(void)sd_notifyf(0, "STATUS=%s", status);
}

void
notify_reloading(uint64_t now_usec)
{
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec);
}

void
notify_stopping(const char *status)
{
	(void)sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}

void
notify_watchdog(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}

void
notify_failed(int error, const char *status)
{
	(void)sd_notifyf(0, "STATUS=%s\nERRNO=%d", status, error);
}

bool
notify_has_store(void)
{
	const char *store = getenv("FDSTORE"); /* since systemd 254: how many it holds */

	return getenv("NOTIFY_SOCKET") && (!store || strcmp(store, "0") != 0);
}

int
notify_store(const char *name, int fd)
{
	char text[NOTIFY_NAME_MAX + 64];
	int r;

	/* Not polled: a berth's far end is closed, which systemd would take for the end of it. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	r = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	return r == 0 ? -ENOTCONN : r < 0 ? r : 0;
}

void
notify_unstore(const char *name)
{
	(void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int
notify_barrier(uint64_t timeout_usec)
{
	int r = sd_notify_barrier(0, timeout_usec);

	return r < 0 ? r : 0;
}
