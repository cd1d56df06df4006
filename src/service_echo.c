/* service_echo: see service_echo.h. */
#include "service_echo.h"

/* A client that does not read is not read from either, until it has taken what waits for it: the
 * queue never holds more than one read. */
static void
service_echo_message(struct conns *conns, struct conn *conn, const struct conn_message *message)
{
	if (conn_send(conns, conn, message) == 0)
		conn_pause(conns, conn);
}

static void
service_echo_eof(struct conns *conns, struct conn *conn)
{
	conn_close_flushed(conns, conn, CLOSE_CLIENT_CLOSED);
}

const struct service_ops SERVICE_ECHO = {
	.name = "echo",
	.streams = true,
	.message = service_echo_message,
	.eof = service_echo_eof,
};
