/* http_head: see http_head.h. */
#include "http_head.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* What http_head_find_end() has seen last. A line that ends with LF alone ends too, so that it is
 * refused when it is here, and not waited on. */
enum http_end_state {
	END_WITHIN_LINE,
	END_NEW_LINE,
	END_NEW_LINE_CR,
};

long
http_head_find_end(uint8_t *state, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '\n') {
			if (*state != END_WITHIN_LINE)
				return (long)i + 1;
			*state = END_NEW_LINE;
		} else if (bytes[i] == '\r') {
			*state = *state == END_NEW_LINE ? END_NEW_LINE_CR : END_WITHIN_LINE;
		} else if ((bytes[i] < ' ' && bytes[i] != '\t') || bytes[i] == 0x7f) {
			return -EBADMSG;
		} else {
			*state = END_WITHIN_LINE;
		}
	}
	return 0;
}

/* RFC 9110 section 5.6.2. */
static bool
http_is_token_letter(char letter)
{
	return (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z') ||
	       (letter >= 'a' && letter <= 'z') ||
	       (letter != '\0' && strchr("!#$%&'*+-.^_`|~", letter));
}

static bool
http_is_token(const struct http_text *text)
{
	for (size_t i = 0; i < text->length; i++)
		if (!http_is_token_letter(text->at[i]))
			return false;
	return text->length > 0;
}

/* Visible ASCII: a target has nothing else (RFC 3986). */
static bool
http_is_visible(const struct http_text *text)
{
	for (size_t i = 0; i < text->length; i++)
		if (text->at[i] <= ' ' || text->at[i] > '~')
			return false;
	return text->length > 0;
}

/* Takes what is in front of the separator, and the separator. False: there is none. */
static bool
http_text_cut(struct http_text *text, const char *separator, struct http_text *ret_before)
{
	size_t length = strlen(separator);
	const char *found = text->length ? memmem(text->at, text->length, separator, length) : NULL;

	if (!found)
		return false;
	*ret_before = (struct http_text){text->at, (size_t)(found - text->at)};
	text->length -= ret_before->length + length;
	text->at = found + length;
	return true;
}

bool
http_text_is(const struct http_text *text, const char *wanted)
{
	return text->length == strlen(wanted) && strncasecmp(text->at, wanted, text->length) == 0;
}

static bool
http_is_blank(char letter)
{
	return letter == ' ' || letter == '\t';
}

static void
http_text_trim(struct http_text *text)
{
	while (text->length > 0 && http_is_blank(*text->at)) {
		text->at++;
		text->length--;
	}
	while (text->length > 0 && http_is_blank(text->at[text->length - 1]))
		text->length--;
}

/* "/path?query", or the same after "http://host" (RFC 9112 sections 3.2.1 and 3.2.2). */
static int
http_parse_target(const struct http_text *target, struct http_text *ret_path)
{
	struct http_text path = *target, before, query;

	if (!http_is_visible(target) || memchr(target->at, '#', target->length))
		return -EBADMSG;
	if (*path.at != '/') {
		if (!http_text_cut(&path, "://", &before) ||
			(!http_text_is(&before, "http") && !http_text_is(&before, "https")))
			return -EBADMSG;
		before.at = memchr(path.at, '/', path.length);
		if (!before.at)
			return -EBADMSG;
		path.length -= (size_t)(before.at - path.at);
		path.at = before.at;
	}
	query = path;
	(void)http_text_cut(&query, "?", &path);
	*ret_path = path;
	return 0;
}

static int
http_parse_request_line(struct http_text *line, struct http_head *head)
{
	static const char version[] = "HTTP/1.";
	size_t length = sizeof(version) - 1;

	if (!http_text_cut(line, " ", &head->method) || !http_text_cut(line, " ", &head->target) ||
		!http_is_token(&head->method))
		return -EBADMSG;
	if (line->length != length + 1 || memcmp(line->at, "HTTP/", 5) != 0)
		return -EBADMSG;
	if (memcmp(line->at, version, length) != 0 || line->at[length] < '0' ||
		line->at[length] > '9')
		return -EPROTONOSUPPORT;
	head->minor = (unsigned)(line->at[length] - '0');
	return http_parse_target(&head->target, &head->path);
}

/* No blank before the colon, and no line that goes on with the one before it (RFC 9112 section 5). */
static bool
http_parse_field(struct http_text line, struct http_field *ret_field)
{
	if (!http_text_cut(&line, ":", &ret_field->name) || !http_is_token(&ret_field->name))
		return false;
	ret_field->value = line;
	http_text_trim(&ret_field->value);
	return true;
}

/* The bytes that no head has were refused while its end was looked for, all but CR and LF out of
 * place; a parser is not to depend on that. */
static bool
http_line_is_clean(const struct http_text *line)
{
	for (size_t i = 0; i < line->length; i++)
		if (((unsigned char)line->at[i] < ' ' && line->at[i] != '\t') ||
			line->at[i] == 0x7f)
			return false;
	return true;
}

int
http_head_parse(const char *data, size_t length, struct http_head *ret_head)
{
	struct http_text rest = {data, length}, line;
	struct http_head head = {.minor = 0};
	struct http_field field;
	int r;

	if (!http_text_cut(&rest, "\r\n", &line) || !http_line_is_clean(&line))
		return -EBADMSG;
	r = http_parse_request_line(&line, &head);
	if (r < 0)
		return r;
	head.fields = rest;
	for (;;) {
		if (!http_text_cut(&rest, "\r\n", &line) || !http_line_is_clean(&line))
			return -EBADMSG;
		if (line.length == 0)
			break;
		if (!http_parse_field(line, &field))
			return -EBADMSG;
	}
	if (rest.length > 0)
		return -EBADMSG;
	*ret_head = head;
	return 0;
}

bool
http_head_next(struct http_text *fields, struct http_field *ret_field)
{
	struct http_text line;

	return http_text_cut(fields, "\r\n", &line) && http_parse_field(line, ret_field);
}

unsigned
http_head_find(const struct http_head *head, const char *name, struct http_text *ret_value)
{
	struct http_text fields = head->fields;
	struct http_field field;
	unsigned n = 0;

	while (http_head_next(&fields, &field)) {
		if (!http_text_is(&field.name, name))
			continue;
		if (n++ == 0)
			*ret_value = field.value;
	}
	return n;
}

bool
http_text_next(struct http_text *list, struct http_text *ret_element)
{
	while (list->length > 0) {
		struct http_text element = *list;

		if (!http_text_cut(list, ",", &element))
			list->length = 0;
		http_text_trim(&element);
		if (element.length > 0) {
			*ret_element = element;
			return true;
		}
	}
	return false;
}

bool
http_head_lists(const struct http_head *head, const char *name, const char *element)
{
	struct http_text fields = head->fields, one;
	struct http_field field;

	while (http_head_next(&fields, &field)) {
		if (!http_text_is(&field.name, name))
			continue;
		while (http_text_next(&field.value, &one))
			if (http_text_is(&one, element))
				return true;
	}
	return false;
}
