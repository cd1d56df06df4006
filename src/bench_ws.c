/* bench_ws: see bench_ws.h. */
#include "bench_ws.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bench_client.h"
#include "bench_connect.h"
#include "ws_handshake.h"

#define KEY \
	"bWlsbGdhdGUtYmVuY2ghIQ==" /* it is to be random for the sake of proxies, and there is none */
#define MESSAGE_MAX (UINT64_C(1) << 40)
#define ANSWER_MAX 4096

struct bench_ws {
	char request[2048];
	size_t request_length;
	char accept[WS_ACCEPT_LENGTH + 1];
	struct ws_reader **readers; /* by connection; NULL: between messages */
};

static const uint8_t NO_MASK[WS_MASK_BYTES];

int
bench_ws_init(struct bench_client *client)
{
	const struct bench_options *options = client->options;
	struct bench_ws *ws;

	if (options->protocol != BENCH_PROTOCOL_WEBSOCKET)
		return 0;
	ws = client->ws = calloc(1, sizeof(*ws));
	if (!ws)
		return -ENOMEM;
	ws->readers = calloc(client->n, sizeof(*ws->readers));
	if (!ws->readers)
		return -ENOMEM;
	ws->request_length = (size_t)snprintf(ws->request, sizeof(ws->request),
		"GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
		options->path, options->host);
	return ws_handshake_accept(KEY, ws->accept);
}

void
bench_ws_done(struct bench_client *client)
{
	if (!client->ws)
		return;
	for (uint32_t i = 0; client->ws->readers && i < client->n; i++)
		free(client->ws->readers[i]);
	free(client->ws->readers);
	free(client->ws);
	client->ws = NULL;
}

int
bench_ws_ask(struct bench_client *client, uint32_t index)
{
	const struct bench_ws *ws = client->ws;
	ssize_t n = send(client->conns[index].fd, ws->request, ws->request_length, MSG_NOSIGNAL);

	if (n < 0)
		return errno;
	/* A fresh socket has room for it. */
	return n == (ssize_t)ws->request_length ? 0 : ENOBUFS;
}

static bool
bench_ws_is_good(const struct bench_ws *ws, const char *answer, size_t length)
{
	static const char status[] = "HTTP/1.1 101 ";

	return length > sizeof(status) && memcmp(answer, status, sizeof(status) - 1) == 0 &&
	       memmem(answer, length, ws->accept, WS_ACCEPT_LENGTH);
}

/* What belongs to frames stays in the socket. */
int
bench_ws_hear(struct bench_client *client, uint32_t index)
{
	char answer[ANSWER_MAX];
	int fd = client->conns[index].fd;
	ssize_t n = recv(fd, answer, sizeof(answer), MSG_PEEK);
	const char *end;
	size_t length;

	if (n == 0)
		return ECONNRESET;
	if (n < 0)
		return errno == EINTR ? EAGAIN : errno;
	end = memmem(answer, (size_t)n, "\r\n\r\n", 4);
	if (!end)
		return n < (ssize_t)sizeof(answer) ? EAGAIN : EPROTO;
	length = (size_t)(end - answer) + 4;
	if (!bench_ws_is_good(client->ws, answer, length))
		return EPROTO;
	return recv(fd, answer, length, 0) == (ssize_t)length ? 0 : EPROTO;
}

size_t
bench_ws_head(uint64_t payload, uint8_t ret_head[static WS_HEAD_MAX])
{
	return ws_frame_put_head(ret_head, WS_BINARY, true, payload, NO_MASK);
}

/* A control frame is lost where there is no room for it: the server is not reading then. */
static void
bench_ws_answer(struct bench_client *client, uint32_t index, enum ws_opcode opcode,
	const void *payload, size_t length)
{
	uint8_t frame[WS_HEAD_MAX + WS_CONTROL_MAX];
	size_t head = ws_frame_put_head(frame, opcode, true, length, NO_MASK);

	memcpy(frame + head, payload, length);
	(void)send(client->conns[index].fd, frame, head + length, MSG_NOSIGNAL);
}

static void
bench_ws_on_event(struct bench_client *client, uint32_t index, const struct ws_event *event)
{
	uint8_t payload[WS_CONTROL_MAX];

	switch (event->type) {
	case WS_EVENT_DATA:
		if (client->work->received)
			client->work->received(client, index, event->data, event->length);
		break;
	case WS_EVENT_PING:
		bench_ws_answer(client, index, WS_PONG, event->data, event->length);
		break;
	case WS_EVENT_CLOSE:
		bench_ws_answer(
			client, index, WS_CLOSE, payload, ws_close_put(payload, event->code, ""));
		break;
	case WS_EVENT_ERROR:
		bench_connect_lost(client, index, EPROTO);
		break;
	case WS_EVENT_PONG:
	case WS_EVENT_MORE:
		break;
	}
}

/* Out of memory is a lost connection. */
static void
bench_ws_put_away(struct bench_client *client, uint32_t index, const struct ws_reader *reader)
{
	struct ws_reader **place = &client->ws->readers[index];

	if (ws_reader_is_idle(reader)) {
		bench_ws_forget(client, index);
		return;
	}
	if (!*place)
		*place = malloc(sizeof(**place));
	if (*place)
		**place = *reader;
	else
		bench_connect_lost(client, index, ENOMEM);
}

void
bench_ws_received(struct bench_client *client, uint32_t index, char *data, size_t length)
{
	static const struct ws_rules rules = {.message_max = MESSAGE_MAX, .masked = false};
	const struct bench_conn *conn = &client->conns[index];
	struct ws_reader reader = {0};
	struct ws_event event;

	if (client->ws->readers[index])
		reader = *client->ws->readers[index];
	do {
		size_t taken = ws_reader_next(&reader, &rules, (uint8_t *)data, length, &event);

		data += taken;
		length -= taken;
		bench_ws_on_event(client, index, &event);
		if (conn->state != BENCH_STATE_UP)
			return;
	} while (event.type != WS_EVENT_MORE);
	bench_ws_put_away(client, index, &reader);
}

void
bench_ws_forget(struct bench_client *client, uint32_t index)
{
	if (!client->ws)
		return;
	free(client->ws->readers[index]);
	client->ws->readers[index] = NULL;
}
