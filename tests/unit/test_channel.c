/* channel: messages and descriptors arrive in order, now or later, and the queue has its limit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture_channel.h"

static void
test_pair_is_nonblocking_and_closed_by_exec(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		close(fds[i]);
	}
}

static void
test_pair_without_room_is_an_error(void **state)
{
	struct rlimit before = limit_fds_to_room_for(1);
	int fds[2] = {-7, -7};
	int r = channel_pair(fds);

	(void)state;
	restore_limit(&before);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(fds[0], -7);
}

static void
test_messages_arrive_both_ways(void **state)
{
	struct both *both = *state;

	assert_int_equal(send_value(&both->here->channel, 1, 0), 0);
	assert_int_equal(send_value(&both->there->channel, 2, 5), 0);
	settle(both);
	assert_values(both->there, 1, 1);
	assert_values(both->here, 2, 1);
	assert_int_equal(both->here->last_id, 2);
}

static void
test_the_largest_message_arrives(void **state)
{
	struct both *both = *state;
	unsigned most = control_records_max(CONTROL_CLOSED, UINT16_MAX);

	assert_int_equal(send_value(&both->here->channel, 5, most), 0);
	settle(both);
	assert_values(both->there, 5, 1);
	assert_int_equal(both->there->last_id, 5);
	assert_int_equal(both->there->n_closed, 0);
}

/* More than the socket takes: the rest waits here, and what is said later stays behind it. */
static void
test_what_the_socket_does_not_take_waits_in_order(void **state)
{
	struct both *both = *state;
	const unsigned n = 5000;

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(send_value(&both->here->channel, 100 + i, i % 3), 0);
	assert_true(both->here->channel.queued_bytes > 0);
	settle(both);
	assert_values(both->there, 100, n);
	assert_int_equal(both->here->channel.queued_bytes, 0);
}

static void
test_sending_goes_on_after_a_full_socket(void **state)
{
	struct both *both = *state;

	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(send_value(&both->here->channel, i, 0), 0);
	settle(both);
	for (unsigned i = 1000; i < 2000; i++)
		assert_int_equal(send_value(&both->here->channel, i, 0), 0);
	settle(both);
	assert_values(both->there, 0, 2000);
}

static void
test_the_queue_is_exact_at_its_limit(void **state)
{
	struct both *both = *state;
	struct channel *channel = &both->here->channel;
	unsigned n = fill_socket(channel);

	channel->queued_max = 3 * HEADER_BYTES - 1;
	assert_int_equal(send_value(channel, n++, 0), 0);
	assert_int_equal(send_value(channel, n, 0), -ENOBUFS);
	channel->queued_max++;
	assert_int_equal(send_value(channel, n++, 0), 0);
	assert_int_equal(send_value(channel, n, 0), -ENOBUFS);
	channel->queued_max += HEADER_BYTES + 1;
	assert_int_equal(send_value(channel, n++, 0), 0);
	assert_int_equal(send_value(channel, n, 0), -ENOBUFS);
	settle(both);
	assert_values(both->there, 0, n);
}

static void
test_a_refused_message_leaves_no_trace(void **state)
{
	struct both *both = *state;
	struct channel *channel = &both->here->channel;
	unsigned n = fill_socket(channel);

	channel->queued_max = channel->queued_bytes;
	assert_int_equal(send_value(channel, 999999, 10), -ENOBUFS);
	assert_int_equal(channel->queued_bytes, HEADER_BYTES);
	settle(both);
	assert_int_equal(send_value(channel, n, 0), 0);
	settle(both);
	assert_values(both->there, 0, n + 1);
}

static void
test_descriptors_that_nobody_takes_are_closed(void **state)
{
	struct both *both = *state;
	int fds[FDPASS_FDS_MAX] = {0};
	unsigned n_open;

	make_files(fds, FDPASS_FDS_MAX);
	n_open = count_open_fds();
	assert_int_equal(send_file(&both->here->channel, 1, fds, FDPASS_FDS_MAX), 0);
	settle(both);
	assert_values(both->there, 1, 1);
	assert_int_equal(both->there->n_offered, FDPASS_FDS_MAX);
	assert_int_equal(count_open_fds(), n_open);
	close_all(fds, FDPASS_FDS_MAX);
}

static void
test_descriptors_that_are_taken_stay_open(void **state)
{
	struct both *both = *state;
	int fds[3] = {0};

	make_files(fds, 3);
	both->there->takes = true;
	assert_int_equal(send_file(&both->here->channel, 1, fds, 3), 0);
	close_all(fds, 3);
	settle(both);
	assert_int_equal(both->there->n_taken, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_file(both->there->taken[i], i + 1);
	close_all(both->there->taken, 3);
}

static void
test_descriptors_never_wait(void **state)
{
	struct both *both = *state;
	unsigned n = fill_socket(&both->here->channel);
	int fd = make_file(1);

	assert_int_equal(send_file(&both->here->channel, n, &fd, 1), -EAGAIN);
	assert_int_equal(send_file(&both->here->channel, n, &fd, 1), -EAGAIN);
	assert_int_equal(both->here->n_writable, 0);
	settle(both);
	assert_int_equal(both->here->n_writable, 1);
	assert_values(both->there, 0, n);
	assert_int_equal(send_file(&both->here->channel, n, &fd, 1), 0);
	settle(both);
	assert_values(both->there, 0, n + 1);
	assert_int_equal(both->here->n_writable, 1);
	close(fd);
}

/* Nothing waits here, and yet the socket is full. */
static void
test_writable_is_told_without_a_queue(void **state)
{
	struct both *both = *state;
	int fd = make_file(1);
	unsigned n = 0;

	while (send_file(&both->here->channel, n, &fd, 1) == 0)
		n++;
	assert_int_equal(both->here->channel.queued_bytes, 0);
	settle(both);
	assert_int_equal(both->here->n_writable, 1);
	assert_values(both->there, 0, n);
	close(fd);
}

static void
test_writable_is_not_told_unasked(void **state)
{
	struct both *both = *state;

	(void)fill_socket(&both->here->channel);
	settle(both);
	assert_int_equal(both->here->n_writable, 0);
}

/* A busy end must not keep the loop from others. */
static void
test_a_turn_of_the_loop_reads_a_bounded_burst(void **state)
{
	struct both *both = *state;

	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(send_value(&both->here->channel, i, 0), 0);
	event_base_loop(both->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_true(both->there->n_messages > 0);
	assert_true(both->there->n_messages < 200);
	settle(both);
	assert_values(both->there, 0, 500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pair_is_nonblocking_and_closed_by_exec),
		TEST(test_pair_without_room_is_an_error),
		TEST(test_messages_arrive_both_ways),
		TEST(test_the_largest_message_arrives),
		TEST(test_what_the_socket_does_not_take_waits_in_order),
		TEST(test_sending_goes_on_after_a_full_socket),
		TEST(test_the_queue_is_exact_at_its_limit),
		TEST(test_a_refused_message_leaves_no_trace),
		TEST(test_descriptors_that_nobody_takes_are_closed),
		TEST(test_descriptors_that_are_taken_stay_open),
		TEST(test_descriptors_never_wait),
		TEST(test_writable_is_told_without_a_queue),
		TEST(test_writable_is_not_told_unasked),
		TEST(test_a_turn_of_the_loop_reads_a_bounded_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
