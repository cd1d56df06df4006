/* listener: see listener.h. */
#include "listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "keepalive.h"
#include "log.h"

#define LISTENER_OWN_BACKLOG 1024 /* fewer are served at once */
#define LISTENER_BARRIER_USEC 5000000u

/* Is this a listening stream socket of a family that we serve? */
static int
listener_check_fd(int fd, struct sockaddr_storage *ret_name, socklen_t *ret_length)
{
	socklen_t length = sizeof(*ret_name);
	int value;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &(socklen_t){sizeof(value)}) < 0)
		return -errno;
	if (value != SOCK_STREAM)
		return -EPROTOTYPE;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &(socklen_t){sizeof(value)}) < 0)
		return -errno;
	if (!value)
		return -EINVAL;
	if (getsockname(fd, (struct sockaddr *)ret_name, &length) < 0)
		return -errno;
	if (ret_name->ss_family != AF_INET && ret_name->ss_family != AF_INET6 &&
		ret_name->ss_family != AF_UNIX)
		return -EAFNOSUPPORT;
	*ret_length = length;
	return 0;
}

static int
listener_add(struct listener_set *set, int fd, unsigned listener, bool bound,
	const struct sockaddr_storage *name, socklen_t length)
{
	struct listener_socket *sockets =
		realloc(set->sockets, (set->n + 1) * sizeof(*set->sockets));

	if (!sockets)
		return -ENOMEM;
	set->sockets = sockets;
	sockets[set->n] = (struct listener_socket){
		.fd = fd,
		.listener = listener,
		.bound = bound,
		.tcp = name->ss_family != AF_UNIX,
	};
	addr_format_listen((const struct sockaddr *)name, length, sockets[set->n].address);
	set->n++;
	return 0;
}

/* The socket of our own with this name, or NULL. */
static struct listener_own *
listener_find_own(struct listener_set *set, const char *name)
{
	if (strcmp(name, CONF_ADMIN_NAME) == 0)
		return &set->admin;
	return strcmp(name, CONF_METRICS_NAME) == 0 ? &set->metrics : NULL;
}

/* One that we bound. */
static void
listener_own_set(struct listener_own *own, int fd, const char *address)
{
	own->fd = fd;
	own->bound = true;
	if (strncmp(address, "unix:/", 6) == 0)
		snprintf(own->path, sizeof(own->path), "%.*s", (int)sizeof(own->path) - 1,
			address + 5);
}

/* Can clients still find it? The path of a Unix socket may have been removed. */
static bool
listener_has_path(const struct sockaddr_storage *name)
{
	const struct sockaddr_un *sun = (const struct sockaddr_un *)name;
	struct stat st;

	return name->ss_family != AF_UNIX || sun->sun_path[0] == '\0' ||
	       (lstat(sun->sun_path, &st) == 0 && S_ISSOCK(st.st_mode));
}

/* Is what the socket is bound to what the configuration says, and still to be found there? */
static bool
listener_is_bound_to(int fd, const char *address)
{
	char bound[ADDR_LISTEN_TEXT_MAX], wanted[ADDR_LISTEN_TEXT_MAX];
	struct sockaddr_storage name;
	struct mg_error error;
	socklen_t length = 0;

	if (listener_check_fd(fd, &name, &length) < 0 || !listener_has_path(&name))
		return false;
	addr_format_listen((const struct sockaddr *)&name, length, bound);
	if (addr_parse_listen(address, &name, &length, &error) < 0)
		return false;
	addr_format_listen((const struct sockaddr *)&name, length, wanted);
	return strcmp(bound, wanted) == 0;
}

/* A Unix socket that nobody listens on any more, left behind by a crash, say, is in the way. */
static void
listener_remove_stale(const struct sockaddr_un *sun, socklen_t length)
{
	struct stat st;
	int fd;

	if (sun->sun_path[0] == '\0' || lstat(sun->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)sun, length) < 0 && errno == ECONNREFUSED)
		(void)unlink(sun->sun_path);
	(void)close(fd);
}

/* Nobody can connect any more, whoever else has it open, and TCP lets others have its port: systemd
 * takes its time to close what is taken out of its store. */
