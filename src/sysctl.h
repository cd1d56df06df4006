/*
 * sysctl: names and values of kernel settings, and their files below /proc/sys.
 *
 * Process: all. Pure but for sysctl_read() and sysctl_write(). Knows no setting in particular.
 */
#ifndef MILLGATE_SYSCTL_H
#define MILLGATE_SYSCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define SYSCTL_KEY_MAX 127 /* bytes */
#define SYSCTL_NUMBERS_MAX 8
#define SYSCTL_TEXT_MAX (SYSCTL_NUMBERS_MAX * 21)

/* What the two below accept, as regular expressions (ECMA-262) for the schema. */
#define SYSCTL_KEY_PATTERN "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)+$"
#define SYSCTL_NUMBERS_PATTERN "^[ \\t]*[0-9]+([ \\t]+[0-9]+){0,7}[ \\t]*$"

/* The numbers of a value; most have one. Unused ones are 0. */
struct sysctl_numbers {
	uint64_t at[SYSCTL_NUMBERS_MAX];
	size_t n;
};

/* "net.core.somaxconn": words between dots. So no key leads out of /proc/sys. */
bool sysctl_is_key(const char *key);

/* Reads "4096 87380 6291456". -EINVAL: something else than 1 to SYSCTL_NUMBERS_MAX whole numbers,
 * which includes negative ones. -ERANGE: more than a json_int_t. */
int sysctl_parse(const char *text, struct sysctl_numbers *ret_numbers) MG_MUST_CHECK;

/* The numbers with one blank between them. Returns buf. */
const char *sysctl_format(const struct sysctl_numbers *numbers, char buf[static SYSCTL_TEXT_MAX]);

/* The value of a key below `root`, "" for this machine, without the last newline and with blanks for
 * tabs and other newlines; to be freed. -errno, -EINVAL if it is no key. */
int sysctl_read(const char *root, const char *key, char **ret_text) MG_MUST_CHECK;

/* Sets it. -errno. */
int sysctl_write(const char *root, const char *key, const char *text) MG_MUST_CHECK;

#endif
