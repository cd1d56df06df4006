/*
 * conf: the configuration file.
 *
 * Process: both. Pure but for conf_load(), which reads one file. Every key is a row of conf.def;
 * fields, defaults, checks, printing, schema and help all come from there. Durations are kept in
 * microseconds, sizes in bytes; 0 means "off" or "no limit" where a row says so.
 */
#ifndef MILLGATE_CONF_H
#define MILLGATE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "addr.h"
#include "error.h"
#include "reference.h"
#include "sysctl.h"

#define CONF_LISTENERS_MAX 64
#define CONF_NAME_MAX 63 /* bytes in a listener's name; [A-Za-z0-9_.-], systemd allows more */
/* No listener's: under systemd these are the names of the gateway's own sockets. */
#define CONF_ADMIN_NAME "admin"
#define CONF_METRICS_NAME "metrics"

/* Values of the keys that are words. The order is that of the words in conf.def. */
enum conf_service {
	CONF_SERVICE_HOLD,
	CONF_SERVICE_ECHO,
	CONF_SERVICE_RELAY
};
enum conf_protocol {
	CONF_PROTOCOL_RAW,
	CONF_PROTOCOL_WEBSOCKET
};
enum conf_framing {
	CONF_FRAMING_NONE,
	CONF_FRAMING_LINE,
	CONF_FRAMING_LENGTH32
};
enum conf_upstream_balance {
	CONF_BALANCE_LEAST_CONNECTIONS,
	CONF_BALANCE_ROUND_ROBIN,
	CONF_BALANCE_SOURCE
};
enum conf_send_proxy {
	CONF_SEND_PROXY_OFF,
	CONF_SEND_PROXY_V1,
	CONF_SEND_PROXY_V2
};
/* upstream.when_down is one of these too. */
enum conf_when_full {
	CONF_WHEN_FULL_REFUSE,
	CONF_WHEN_FULL_WAIT
};
enum conf_log_level {
	CONF_LOG_ERROR,
	CONF_LOG_WARNING,
	CONF_LOG_INFO,
	CONF_LOG_DEBUG
};

enum conf_sysctl_mode {
	CONF_SYSCTL_OFF,
	CONF_SYSCTL_WARN,
	CONF_SYSCTL_REQUIRE
};

/* A list of address ranges. */
struct conf_cidrs {
	struct cidr *items;
	size_t n;
};

/* Kernel settings. */
struct conf_sysctl {
	char key[SYSCTL_KEY_MAX + 1];
	struct sysctl_numbers wanted;
};
struct conf_sysctls {
	struct conf_sysctl *items;
	size_t n;
};

/* A list of texts. */
struct conf_texts {
	const char **items;
	size_t n;
};

/* Field types in the structures below, by the type column of conf.def. */
typedef uint64_t conf_UINT;
typedef uint64_t conf_AUTO; /* a number, or the word "auto", which is 0 */
typedef uint64_t conf_DURATION;
typedef uint64_t conf_SIZE;
typedef uint64_t conf_MODE;
typedef unsigned conf_WORD;
typedef char *conf_STRING;
typedef char *conf_PATH;
typedef char *conf_ADDRESS;
typedef struct conf_cidrs conf_CIDRS;
typedef struct conf_sysctls conf_SYSCTLS;
typedef struct conf_texts conf_TEXTS;

struct conf_listener {
	char name[CONF_NAME_MAX + 1];
#define CONF_GLOBAL(...)
#define CONF_LISTENER(path, field, type, ...) conf_##type field;
#include "conf.def"
#undef CONF_GLOBAL
#undef CONF_LISTENER
};

struct conf {
#define CONF_GLOBAL(path, field, type, ...) conf_##type field;
#define CONF_LISTENER(...)
#include "conf.def"
#undef CONF_GLOBAL
#undef CONF_LISTENER
	struct conf_listener *listeners; /* in the order of the file */
	size_t n_listeners;
};

/* All that is wrong with a file, one message each: "FILE: limits.connections: found -1, allowed
 * are 1 to 16000000". At most CONF_ERRORS_MAX are kept, then one that says how many more. */
#define CONF_ERRORS_MAX 100

struct conf_errors {
	char **items; /* owned */
	size_t n, n_dropped;
};

void conf_errors_done(struct conf_errors *errors);

/*
 * Reads a configuration from text. `origin` names it in messages. On success 0 and *ret_conf is
 * the caller's, to be freed with conf_free(). -EINVAL: every error found is in `errors` (zeroed by
 * the caller, conf_errors_done() afterwards). -ENOMEM.
 */
int conf_parse(const char *text, size_t length, const char *origin, struct conf **ret_conf,
	struct conf_errors *errors) MG_MUST_CHECK;

/* The same from a file of at most CONF_FILE_MAX bytes; a file that cannot be read is an error in
 * `errors` too (-errno is returned). */
#define CONF_FILE_MAX (1024 * 1024)
int conf_load(const char *path, struct conf **ret_conf, struct conf_errors *errors) MG_MUST_CHECK;

void conf_free(struct conf *conf);

/* The listener of this name, or NULL. */
const struct conf_listener *conf_find_listener(const struct conf *conf, const char *name);

/* Descriptors that a worker has for one of the listener's connections: a relayed one has a server. */
static inline unsigned
conf_fds_each(const struct conf_listener *listener)
{
	return listener->service == CONF_SERVICE_RELAY ? 2 : 1;
}

/* The word of the listener's service: "hold". Returns buf. */
const char *conf_service_name(
	const struct conf_listener *listener, char buf[static CONF_NAME_MAX + 1]);

/* The effective configuration, every key with its value; conf_parse() of its text gives the same.
 * NULL when there is no memory. The caller owns the reference. */
json_t *conf_to_json(const struct conf *conf);

/* What --print-config writes, ending with a newline; to be freed by the caller. */
char *conf_print(const struct conf *conf);

/* A JSON Schema (draft 2020-12) of the file; to be freed by the caller. NULL: no memory. */
char *conf_schema(void);

/* Writes the table of keys: path, type, range, unit, default, when it applies, help. */
void conf_describe(const struct reference *reference);

/*
 * Prepares `fresh` to take the place of `running`. Calls `changed` for each key that differs, with
 * its path ("listeners.public.limits.connections"; a listener that came or went: "listeners.new").
 * Those that need a restart get the running value back in `fresh` (a listener that came is taken
 * out, one that went is put back), so that `fresh` tells what is in force, and its listeners stand
 * in the order of those running. -ENOMEM: `fresh` is fit only to be freed.
 */
int conf_merge_running(struct conf *fresh, const struct conf *running,
	void (*changed)(void *context, const char *path, bool needs_restart),
	void *context) MG_MUST_CHECK;

#endif
