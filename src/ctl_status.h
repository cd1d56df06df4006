/*
 * ctl_status: the answer to "is it well?", on one screen. Process: millgatectl.
 */
#ifndef MILLGATE_CTL_STATUS_H
#define MILLGATE_CTL_STATUS_H

#include "ctl.h"

enum ctl_exit ctl_status_run(const struct ctl *ctl);

#endif
