/* tune_facts: see tune_facts.h. */
#include "tune_facts.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINE_BYTES 4096
/* A control group of version 1 without a limit has one of the largest whole pages. */
#define NO_LIMIT_BYTES (UINT64_C(1) << 62)

/* Where the memory limits of a version's control groups are. */
struct tune_cgroup {
	const char *mount;
	const char *file;
};

static int
tune_facts_put(struct tune_facts *facts, const char *key, const char *text)
{
	json_t *string = json_string(text);

	if (!string) /* it is not even UTF-8 */
		return 0;
	return json_object_set_new(facts->values, key, string) < 0 ? -ENOMEM : 0;
}

static int
tune_facts_put_number(struct tune_facts *facts, const char *key, uint64_t number)
{
	char text[32];

	if (number == UINT64_MAX)
		return tune_facts_put(facts, key, TUNE_NO_LIMIT);
	snprintf(text, sizeof(text), "%" PRIu64, number);
	return tune_facts_put(facts, key, text);
}

static int
tune_facts_read_sysctl(struct tune_facts *facts, const char *root, const char *key)
{
	char *text;
	int r = sysctl_read(root, key, &text);

	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return 0;
	r = tune_facts_put(facts, key, text);
	free(text);
	return r;
}

/* Of a table that a namespace shares with the machine the kernel shows the negative size. */
static int
tune_facts_read_boot(struct tune_facts *facts, const char *root, const char *key)
{
	int r = tune_facts_read_sysctl(facts, root, key);
	const char *text = tune_fact_text(facts, key);

	if (r < 0 || !text || *text != '-')
		return r;
	return json_object_set_new(facts->values, key, json_string(text + 1)) < 0 ? -ENOMEM : 0;
}

static int
tune_facts_read_sysctls(struct tune_facts *facts, const char *root, const struct conf *conf)
{
	int r = tune_facts_read_sysctl(facts, root, TUNE_RESERVED_PORTS_KEY);

	for (enum tune_row row = 0; row < TUNE_ROW_COUNT && r == 0; row++)
		if (tune_row_info(row)->where == TUNE_SYSCTL)
			r = tune_facts_read_sysctl(facts, root, tune_row_info(row)->key);
		else if (tune_row_info(row)->where == TUNE_BOOT)
			r = tune_facts_read_boot(facts, root, tune_row_info(row)->key);
	for (size_t i = 0; i < conf->sysctl_want.n && r == 0; i++)
		r = tune_facts_read_sysctl(facts, root, conf->sysctl_want.items[i].key);
	return r;
}

/* The soft limit is raised to the hard one at start. */
static int
tune_facts_read_limits(struct tune_facts *facts)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	return tune_facts_put_number(facts, tune_row_info(TUNE_ROW_NOFILE)->key,
		limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max);
}

/* $FDSTORE: systemd 254 and later say there how many descriptors they keep for the service. */
static int
tune_facts_read_store(struct tune_facts *facts)
{
	const char *store = getenv("FDSTORE");

	return store ? tune_facts_put(facts, tune_row_info(TUNE_ROW_STORE)->key, store) : 0;
}

/* A file below the root, or NULL. */
static FILE *
tune_facts_open(const char *root, const char *path)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return NULL;
	return fopen(full, "re");
}

