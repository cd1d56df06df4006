/*
 * bench_connect: how connections of a client process come up and go down.
 *
 * Process: bench client. These functions alone change a connection's state.
 */
#ifndef MILLGATE_BENCH_CONNECT_H
#define MILLGATE_BENCH_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

struct bench_client;

/* Puts a connection that is not up into the queue. */
void bench_connect_queue(struct bench_client *client, uint32_t index);

/* Starts the connects that are due, a batch at most. Returns when it wants to be called again;
 * BENCH_NEVER if only an event or a timer can give it something to do. */
uint64_t bench_connect_turn(struct bench_client *client);

/* What epoll said of a connection that is CONNECTING or SHAKING. */
void bench_connect_event(struct bench_client *client, uint32_t index, uint32_t events);

/* The timer of a connection: its connect took too long, or its wait is over. */
void bench_connect_timer(struct bench_client *client, uint32_t index);

/* A connection that is UP has ended, not by us. `error`: 0 for an end of file, or an errno. */
void bench_connect_lost(struct bench_client *client, uint32_t index, int error);

/* Closes a connection that is UP; `come_back`: it is to be connected again, now. */
void bench_connect_drop(struct bench_client *client, uint32_t index, bool come_back);

/* Has every connection that was asked for come up or failed? */
bool bench_connect_is_idle(const struct bench_client *client);

/* Closes everything, whatever its state. */
void bench_connect_close_all(struct bench_client *client);

/* The pending error of a socket, a positive errno; 0: none. */
int bench_connect_socket_error(int fd);

#endif
