/* ctl_http: see ctl_http.h. The parser is in ctl_http_parser.c. */
#include "ctl_http.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

#define CONNECT_RETRY_MSEC 20
#define READ_BYTES (64 * 1024)

struct exchange {
	const struct ctl_http_server *server;
	uint64_t deadline_usec;
	int fd;
	struct mg_error *reterr_error;
};

static int
exchange_fail(const struct exchange *exchange, int error)
{
	return mg_error_set(exchange->reterr_error, error, "%s", strerror(-error));
}

/* Waits for the socket, or for at most `max_msec` when fd is -1. */
static int
exchange_wait(const struct exchange *exchange, int fd, short events, int max_msec)
{
	struct pollfd fds[] = {{.fd = fd, .events = events},
		{.fd = exchange->server->cancel_fd, .events = POLLIN}};
	uint64_t now = clock_now_usec();
	uint64_t msec;

	if (now >= exchange->deadline_usec)
		return mg_error_set(exchange->reterr_error, -ETIMEDOUT, "no answer within %g s",
			(double)exchange->server->timeout_usec / 1e6);
	msec = (exchange->deadline_usec - now + 999) / 1000;
	if (max_msec >= 0 && msec > (uint64_t)max_msec)
		msec = (uint64_t)max_msec;
	if (poll(fds, 2, msec > 60000 ? 60000 : (int)msec) < 0 && errno != EINTR)
		return exchange_fail(exchange, -errno);
	if (fds[1].revents)
		return exchange_fail(exchange, -ECANCELED);
	return 0;
}

/* A full backlog is EAGAIN on a Unix socket, and poll() does not tell when it clears. */
static int
exchange_connect(const struct exchange *exchange)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int r;

	if (strlen(exchange->server->socket_path) >= sizeof(sa.sun_path))
		return mg_error_set(exchange->reterr_error, -ENAMETOOLONG,
			"a socket's path has at most %zu bytes", sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, exchange->server->socket_path, strlen(exchange->server->socket_path));
	while (connect(exchange->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return exchange_fail(exchange, -errno);
		r = exchange_wait(exchange, -1, 0, CONNECT_RETRY_MSEC);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A server that hangs up while we still send may have answered already: that is no error here. */
static int
exchange_send(const struct exchange *exchange, const char *data, size_t length)
{
	ssize_t n;
	int r;

	while (length > 0) {
		n = send(exchange->fd, data, length, MSG_NOSIGNAL);
		if (n >= 0) {
			data += n;
			length -= (size_t)n;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return 0;
		} else if (errno == EAGAIN) {
			r = exchange_wait(exchange, exchange->fd, POLLOUT, -1);
			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return exchange_fail(exchange, -errno);
		}
	}
	return 0;
}

static int
exchange_receive(const struct exchange *exchange, struct ctl_http_parser *parser)
{
	char buffer[READ_BYTES];
	bool any = false;
	ssize_t n;
	int r;

	for (;;) {
		r = exchange_wait(exchange, exchange->fd, POLLIN, -1);
		if (r < 0)
			return r;
		n = recv(exchange->fd, buffer, sizeof(buffer), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0 && errno != ECONNRESET)
			return exchange_fail(exchange, -errno);
		if (n <= 0 && !any)
			return mg_error_set(exchange->reterr_error, -ECONNRESET,
				"it hung up without an answer");
		if (n <= 0)
			return ctl_http_parser_finish(parser, exchange->reterr_error);
		any = true;
		r = ctl_http_parser_feed(parser, buffer, (size_t)n, exchange->reterr_error);
		if (r != 0)
			return r;
	}
}

/* The request as bytes, to be freed; NULL: no memory. */
static char *
format_request(const struct ctl_http_request *request)
{
	char *text = NULL;
	int r;

	if (strcmp(request->method, "POST") != 0)
		r = asprintf(&text, "%s %s HTTP/1.1\r\nHost: millgate\r\nConnection: close\r\n\r\n",
			request->method, request->target);
	else
		r = asprintf(&text,
			"POST %s HTTP/1.1\r\nHost: millgate\r\nConnection: close\r\n"
			"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			request->target, request->body ? strlen(request->body) : 0,
			request->body ? request->body : "");
	return r < 0 ? NULL : text;
}

static int
exchange_run(const struct exchange *exchange, const struct ctl_http_request *request,
	struct ctl_http_parser *parser)
{
	char *text;
	int r = exchange_connect(exchange);

	if (r < 0)
		return r;
	text = format_request(request);
	if (!text)
		return exchange_fail(exchange, -ENOMEM);
	r = exchange_send(exchange, text, strlen(text));
	free(text);
	return r < 0 ? r : exchange_receive(exchange, parser);
}

int
ctl_http_exchange(const struct ctl_http_server *server, const struct ctl_http_request *request,
	struct ctl_http_reply *ret_reply, struct mg_error *reterr_error)
{
	struct exchange exchange = {.server = server, .reterr_error = reterr_error};
	struct ctl_http_parser parser;
	int r;

	exchange.deadline_usec = clock_now_usec() + server->timeout_usec;
	exchange.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (exchange.fd < 0)
		return exchange_fail(&exchange, -errno);
	ctl_http_parser_init(&parser, CTL_HTTP_BODY_MAX);
	r = exchange_run(&exchange, request, &parser);
	close(exchange.fd);
	if (r < 0) {
		ctl_http_parser_done(&parser);
		return r;
	}
	*ret_reply = parser.reply;
	return 0;
}
