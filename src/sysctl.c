/* sysctl: see sysctl.h. */
#include "sysctl.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_unit.h"

#define SYSCTL_WORD_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define SYSCTL_BLANKS " \t"
#define SYSCTL_FILE_MAX 65536 /* a list of reserved ports can be long */

bool
sysctl_is_key(const char *key)
{
	size_t length, dots = 0;

	if (strlen(key) > SYSCTL_KEY_MAX)
		return false;
	for (;; key += length + 1) {
		length = strspn(key, SYSCTL_WORD_LETTERS);
		if (length == 0)
			return false;
		if (key[length] == '\0')
			return dots > 0;
		if (key[length] != '.')
			return false;
		dots++;
	}
}

static int
sysctl_take_number(const char **text, uint64_t *ret_number)
{
	const char *end = *text;
	uint64_t number;
	int r = conf_unit_take_number(&end, &number);

	if (r == 0 && number > INT64_MAX)
		r = -ERANGE;
	if (r < 0)
		return r;
	*text = end;
	*ret_number = number;
	return 0;
}

int
sysctl_parse(const char *text, struct sysctl_numbers *ret_numbers)
{
	struct sysctl_numbers numbers = {0};
	int r;

	text += strspn(text, SYSCTL_BLANKS);
	do {
		if (numbers.n == SYSCTL_NUMBERS_MAX)
			return -EINVAL;
		r = sysctl_take_number(&text, &numbers.at[numbers.n++]);
		if (r < 0)
			return r;
		if (*text != '\0' && !strchr(SYSCTL_BLANKS, *text))
			return -EINVAL;
		text += strspn(text, SYSCTL_BLANKS);
	} while (*text != '\0');
	*ret_numbers = numbers;
	return 0;
}

const char *
sysctl_format(const struct sysctl_numbers *numbers, char buf[static SYSCTL_TEXT_MAX])
{
	size_t used = 0;

	*buf = '\0';
	for (size_t i = 0; i < numbers->n; i++)
		used += (size_t)snprintf(buf + used, SYSCTL_TEXT_MAX - used, "%s%" PRIu64,
			i > 0 ? " " : "", numbers->at[i]);
	return buf;
}

static FILE *
sysctl_open(const char *root, const char *key, const char *mode)
{
	char path[PATH_MAX];
	char *p;

	if (!sysctl_is_key(key)) {
		errno = EINVAL;
		return NULL;
	}
	snprintf(path, sizeof(path), "%s/proc/sys/", root);
	p = path + strlen(path);
	snprintf(p, sizeof(path) - strlen(path), "%s", key);
	for (; *p != '\0'; p++)
		if (*p == '.')
			*p = '/';
	return fopen(path, mode);
}

int
sysctl_read(const char *root, const char *key, char **ret_text)
{
	FILE *file = sysctl_open(root, key, "re");
	char *text;
	size_t length;

	if (!file)
		return -errno;
	text = calloc(1, SYSCTL_FILE_MAX);
	if (!text) {
		fclose(file);
		return -ENOMEM;
	}
	errno = 0;
	length = fread(text, 1, SYSCTL_FILE_MAX - 1, file);
	if (ferror(file)) {
		int r = errno ? -errno : -EIO;

		fclose(file);
		free(text);
		return r;
	}
	fclose(file);
	while (length > 0 && text[length - 1] == '\n')
		text[--length] = '\0';
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\t' || *p == '\n')
			*p = ' ';
	*ret_text = text;
	return 0;
}

int
sysctl_write(const char *root, const char *key, const char *text)
{
	FILE *file = sysctl_open(root, key, "r+e");
	int r = 0;

	if (!file)
		return -errno;
	/* One write(2) for all of it: the kernel takes each one for a value. */
	if (fputs(text, file) == EOF)
		r = -errno;
	if (fclose(file) != 0 && r == 0)
		r = -errno;
	return r;
}
