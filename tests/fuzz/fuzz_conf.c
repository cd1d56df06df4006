/*
 * fuzz_conf: whatever the text, parsing ends with a configuration or with errors, and what is
 * printed of a configuration parses to the same one.
 *
 * Links: conf*.c addr.c error.c reference.c sysctl.c upstream_name.c
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_errors(struct conf_errors *errors, int r)
{
	if ((r == 0) != (errors->n == 0) || errors->n > CONF_ERRORS_MAX + 1)
		abort();
	conf_errors_done(errors);
}

static void
check_reparse(const struct conf *conf)
{
	struct conf_errors errors = {0};
	char *printed = conf_print(conf), *reprinted;
	struct conf *again;

	if (!printed)
		abort();
	if (conf_parse(printed, strlen(printed), "printed", &again, &errors) < 0) {
		fprintf(stderr, "%s\n", errors.items[0]);
		abort();
	}
	reprinted = conf_print(again);
	if (!reprinted || strcmp(printed, reprinted) != 0)
		abort();
	free(printed);
	free(reprinted);
	conf_free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;
	int r = conf_parse((const char *)data, size, "fuzz", &conf, &errors);

	check_errors(&errors, r);
	if (r == 0)
		check_reparse(conf);
	conf_free(conf);
	return 0;
}
