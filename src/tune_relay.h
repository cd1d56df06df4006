/*
 * tune_relay: what relay listeners need of the machine beside what all need: connections to servers,
 * and ports for them.
 *
 * Process: both. Pure.
 */
#ifndef MILLGATE_TUNE_RELAY_H
#define MILLGATE_TUNE_RELAY_H

#include "conf.h"
#include "tune.h"

/* Sets the given numbers of sysctl.def that are about relay. */
void tune_relay_give(const struct conf *conf, struct tune_needs *needs);

/* How many ports an outgoing connection can be given. False: it is not known. */
bool tune_relay_count_ports(
	const struct conf *conf, const struct tune_facts *facts, uint64_t *ret_ports);

/* Widens the range of ports to so many, if that is possible: upward first, since the ports of
 * services are below. `why` is a sentence, for who reads the setting. */
void tune_relay_widen_ports(struct tune_report *report, const struct conf *conf,
	const struct tune_facts *facts, uint64_t wanted, const char *why);

#endif
