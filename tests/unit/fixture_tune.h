/*
 * fixture_tune: configurations and machines for tests of tune. Static functions only.
 */
#ifndef MILLGATE_TESTS_FIXTURE_TUNE_H
#define MILLGATE_TESTS_FIXTURE_TUNE_H

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tune.h"

#define MILLION "\"limits\": { \"connections\": 1000000 }"
#define ONE_LISTENER "\"listeners\": { \"a\": { \"address\": \"127.0.0.1:7000\" } }"

static inline struct conf *
make_conf(const char *text)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	if (conf_parse(text, strlen(text), "test", &conf, &errors) < 0)
		fail_msg("%s", errors.items[0]);
	return conf;
}

/* A machine with 2 CPUs and 24 GiB as Debian 12 sets it up, with connection tracking. */
static inline struct tune_facts
make_stock_facts(void)
{
	static const char *const values[][2] = {
		{"LimitNOFILE", "524288"},
		{"MemTotal", "25276510208"},
		{"MemoryMax", TUNE_NO_LIMIT},
		{"fs.nr_open", "1048576"},
		{"fs.file-max", "9223372036854775807"},
		{"fs.epoll.max_user_watches", "5491511"},
		{"net.core.somaxconn", "4096"},
		{"net.core.netdev_max_backlog", "1000"},
		{"net.core.rmem_max", "212992"},
		{"net.core.wmem_max", "212992"},
		{"net.ipv4.tcp_max_syn_backlog", "2048"},
		{"net.ipv4.tcp_ehash_entries", "262144"},
		{"net.ipv4.tcp_mem", "287901 383868 575802"},
		{"net.ipv4.tcp_rmem", "4096 131072 6291456"},
		{"net.ipv4.tcp_wmem", "4096 16384 4194304"},
		{"net.ipv4.tcp_max_orphans", "131072"},
		{"net.ipv4.tcp_max_tw_buckets", "131072"},
		{"net.ipv4.tcp_fin_timeout", "60"},
		{"net.ipv4.tcp_keepalive_time", "7200"},
		{"net.ipv4.tcp_keepalive_intvl", "75"},
		{"net.ipv4.tcp_keepalive_probes", "9"},
		{"net.ipv4.ip_local_port_range", "32768 60999"},
		{TUNE_RESERVED_PORTS_KEY, ""},
		{"net.ipv4.tcp_timestamps", "1"},
		{"net.ipv4.tcp_sack", "1"},
		{"net.ipv4.tcp_window_scaling", "1"},
		{"net.ipv4.tcp_syncookies", "1"},
		{"net.ipv4.tcp_abort_on_overflow", "0"},
		{"net.ipv4.tcp_moderate_rcvbuf", "1"},
		{"net.netfilter.nf_conntrack_max", "262144"},
		{"vm.overcommit_memory", "0"},
	};
	struct tune_facts facts = {.values = json_object(), .page_bytes = 4096, .cpus = 2};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		json_object_set_new(facts.values, values[i][0], json_string(values[i][1]));
	return facts;
}

/* Changes a fact; NULL: it is not known any more. */
static inline void
set_fact(struct tune_facts *facts, const char *key, const char *value)
{
	if (value)
		json_object_set_new(facts->values, key, json_string(value));
	else
		json_object_del(facts->values, key);
}

/* The number `index` of a fact. */
static inline void
set_fact_number(struct tune_facts *facts, const char *key, size_t index, uint64_t number)
{
	char text[SYSCTL_TEXT_MAX];
	struct sysctl_numbers numbers;

	if (!tune_fact_numbers(facts, key, &numbers) || index >= numbers.n)
		numbers = (struct sysctl_numbers){.n = index + 1};
	numbers.at[index] = number;
	set_fact(facts, key, sysctl_format(&numbers, text));
}

static inline struct tune_report
check_facts(const char *conf_text, const struct tune_facts *facts)
{
	struct conf *conf = make_conf(conf_text);
	struct tune_report report = {0};

	assert_int_equal(tune_check(conf, facts, &report), 0);
	conf_free(conf);
	return report;
}

/* The first finding of a key that is of this part, or NULL. */
static inline const struct tune_finding *
find_finding(const struct tune_report *report, const char *key, const char *part)
{
	for (size_t i = 0; i < report->n_findings; i++)
		if (strcmp(report->findings[i].key, key) == 0 &&
			strcmp(report->findings[i].part, part) == 0)
			return &report->findings[i];
	return NULL;
}

/* The same for one that must be there. */
static inline const struct tune_finding *
get_finding(const struct tune_report *report, const char *key, const char *part)
{
	const struct tune_finding *finding = find_finding(report, key, part);

	if (!finding)
		fail_msg("nothing is said of %s", key);
	return finding;
}

static inline const struct tune_setting *
find_setting(const struct tune_report *report, const char *key)
{
	for (size_t i = 0; i < report->n_settings; i++)
		if (strcmp(report->settings[i].key, key) == 0)
			return &report->settings[i];
	return NULL;
}

static inline const struct tune_setting *
get_setting(const struct tune_report *report, const char *key)
{
	const struct tune_setting *setting = find_setting(report, key);

	if (!setting)
		fail_msg("there is no setting of %s", key);
	return setting;
}

#endif
