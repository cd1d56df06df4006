/* log: see log.h. */
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define LOG_TEXT_MAX 1024
#define LOG_FIELDS_MAX 8

enum log_destination {
	LOG_TO_STDERR,  /* a person or a file */
	LOG_TO_STREAM,  /* the journal, by way of stderr */
	LOG_TO_JOURNAL, /* the journal, with fields */
};

static struct {
	enum log_level level;
	enum log_destination destination;
	const char *process;
} log_state = {.level = LOG_LEVEL_INFO, .process = "millgated"};

static const struct {
	const char *name;
	int priority;
} LOG_LEVELS[] = {
	[LOG_LEVEL_ERROR] = {"error", LOG_ERR},
	[LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
	[LOG_LEVEL_INFO] = {"info", LOG_INFO},
	[LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

/* JOURNAL_STREAM is "device:inode" of the stream that systemd gave us; that stderr still is it
 * tells that nobody redirected it since. */
static bool
log_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, ours) == 0;
}

void
log_open(const char *process)
{
	log_state.process = process;
	log_state.destination = log_stderr_is_journal() ? LOG_TO_JOURNAL : LOG_TO_STDERR;
}

void
log_open_forked(const char *process)
{
	log_state.process = process;
	log_state.destination = log_stderr_is_journal() ? LOG_TO_STREAM : LOG_TO_STDERR;
}

void
log_set_level(enum log_level level)
{
	log_state.level = level;
}

bool
log_wants(enum log_level level)
{
	return level <= log_state.level;
}

struct log_fields {
	struct iovec vectors[LOG_FIELDS_MAX];
	char text[LOG_FIELDS_MAX][LOG_TEXT_MAX + 32];
	int n;
};

static void __attribute__((format(printf, 2, 3)))
log_field_add(struct log_fields *fields, const char *format, ...)
{
	char *text = fields->text[fields->n];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(fields->text[0]), format, args);
	va_end(args);
	fields->vectors[fields->n++] = (struct iovec){text, strlen(text)};
}

static void
log_write_journal(enum log_level level, const struct log_context *context, const char *text)
{
	struct log_fields fields = {.n = 0};

	log_field_add(&fields, "MESSAGE=%s", text);
	log_field_add(&fields, "PRIORITY=%d", LOG_LEVELS[level].priority);
	log_field_add(&fields, "SYSLOG_IDENTIFIER=millgated");
	if (context && context->listener)
		log_field_add(&fields, "MILLGATE_LISTENER=%s", context->listener);
	if (context && context->peer)
		log_field_add(&fields, "MILLGATE_PEER=%s", context->peer);
	if (context && context->reason)
		log_field_add(&fields, "MILLGATE_REASON=%s", context->reason);
	if (context && context->connection)
		log_field_add(&fields, "MILLGATE_CONNECTION=%" PRIu64, context->connection);
	if (context && context->has_worker)
		log_field_add(&fields, "MILLGATE_WORKER=%u", context->worker);
	(void)sd_journal_sendv(fields.vectors, fields.n);
}

/* One write: lines of several processes must not mix. A log that nobody reads is no reason to
 * stop. */
static void
log_write_line(const char *line, int length)
{
	if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
		return;
}

static void
log_write_stderr(enum log_level level, const char *text)
{
	char line[LOG_TEXT_MAX + 128], when[32];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	log_write_line(line,
		snprintf(line, sizeof(line), "%s.%03ldZ %s %s: %s\n", when, now.tv_nsec / 1000000,
			LOG_LEVELS[level].name, log_state.process, text));
}

static void
log_write_stream(enum log_level level, const char *text)
{
	char line[LOG_TEXT_MAX + 128];

	log_write_line(line, snprintf(line, sizeof(line), "<%d>%s: %s\n",
				     LOG_LEVELS[level].priority, log_state.process, text));
}

void
log_write(enum log_level level, const struct log_context *context, const char *format, ...)
{
	char text[LOG_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	switch (log_state.destination) {
	case LOG_TO_STDERR:
		log_write_stderr(level, text);
		break;
	case LOG_TO_STREAM:
		log_write_stream(level, text);
		break;
	case LOG_TO_JOURNAL:
		log_write_journal(level, context, text);
		break;
	}
}

bool
log_limit_pass(struct log_limit *limit, uint64_t now_usec, unsigned *ret_dropped)
{
	if (limit->window_start_usec == 0 ||
		now_usec - limit->window_start_usec >= LOG_LIMIT_USEC) {
		limit->window_start_usec = now_usec;
		limit->n = 0;
	}
	if (limit->n >= LOG_LIMIT_BURST) {
		limit->n_dropped++;
		return false;
	}
	limit->n++;
	*ret_dropped = limit->n_dropped;
	limit->n_dropped = 0;
	return true;
}

const char *
log_escape(const char *text, char *buf, size_t size)
{
	size_t at = 0;

	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;
		bool plain = byte >= 0x20 && byte < 0x7f && byte != '\\';

		if (at + (plain ? 1 : 4) >= size)
			break;
		if (plain)
			buf[at++] = (char)byte;
		else
			at += (size_t)snprintf(buf + at, size - at, "\\x%02x", byte);
	}
	buf[at] = '\0';
	return buf;
}
