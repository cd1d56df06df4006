/*
 * notify: all talk with systemd: the sockets it passes, what it is told of our state, and the
 * descriptors that it keeps for us.
 *
 * Process: both: a worker stores its own. Without systemd everything here does nothing.
 */
#ifndef MILLGATE_NOTIFY_H
#define MILLGATE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/* A descriptor that systemd passed, sd_listen_fds(3), with its FileDescriptorName=. */
struct notify_fd {
	int fd;
	char *name; /* owned */
};

/* Takes them out of the environment. *ret_fds is the caller's, as is each descriptor: free with
 * notify_fds_free(), which closes none. Returns how many, or -errno. */
int notify_take_fds(struct notify_fd **ret_fds) MG_MUST_CHECK;
void notify_fds_free(struct notify_fd *fds, int n);

/* The interval in which systemd wants to hear that we live (WatchdogSec=); 0: it does not. */
uint64_t notify_watchdog_usec(void);

/* sd_notify(3): READY=1 with a status text; STATUS=; RELOADING=1 with MONOTONIC_USEC=, to be
 * followed by notify_ready(); STOPPING=1; WATCHDOG=1. */
void notify_ready(const char *status);
void notify_status(const char *status);
void notify_reloading(uint64_t now_usec);
void notify_stopping(const char *status);
void notify_watchdog(void);

/*
 * The file descriptor store, sd_pid_notify_with_fds(3): what is in it is passed to the next process
 * of the service, as listening sockets are. Whether systemd has room for it (FileDescriptorStoreMax=)
 * nobody says; before its version 254 not even whether there is a store. A stored descriptor is
 * kept until its name is taken out. -errno.
 */
#define NOTIFY_NAME_MAX 255
bool notify_has_store(void);
int notify_store(const char *name, int fd) MG_MUST_CHECK;
void notify_unstore(const char *name);
/* Waits until systemd has taken all that this process sent: it has to see who sent it. -ETIMEDOUT. */
int notify_barrier(uint64_t timeout_usec) MG_MUST_CHECK;

/* An errno to show in `systemctl status` beside the reason why the start failed. */
void notify_failed(int error, const char *status);

#endif
