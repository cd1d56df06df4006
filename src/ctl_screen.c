/* ctl_screen: see ctl_screen.h. */
#include "ctl_screen.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"

#define ENTER "\033[?1049h\033[?25l\033[2J" /* alternate screen, no cursor, empty */
#define LEAVE "\033[0m\033[?25h\033[?1049l"

void
ctl_screen_init(struct ctl_screen *screen)
{
	memset(screen, 0, sizeof(*screen));
	screen->event_fd = screen->signal_fd = -1;
}

static void
screen_take(const struct ctl_screen *screen)
{
	struct termios raw = screen->old_termios;

	fputs(ENTER, stdout);
	fflush(stdout);
	if (!screen->keys)
		return;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_iflag &= ~(tcflag_t)IXON;
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void
screen_give_back(const struct ctl_screen *screen)
{
	fputs(LEAVE, stdout);
	fflush(stdout);
	if (screen->keys)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &screen->old_termios);
}

static int
screen_watch(struct ctl_screen *screen, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(screen->event_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int
screen_open_fds(struct ctl_screen *screen)
{
	static const int signals[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP, SIGCONT, SIGWINCH};
	sigset_t mask;
	size_t i;
	int r;

	sigemptyset(&mask);
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaddset(&mask, signals[i]);
	screen->event_fd = epoll_create1(EPOLL_CLOEXEC);
	screen->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
	if (screen->event_fd < 0 || screen->signal_fd < 0)
		return -errno;
	r = screen_watch(screen, screen->signal_fd);
	if (r == 0 && screen->keys)
		r = screen_watch(screen, STDIN_FILENO);
	if (r == 0 && sigprocmask(SIG_BLOCK, &mask, &screen->old_mask) < 0)
		r = -errno;
	return r;
}

static void
screen_close_fds(struct ctl_screen *screen)
{
	if (screen->event_fd >= 0)
		close(screen->event_fd);
	if (screen->signal_fd >= 0)
		close(screen->signal_fd);
	screen->event_fd = screen->signal_fd = -1;
}

int
ctl_screen_open(struct ctl_screen *screen)
{
	int r;

	screen->keys = tcgetattr(STDIN_FILENO, &screen->old_termios) == 0;
	r = screen_open_fds(screen);
	if (r < 0) {
		screen_close_fds(screen);
		return r;
	}
	screen->open = true;
	screen_take(screen);
	return 0;
}

void
ctl_screen_close(struct ctl_screen *screen)
{
	if (!screen->open)
		return;
	screen_give_back(screen);
	screen_close_fds(screen);
	(void)sigprocmask(SIG_SETMASK, &screen->old_mask, NULL);
	screen->open = false;
}

void
ctl_screen_leave(struct ctl_screen *screen)
{
	ctl_screen_close(screen);
	if (screen->signal != 0) {
		signal(screen->signal, SIG_DFL);
		raise(screen->signal);
	}
}

static enum ctl_screen_event
screen_on_signal(struct ctl_screen *screen)
{
	struct signalfd_siginfo info;

	if (read(screen->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return CTL_SCREEN_TIME;
	switch (info.ssi_signo) {
	case SIGWINCH:
		return CTL_SCREEN_REDRAW;
	case SIGTSTP:
		screen_give_back(screen);
		raise(SIGSTOP);
		return CTL_SCREEN_TIME; /* SIGCONT follows */
	case SIGCONT:
		screen_take(screen);
		return CTL_SCREEN_REDRAW;
	default:
		screen->signal = (int)info.ssi_signo;
		return CTL_SCREEN_QUIT;
	}
}

static enum ctl_screen_event
screen_on_keys(void)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CTL_SCREEN_TIME;
	/* It was readable: no byte means that the terminal has gone. */
	if (n <= 0 || memchr(keys, 'q', (size_t)n) || memchr(keys, 'Q', (size_t)n))
		return CTL_SCREEN_QUIT;
	return CTL_SCREEN_TIME;
}

enum ctl_screen_event
ctl_screen_wait(struct ctl_screen *screen, uint64_t until_usec)
{
	struct epoll_event event;
	struct pollfd fd = {.fd = screen->event_fd, .events = POLLIN};
	enum ctl_screen_event happened;
	uint64_t now;

	for (;;) {
		now = clock_now_usec();
		if (poll(&fd, 1, now >= until_usec ? 0 : (int)((until_usec - now + 999) / 1000)) <=
			0) {
			if (now >= until_usec)
				return CTL_SCREEN_TIME;
			continue;
		}
		if (epoll_wait(screen->event_fd, &event, 1, 0) != 1)
			continue;
		happened = event.data.fd == screen->signal_fd ? screen_on_signal(screen)
							      : screen_on_keys();
		if (happened != CTL_SCREEN_TIME)
			return happened;
	}
}
