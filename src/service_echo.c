/* service_echo: see service_echo.h. */
#include "service_echo.h"

/* A client that does not read is not read from either, until it has taken what waits for it: the
 * queue never holds more than one read. */
static void
service_echo_input(struct conns *conns, struct conn *conn, const void *data, size_t length)
{
	if (conn_send(conns, conn, data, length) == 0 && conn->out)
		conn_pause(conns, conn);
}

static void
service_echo_drained(struct conns *conns, struct conn *conn)
{
	conn_resume(conns, conn);
}

static void
service_echo_eof(struct conns *conns, struct conn *conn)
{
	conn_close_flushed(conns, conn, CLOSE_CLIENT_CLOSED);
}

const struct service_ops SERVICE_ECHO = {
	.name = "echo",
	.input = service_echo_input,
	.eof = service_echo_eof,
	.drained = service_echo_drained,
};
