/*
 * ctl_verbs: the verbs that ask one thing and print it. Process: millgatectl.
 */
#ifndef MILLGATE_CTL_VERBS_H
#define MILLGATE_CTL_VERBS_H

#include "ctl.h"

enum ctl_exit ctl_verb_health(const struct ctl *ctl);
enum ctl_exit ctl_verb_stats(const struct ctl *ctl);
enum ctl_exit ctl_verb_metrics(const struct ctl *ctl);
enum ctl_exit ctl_verb_show(const struct ctl *ctl);
enum ctl_exit ctl_verb_sources(const struct ctl *ctl);
enum ctl_exit ctl_verb_upstreams(const struct ctl *ctl);
enum ctl_exit ctl_verb_upstream(const struct ctl *ctl);
enum ctl_exit ctl_verb_kill(const struct ctl *ctl);
enum ctl_exit ctl_verb_drain(const struct ctl *ctl);
enum ctl_exit ctl_verb_resume(const struct ctl *ctl);
enum ctl_exit ctl_verb_upgrade(const struct ctl *ctl);
enum ctl_exit ctl_verb_reload(const struct ctl *ctl);
enum ctl_exit ctl_verb_config(const struct ctl *ctl);

#endif
