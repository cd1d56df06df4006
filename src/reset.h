/*
 * reset: a connection that ends by a reset, and not as if all had been said.
 *
 * Process: both.
 */
#ifndef MILLGATE_RESET_H
#define MILLGATE_RESET_H

/* When this socket is closed its peer gets a RST, and what is still under way is dropped (socket(7),
 * SO_LINGER with 0 seconds). A Unix socket has no such end: it closes as ever. */
void reset_on_close(int fd);

#endif
