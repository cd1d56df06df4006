/* conf_value: see conf_value.h. */
#include "conf_value.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "conf_texts.h"
#include "conf_unit.h"

const char *
conf_value_text(const json_t *json)
{
	const char *text = json_string_value(json);

	return text && strlen(text) == json_string_length(json) ? text : NULL;
}

/* Collects what jansson writes, until the buffer is full. */
struct conf_value_sink {
	char *text; /* CONF_VALUE_SHOW_MAX bytes */
	size_t length;
};

static int
conf_value_collect(const char *bytes, size_t n, void *context)
{
	struct conf_value_sink *sink = context;
	size_t space = CONF_VALUE_SHOW_MAX - 1 - sink->length;
	size_t taken = n < space ? n : space;

	memcpy(sink->text + sink->length, bytes, taken);
	sink->length += taken;
	return taken == n ? 0 : -1;
}

const char *
conf_value_show(const json_t *json, char buf[static CONF_VALUE_SHOW_MAX])
{
	static const char cut[] = "...";
	struct conf_value_sink sink = {.text = buf};
	size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);
	int r = json_dump_callback(json, conf_value_collect, &sink, flags);

	if (r < 0 && sink.length > CONF_VALUE_SHOW_MAX - sizeof(cut)) {
		sink.length = CONF_VALUE_SHOW_MAX - sizeof(cut);
		/* Not in the middle of a UTF-8 sequence. */
		while ((buf[sink.length] & 0xc0) == 0x80)
			sink.length--;
	}
	strcpy(buf + sink.length, r < 0 ? cut : "");
	return buf;
}

static const char *
conf_value_format_number(uint64_t number, char buf[static CONF_UNIT_TEXT_MAX])
{
	snprintf(buf, CONF_UNIT_TEXT_MAX, "%" PRIu64, number);
	return buf;
}

/* `format` turns the bounds into text: "0 and 100ms to 365d". */
static void
conf_value_allowed_range(const struct conf_key *key,
	const char *(*format)(uint64_t, char[static CONF_UNIT_TEXT_MAX]),
	char buf[static CONF_VALUE_ALLOWED_MAX])
{
	char low[CONF_UNIT_TEXT_MAX], high[CONF_UNIT_TEXT_MAX];
	bool zero = conf_key_zero_is_off(key);
	uint64_t min = zero && key->min == 1 ? 0 : key->min;

	snprintf(buf, CONF_VALUE_ALLOWED_MAX, "%s%s to %s", zero && min > 0 ? "0 and " : "",
		format(min, low), format(key->max, high));
}

static void
conf_value_allowed_words(const struct conf_key *key, char buf[static CONF_VALUE_ALLOWED_MAX])
{
	const char *word, *next;
	size_t length, used = 0;

	for (unsigned i = 0; (length = conf_key_word(key, i, &word)) > 0; i++) {
		const char *separator = conf_key_word(key, i + 1, &next) > 0 ? ", " : " and ";

		used += (size_t)snprintf(buf + used, CONF_VALUE_ALLOWED_MAX - used, "%s\"%.*s\"",
			i == 0 ? "" : separator, (int)length, word);
		assert(used < CONF_VALUE_ALLOWED_MAX);
	}
}

