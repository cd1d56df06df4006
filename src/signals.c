/* signals: see signals.h. */
#include "signals.h"

#include <errno.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

void
signals_block(void)
{
	static const int known[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		sigaddset(&set, known[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

static void
signals_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct signals *signals = arg;
	struct signalfd_siginfo info;

	(void)what;
	while (signals->fd >= 0 && read(fd, &info, sizeof(info)) == sizeof(info))
		signals->caught(signals->context, (int)info.ssi_signo);
}

int
signals_init(struct signals *signals, struct event_base *base, const int *list,
	void (*caught)(void *context, int signal), void *context)
{
	sigset_t set;

	*signals = (struct signals){.fd = -1, .caught = caught, .context = context};
	sigemptyset(&set);
	for (; *list; list++)
		sigaddset(&set, *list);
	signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals->fd < 0)
		return -errno;
	signals->event =
		event_new(base, signals->fd, EV_READ | EV_PERSIST, signals_on_readable, signals);
	if (!signals->event || event_add(signals->event, NULL) < 0) {
		signals_done(signals);
		return -ENOMEM;
	}
	return 0;
}

void
signals_done(struct signals *signals)
{
	if (signals->event)
		event_free(signals->event);
	if (signals->event || signals->fd > 0)
		(void)close(signals->fd);
	*signals = (struct signals){.fd = -1};
}
