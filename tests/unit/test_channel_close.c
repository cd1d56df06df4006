/* channel: an end that closes, or sends what is no message, is told once and leaves nothing. */
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
on_closed_free(void *context)
{
	struct both *both = context;

	free(both->there);
	both->there = NULL;
}

static void
test_a_closed_end_is_told_once(void **state)
{
	struct both *both = *state;

	channel_done(&both->here->channel);
	settle(both);
	settle(both);
	assert_int_equal(both->there->n_closed, 1);
	assert_int_equal(both->there->channel.fd, -1);
	assert_int_equal(both->here->n_closed, 0);
}

static void
test_last_words_are_heard_before_the_end(void **state)
{
	struct both *both = *state;

	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(send_value(&both->here->channel, i, 1), 0);
	channel_done(&both->here->channel);
	settle(both);
	assert_values(both->there, 0, 50);
	assert_int_equal(both->there->n_closed, 1);
}

static void
test_last_words_are_heard_of_an_end_that_has_not_read_all(void **state)
{
	struct both *both = *state;
	int fd = make_file(1);

	assert_int_equal(send_value(&both->there->channel, 7, 1), 0);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(send_value(&both->here->channel, i, 1), 0);
	assert_int_equal(send_file(&both->here->channel, 50, &fd, 1), 0);
	channel_done(&both->here->channel);
	settle(both);
	assert_values(both->there, 0, 51);
	assert_int_equal(both->there->n_offered, 1);
	assert_int_equal(both->there->n_closed, 1);
	close(fd);
}

static void
test_sending_to_a_closed_end_is_an_error(void **state)
{
	struct both *both = *state;
	int fd = make_file(1);

	channel_done(&both->there->channel);
	assert_int_equal(send_value(&both->here->channel, 1, 0), -EPIPE);
	assert_int_equal(send_file(&both->here->channel, 1, &fd, 1), -EPIPE);
	assert_int_equal(both->here->n_closed, 0);
	settle(both);
	assert_int_equal(both->here->n_closed, 1);
	assert_int_equal(send_value(&both->here->channel, 1, 0), -EPIPE);
	assert_int_equal(send_file(&both->here->channel, 1, &fd, 1), -EPIPE);
	close(fd);
}

static void
test_an_end_that_closes_with_a_full_queue(void **state)
{
	struct both *both = *state;

	(void)fill_socket(&both->here->channel);
	channel_done(&both->there->channel);
	settle(both);
	assert_int_equal(both->here->n_closed, 1);
	assert_int_equal(both->here->channel.fd, -1);
}

static void
check_nonsense(struct both *both, const void *bytes, size_t length)
{
	struct iovec vector = {(void *)bytes, length};
	int fds[2] = {0};
	unsigned n_open;

	make_files(fds, 2);
	n_open = count_open_fds();
	assert_int_equal(fdpass_send(both->here->channel.fd, &vector, 1, fds, 2), 0);
	settle(both);
	assert_int_equal(both->there->n_messages, 0);
	assert_int_equal(both->there->n_closed, 1);
	channel_done(&both->here->channel);
	assert_int_equal(count_open_fds(), n_open - 2);
	close_all(fds, 2);
}

static void
test_nonsense_closes_and_leaves_no_descriptors(void **state)
{
	check_nonsense(*state, "nonsense", 8);
}

static void
test_a_message_of_no_bytes_closes_and_leaves_no_descriptors(void **state)
{
	check_nonsense(*state, "", 0);
}

/* Its beginning alone would be a good message. */
static void
test_a_message_that_is_too_long_closes(void **state)
{
	unsigned most = control_records_max(CONTROL_CLOSED, UINT16_MAX);
	const struct control_header header = {.type = CONTROL_CLOSED, .count = (uint16_t)most};
	char *bytes = calloc(1, (size_t)CONTROL_MESSAGE_MAX + 1);

	assert_non_null(bytes);
	memcpy(bytes, &header, sizeof(header));
	check_nonsense(*state, bytes, (size_t)CONTROL_MESSAGE_MAX + 1);
	free(bytes);
}

static void
test_nothing_is_heard_after_nonsense(void **state)
{
	struct both *both = *state;
	struct iovec vector = {both, 3};

	assert_int_equal(fdpass_send(both->here->channel.fd, &vector, 1, NULL, 0), 0);
	assert_int_equal(send_value(&both->here->channel, 1, 0), 0);
	settle(both);
	assert_int_equal(both->there->n_messages, 0);
	assert_int_equal(both->there->n_closed, 1);
}

static void
test_the_closed_callback_may_free_the_channel(void **state)
{
	struct both *both = *state;

	both->there->channel.callbacks.closed = on_closed_free;
	both->there->channel.callbacks.context = both;
	channel_done(&both->here->channel);
	settle(both);
	assert_null(both->there);
}

static void
test_a_message_may_close_its_channel(void **state)
{
	struct both *both = *state;

	both->there->hangs_up = true;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(send_value(&both->here->channel, i, 0), 0);
	settle(both);
	assert_int_equal(both->there->n_messages, 1);
	assert_int_equal(both->there->n_closed, 0);
	assert_int_equal(both->here->n_closed, 1);
}

static void
test_drain_hears_all_last_words_at_once(void **state)
{
	struct both *both = *state;

	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(send_value(&both->here->channel, i, 0), 0);
	channel_done(&both->here->channel);
	channel_drain(&both->there->channel);
	assert_values(both->there, 0, 200);
	assert_int_equal(both->there->n_closed, 1);
}

static void
test_drain_of_a_living_channel_ends(void **state)
{
	struct both *both = *state;

	assert_int_equal(send_value(&both->here->channel, 0, 0), 0);
	channel_drain(&both->there->channel);
	channel_drain(&both->there->channel);
	assert_values(both->there, 0, 1);
	assert_int_equal(both->there->n_closed, 0);
	assert_int_equal(send_value(&both->here->channel, 1, 0), 0);
	settle(both);
	assert_values(both->there, 0, 2);
}

static void
test_done_twice_and_of_zeroed_memory(void **state)
{
	struct both *both = *state;
	struct channel zeroed = {0};

	channel_done(&zeroed);
	channel_done(&both->here->channel);
	channel_done(&both->here->channel);
	channel_drain(&both->here->channel);
	assert_int_equal(both->here->n_closed, 0);
}

static void
test_done_drops_what_waits(void **state)
{
	struct both *both = *state;

	(void)fill_socket(&both->here->channel);
	assert_int_equal(send_value(&both->here->channel, 1, 100), 0);
	channel_done(&both->here->channel);
	assert_int_equal(both->here->channel.queued_bytes, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_closed_end_is_told_once),
		TEST(test_last_words_are_heard_before_the_end),
		TEST(test_last_words_are_heard_of_an_end_that_has_not_read_all),
		TEST(test_sending_to_a_closed_end_is_an_error),
		TEST(test_an_end_that_closes_with_a_full_queue),
		TEST(test_nonsense_closes_and_leaves_no_descriptors),
		TEST(test_a_message_of_no_bytes_closes_and_leaves_no_descriptors),
		TEST(test_a_message_that_is_too_long_closes),
		TEST(test_nothing_is_heard_after_nonsense),
		TEST(test_the_closed_callback_may_free_the_channel),
		TEST(test_a_message_may_close_its_channel),
		TEST(test_drain_hears_all_last_words_at_once),
		TEST(test_drain_of_a_living_channel_ends),
		TEST(test_done_twice_and_of_zeroed_memory),
		TEST(test_done_drops_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