static void
listener_let_go(const struct notify_fd *passed)
{
	struct sockaddr_storage name;
	socklen_t length = 0;
	bool known = listener_check_fd(passed->fd, &name, &length) == 0;

	(void)shutdown(passed->fd, SHUT_RDWR);
	if (known && name.ss_family == AF_UNIX)
		listener_remove_stale((const struct sockaddr_un *)&name, length);
	notify_unstore(passed->name);
	(void)close(passed->fd);
}

/* A socket that the process before this one bound. One that the configuration has no more, or has
 * at another address, or whose path is gone, is let go, and *ret_let_go says so. */
static int
listener_adopt_kept(struct listener_set *set, const struct conf *conf, struct notify_fd *passed,
	bool *ret_let_go)
{
	const char *name = passed->name + strlen(LISTENER_KEPT_PREFIX);
	const struct conf_listener *listener = conf_find_listener(conf, name);
	struct listener_own *own = listener_find_own(set, name);
	char address[ADDR_LISTEN_TEXT_MAX];
	struct sockaddr_storage sa;
	socklen_t length = 0;

	if (own) {
		bool admin = own == &set->admin;

		snprintf(address, sizeof(address), "%s%s", admin ? "unix:" : "",
			admin ? conf->admin_socket : conf->metrics_address);
		if (own->fd < 0 && listener_is_bound_to(passed->fd, address)) {
			listener_own_set(own, passed->fd, address);
			return 0;
		}
	}
	if (listener && listener_is_bound_to(passed->fd, listener->address) &&
		listener_check_fd(passed->fd, &sa, &length) == 0)
		return listener_add(
			set, passed->fd, (unsigned)(listener - conf->listeners), true, &sa, length);
	listener_let_go(passed);
	*ret_let_go = true;
	return 0;
}

/* Who has changed the address in the file wonders why nobody listens there. */
static void
listener_say_unused(int fd, const struct conf_listener *listener)
{
	struct log_context about = {.listener = listener->name};

	if (listener->address[0] && !listener_is_bound_to(fd, listener->address))
		log_info(&about,
			"%s: systemd's socket listens at another address than %s, which is not used",
			listener->name, listener->address);
}

static int
listener_adopt(struct listener_set *set, const struct conf *conf, const struct notify_fd *passed,
	struct mg_error *reterr_error)
{
	const struct conf_listener *listener = conf_find_listener(conf, passed->name);
	struct listener_own *own = listener_find_own(set, passed->name);
	struct sockaddr_storage name;
	socklen_t length = 0;
	int r;

	if (!own && !listener)
		return mg_error_set(reterr_error, -ENOENT,
			"systemd passed a socket named \"%s\" (FileDescriptorName=), and the "
			"configuration has no listener of this name",
			passed->name);
	r = listener_check_fd(passed->fd, &name, &length);
	if (r < 0)
		return mg_error_set(reterr_error, r,
			"the descriptor %d that systemd passed as \"%s\" is not a listening stream "
			"socket (TCP or Unix): %s",
			passed->fd, passed->name, strerror(-r));
	if (!own) {
		listener_say_unused(passed->fd, listener);
		return listener_add(set, passed->fd, (unsigned)(listener - conf->listeners), false,
			&name, length);
	}
	if (own->fd >= 0)
		return mg_error_set(reterr_error, -EEXIST,
			"systemd passed more than one socket named \"%s\"", passed->name);
	own->fd = passed->fd;
	return 0;
}

/* Is there something else in the way? That will not go by itself. */
static bool
listener_is_no_socket(const struct sockaddr_storage *sa)
{
	const struct sockaddr_un *sun = (const struct sockaddr_un *)sa;
	int error = errno;
	struct stat st;
	bool other = error == EADDRINUSE && sa->ss_family == AF_UNIX && sun->sun_path[0] &&
		     lstat(sun->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode);

	errno = error;
	return other;
}