const char *
conf_value_allowed(const struct conf_key *key, char buf[static CONF_VALUE_ALLOWED_MAX])
{
	const size_t size = CONF_VALUE_ALLOWED_MAX;

	switch (key->type) {
	case CONF_TYPE_UINT:
		conf_value_allowed_range(key, conf_value_format_number, buf);
		break;
	case CONF_TYPE_AUTO:
		snprintf(buf, size, "\"" CONF_KEY_AUTO "\" and %" PRIu64 " to %" PRIu64, key->min,
			key->max);
		break;
	case CONF_TYPE_DURATION:
		conf_value_allowed_range(key, conf_unit_format_duration, buf);
		break;
	case CONF_TYPE_SIZE:
		conf_value_allowed_range(key, conf_unit_format_size, buf);
		break;
	case CONF_TYPE_MODE:
		snprintf(buf, size, "\"%04" PRIo64 "\" to \"%04" PRIo64 "\" (octal, in quotes)",
			key->min, key->max);
		break;
	case CONF_TYPE_WORD:
		conf_value_allowed_words(key, buf);
		break;
	case CONF_TYPE_STRING:
		snprintf(buf, size,
			"texts of %" PRIu64 " to %" PRIu64 " bytes without NUL characters",
			key->min, key->max);
		break;
	case CONF_TYPE_PATH:
		snprintf(buf, size,
			"absolute paths of at most %" PRIu64 " bytes, and \"\" for none", key->max);
		break;
	case CONF_TYPE_ADDRESS:
		snprintf(buf, size,
			"\"127.0.0.1:7000\", \"[::]:7000\", \"unix:/path\", and \"\" for none");
		break;
	case CONF_TYPE_CIDRS:
		snprintf(buf, size, "lists of at most %" PRIu64 " address ranges", key->max);
		break;
	case CONF_TYPE_SYSCTLS:
		snprintf(buf, size,
			"objects of at most %" PRIu64
			" kernel settings, such as {\"net.core.somaxconn\": 4096}",
			key->max);
		break;
	case CONF_TYPE_TEXTS:
		snprintf(buf, size,
			"lists of at most %" PRIu64
			" texts, each of 1 to %d visible ASCII characters but the comma",
			key->max, CONF_TEXT_MAX);
		break;
	}
	return buf;
}

json_t *
conf_value_default_json(const struct conf_key *key)
{
	const char *text = key->default_text;

	assert(*text != '@');
	if (key->type == CONF_TYPE_CIDRS || key->type == CONF_TYPE_TEXTS)
		return json_array();
	if (key->type == CONF_TYPE_SYSCTLS)
		return json_object();
	if (key->type == CONF_TYPE_UINT ||
		(key->type == CONF_TYPE_AUTO && strcmp(text, CONF_KEY_AUTO) != 0))
		return json_integer(strtoll(text, NULL, 10));
	return json_string(text);
}

/* A number that is whole, also when it is written as 1e6. */
static int
conf_value_parse_whole(const json_t *json, uint64_t *ret_number)
{
	double real = json_number_value(json);

	if (!json_is_number(json) || real != trunc(real))
		return -EINVAL;
	if (real < 0 || real >= (double)INT64_MAX)
		return -ERANGE;
	*ret_number = json_is_integer(json) ? (uint64_t)json_integer_value(json) : (uint64_t)real;
	return 0;
}

static int
conf_value_parse_seconds(const struct conf_key *key, const json_t *json, uint64_t *ret_usec)
{
	double usec = json_number_value(json) * 1e6;

	/* Before rounding, which would make "off" of what is too little. */
	if (usec != 0 && !(usec >= (double)key->min && usec <= (double)key->max))
		return -ERANGE;
	*ret_usec = (uint64_t)llround(usec);
	return 0;
}

/* -EINVAL: not of this form; -ERANGE: of this form, and no uint64_t. The row's range is not
 * looked at. */
static int
conf_value_parse_form(const struct conf_key *key, const json_t *json, uint64_t *ret_number)
{
	const char *text = conf_value_text(json);

	switch (key->type) {
	case CONF_TYPE_DURATION:
		if (json_is_number(json))
			return conf_value_parse_seconds(key, json, ret_number);
		return text ? conf_unit_parse_duration(text, ret_number) : -EINVAL;
	case CONF_TYPE_SIZE:
		return text ? conf_unit_parse_size(text, ret_number)
			    : conf_value_parse_whole(json, ret_number);
	case CONF_TYPE_MODE:
		return text ? conf_unit_parse_mode(text, ret_number) : -EINVAL;
	default:
		return conf_value_parse_whole(json, ret_number);
	}
}

/* What to say of a value whose form is wrong. */
static const char *
conf_value_form_hint(enum conf_type type)
{
	switch (type) {
	case CONF_TYPE_UINT:
		return ", written as a whole number without quotes";
	case CONF_TYPE_DURATION:
		return ", written as text with the units d, h, m, s, ms and us (\"1h30m\") or as a "
		       "number of seconds";
	case CONF_TYPE_SIZE:
		return ", written as text with one of the units B, KiB, MiB, GiB and TiB (\"64KiB\") "
		       "or as a number of bytes";
	default:
		return "";
	}
}

