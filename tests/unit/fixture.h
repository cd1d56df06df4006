/*
 * fixture: what several unit tests need. Static functions only; nothing to link.
 */
#ifndef MILLGATE_TESTS_FIXTURE_H
#define MILLGATE_TESTS_FIXTURE_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "addr.h"

/* An IPv4 or IPv6 address, read by libc and not by what is tested. */
static inline struct addr
make_addr(const char *text)
{
	struct addr addr = {.port = 7000};

	if (inet_pton(AF_INET, text, addr.bytes) == 1)
		addr.family = ADDR_IPV4;
	else if (inet_pton(AF_INET6, text, addr.bytes) == 1)
		addr.family = ADDR_IPV6;
	else
		fail_msg("not an address: %s", text);
	return addr;
}

/* The same numbers in every run. */
static inline uint32_t
next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Does the function fail an assertion of ours? It runs in a child, which must make its own tables:
 * lazy memory is not inherited. */
static inline void
assert_aborts(void (*function)(void))
{
	const struct rlimit no_core = {0, 0};
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		function();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

#endif
