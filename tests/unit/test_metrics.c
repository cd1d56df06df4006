/* metrics: slots add up, are shared by forked processes, and the rows are fit for Prometheus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "metrics.h"

static struct metrics *
make_metrics(unsigned n_workers)
{
	struct metrics *metrics = metrics_new(n_workers);

	assert_non_null(metrics);
	return metrics;
}

static void
test_new_has_a_slot_for_each_process(void **state)
{
	static const unsigned counts[] = {0, 1, 2, METRICS_WORKERS_MAX - 1, METRICS_WORKERS_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct metrics *metrics = make_metrics(counts[i]);

		assert_int_equal(metrics->n_slots, 1 + counts[i]);
		metrics_add(&metrics->slots[counts[i]].value[METRIC_COUNT - 1], 1);
		metrics_free(metrics);
	}
}

static void
make_too_many(void)
{
	metrics_free(metrics_new(METRICS_WORKERS_MAX + 1));
}

static void
test_more_workers_than_the_limit_are_our_bug(void **state)
{
	(void)state;
	assert_aborts(make_too_many);
}

static void
test_new_is_zero(void **state)
{
	struct metrics *metrics = make_metrics(2);

	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		assert_int_equal(metrics_sum(metrics, i), 0);
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		assert_int_equal(metrics_listener_sum(metrics, METRICS_LISTENERS_MAX - 1, i), 0);
	for (unsigned i = 0; i < metrics->n_slots; i++)
		assert_int_equal(metrics->slots[i].tick_usec, 0);
	metrics_free(metrics);
}

static void
test_free_accepts_null(void **state)
{
	(void)state;
	metrics_free(NULL);
}

static void
test_slots_share_no_page(void **state)
{
	struct metrics *metrics = make_metrics(1);

	(void)state;
	assert_int_equal(sizeof(struct metrics_slot) % 4096, 0);
	assert_int_equal((uintptr_t)&metrics->slots[0] % 4096, 0);
	assert_int_equal((uintptr_t)&metrics->slots[1] % 4096, 0);
	metrics_free(metrics);
}

static void
test_add_and_write(void **state)
{
	uint64_t field = 5;

	(void)state;
	metrics_add(&field, 3);
	assert_int_equal(metrics_read(&field), 8);
	metrics_add(&field, (uint64_t)-8);
	assert_int_equal(metrics_read(&field), 0);
	metrics_write(&field, UINT64_MAX);
	assert_int_equal(metrics_read(&field), UINT64_MAX);
}

static void
test_sum_is_over_all_slots(void **state)
{
	struct metrics *metrics = make_metrics(3);

	(void)state;
	for (unsigned i = 0; i < metrics->n_slots; i++)
		metrics_write(&metrics->slots[i].value[METRIC_ACCEPTED], (uint64_t)1 << (8 * i));
	assert_int_equal(metrics_sum(metrics, METRIC_ACCEPTED), 0x01010101);
	assert_int_equal(metrics_sum(metrics, METRIC_CONNECTIONS), 0);
	metrics_free(metrics);
}

/* One process counts a connection, another that it went: the slots wrap, the sum does not. */
static void
test_sum_of_a_slot_below_zero(void **state)
{
	struct metrics *metrics = make_metrics(1);

	(void)state;
	metrics_write(&metrics->slots[0].value[METRIC_QUEUED_BYTES], 10);
	metrics_write(&metrics->slots[1].value[METRIC_QUEUED_BYTES], (uint64_t)-4);
	assert_int_equal(metrics_sum(metrics, METRIC_QUEUED_BYTES), 6);
	metrics_free(metrics);
}

static void
test_listener_sum_is_of_one_listener(void **state)
{
	struct metrics *metrics = make_metrics(2);
	const unsigned last = METRICS_LISTENERS_MAX - 1;

	(void)state;
	for (unsigned i = 0; i < metrics->n_slots; i++)
		metrics_write(&metrics->slots[i].listener[last][LISTENER_METRIC_REFUSED], 2 + i);
	metrics_write(&metrics->slots[0].listener[0][LISTENER_METRIC_REFUSED], 100);
	assert_int_equal(metrics_listener_sum(metrics, last, LISTENER_METRIC_REFUSED), 9);
	assert_int_equal(metrics_listener_sum(metrics, 0, LISTENER_METRIC_REFUSED), 100);
	assert_int_equal(metrics_listener_sum(metrics, last, LISTENER_METRIC_ACCEPTED), 0);
	metrics_free(metrics);
}

static void
sum_of_no_listener(void)
{
	struct metrics *metrics = metrics_new(1);

	if (metrics)
		(void)metrics_listener_sum(
			metrics, METRICS_LISTENERS_MAX, LISTENER_METRIC_ACCEPTED);
}

static void
row_of_no_metric(void)
{
	(void)metric_info(METRIC_COUNT);
}

