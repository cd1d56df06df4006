/*
 * precedence: the workers come first where CPUs are short.
 *
 * Process: both. What is connected goes before what connects: a supervisor that yields does not
 * interrupt a process at work when something comes for it; it waits until a CPU is free, or for its
 * share of time (SCHED_BATCH in sched(7)). So it is woken less often and accepts more at a time, and
 * neither has a smaller share of the CPUs. Where one is idle, nothing changes.
 */
#ifndef MILLGATE_PRECEDENCE_H
#define MILLGATE_PRECEDENCE_H

/* From now on this process yields. Does nothing if it has been started under another policy than the
 * usual one (CPUSchedulingPolicy= in systemd.exec(5)), or may not change it. */
void precedence_yield(void);

/* Undoes it, here or in a forked process: a child has the policy of its parent, and so has a program
 * that the process becomes. */
void precedence_restore(void);

#endif
