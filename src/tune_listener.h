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

/* Its backlog, and whether clients that vanished are noticed. */
void tune_listener_check(
	struct tune_report *report, const struct conf *conf, const struct conf_listener *listener);

/* Ports of listeners that an outgoing connection may be given. */
void tune_listener_check_ports(
	struct tune_report *report, const struct conf *conf, const struct tune_facts *facts);

#endif