static int
conf_value_fail(const struct conf_key *key, const json_t *json, const char *hint,
	struct mg_error *reterr_error)
{
	char found[CONF_VALUE_SHOW_MAX], allowed[CONF_VALUE_ALLOWED_MAX];

	return mg_error_set(reterr_error, -EINVAL, "found %s, allowed are %s%s",
		conf_value_show(json, found), conf_value_allowed(key, allowed), hint);
}

static int
conf_value_parse_number(const struct conf_key *key, const json_t *json, uint64_t *ret_number,
	struct mg_error *reterr_error)
{
	const char *text = conf_value_text(json);
	uint64_t number;
	int r;

	if (key->type == CONF_TYPE_AUTO && text && strcmp(text, CONF_KEY_AUTO) == 0) {
		*ret_number = 0;
		return 0;
	}
	r = conf_value_parse_form(key, json, &number);
	if (r == -EINVAL)
		return conf_value_fail(key, json, conf_value_form_hint(key->type), reterr_error);
	if (r < 0 || (number < key->min && !(number == 0 && conf_key_zero_is_off(key))) ||
		number > key->max)
		return conf_value_fail(key, json, "", reterr_error);
	*ret_number = number;
	return 0;
}

static int
conf_value_parse_word(const struct conf_key *key, const json_t *json, unsigned *ret_index,
	struct mg_error *reterr_error)
{
	const char *text = conf_value_text(json), *word;
	size_t length;

	for (unsigned i = 0; text && (length = conf_key_word(key, i, &word)) > 0; i++)
		if (strlen(text) == length && memcmp(text, word, length) == 0) {
			*ret_index = i;
			return 0;
		}
	return conf_value_fail(key, json, "", reterr_error);
}

static int
conf_value_parse_string(const struct conf_key *key, const json_t *json, char **ret_string,
	struct mg_error *reterr_error)
{
	const char *text = conf_value_text(json);
	struct sockaddr_storage sa;
	socklen_t sa_length;
	char *copy;
	int r;

	if (!text || strlen(text) < key->min || strlen(text) > key->max ||
		(key->type == CONF_TYPE_PATH && *text != '\0' && *text != '/'))
		return conf_value_fail(key, json, "", reterr_error);
	if (key->type == CONF_TYPE_ADDRESS && *text != '\0') {
		r = addr_parse_listen(text, &sa, &sa_length, reterr_error);
		if (r < 0)
			return r;
	}
	copy = strdup(text);
	if (!copy)
		return mg_error_set(reterr_error, -ENOMEM, "no memory");
	*ret_string = copy;
	return 0;
}

int
conf_value_parse_range(const json_t *json, struct cidr *ret_range, struct mg_error *reterr_error)
{
	char found[CONF_VALUE_SHOW_MAX];
	const char *text = conf_value_text(json);

	if (!text)
		return mg_error_set(reterr_error, -EINVAL,
			"found %s, allowed are ranges such as \"10.0.0.0/8\"",
			conf_value_show(json, found));
	return cidr_parse(text, ret_range, reterr_error);
}

static int
conf_value_parse_ranges(const struct conf_key *key, const json_t *json,
	struct conf_cidrs *ret_cidrs, struct mg_error *reterr_error)
{
	size_t n = json_array_size(json);
	struct cidr *items;
	int r = 0;

	if (!json_is_array(json) || n < key->min || n > key->max)
		return conf_value_fail(key, json, "", reterr_error);
	items = calloc(n > 0 ? n : 1, sizeof(*items));
	if (!items)
		return mg_error_set(reterr_error, -ENOMEM, "no memory");
	for (size_t i = 0; i < n && r == 0; i++)
		r = conf_value_parse_range(json_array_get(json, i), &items[i], reterr_error);
	if (r < 0) {
		free(items);
		return r;
	}
	*ret_cidrs = (struct conf_cidrs){.items = items, .n = n};
	return 0;
}

