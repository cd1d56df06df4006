/*
 * bench_ws: a client's side of WebSocket, for any workload.
 *
 * Process: bench client. Between the socket and the workload: it makes the handshake, hands on the
 * payload of messages, answers pings and close frames. A workload sends payload through
 * bench_ws_head(). Only a connection within a frame or a message has memory here.
 */
#ifndef MILLGATE_BENCH_WS_H
#define MILLGATE_BENCH_WS_H

#include <stddef.h>
#include <stdint.h>

#include "ws_frame.h"

struct bench_client;
struct bench_ws;

/* Makes client->ws, unless the protocol is another one. -ENOMEM; -EIO: there is no key. */
int bench_ws_init(struct bench_client *client);
void bench_ws_done(struct bench_client *client);

/* Sends the request of a connection that TCP has connected. Returns 0 or a positive errno. */
int bench_ws_ask(struct bench_client *client, uint32_t index);

/* Looks at the answer. Returns 0 when it is there and good, EAGAIN when it is not there yet, or
 * another positive errno: EPROTO if the server wants no WebSocket. */
int bench_ws_hear(struct bench_client *client, uint32_t index);

/* Bytes have come; they may be changed. May lose or drop the connection. */
void bench_ws_received(struct bench_client *client, uint32_t index, char *data, size_t length);

/* The connection has ended. */
void bench_ws_forget(struct bench_client *client, uint32_t index);

/*
 * The head of a message's only frame. The key of its mask is 0: so the payload goes out as it is,
 * from where it is, and the server has as much work with it as with any other. Returns its length.
 */
size_t bench_ws_head(uint64_t payload, uint8_t ret_head[static WS_HEAD_MAX]);

#endif
