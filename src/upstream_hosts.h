/*
 * upstream_hosts: looks up a name in /etc/hosts, hosts(5).
 *
 * Process: S. Pure but for reading the file, anew each time.
 */
#ifndef MILLGATE_UPSTREAM_HOSTS_H
#define MILLGATE_UPSTREAM_HOSTS_H

#include <stddef.h>

#include "addr.h"

/* Writes up to `max` addresses, with port 0, in the order of the file; how many. 0 too when there
 * is no such file. The case of letters and a dot at the end of `host` do not matter. */
size_t upstream_hosts_find(const char *path, const char *host, struct addr *ret_addrs, size_t max);

#endif