static void
row_of_no_listener_metric(void)
{
	(void)listener_metric_info(LISTENER_METRIC_COUNT);
}

static void
test_what_is_not_in_the_tables_is_our_bug(void **state)
{
	(void)state;
	assert_aborts(sum_of_no_listener);
	assert_aborts(row_of_no_metric);
	assert_aborts(row_of_no_listener_metric);
}

static void
test_a_forked_process_shares_them(void **state)
{
	struct metrics *metrics = make_metrics(1);
	int status;
	pid_t pid;

	(void)state;
	metrics_write(&metrics->slots[0].value[METRIC_HEARTBEATS], 40);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		metrics_add(&metrics->slots[1].value[METRIC_HEARTBEATS], 2);
		_exit(metrics_sum(metrics, METRIC_HEARTBEATS) == 42 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(metrics_sum(metrics, METRIC_HEARTBEATS), 42);
	metrics_free(metrics);
}

/* The rules of Prometheus's naming and of its text format. */
static void
check_row(const struct metric_info *info)
{
	const char *suffix = strrchr(info->name, '_');
	bool is_total = suffix && strcmp(suffix, "_total") == 0;

	assert_int_equal(strspn(info->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(info->name));
	assert_int_equal(is_total, info->kind == METRIC_KIND_COUNTER);
	assert_non_null(info->unit);
	assert_int_equal(info->help[strlen(info->help) - 1], '.');
	assert_null(strpbrk(info->help, "\n\\"));
}

static void
test_rows_follow_the_rules_of_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		check_row(metric_info(i));
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		check_row(listener_metric_info(i));
	for (unsigned i = 0; i < SPLIT_METRIC_COUNT; i++)
		check_row(split_metric_info(i));
}

static void
test_labels_tell_apart_what_there_is_more_than_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		assert_string_equal(metric_info(i)->labels, "");
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		assert_string_equal(listener_metric_info(i)->labels, "listener");
	for (unsigned i = 0; i < SPLIT_METRIC_COUNT; i++)
		assert_string_not_equal(split_metric_info(i)->labels, "");
}

static void
test_names_are_unique(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		for (unsigned j = i + 1; j < METRIC_COUNT; j++)
			assert_string_not_equal(metric_info(i)->name, metric_info(j)->name);
	for (unsigned i = 0; i < LISTENER_METRIC_COUNT; i++)
		for (unsigned j = i + 1; j < LISTENER_METRIC_COUNT; j++)
			assert_string_not_equal(
				listener_metric_info(i)->name, listener_metric_info(j)->name);
}

/* What an operator's dashboards are promised. */
static void
test_the_promised_names_are_there(void **state)
{
	(void)state;
	assert_string_equal(metric_info(METRIC_CONNECTIONS)->name, "connections_current");
	assert_string_equal(metric_info(METRIC_ACCEPTED)->name, "connections_accepted_total");
	assert_string_equal(metric_info(METRIC_REFUSED)->name, "connections_refused_total");
	assert_string_equal(metric_info(METRIC_BYTES_RECEIVED)->name, "bytes_received_total");
	assert_string_equal(metric_info(METRIC_BYTES_SENT)->name, "bytes_sent_total");
	assert_string_equal(metric_info(METRIC_QUEUED_BYTES)->name, "queued_bytes_current");
	assert_string_equal(metric_info(METRIC_ACCEPT_PAUSED)->name, "accept_paused_current");
	assert_string_equal(metric_info(METRIC_WORKERS)->name, "workers_current");
	assert_string_equal(metric_info(METRIC_WORKER_RESTARTS)->name, "worker_restarts_total");
	assert_string_equal(metric_info(METRIC_UPTIME)->name, "uptime_seconds");
}

static void
test_kinds_have_names(void **state)
{
	(void)state;
	assert_string_equal(metric_kind_name(METRIC_KIND_COUNTER), "counter");
	assert_string_equal(metric_kind_name(METRIC_KIND_GAUGE), "gauge");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_has_a_slot_for_each_process),
		cmocka_unit_test(test_more_workers_than_the_limit_are_our_bug),
		cmocka_unit_test(test_new_is_zero),
		cmocka_unit_test(test_free_accepts_null),
		cmocka_unit_test(test_slots_share_no_page),
		cmocka_unit_test(test_add_and_write),
		cmocka_unit_test(test_sum_is_over_all_slots),
		cmocka_unit_test(test_sum_of_a_slot_below_zero),
		cmocka_unit_test(test_listener_sum_is_of_one_listener),
		cmocka_unit_test(test_what_is_not_in_the_tables_is_our_bug),
		cmocka_unit_test(test_a_forked_process_shares_them),
		cmocka_unit_test(test_rows_follow_the_rules_of_names),
		cmocka_unit_test(test_labels_tell_apart_what_there_is_more_than_once),
		cmocka_unit_test(test_names_are_unique),
		cmocka_unit_test(test_the_promised_names_are_there),
		cmocka_unit_test(test_kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