static int
conf_value_parse_numbers(const json_t *json, struct sysctl_numbers *ret_numbers)
{
	const char *text = conf_value_text(json);

	if (text)
		return sysctl_parse(text, ret_numbers);
	ret_numbers->n = 1;
	if (!json_is_integer(json))
		return conf_value_parse_whole(json, &ret_numbers->at[0]);
	/* Not as above, which goes by way of a double: fs.file-max may be the largest number. */
	if (json_integer_value(json) < 0)
		return -ERANGE;
	ret_numbers->at[0] = (uint64_t)json_integer_value(json);
	return 0;
}

int
conf_value_parse_sysctl(const char *key, const json_t *json, struct conf_sysctl *ret_sysctl,
	struct mg_error *reterr_error)
{
	char found[CONF_VALUE_SHOW_MAX];
	struct conf_sysctl sysctl = {0};

	if (!sysctl_is_key(key))
		return mg_error_set(reterr_error, -EINVAL,
			"is no name of a kernel setting, such as net.core.somaxconn");
	if (conf_value_parse_numbers(json, &sysctl.wanted) < 0)
		return mg_error_set(reterr_error, -EINVAL,
			"found %s, allowed are whole numbers from 0, and texts of 1 to %d of them "
			"such as \"4096 87380 6291456\"",
			conf_value_show(json, found), SYSCTL_NUMBERS_MAX);
	strcpy(sysctl.key, key);
	*ret_sysctl = sysctl;
	return 0;
}

static int
conf_value_parse_sysctls(const struct conf_key *key, const json_t *json,
	struct conf_sysctls *ret_sysctls, struct mg_error *reterr_error)
{
	size_t n = json_object_size(json), i = 0;
	struct conf_sysctl *items;
	const char *name;
	json_t *value;
	int r = 0;

	if (!json_is_object(json) || n < key->min || n > key->max)
		return conf_value_fail(key, json, "", reterr_error);
	items = calloc(n > 0 ? n : 1, sizeof(*items));
	if (!items)
		return mg_error_set(reterr_error, -ENOMEM, "no memory");
	json_object_foreach((json_t *)json, name, value)
		if (r == 0)
			r = conf_value_parse_sysctl(name, value, &items[i++], reterr_error);
	if (r < 0) {
		free(items);
		return r;
	}
	*ret_sysctls = (struct conf_sysctls){.items = items, .n = n};
	return 0;
}

static int
conf_value_parse_texts(const struct conf_key *key, const json_t *json, struct conf_texts *ret_texts,
	struct mg_error *reterr_error)
{
	size_t n = json_array_size(json);
	int r;

	if (n > key->max)
		return mg_error_set(reterr_error, -EINVAL,
			"found %zu %s, allowed are lists of at most %" PRIu64, n, key->unit,
			key->max);
	r = n < key->min ? -EINVAL : conf_texts_from_json(json, ret_texts);
	if (r == -ENOMEM)
		return mg_error_set(reterr_error, -ENOMEM, "no memory");
	return r < 0 ? conf_value_fail(key, json, "", reterr_error) : 0;
}

int
conf_value_parse(
	const struct conf_key *key, const json_t *json, void *field, struct mg_error *reterr_error)
{
	switch (key->type) {
	case CONF_TYPE_WORD:
		return conf_value_parse_word(key, json, field, reterr_error);
	case CONF_TYPE_STRING:
	case CONF_TYPE_PATH:
	case CONF_TYPE_ADDRESS:
		return conf_value_parse_string(key, json, field, reterr_error);
	case CONF_TYPE_CIDRS:
		return conf_value_parse_ranges(key, json, field, reterr_error);
	case CONF_TYPE_SYSCTLS:
		return conf_value_parse_sysctls(key, json, field, reterr_error);
	case CONF_TYPE_TEXTS:
		return conf_value_parse_texts(key, json, field, reterr_error);
	default:
		return conf_value_parse_number(key, json, field, reterr_error);
	}
}
