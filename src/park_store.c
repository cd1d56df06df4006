/* park_store: see park_store.h. */
#include "park_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notify.h"

#define PARK_BARRIER_USEC 30000000u

void
park_name(uint32_t epoch, uint32_t writer, unsigned index, char buf[static PARK_NAME_MAX])
{
	char who[16] = "supervisor", what[16] = "state";

	if (writer != PARK_SUPERVISOR)
		snprintf(who, sizeof(who), "%" PRIu32, writer);
	if (index > 0)
		snprintf(what, sizeof(what), "%u", index);
	snprintf(buf, PARK_NAME_MAX, PARK_NAME_PREFIX "%" PRIu32 "/%s/%s", epoch, who, what);
}

bool
park_parse_name(const char *name, uint32_t *ret_epoch, uint32_t *ret_writer, bool *ret_is_state)
{
	uint32_t epoch, writer = PARK_SUPERVISOR;
	char who[16], what[16], again[PARK_NAME_MAX];
	unsigned index = 0;

	if (sscanf(name, PARK_NAME_PREFIX "%" SCNu32 "/%15[^/]/%15[^/]", &epoch, who, what) != 3)
		return false;
	(void)sscanf(who, "%" SCNu32, &writer);
	(void)sscanf(what, "%u", &index);
	park_name(epoch, writer, index, again);
	if (strcmp(again, name) != 0)
		return false;
	*ret_epoch = epoch;
	*ret_writer = writer;
	*ret_is_state = index == 0;
	return true;
}

bool
park_is_passed(void)
{
	const char *names = getenv("LISTEN_FDNAMES");

	return names && (strncmp(names, PARK_NAME_PREFIX, strlen(PARK_NAME_PREFIX)) == 0 ||
				strstr(names, ":" PARK_NAME_PREFIX));
}

int
park_store(const struct parked *parked, uint32_t epoch, uint32_t writer)
{
	char name[PARK_NAME_MAX];
	int r = 0;

	for (unsigned i = 0; i < parked->n_fds && r == 0; i++) {
		park_name(epoch, writer, i, name);
		r = notify_store(name, parked->fds[i]);
	}
	return r < 0 ? r : notify_barrier(PARK_BARRIER_USEC);
}
