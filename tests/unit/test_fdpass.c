/* fdpass: messages and descriptors arrive whole and in order, or it is told that they did not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "fdpass.h"
#include "fixture_fds.h"

#define NOBODY 65534

struct pair {
	int here, there;
	unsigned n_open; /* descriptors of this process before */
	char bytes[64];
	struct fdpass_message message;
};

static int
setup(void **state)
{
	static struct pair pair;
	int fds[2];

	pair = (struct pair){.n_open = count_open_fds()};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	pair.here = fds[0];
	pair.there = fds[1];
	*state = &pair;
	return 0;
}

/* Every test leaves as many descriptors as it found. */
static int
teardown(void **state)
{
	struct pair *pair = *state;

	close(pair->here);
	close(pair->there);
	assert_int_equal(count_open_fds(), pair->n_open);
	return 0;
}

static int
send_text(int sock, const char *text, const int *fds, unsigned n_fds)
{
	struct iovec vector = {(void *)text, strlen(text)};

	return fdpass_send(sock, &vector, 1, fds, n_fds);
}

static int
receive(struct pair *pair)
{
	return fdpass_receive(pair->there, pair->bytes, sizeof(pair->bytes), &pair->message);
}

static void
assert_received(struct pair *pair, const char *text, unsigned n_fds)
{
	assert_int_equal(receive(pair), 0);
	assert_int_equal(pair->message.length, strlen(text));
	assert_memory_equal(pair->bytes, text, strlen(text));
	assert_int_equal(pair->message.n_fds, n_fds);
	assert_false(pair->message.data_cut);
	assert_false(pair->message.fds_cut);
}

static void
test_message_without_descriptors(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(send_text(pair->here, "hello", NULL, 0), 0);
	assert_received(pair, "hello", 0);
}

static void
test_vectors_are_put_together(void **state)
{
	struct pair *pair = *state;
	char first[] = "one,", second[] = "two";
	struct iovec vectors[3] = {{first, 4}, {NULL, 0}, {second, 3}};

	assert_int_equal(fdpass_send(pair->here, vectors, 3, NULL, 0), 0);
	assert_received(pair, "one,two", 0);
}

static void
test_messages_keep_their_bounds_and_order(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(send_text(pair->here, "a", NULL, 0), 0);
	assert_int_equal(send_text(pair->here, "bc", NULL, 0), 0);
	assert_received(pair, "a", 0);
	assert_received(pair, "bc", 0);
}

static void
test_a_descriptor_is_a_copy_that_exec_closes(void **state)
{
	struct pair *pair = *state;
	int fd = make_file(17);

	assert_int_equal(send_text(pair->here, "x", &fd, 1), 0);
	assert_file(fd, 17);
	close(fd);
	assert_received(pair, "x", 1);
	assert_file(pair->message.fds[0], 17);
	assert_int_equal(fcntl(pair->message.fds[0], F_GETFD), FD_CLOEXEC);
	fdpass_close(&pair->message, 0);
}

static void
check_many(struct pair *pair, unsigned n)
{
	int fds[FDPASS_FDS_MAX] = {0};

	make_files(fds, n);
	assert_int_equal(send_text(pair->here, "many", fds, n), 0);
	close_all(fds, n);
	assert_received(pair, "many", n);
	for (unsigned i = 0; i < n; i++)
		assert_file(pair->message.fds[i], i + 1);
	fdpass_close(&pair->message, 0);
}

static void
test_all_descriptors_of_a_full_message_arrive_in_order(void **state)
{
	check_many(*state, FDPASS_FDS_MAX - 1);
	check_many(*state, FDPASS_FDS_MAX);
}

static void
send_too_many(void)
{
	const int fds[FDPASS_FDS_MAX + 1] = {0};

	(void)send_text(STDIN_FILENO, "x", fds, FDPASS_FDS_MAX + 1);
}

static void
test_more_descriptors_than_a_message_takes_are_our_bug(void **state)
{
	(void)state;
	assert_aborts(send_too_many);
}

static void
test_an_empty_socket_says_again(void **state)
{
	assert_int_equal(receive(*state), -EAGAIN);
}

static void
test_a_closed_end_is_told_after_its_last_words(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(send_text(pair->here, "bye", NULL, 0), 0);
	assert_int_equal(shutdown(pair->here, SHUT_RDWR), 0);
	assert_received(pair, "bye", 0);
	assert_int_equal(receive(pair), -EPIPE);
	assert_int_equal(receive(pair), -EPIPE);
}

/* With something unread at the end that closes, the kernel says ECONNRESET. */
static void
test_an_end_closed_unread_is_told_the_same(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(send_text(pair->there, "never read", NULL, 0), 0);
	close(pair->here);
	assert_int_equal(receive(pair), -EPIPE);
	pair->here = dup(pair->there);
}