static int
tune_facts_read_memory(struct tune_facts *facts, const char *root)
{
	FILE *file = tune_facts_open(root, "/proc/meminfo");
	char line[LINE_BYTES];
	uint64_t kib = 0;

	if (!file)
		return 0;
	while (kib == 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemTotal: %" SCNu64 " kB", &kib) != 1)
			kib = 0;
	fclose(file);
	return kib == 0 ? 0
			: tune_facts_put_number(
				  facts, tune_row_info(TUNE_ROW_MEMORY)->key, kib * 1024);
}

/* Takes the path out of a line of /proc/self/cgroup, cgroups(7): "4:memory:/PATH" of version 1,
 * which goes before "0::/PATH" of version 2 if it is there. False: it is neither. */
static bool
tune_facts_take_cgroup(char *line, struct tune_cgroup *ret_cgroup, char *path)
{
	static const struct tune_cgroup v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"};
	static const struct tune_cgroup v2 = {"/sys/fs/cgroup", "memory.max"};
	char *hierarchy = strsep(&line, ":"), *controllers = strsep(&line, ":");
	char *controller;
	bool memory = false;

	if (!line)
		return false;
	line[strcspn(line, "\n")] = '\0';
	while ((controller = strsep(&controllers, ",")) != NULL)
		memory |= strcmp(controller, "memory") == 0;
	if (!memory && strcmp(hierarchy, "0") != 0)
		return false;
	if (!memory && ret_cgroup->mount)
		return false;
	*ret_cgroup = memory ? v1 : v2;
	strcpy(path, line);
	return true;
}

/* The limit of one control group; UINT64_MAX if there is none. */
static uint64_t
tune_facts_read_cgroup_limit(const char *root, const struct tune_cgroup *cgroup, const char *path)
{
	char name[2 * LINE_BYTES], line[64] = "";
	struct sysctl_numbers limit;
	FILE *file;

	snprintf(name, sizeof(name), "%s%s/%s", cgroup->mount, path, cgroup->file);
	file = tune_facts_open(root, name);
	if (!file)
		return UINT64_MAX;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	if (sysctl_parse(line, &limit) < 0 || limit.at[0] >= NO_LIMIT_BYTES)
		return UINT64_MAX;
	return limit.at[0];
}

/* The lowest limit of our control group and of those above it. */
static int
tune_facts_read_cgroup(struct tune_facts *facts, const char *root)
{
	FILE *file = tune_facts_open(root, "/proc/self/cgroup");
	char line[LINE_BYTES], path[LINE_BYTES] = "", *slash;
	struct tune_cgroup cgroup = {NULL, NULL};
	uint64_t lowest = UINT64_MAX, limit;

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		(void)tune_facts_take_cgroup(line, &cgroup, path);
	fclose(file);
	if (!cgroup.mount)
		return 0;
	for (;;) {
		limit = tune_facts_read_cgroup_limit(root, &cgroup, path);
		lowest = limit < lowest ? limit : lowest;
		slash = strrchr(path, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	return tune_facts_put_number(facts, tune_row_info(TUNE_ROW_MEMORY_MAX)->key, lowest);
}

/* The kernel's own test (too_many_unix_fds() in net/core/scm.c). */
bool
tune_facts_in_flight_limited(const char *root)
{
	static const uint64_t exempt = UINT64_C(1) << CAP_SYS_RESOURCE | UINT64_C(1)
										 << CAP_SYS_ADMIN;
	FILE *file = tune_facts_open(root, "/proc/self/status");
	uint64_t effective = 0;
	char line[LINE_BYTES];

	if (!file)
		return true;
	while (fgets(line, sizeof(line), file) && sscanf(line, "CapEff: %" SCNx64, &effective) != 1)
		;
	fclose(file);
	return (effective & exempt) == 0;
}

unsigned
tune_facts_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

int
tune_facts_read(const char *root, const struct conf *conf, struct tune_facts *ret_facts)
{
	struct tune_facts facts = {
		.values = json_object(),
		.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE),
		.cpus = tune_facts_cpus(),
		.in_flight_limited = tune_facts_in_flight_limited(root),
	};
	int r = facts.values ? tune_facts_read_sysctls(&facts, root, conf) : -ENOMEM;

	if (r == 0)
		r = tune_facts_read_limits(&facts);
	if (r == 0)
		r = tune_facts_read_store(&facts);
	if (r == 0)
		r = tune_facts_read_memory(&facts, root);
	if (r == 0)
		r = tune_facts_read_cgroup(&facts, root);
	if (r < 0)
		tune_facts_done(&facts);
	else
		*ret_facts = facts;
	return r;
}

void
tune_facts_done(struct tune_facts *facts)
{
	json_decref(facts->values);
	facts->values = NULL;
}
