/*
 * listener: the listening sockets: those that systemd passes, and those we bind.
 *
 * Process: S. Decides nothing about connections.
 */
#ifndef MILLGATE_LISTENER_H
#define MILLGATE_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "conf.h"
#include "notify.h"

/*
 * Sockets that we bind are kept over a restart as well, by systemd's store or by the supervisor that
 * becomes another program: their names there are this and the listener's.
 */
#define LISTENER_KEPT_PREFIX "listen/"
#define LISTENER_KEPT_NAME_MAX (sizeof(LISTENER_KEPT_PREFIX) + CONF_NAME_MAX)

/* One socket. A listener may have several. */
struct listener_socket {
	int fd;            /* owned */
	unsigned listener; /* index in the configuration */
	bool bound;        /* by us, so that a Unix socket's path is ours to remove */
	bool tcp;
	char address[ADDR_LISTEN_TEXT_MAX];
};

/* A socket of the gateway's own, for who looks and steers. */
struct listener_own {
	int fd; /* -1: there is none */
	bool bound;
	char path[108]; /* of a Unix socket that we bound, to be removed; "" otherwise */
};

struct listener_set {
	struct listener_socket *sockets;
	size_t n;
	struct listener_own admin, metrics;
	bool kept; /* what we bound lives on: its paths are not removed */
};

#define LISTENER_SET_EMPTY ((struct listener_set){.admin = {.fd = -1}, .metrics = {.fd = -1}})

/*
 * Opens all sockets of the configuration. Takes the descriptors of `passed`. A passed name without
 * a listener, a listener with neither, a descriptor that is no listening stream socket, and an
 * address that cannot be bound are errors: -errno, with text that names them. Then no path is
 * removed if systemd has a store: it may still keep the socket that is bound there.
 */
int listener_open_all(const struct conf *conf, struct notify_fd *passed, int n_passed,
	struct listener_set *ret_set, struct mg_error *reterr_error) MG_MUST_CHECK;

/* The address of one that no socket was passed for; -errno with text: it has none. */
int listener_address(const struct conf_listener *listener, struct sockaddr_storage *ret_sa,
	socklen_t *ret_length, struct mg_error *reterr_error) MG_MUST_CHECK;

/* Calls `visit` for each socket, under the name by which the next process knows it, until one says
 * -errno, which is returned. */
int listener_each(const struct listener_set *set, const struct conf *conf,
	int (*visit)(void *context, const char *name, int fd, bool bound), void *context);

/* Has systemd keep what we bound. */
void listener_store(struct listener_set *set, const struct conf *conf);

/* Closes all and removes the paths of Unix sockets that we bound. */
void listener_close_all(struct listener_set *set);

/* Sets what accepted sockets inherit; again after a reload. Failures are not errors: a Unix socket
 * has none of it. */
void listener_set_options(const struct listener_set *set, const struct conf *conf);

#endif
