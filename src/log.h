/*
 * log: messages for the operator.
 *
 * Process: both. To the journal with fields when systemd connected stderr to it (JOURNAL_STREAM,
 * systemd.exec(5)), to stderr otherwise. One line per event that an operator acts on; what a
 * client can provoke at will is rate-limited by the caller with a struct log_limit, and text that
 * came from outside goes through log_escape().
 */
#ifndef MILLGATE_LOG_H
#define MILLGATE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The order is that of the words of log_level in conf.def. */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* What a message is about; becomes MILLGATE_LISTENER= and so on. Leave out what does not apply:
 * NULL, and for the numbers 0 and a `worker` that is not `has_worker`. */
struct log_context {
	const char *listener;
	const char *peer;
	const char *reason;
	uint64_t connection;
	unsigned worker;
	bool has_worker;
};

/* Chooses the destination; `process` ("supervisor", "worker 3") stands in each line on stderr and
 * is borrowed for good. */
void log_open(const char *process);
/* The same in a forked child that has closed what it inherited: libsystemd keeps its socket to the
 * journal in a variable, where by now it may name a client's connection. So the child's lines go
 * through stderr, with their priority in front, sd-daemon(3), and without fields. */
void log_open_forked(const char *process);
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

void log_write(enum log_level level, const struct log_context *context, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_at(level, ...)                             \
	do {                                           \
		if (log_wants(level))                  \
			log_write(level, __VA_ARGS__); \
	} while (0)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* At most LOG_LIMIT_BURST messages of a kind in LOG_LIMIT_USEC; zeroed memory is a fresh one. */
#define LOG_LIMIT_BURST 5
#define LOG_LIMIT_USEC 10000000u

struct log_limit {
	uint64_t window_start_usec;
	unsigned n;
	unsigned n_dropped;
};

/* May this one be logged? When it may, *ret_dropped is how many were not since the last. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_usec, unsigned *ret_dropped);

/* Copies text from outside, with everything but printable ASCII as \xNN, cut to `size` - 1 bytes.
 * Returns buf. */
const char *log_escape(const char *text, char *buf, size_t size);

#endif
