/* conf: see conf.h. Here: loading, parsing, freeing, finding. */
#include "conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_check.h"
#include "conf_field.h"
#include "conf_read.h"
#include "conf_report.h"

/* The key that ends in front of `end` in the text: "abc". Its length, quotes included, or 0. */
static size_t
conf_find_key_before(const char *text, size_t end)
{
	size_t start = end;

	if (end < 2 || text[end - 1] != '"')
		return 0;
	start = end - 1;
	do {
		if (start-- == 0)
			return 0;
	} while (text[start] != '"' || (start > 0 && text[start - 1] == '\\'));
	return end - start;
}

/* jansson quotes what it stumbled over, and that may be anything. */
static void
conf_mask_controls(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == '\x7f')
			*text = '?';
}

/* Says what jansson did not like about the text. */
static void
conf_report_syntax(
	struct conf_report *report, const char *text, size_t length, const json_error_t *error)
{
	int line = error->line > 0 ? error->line : 1;
	int column = error->column > 0 ? error->column : 1;
	size_t end = error->position > 0 ? (size_t)error->position : 0;
	size_t key_length = end <= length ? conf_find_key_before(text, end) : 0;

	/* Without memory jansson mostly says nothing at all. */
	if (error->text[0] == '\0' || json_error_code(error) == json_error_out_of_memory)
		report->no_memory = true;
	else if (json_error_code(error) == json_error_duplicate_key)
		conf_report_add_at(report, line, column,
			"found the key %.*s twice in one object, allowed is once",
			key_length < 64 ? (int)key_length : 64, text + end - key_length);
	else
		conf_report_add_at(report, line, column, "%s", error->text);
}

static void
conf_parse_into(struct conf_draft *draft, const char *text, size_t length)
{
	/* NUL is let through here so that the message can name the key. */
	size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
	json_error_t error;
	json_t *json;

	json = json_loadb(text, length, flags, &error);
	if (!json) {
		conf_mask_controls(error.text);
		conf_report_syntax(&draft->report, text, length, &error);
		return;
	}
	conf_read(draft, json);
	json_decref(json);
	if (!draft->report.no_memory)
		conf_check(draft);
}

int
conf_parse(const char *text, size_t length, const char *origin, struct conf **ret_conf,
	struct conf_errors *errors)
{
	struct conf_draft *draft = calloc(1, sizeof(*draft));
	struct conf *conf = calloc(1, sizeof(*conf));
	int r = -ENOMEM;

	if (draft && conf) {
		draft->conf = conf;
		draft->report = (struct conf_report){.origin = origin, .errors = errors};
		conf_parse_into(draft, text, length);
		r = conf_report_finish(&draft->report);
	}
	free(draft);
	if (r < 0)
		conf_free(conf);
	else
		*ret_conf = conf;
	return r;
}

/* Reads at most CONF_FILE_MAX bytes into `buf`. -EFBIG if there are more. */
static int
conf_read_file(const char *path, char *buf, size_t *ret_length)
{
	FILE *file = fopen(path, "re");
	size_t length;
	int r = 0;

	if (!file)
		return -errno;
	length = fread(buf, 1, CONF_FILE_MAX, file);
	if (length == CONF_FILE_MAX && fgetc(file) != EOF)
		r = -EFBIG;
	else if (ferror(file))
		r = -errno;
	fclose(file);
	if (r == 0)
		*ret_length = length;
	return r;
}

int
conf_load(const char *path, struct conf **ret_conf, struct conf_errors *errors)
{
	struct conf_report report = {.origin = path, .errors = errors};
	char *text = malloc(CONF_FILE_MAX);
	size_t length = 0;
	int r;

	if (!text)
		return -ENOMEM;
	r = conf_read_file(path, text, &length);
	if (r == 0) {
		r = conf_parse(text, length, path, ret_conf, errors);
		free(text);
		return r;
	}
	free(text);
	if (r == -EFBIG)
		conf_report_add(&report, "", "is too large, allowed are %d bytes", CONF_FILE_MAX);
	else
		conf_report_add(&report, "", "cannot be read: %s", strerror(-r));
	return conf_report_finish(&report) == -ENOMEM ? -ENOMEM : r;
}

void
conf_free(struct conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->n_listeners; i++)
		conf_field_done_all(&CONF_SCOPE_LISTENER, &conf->listeners[i]);
	free(conf->listeners);
	conf_field_done_all(&CONF_SCOPE_GLOBAL, conf);
	free(conf);
}

const struct conf_listener *
conf_find_listener(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (strcmp(conf->listeners[i].name, name) == 0)
			return &conf->listeners[i];
	return NULL;
}

const char *
conf_service_name(const struct conf_listener *listener, char buf[static CONF_NAME_MAX + 1])
{
	const char *word;
	size_t length = conf_key_word(
		conf_scope_find(&CONF_SCOPE_LISTENER, "service"), listener->service, &word);

	snprintf(buf, CONF_NAME_MAX + 1, "%.*s", (int)length, word);
	return buf;
}