/* A bound, listening socket, or -errno. */
static int
listener_bind(const struct sockaddr_storage *sa, socklen_t length, uint64_t backlog, uint64_t mode)
{
	const struct sockaddr_un *sun = (const struct sockaddr_un *)sa;
	int one = 1, zero = 0, fd, r;

	fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sa->ss_family == AF_UNIX)
		listener_remove_stale(sun, length);
	else
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* [::] serves IPv4 too, whatever net.ipv6.bindv6only says. */
	if (sa->ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	/* The path gets its permissions before anybody can connect: at listen. */
	if (bind(fd, (const struct sockaddr *)sa, length) < 0 ||
		(sa->ss_family == AF_UNIX && sun->sun_path[0] &&
			chmod(sun->sun_path, (mode_t)mode) < 0) ||
		listen(fd, (int)backlog) < 0) {
		r = listener_is_no_socket(sa) ? -EEXIST : -errno;
		(void)close(fd);
		return r;
	}
	return fd;
}

int
listener_address(const struct conf_listener *listener, struct sockaddr_storage *ret_sa,
	socklen_t *ret_length, struct mg_error *reterr_error)
{
	if (!listener->address[0])
		return mg_error_set(reterr_error, -EDESTADDRREQ,
			"listener \"%s\" has no address, and systemd passed no socket of this name",
			listener->name);
	return addr_parse_listen(listener->address, ret_sa, ret_length, reterr_error);
}

static int
listener_bind_conf(struct listener_set *set, const struct conf *conf, unsigned index,
	struct mg_error *reterr_error)
{
	const struct conf_listener *listener = &conf->listeners[index];
	struct sockaddr_storage sa;
	socklen_t length;
	int r = listener_address(listener, &sa, &length, reterr_error), fd;

	if (r < 0)
		return r;
	fd = listener_bind(&sa, length, listener->backlog, listener->mode);
	if (fd < 0)
		return mg_error_set(reterr_error, fd, "listener \"%s\": cannot listen on %s: %s",
			listener->name, listener->address, strerror(-fd));
	r = listener_add(set, fd, index, true, &sa, length);
	if (r < 0)
		(void)close(fd);
	return r;
}

/* `key` is that of the configuration, `value` what it says. */
static int
listener_bind_own(struct listener_own *own, const char *key, const char *value,
	const struct sockaddr_storage *sa, socklen_t length, uint64_t mode,
	struct mg_error *reterr_error)
{
	int fd = listener_bind(sa, length, LISTENER_OWN_BACKLOG, mode);
	char address[ADDR_LISTEN_TEXT_MAX];

	if (fd < 0)
		return mg_error_set(
			reterr_error, fd, "%s: cannot listen on %s: %s", key, value, strerror(-fd));
	addr_format_listen((const struct sockaddr *)sa, length, address);
	listener_own_set(own, fd, address);
	return 0;
}

static int
listener_bind_admin(
	struct listener_set *set, const struct conf *conf, struct mg_error *reterr_error)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_un *sun = (struct sockaddr_un *)&storage;

	sun->sun_family = AF_UNIX;
	snprintf(sun->sun_path, sizeof(sun->sun_path), "%s", conf->admin_socket);
	return listener_bind_own(&set->admin, "admin.socket", conf->admin_socket, &storage,
		sizeof(*sun), conf->admin_mode, reterr_error);
}

static int
listener_bind_metrics(
	struct listener_set *set, const struct conf *conf, struct mg_error *reterr_error)
{
	struct sockaddr_storage sa;
	socklen_t length;
	int r = addr_parse_listen(conf->metrics_address, &sa, &length, reterr_error);

	if (r < 0)
		return r;
	return listener_bind_own(&set->metrics, "metrics.address", conf->metrics_address, &sa,
		length, conf->metrics_mode, reterr_error);
}

static bool
listener_has_socket(const struct listener_set *set, unsigned listener)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->sockets[i].listener == listener)
			return true;
	return false;
}

static int
listener_adopt_each(const struct conf *conf, struct notify_fd *passed, int n_passed,
	struct listener_set *set, struct mg_error *reterr_error)
{
	bool let_go = false;
	int r = 0;

	for (int i = 0; i < n_passed && r == 0; i++) {
		bool kept = strncmp(passed[i].name, LISTENER_KEPT_PREFIX,
				    strlen(LISTENER_KEPT_PREFIX)) == 0;

		r = kept ? listener_adopt_kept(set, conf, &passed[i], &let_go)
			 : listener_adopt(set, conf, &passed[i], reterr_error);
	}
	if (r < 0 || !let_go)
		return r;
	/* Until systemd has closed it as well, its address is in use. */
	if (notify_barrier(LISTENER_BARRIER_USEC) < 0)
		log_warning(NULL, "systemd does not let go of listening sockets");
	return 0;
}

