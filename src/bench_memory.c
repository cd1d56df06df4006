/* bench_memory: see bench_memory.h. */
#include "bench_memory.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "NAME   123 kB", anywhere in a file of such lines; 0 if it is not there. */
static uint64_t
proc_read_kib(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	uint64_t kib = 0;
	char line[256];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		size_t length = strlen(name);

		if (strncmp(line, name, length) == 0 && line[length] == ':') {
			kib = strtoull(line + length + 1, NULL, 10);
			break;
		}
	}
	(void)fclose(file);
	return kib * 1024;
}

static void
bench_memory_read_sockstat(struct bench_memory *memory)
{
	FILE *file = fopen("/proc/net/sockstat", "re");
	uint64_t pages = 0;
	char line[256];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		(void)sscanf(line, "sockets: used %" SCNu64, &memory->sockets_used);
		(void)sscanf(line,
			"TCP: inuse %" SCNu64 " orphan %" SCNu64 " tw %" SCNu64
			" alloc %*u mem %" SCNu64,
			&memory->tcp_inuse, &memory->tcp_orphan, &memory->tcp_time_wait, &pages);
	}
	(void)fclose(file);
	memory->tcp_buffer_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void
bench_memory_read(struct bench_memory *ret_memory)
{
	*ret_memory = (struct bench_memory){
		.free_bytes = proc_read_kib("/proc/meminfo", "MemFree"),
		.available_bytes = proc_read_kib("/proc/meminfo", "MemAvailable"),
		.slab_bytes = proc_read_kib("/proc/meminfo", "Slab"),
		.slab_unreclaimable_bytes = proc_read_kib("/proc/meminfo", "SUnreclaim"),
		.page_table_bytes = proc_read_kib("/proc/meminfo", "PageTables"),
	};
	bench_memory_read_sockstat(ret_memory);
}

struct process {
	pid_t pid, parent;
	uint64_t ticks;
	bool in_tree;
};

struct process_list {
	struct process *items; /* owned */
	size_t n, room;
};

/* Field 2 of /proc/PID/stat is a name that may hold anything; what follows its last parenthesis is
 * state, parent and so on, proc_pid_stat(5). */
static bool
process_read(pid_t pid, struct process *ret_process)
{
	uint64_t user, system, children_user, children_system;
	char path[64], line[1024];
	const char *rest;
	size_t length;
	FILE *file;
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	length = fread(line, 1, sizeof(line) - 1, file);
	(void)fclose(file);
	line[length] = '\0';
	rest = strrchr(line, ')');
	if (!rest || sscanf(rest + 1,
			     " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			     " %" SCNu64 " %" SCNu64,
			     &parent, &user, &system, &children_user, &children_system) != 5)
		return false;
	*ret_process = (struct process){.pid = pid,
		.parent = (pid_t)parent,
		.ticks = user + system + children_user + children_system};
	return true;
}

static void
process_list_add(struct process_list *list, pid_t pid)
{
	struct process process;

	if (!process_read(pid, &process))
		return;
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 256;
		struct process *items = reallocarray(list->items, room, sizeof(*items));

		if (!items)
			return;
		list->items = items;
		list->room = room;
	}
	list->items[list->n++] = process;
}

static const struct process *
process_list_find(const struct process_list *list, pid_t pid)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->items[i].pid == pid)
			return &list->items[i];
	return NULL;
}

/* Marks what descends from `root`, one more generation with each round; but not this process and
 * its clients, which are no part of a server even if a shell is the parent of both. */
static void
process_list_mark_tree(struct process_list *list, pid_t root)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (size_t i = 0; i < list->n; i++) {
			struct process *process = &list->items[i];
			const struct process *parent = process_list_find(list, process->parent);

			if (!process->in_tree && process->pid != getpid() &&
				(process->pid == root || (parent && parent->in_tree)))
				process->in_tree = changed = true;
		}
	}
}

/* The caller frees the items; those of the tree are marked. */
static struct process_list
process_list_read(pid_t root)
{
	struct process_list list = {0};
	DIR *directory = opendir("/proc");
	const struct dirent *entry;

	if (!directory)
		return list;
	while ((entry = readdir(directory)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			process_list_add(&list, (pid_t)strtol(entry->d_name, NULL, 10));
	(void)closedir(directory);
	process_list_mark_tree(&list, root);
	return list;
}

static void
bench_memory_sum_tree(pid_t pid, bool with_pss, struct bench_server *ret_server)
{
	struct process_list list = process_list_read(pid);
	struct bench_server server = {0};

	for (size_t i = 0; i < list.n; i++) {
		const struct process *process = &list.items[i];
		char path[64];

		if (!process->in_tree)
			continue;
		server.processes++;
		server.cpu_seconds += (double)process->ticks / (double)sysconf(_SC_CLK_TCK);
		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)process->pid);
		if (with_pss)
			server.pss_bytes += proc_read_kib(path, "Pss");
	}
	free(list.items);
	*ret_server = server;
}

void
bench_memory_read_server(pid_t pid, struct bench_server *ret_server)
{
	bench_memory_sum_tree(pid, true, ret_server);
}

double
bench_memory_read_cpu(pid_t pid)
{
	struct bench_server server;

	bench_memory_sum_tree(pid, false, &server);
	return server.cpu_seconds;
}
