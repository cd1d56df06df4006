/*
 * reexec: the supervisor becomes another program, and keeps what it has open.
 *
 * Process: S. The descriptors are passed as systemd passes sockets, sd_listen_fds(3), with their
 * names; so the program that starts need not know from whom they are.
 */
#ifndef MILLGATE_REEXEC_H
#define MILLGATE_REEXEC_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

struct reexec_fd;

/* What is to be passed. A zeroed one is empty. */
struct reexec {
	struct reexec_fd *fds;
	size_t n;
	bool failed; /* no memory for all */
};

/* The file of the running program, by the path that it has now: later, when a package has put
 * another in its place, the kernel knows it no more. If one has already, as when this program started
 * because that did not, it is the path that it had. To be freed; NULL: not to be had. */
char *reexec_path(void);

/* fd is borrowed; the name, at most 255 bytes without a colon, is copied. */
void reexec_add(struct reexec *reexec, const char *name, int fd);

/* Does not return, unless with -errno: then the numbers of descriptors from 3 on have changed, and
 * all that can still be done is to call it again with another path, and to give up. */
int reexec_run(struct reexec *reexec, const char *path, char *const *argv) MG_MUST_CHECK;

#endif
