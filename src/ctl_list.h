/*
 * ctl_list: connections, page by page, so that a million of them fits any machine.
 * Process: millgatectl.
 */
#ifndef MILLGATE_CTL_LIST_H
#define MILLGATE_CTL_LIST_H

#include "ctl.h"

enum ctl_exit ctl_list_run(const struct ctl *ctl);

#endif