static int
listener_open_each(const struct conf *conf, struct notify_fd *passed, int n_passed,
	struct listener_set *set, struct mg_error *reterr_error)
{
	int r = listener_adopt_each(conf, passed, n_passed, set, reterr_error);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < conf->n_listeners; i++) {
		if (listener_has_socket(set, i))
			continue;
		r = listener_bind_conf(set, conf, i, reterr_error);
		if (r < 0)
			return r;
	}
	if (set->admin.fd < 0 && conf->admin_socket[0])
		r = listener_bind_admin(set, conf, reterr_error);
	if (r == 0 && set->metrics.fd < 0 && conf->metrics_address[0])
		r = listener_bind_metrics(set, conf, reterr_error);
	return r;
}

int
listener_open_all(const struct conf *conf, struct notify_fd *passed, int n_passed,
	struct listener_set *ret_set, struct mg_error *reterr_error)
{
	struct listener_set set = LISTENER_SET_EMPTY;
	int r;

	/* systemd has what was kept so far, also after a start that fails: for the next one. */
	set.kept = notify_has_store();
	r = listener_open_each(conf, passed, n_passed, &set, reterr_error);
	if (r < 0) {
		if (r == -ENOMEM)
			mg_error_set(reterr_error, r, "out of memory");
		listener_close_all(&set);
		return r;
	}
	listener_set_options(&set, conf);
	*ret_set = set;
	return 0;
}

int
listener_each(const struct listener_set *set, const struct conf *conf,
	int (*visit)(void *context, const char *name, int fd, bool bound), void *context)
{
	const struct listener_own *own[] = {&set->admin, &set->metrics};
	static const char *const own_names[] = {CONF_ADMIN_NAME, CONF_METRICS_NAME};
	char name[LISTENER_KEPT_NAME_MAX];
	int r = 0;

	for (size_t i = 0; i < set->n && r == 0; i++) {
		const struct listener_socket *item = &set->sockets[i];

		snprintf(name, sizeof(name), "%s%s", item->bound ? LISTENER_KEPT_PREFIX : "",
			conf->listeners[item->listener].name);
		r = visit(context, name, item->fd, item->bound);
	}
	for (size_t i = 0; i < 2 && r == 0; i++) {
		snprintf(name, sizeof(name), "%s%s", own[i]->bound ? LISTENER_KEPT_PREFIX : "",
			own_names[i]);
		if (own[i]->fd >= 0)
			r = visit(context, name, own[i]->fd, own[i]->bound);
	}
	return r;
}

static int
listener_store_one(void *context, const char *name, int fd, bool bound)
{
	(void)context;
	return bound ? notify_store(name, fd) : 0;
}

void
listener_store(struct listener_set *set, const struct conf *conf)
{
	int r = listener_each(set, conf, listener_store_one, NULL);

	set->kept = true;
	if (r < 0)
		log_warning(NULL, "systemd does not keep the listening sockets: %s", strerror(-r));
}

static void
listener_close_own(const struct listener_own *own, bool kept)
{
	if (own->fd >= 0)
		(void)close(own->fd);
	if (own->path[0] && !kept)
		(void)unlink(own->path);
}

void
listener_close_all(struct listener_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct listener_socket *item = &set->sockets[i];

		(void)close(item->fd);
		if (item->bound && !set->kept && strncmp(item->address, "unix:/", 6) == 0)
			(void)unlink(item->address + 5);
	}
	free(set->sockets);
	listener_close_own(&set->admin, set->kept);
	listener_close_own(&set->metrics, set->kept);
	*set = LISTENER_SET_EMPTY;
}

void
listener_set_options(const struct listener_set *set, const struct conf *conf)
{
	int one = 1;

	for (size_t i = 0; i < set->n; i++) {
		const struct listener_socket *item = &set->sockets[i];

		if (!item->tcp)
			continue;
		/* Linux hands TCP_NODELAY and the keepalive settings on to accepted sockets: set
		 * here once, they cost no system call for each connection. */
		(void)setsockopt(item->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		keepalive_set(item->fd, conf->listeners[item->listener].keepalive);
	}
}
