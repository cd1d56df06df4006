/* log: where lines go and what they look like, what is escaped, and how much is too much. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"

#define READ_MAX 8192

/* stderr is a pipe while a test of lines runs. */
struct capture {
	int pipe[2], saved;
	char text[READ_MAX];
};

static void
capture_begin(struct capture *capture)
{
	assert_int_equal(pipe2(capture->pipe, O_NONBLOCK | O_CLOEXEC), 0);
	capture->saved = dup(STDERR_FILENO);
	assert_true(capture->saved >= 0);
	assert_true(dup2(capture->pipe[1], STDERR_FILENO) >= 0);
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_INFO);
}

/* What was written; each write shows as one read, since they are this small. */
static const char *
capture_end(struct capture *capture)
{
	ssize_t n = read(capture->pipe[0], capture->text, READ_MAX - 1);

	if (n < 0)
		n = 0;
	capture->text[n] = '\0';
	dup2(capture->saved, STDERR_FILENO);
	close(capture->saved);
	close(capture->pipe[0]);
	close(capture->pipe[1]);
	return capture->text;
}

static void
set_journal_stream(uintmax_t device, uintmax_t inode)
{
	char text[64];

	snprintf(text, sizeof(text), "%ju:%ju", device, inode);
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

static void
test_line_has_time_level_process_and_text(void **state)
{
	struct capture capture;
	unsigned year, month, day, hour, minute, second, milli;
	int length = 0;

	(void)state;
	capture_begin(&capture);
	log_open("worker 3");
	log_warning(NULL, "%d of %s", 7, "eight");
	capture_end(&capture);
	assert_int_equal(sscanf(capture.text, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %n", &year, &month,
				 &day, &hour, &minute, &second, &milli, &length),
		7);
	assert_string_equal(capture.text + length, "warning worker 3: 7 of eight\n");
}

static void
test_levels_have_their_names(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	log_open("x");
	log_set_level(LOG_LEVEL_DEBUG);
	log_error(NULL, "a");
	log_warning(NULL, "b");
	log_info(NULL, "c");
	log_debug(NULL, "d");
	capture_end(&capture);
	assert_non_null(strstr(capture.text, " error x: a\n"));
	assert_non_null(strstr(capture.text, " warning x: b\n"));
	assert_non_null(strstr(capture.text, " info x: c\n"));
	assert_non_null(strstr(capture.text, " debug x: d\n"));
}

static void
test_levels_below_the_wanted_are_silent(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	log_open("x");
	log_set_level(LOG_LEVEL_WARNING);
	log_info(NULL, "no");
	log_debug(NULL, "no");
	assert_false(log_wants(LOG_LEVEL_INFO));
	assert_true(log_wants(LOG_LEVEL_WARNING));
	assert_true(log_wants(LOG_LEVEL_ERROR));
	assert_string_equal(capture_end(&capture), "");
}

static void
test_arguments_of_a_silent_message_are_not_computed(void **state)
{
	int n = 0;

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	log_debug(NULL, "%d", ++n);
	assert_int_equal(n, 0);
}

static void
test_a_long_text_is_cut_and_still_a_line(void **state)
{
	struct capture capture;
	char text[4000];
	const char *begin;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	capture_begin(&capture);
	log_open("p");
	log_error(NULL, "%s", text);
	capture_end(&capture);
	begin = strchr(capture.text, 'x');
	assert_non_null(begin);
	assert_int_equal(strspn(begin, "x"), 1023);
	assert_string_equal(begin + 1023, "\n");
}

static void
test_a_context_does_not_change_the_line(void **state)
{
	const struct log_context context = {
		.listener = "public", .peer = "192.0.2.1:5", .reason = "killed", .connection = 4};
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	log_open("p");
	log_info(&context, "closed");
	capture_end(&capture);
	assert_non_null(strstr(capture.text, " info p: closed\n"));
	assert_null(strstr(capture.text, "public"));
}

static void
test_a_closed_stderr_is_survived(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	log_open("p");
	close(STDERR_FILENO);
	log_error(NULL, "nobody reads this");
	assert_string_equal(capture_end(&capture), "");
}

/* systemd.exec(5): JOURNAL_STREAM names the stream by device and inode. */
static void
test_journal_stream_that_is_stderr_takes_the_lines(void **state)
{
	const struct log_context context = {.listener = "unit-test",
		.peer = "192.0.2.1:5",
		.reason = "killed",
		.connection = 4,
		.worker = 1,
		.has_worker = true};
	struct capture capture;
	struct stat st;

	(void)state;
	capture_begin(&capture);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	set_journal_stream(st.st_dev, st.st_ino);
	log_open("p");
	log_debug(&context, "not wanted");
	log_info(&context, "a line of millgate's unit test");
	assert_string_equal(capture_end(&capture), "");
}

static void
test_journal_stream_of_another_file_is_ignored(void **state)
{
	struct capture capture;
	struct stat st;

	(void)state;
	capture_begin(&capture);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	set_journal_stream(st.st_dev, (uintmax_t)st.st_ino + 1);
	log_open("p");
	log_info(NULL, "redirected");
	capture_end(&capture);
	assert_non_null(strstr(capture.text, " info p: redirected\n"));
}

static void
test_journal_stream_that_makes_no_sense_is_ignored(void **state)
{
	static const char *const texts[] = {"", ":", "garbage", "1", "1:2:3"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct capture capture;

		capture_begin(&capture);
		setenv("JOURNAL_STREAM", texts[i], 1);
		log_open("p");
		log_info(NULL, "here");
		capture_end(&capture);
		assert_non_null(strstr(capture.text, " info p: here\n"));
	}
	unsetenv("JOURNAL_STREAM");
}

static void
check_escape(const char *text, const char *expected)
{
	char buf[256];

	assert_ptr_equal(log_escape(text, buf, sizeof(buf)), buf);
	assert_string_equal(buf, expected);
}

static void
test_escape_leaves_printable_ascii(void **state)
{
	(void)state;
	check_escape("", "");
	check_escape("GET / HTTP/1.1", "GET / HTTP/1.1");
	check_escape(" !\"#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~",
		" !\"#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~");
}

static void
test_escape_at_the_edges_of_what_is_printable(void **state)
{
	(void)state;
	check_escape("\x1f\x20\x21", "\\x1f !");
	check_escape("\x7e\x7f\x80", "~\\x7f\\x80");
	check_escape("\x01\xff", "\\x01\\xff");
}

static void
test_escape_keeps_forged_lines_out(void **state)
{
	(void)state;
	check_escape("a\n2026 error: b", "a\\x0a2026 error: b");
	check_escape("\r\t\033[2J", "\\x0d\\x09\\x1b[2J");
	check_escape("caf\xc3\xa9", "caf\\xc3\\xa9");
}

/* Otherwise \x41 from outside and an escaped byte would look the same. */
static void
test_escape_escapes_the_backslash(void **state)
{
	(void)state;
	check_escape("\\x41", "\\x5cx41");
}

static void
test_escape_cuts_plain_text_at_the_size(void **state)
{
	char buf[8];

	(void)state;
	assert_string_equal(log_escape("123456", buf, sizeof(buf)), "123456");
	assert_string_equal(log_escape("1234567", buf, sizeof(buf)), "1234567");
	assert_string_equal(log_escape("12345678", buf, sizeof(buf)), "1234567");
}

/* An escape is whole or not there. */
static void
test_escape_never_cuts_an_escape(void **state)
{
	char buf[8];

	(void)state;
	assert_string_equal(log_escape("12\n", buf, sizeof(buf)), "12\\x0a");
	assert_string_equal(log_escape("123\n", buf, sizeof(buf)), "123\\x0a");
	assert_string_equal(log_escape("1234\n", buf, sizeof(buf)), "1234");
	assert_string_equal(log_escape("\n\n", buf, sizeof(buf)), "\\x0a");
}

static void
test_escape_into_no_room_at_all(void **state)
{
	char buf[2] = {'?', '?'};

	(void)state;
	assert_string_equal(log_escape("abc", buf, 1), "");
	assert_int_equal(buf[1], '?');
}

static bool
pass(struct log_limit *limit, uint64_t now_usec, unsigned dropped)
{
	unsigned n = 12345;

	if (!log_limit_pass(limit, now_usec, &n)) {
		assert_int_equal(n, 12345);
		return false;
	}
	assert_int_equal(n, dropped);
	return true;
}

static void
test_limit_passes_a_burst_and_no_more(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	for (unsigned i = 0; i < LOG_LIMIT_BURST; i++)
		assert_true(pass(&limit, 1000, 0));
	assert_false(pass(&limit, 1000, 0));
	assert_false(pass(&limit, 1000 + LOG_LIMIT_USEC - 1, 0));
}

static void
test_limit_tells_how_many_were_dropped(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	for (unsigned i = 0; i < LOG_LIMIT_BURST + 3; i++)
		(void)pass(&limit, 1000, 0);
	assert_true(pass(&limit, 1000 + LOG_LIMIT_USEC, 3));
	assert_true(pass(&limit, 1000 + LOG_LIMIT_USEC, 0));
}

static void
test_limit_opens_again_after_its_time(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	for (unsigned i = 0; i < LOG_LIMIT_BURST; i++)
		assert_true(pass(&limit, 1000, 0));
	for (unsigned i = 0; i < LOG_LIMIT_BURST; i++)
		assert_true(pass(&limit, 1000 + LOG_LIMIT_USEC, 0));
	assert_false(pass(&limit, 1000 + LOG_LIMIT_USEC, 0));
}

static void
test_limit_ignores_a_slow_trickle(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	for (unsigned i = 1; i < 1000; i++)
		assert_true(pass(&limit, (uint64_t)i * (LOG_LIMIT_USEC / LOG_LIMIT_BURST), 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_has_time_level_process_and_text),
		cmocka_unit_test(test_levels_have_their_names),
		cmocka_unit_test(test_levels_below_the_wanted_are_silent),
		cmocka_unit_test(test_arguments_of_a_silent_message_are_not_computed),
		cmocka_unit_test(test_a_long_text_is_cut_and_still_a_line),
		cmocka_unit_test(test_a_context_does_not_change_the_line),
		cmocka_unit_test(test_a_closed_stderr_is_survived),
		cmocka_unit_test(test_journal_stream_that_is_stderr_takes_the_lines),
		cmocka_unit_test(test_journal_stream_of_another_file_is_ignored),
		cmocka_unit_test(test_journal_stream_that_makes_no_sense_is_ignored),
		cmocka_unit_test(test_escape_leaves_printable_ascii),
		cmocka_unit_test(test_escape_at_the_edges_of_what_is_printable),
		cmocka_unit_test(test_escape_keeps_forged_lines_out),
		cmocka_unit_test(test_escape_escapes_the_backslash),
		cmocka_unit_test(test_escape_cuts_plain_text_at_the_size),
		cmocka_unit_test(test_escape_never_cuts_an_escape),
		cmocka_unit_test(test_escape_into_no_room_at_all),
		cmocka_unit_test(test_limit_passes_a_burst_and_no_more),
		cmocka_unit_test(test_limit_tells_how_many_were_dropped),
		cmocka_unit_test(test_limit_opens_again_after_its_time),
		cmocka_unit_test(test_limit_ignores_a_slow_trickle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
