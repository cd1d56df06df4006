/*
 * supervisor_try: could another process start with the configuration that the file has now, and
 * with the sockets of this one?
 *
 * Process: S. Asked before an upgrade, after which there would be no way back. Whether the file is in
 * order the new program says itself (--check).
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor_private.h"

/* Is this address free? TCP only: a Unix socket is no matter of who else is there. -errno. */
static int
supervisor_try_bind(const struct sockaddr_storage *sa, socklen_t length)
{
	int fd, r, one = 1, zero = 0;

	if (sa->ss_family == AF_UNIX)
		return 0;
	fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (sa->ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	r = bind(fd, (const struct sockaddr *)sa, length) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}

static in_port_t
supervisor_port(const struct sockaddr_storage *sa)
{
	return ((const struct sockaddr_in *)sa)->sin_port; /* as in sockaddr_in6 */
}

/* Will this process, when it lets its own sockets go, make room for that address? */
static bool
supervisor_is_in_the_way(const struct supervisor *supervisor, const struct sockaddr_storage *sa)
{
	const struct listener_set *set = &supervisor->listeners;
	struct sockaddr_storage own;
	socklen_t length;

	for (size_t i = 0; i < set->n; i++)
		if (set->sockets[i].bound && set->sockets[i].tcp &&
			addr_parse_listen(set->sockets[i].address, &own, &length, NULL) == 0 &&
			supervisor_port(&own) == supervisor_port(sa))
			return true;
	return false;
}

static bool
supervisor_has_passed_socket(const struct supervisor *supervisor, const char *name)
{
	const struct listener_set *set = &supervisor->listeners;

	for (size_t i = 0; i < set->n; i++)
		if (!set->sockets[i].bound &&
			strcmp(supervisor->conf->listeners[set->sockets[i].listener].name, name) ==
				0)
			return true;
	return false;
}

/* One that the next process would have to bind. */
static int
supervisor_try_listener(const struct supervisor *supervisor, const struct conf_listener *listener,
	struct mg_error *reterr_error)
{
	const struct conf_listener *now = conf_find_listener(supervisor->conf, listener->name);
	struct sockaddr_storage sa;
	socklen_t length;
	int r;

	if (supervisor_has_passed_socket(supervisor, listener->name) ||
		(now && strcmp(now->address, listener->address) == 0))
		return 0;
	r = listener_address(listener, &sa, &length, reterr_error);
	if (r < 0)
		return r;
	r = supervisor_try_bind(&sa, length);
	if (r == 0 || (r == -EADDRINUSE && supervisor_is_in_the_way(supervisor, &sa)))
		return 0;
	return mg_error_set(reterr_error, r, "listener \"%s\": cannot listen on %s: %s",
		listener->name, listener->address, strerror(-r));
}

/* A socket of systemd's needs its listener. */
static int
supervisor_try_passed(
	const struct supervisor *supervisor, const struct conf *conf, struct mg_error *reterr_error)
{
	const struct listener_set *set = &supervisor->listeners;

	for (size_t i = 0; i < set->n; i++) {
		const char *name = supervisor->conf->listeners[set->sockets[i].listener].name;

		if (!set->sockets[i].bound && !conf_find_listener(conf, name))
			return mg_error_set(reterr_error, -ENOENT,
				"systemd passed a socket named \"%s\" (FileDescriptorName=), and "
				"the configuration has no listener of this name",
				name);
	}
	return 0;
}

int
supervisor_try(const struct supervisor *supervisor, struct mg_error *reterr_error)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	int r = conf_load(supervisor->conf_path, &conf, &errors);

	conf_errors_done(&errors);
	/* The new program may know keys that this one does not. */
	if (r < 0)
		return r == -ENOMEM ? mg_error_set(reterr_error, r, "out of memory") : 0;
	r = supervisor_try_passed(supervisor, conf, reterr_error);
	for (size_t i = 0; i < conf->n_listeners && r == 0; i++)
		r = supervisor_try_listener(supervisor, &conf->listeners[i], reterr_error);
	if (r == 0 && conf->sysctl_mode == CONF_SYSCTL_REQUIRE)
		r = supervisor_check_tuning(conf, reterr_error);
	conf_free(conf);
	return r;
}
