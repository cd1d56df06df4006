/*
 * tune_listener: what tune says of single listeners: backlog, keepalive, port.
 *
 * Process: both. Pure.
 */
#ifndef MILLGATE_TUNE_LISTENER_H
#define MILLGATE_TUNE_LISTENER_H

#include "conf.h"
#include "tune.h"

/* One without an address gets its socket from systemd, and is taken to be of TCP. */
bool tune_listener_is_tcp(const struct conf_listener *listener);

/* How many connections the listener lets in. */
uint64_t tune_listener_connections(const struct conf *conf, const struct conf_listener *listener);

/* The port of a TCP address; 0 if there is none. */
unsigned tune_listener_port(const struct conf_listener *listener);

/* Takes the first off a list of ports such as "80,7000-7100". False: there is no more. */
struct tune_port_span {
	unsigned long first, last;
};
bool tune_listener_next_ports(const char **list, struct tune_port_span *ret_span);

/* Its backlog, and whether clients that vanished are noticed. */
void tune_listener_check(
	struct tune_report *report, const struct conf *conf, const struct conf_listener *listener);

/* Ports of listeners that an outgoing connection may be given, now or with the range of ports that the
 * report sets. */
void tune_listener_check_ports(
	struct tune_report *report, const struct conf *conf, const struct tune_facts *facts);

#endif
