/*
 * ctl_screen: a terminal taken over for a live display, and given back whatever happens.
 *
 * Process: millgatectl. While it is open, signals that would end or stop the program are read
 * from a descriptor, so that nothing ends with the terminal still taken.
 */
#ifndef MILLGATE_CTL_SCREEN_H
#define MILLGATE_CTL_SCREEN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "error.h"

enum ctl_screen_event {
	CTL_SCREEN_TIME, /* the time to wait has passed */
	CTL_SCREEN_REDRAW,
	CTL_SCREEN_QUIT,
};

struct ctl_screen {
	bool open, keys;
	int event_fd; /* readable when there is a key or a signal; -1: none */
	int signal_fd;
	int signal; /* that asked to quit; 0: a key did */
	sigset_t old_mask;
	struct termios old_termios;
};

/* A screen that is not open: it only waits. */
void ctl_screen_init(struct ctl_screen *screen);

/* Takes the terminal at stdout, and its keys if stdin is a terminal too. -errno. */
int ctl_screen_open(struct ctl_screen *screen) MG_MUST_CHECK;

/* Gives it back. Not open is allowed. */
void ctl_screen_close(struct ctl_screen *screen);

/* Closes, and dies of the signal that asked to quit, if one did. */
void ctl_screen_leave(struct ctl_screen *screen);

/* Waits until the time (clock_now_usec()) or something to do. */
enum ctl_screen_event ctl_screen_wait(struct ctl_screen *screen, uint64_t until_usec);

#endif
