/* upstream_hosts: see upstream_hosts.h. */
#include "upstream_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "upstream_name.h"

#define UPSTREAM_HOSTS_SPACE " \t\r\n"

static bool
upstream_hosts_is(const char *host, const char *name)
{
	size_t length = strlen(host);

	if (length > 0 && host[length - 1] == '.')
		length--;
	return strncasecmp(host, name, length) == 0 && name[length] == '\0';
}

/* "192.0.2.1 app.example app # and more" */
static bool
upstream_hosts_read_line(char *line, const char *host, struct addr *ret_addr)
{
	struct upstream_address address;
	const char *text, *name;
	char *save;

	line[strcspn(line, "#")] = '\0';
	text = strtok_r(line, UPSTREAM_HOSTS_SPACE, &save);
	if (!text)
		return false;
	do
		name = strtok_r(NULL, UPSTREAM_HOSTS_SPACE, &save);
	while (name && !upstream_hosts_is(host, name));
	if (!name || upstream_parse_source(text, &address, NULL) < 0)
		return false;
	*ret_addr = addr_from_sockaddr((const struct sockaddr *)&address.sa, address.length);
	return true;
}

size_t
upstream_hosts_find(const char *path, const char *host, struct addr *ret_addrs, size_t max)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0, n = 0;

	if (!file)
		return 0;
	while (n < max && getline(&line, &size, file) >= 0)
		n += upstream_hosts_read_line(line, host, &ret_addrs[n]);
	free(line);
	fclose(file);
	return n;
}
