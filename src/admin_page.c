/* admin_page: see admin_page.h. */
#include "admin_page.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"

#define ADMIN_PAGE_TYPE "\r\nContent-Type: text/html\r\n"
#define ADMIN_PAGE_HEAD_END "\r\n\r\n"

/* Prints the error that stands behind a status of evhttp's. */
static void
admin_page_format(int status, char *buf, size_t size)
{
	switch (status) {
	case HTTP_BADREQUEST:
		snprintf(buf, size, "this is no HTTP request, or its head is longer than %d bytes",
			ADMIN_HEAD_MAX);
		break;
	case HTTP_ENTITYTOOLARGE:
		snprintf(buf, size, "the body is longer than %d bytes", ADMIN_BODY_MAX);
		break;
	case HTTP_EXPECTATIONFAILED:
		snprintf(buf, size, "the only expectation that is met is 100-continue");
		break;
	case HTTP_NOTIMPLEMENTED:
		snprintf(buf, size, "there is no such method");
		break;
	default:
		snprintf(buf, size, "the request failed");
	}
}

/* It comes in pieces, the body as the last one. */
static bool
admin_page_is_whole(struct evbuffer *output)
{
	static const char type[] = ADMIN_PAGE_TYPE, head_end[] = ADMIN_PAGE_HEAD_END;
	struct evbuffer_ptr end = evbuffer_search(output, head_end, strlen(head_end), NULL);

	return end.pos >= 0 && evbuffer_get_length(output) > (size_t)end.pos + strlen(head_end) &&
	       evbuffer_search_range(output, type, strlen(type), NULL, &end).pos >= 0;
}

static void
admin_page_on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	char *status_line, text[128];
	int status = 0;

	(void)arg;
	if (info->n_added == 0 || !admin_page_is_whole(output))
		return;
	/* To take from the front of it is the bufferevent's alone otherwise. */
	evbuffer_unfreeze(output, 1);
	status_line = evbuffer_readln(output, NULL, EVBUFFER_EOL_CRLF_STRICT);
	evbuffer_drain(output, evbuffer_get_length(output));
	evbuffer_freeze(output, 1);
	if (!status_line)
		return;
	(void)sscanf(status_line, "%*s %d", &status);
	admin_page_format(status, text, sizeof(text));
	evbuffer_add_printf(output,
		"%s\r\nContent-Type: application/json\r\nConnection: close\r\n"
		"Content-Length: %zu\r\n\r\n{\"error\": \"%s\"}",
		status_line, strlen("{\"error\": \"\"}") + strlen(text), text);
	free(status_line);
}

void
admin_page_replace(struct bufferevent *client)
{
	(void)evbuffer_add_cb(bufferevent_get_output(client), admin_page_on_output, NULL);
}
