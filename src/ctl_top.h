/*
 * ctl_top: what goes on, live. Process: millgatectl.
 */
#ifndef MILLGATE_CTL_TOP_H
#define MILLGATE_CTL_TOP_H

#include "ctl.h"

enum ctl_exit ctl_top_run(const struct ctl *ctl);

#endif