static void
test_an_end_closed_unread_is_told_after_its_last_words(void **state)
{
	struct pair *pair = *state;
	int fd = make_file(1);

	assert_int_equal(send_text(pair->there, "never read", NULL, 0), 0);
	assert_int_equal(send_text(pair->here, "bye", &fd, 1), 0);
	close(pair->here);
	assert_received(pair, "bye", 1);
	fdpass_close(&pair->message, 0);
	assert_int_equal(receive(pair), -EPIPE);
	close_all(&fd, 1);
	pair->here = dup(pair->there);
}

static void
test_sending_to_a_closed_end_is_an_error_and_no_signal(void **state)
{
	struct pair *pair = *state;
	int fd = make_file(1);

	assert_int_equal(shutdown(pair->there, SHUT_RDWR), 0);
	assert_int_equal(send_text(pair->here, "x", NULL, 0), -EPIPE);
	assert_int_equal(send_text(pair->here, "x", &fd, 1), -EPIPE);
	close(fd);
}

static void
test_errors_are_passed_on(void **state)
{
	struct pair *pair = *state;
	int fd = make_file(1), closed = dup(fd);

	close(closed);
	assert_int_equal(send_text(closed, "x", NULL, 0), -EBADF);
	assert_int_equal(send_text(fd, "x", NULL, 0), -ENOTSOCK);
	assert_int_equal(send_text(pair->here, "x", &closed, 1), -EBADF);
	assert_int_equal(fdpass_receive(fd, pair->bytes, 1, &pair->message), -ENOTSOCK);
	assert_int_equal(receive(pair), -EAGAIN);
	close(fd);
}

static unsigned
fill(int sock, const int *fds, unsigned n_fds)
{
	unsigned n = 0;
	int r;

	while ((r = send_text(sock, "fill", fds, n_fds)) == 0)
		n++;
	assert_int_equal(r, -EAGAIN);
	return n;
}

static void
test_a_full_socket_says_again_until_it_is_read(void **state)
{
	struct pair *pair = *state;
	int fd = make_file(1);
	unsigned n = fill(pair->here, &fd, 1);

	assert_true(n > 0);
	for (unsigned i = 0; i < n; i++) {
		assert_received(pair, "fill", 1);
		fdpass_close(&pair->message, 0);
	}
	assert_int_equal(receive(pair), -EAGAIN);
	assert_int_equal(send_text(pair->here, "more", &fd, 1), 0);
	assert_received(pair, "more", 1);
	fdpass_close(&pair->message, 0);
	close(fd);
}

static void
check_cut(struct pair *pair, size_t size, bool cut)
{
	int fd = make_file(3);

	assert_int_equal(send_text(pair->here, "12345678", &fd, 1), 0);
	close(fd);
	assert_int_equal(fdpass_receive(pair->there, pair->bytes, size, &pair->message), 0);
	assert_int_equal(pair->message.data_cut, cut);
	assert_int_equal(pair->message.length, cut ? size : 8);
	assert_memory_equal(pair->bytes, "12345678", pair->message.length);
	assert_int_equal(pair->message.n_fds, 1);
	assert_file(pair->message.fds[0], 3);
	fdpass_close(&pair->message, 0);
}

static void
test_a_message_longer_than_the_buffer_is_cut_and_told(void **state)
{
	check_cut(*state, 1, true);
	check_cut(*state, 7, true);
	check_cut(*state, 8, false);
	check_cut(*state, 9, false);
	assert_int_equal(receive(*state), -EAGAIN);
}

static void
check_room(struct pair *pair, unsigned room, unsigned n_sent)
{
	unsigned n_expected = room < n_sent ? room : n_sent;
	int fds[FDPASS_FDS_MAX] = {0};
	struct rlimit before;
	int r;

	make_files(fds, n_sent);
	assert_int_equal(send_text(pair->here, "x", fds, n_sent), 0);
	close_all(fds, n_sent);
	before = limit_fds_to_room_for(room);
	r = receive(pair);
	restore_limit(&before);
	assert_int_equal(r, 0);
	assert_int_equal(pair->message.length, 1);
	assert_int_equal(pair->message.fds_cut, room < n_sent);
	assert_int_equal(pair->message.n_fds, n_expected);
	for (unsigned i = 0; i < n_expected; i++)
		assert_file(pair->message.fds[i], i + 1);
	fdpass_close(&pair->message, 0);
}

static void
test_descriptors_without_room_are_lost_and_told(void **state)
{
	check_room(*state, 0, 1);
	check_room(*state, 9, 10);
	check_room(*state, 10, 10);
	check_room(*state, 11, 10);
	check_room(*state, FDPASS_FDS_MAX - 1, FDPASS_FDS_MAX);
	check_room(*state, FDPASS_FDS_MAX, FDPASS_FDS_MAX);
}

/* It reads like the end of the connection, and would leave its descriptors behind. */
static void
test_an_empty_message_leaves_no_descriptors(void **state)
{
	struct pair *pair = *state;
	int fds[10];
	unsigned n_open;

	make_files(fds, 10);
	n_open = count_open_fds();
	assert_int_equal(send_text(pair->here, "", fds, 10), 0);
	assert_int_equal(receive(pair), -EPIPE);
	assert_int_equal(count_open_fds(), n_open);
	close_all(fds, 10);
}

