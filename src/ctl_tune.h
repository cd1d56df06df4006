/*
 * ctl_tune: what the machine lacks, as the gateway sees it, and setting the kernel's part of it.
 *
 * Process: millgatectl. It writes below /proc/sys with --apply alone, and only what tune_print
 * takes for a setting.
 */
#ifndef MILLGATE_CTL_TUNE_H
#define MILLGATE_CTL_TUNE_H

#include "ctl.h"

enum ctl_exit ctl_tune_run(const struct ctl *ctl);

#endif