static void
test_nothing_is_written_when_nothing_is_received(void **state)
{
	struct pair *pair = *state;
	struct fdpass_message before;

	memset(&pair->message, 0x5a, sizeof(pair->message));
	memcpy(&before, &pair->message, sizeof(before));
	assert_int_equal(receive(pair), -EAGAIN);
	assert_int_equal(shutdown(pair->here, SHUT_RDWR), 0);
	assert_int_equal(receive(pair), -EPIPE);
	assert_memory_equal(&pair->message, &before, sizeof(before));
}

static void
test_close_begins_where_it_is_told(void **state)
{
	struct fdpass_message message = {.n_fds = 4};

	(void)state;
	make_files(message.fds, 4);
	fdpass_close(&message, 4);
	fdpass_close(&message, 5);
	assert_int_equal(message.n_fds, 4);
	fdpass_close(&message, 3);
	assert_int_equal(message.n_fds, 3);
	assert_true(is_open(message.fds[2]));
	assert_false(is_open(message.fds[3]));
	fdpass_close(&message, 0);
	assert_int_equal(message.n_fds, 0);
	assert_false(is_open(message.fds[0]));
	fdpass_close(&message, 0);
}

static void
put_rights(struct cmsghdr *cmsg, int type, const int *fds, unsigned n)
{
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n);
}

static void
test_collect_adds_up_and_leaves_other_things_out(void **state)
{
	_Alignas(struct cmsghdr) char control[3 * CMSG_SPACE(2 * sizeof(int))] = {0};
	struct msghdr header = {.msg_control = control, .msg_controllen = sizeof(control)};
	struct fdpass_message message;
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

	(void)state;
	put_rights(cmsg, SCM_RIGHTS, (const int[]){11, 12}, 2);
	cmsg = CMSG_NXTHDR(&header, cmsg);
	put_rights(cmsg, SCM_CREDENTIALS, (const int[]){1, 2}, 2);
	cmsg = CMSG_NXTHDR(&header, cmsg);
	put_rights(cmsg, SCM_RIGHTS, (const int[]){13, 14}, 2);
	fdpass_collect(&header, &message);
	assert_int_equal(message.n_fds, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(message.fds[i], 11 + i);
}

static void
test_collect_reads_the_flags(void **state)
{
	struct msghdr header = {.msg_flags = 0};
	struct fdpass_message message;

	(void)state;
	fdpass_collect(&header, &message);
	assert_int_equal(message.n_fds, 0);
	assert_false(message.data_cut || message.fds_cut);
	header.msg_flags = MSG_TRUNC;
	fdpass_collect(&header, &message);
	assert_true(message.data_cut && !message.fds_cut);
	header.msg_flags = MSG_CTRUNC;
	fdpass_collect(&header, &message);
	assert_true(!message.data_cut && message.fds_cut);
}

/* unix(7): descriptors in flight count against RLIMIT_NOFILE, but for the superuser. Returns 0 when
 * all is as it should be, 77 when nobody can be had here. */
static int
run_as_nobody_with_many_in_flight(struct pair *pair)
{
	const int fds[100] = {0};
	int r;

	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return 77;
	(void)limit_fds(150);
	while ((r = send_text(pair->here, "x", fds, 100)) == 0)
		continue;
	if (r != -ENOBUFS || receive(pair) != 0 || pair->message.n_fds != 100)
		return 1;
	fdpass_close(&pair->message, 0);
	while (receive(pair) == 0)
		fdpass_close(&pair->message, 0);
	return send_text(pair->here, "x", fds, 100) == 0 ? 0 : 2;
}

static void
test_too_many_in_flight_is_told_from_a_full_socket(void **state)
{
	struct pair *pair = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run_as_nobody_with_many_in_flight(pair));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_message_without_descriptors),
		TEST(test_vectors_are_put_together),
		TEST(test_messages_keep_their_bounds_and_order),
		TEST(test_a_descriptor_is_a_copy_that_exec_closes),
		TEST(test_all_descriptors_of_a_full_message_arrive_in_order),
		TEST(test_more_descriptors_than_a_message_takes_are_our_bug),
		TEST(test_an_empty_socket_says_again),
		TEST(test_a_closed_end_is_told_after_its_last_words),
		TEST(test_an_end_closed_unread_is_told_the_same),
		TEST(test_an_end_closed_unread_is_told_after_its_last_words),
		TEST(test_sending_to_a_closed_end_is_an_error_and_no_signal),
		TEST(test_errors_are_passed_on),
		TEST(test_a_full_socket_says_again_until_it_is_read),
		TEST(test_a_message_longer_than_the_buffer_is_cut_and_told),
		TEST(test_descriptors_without_room_are_lost_and_told),
		TEST(test_an_empty_message_leaves_no_descriptors),
		TEST(test_nothing_is_written_when_nothing_is_received),
		TEST(test_close_begins_where_it_is_told),
		TEST(test_collect_adds_up_and_leaves_other_things_out),
		TEST(test_collect_reads_the_flags),
		TEST(test_too_many_in_flight_is_told_from_a_full_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
