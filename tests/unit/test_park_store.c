/* park_store: names there and back, and what is no such name. */
#include "fixture.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "park_store.h"

static void
check_name(uint32_t epoch, uint32_t writer, unsigned index, const char *expected)
{
	uint32_t epoch_read = 4711, writer_read = 4711;
	bool is_state = index != 0;
	char name[PARK_NAME_MAX];

	park_name(epoch, writer, index, name);
	assert_string_equal(name, expected);
	assert_true(park_parse_name(name, &epoch_read, &writer_read, &is_state));
	assert_int_equal(epoch_read, epoch);
	assert_int_equal(writer_read, writer);
	assert_int_equal(is_state, index == 0);
}

static void
test_names_there_and_back(void **state)
{
	(void)state;
	check_name(0, 0, 0, "park/0/0/state");
	check_name(1, 2, 3, "park/1/2/3");
	check_name(1, 255, 0, "park/1/255/state");
	check_name(1, 255, 1, "park/1/255/1");
	check_name(7, PARK_SUPERVISOR, 0, "park/7/supervisor/state");
	check_name(7, PARK_SUPERVISOR, 1, "park/7/supervisor/1");
	check_name(7, 10, PARK_BERTHS_MAX - 1, "park/7/10/251");
	check_name(7, 10, PARK_BERTHS_MAX, "park/7/10/252");
	check_name(UINT32_MAX - 1, UINT32_MAX - 1, UINT32_MAX,
		"park/4294967294/4294967294/4294967295");
	check_name(UINT32_MAX, PARK_SUPERVISOR, 0, "park/4294967295/supervisor/state");
}

/* sd_pid_notify_with_fds(3): of FDNAME=, 255 bytes, without colons and control characters. */
static void
test_a_name_is_one_that_systemd_takes(void **state)
{
	char name[PARK_NAME_MAX];

	(void)state;
	park_name(UINT32_MAX, UINT32_MAX - 1, UINT32_MAX, name);
	assert_true(strlen(name) < PARK_NAME_MAX - 1);
	assert_null(strchr(name, ':'));
	assert_true(strncmp(name, PARK_NAME_PREFIX, strlen(PARK_NAME_PREFIX)) == 0);
}

static void
test_what_is_no_such_name(void **state)
{
	static const char *const names[] = {"", "p", "park", "park/", "park//", "park///", "park/1",
		"park/1/", "park/1/2", "park/1/2/", "park//2/state", "park/1//state",
		"park/1/supervisor", "park/01/2/state", "park/1/02/state", "park/1/2/03",
		"park/1/2/0", "park/1/2/00", "park/1/2/-1", "park/1/2/+1", "park/-1/2/state",
		"park/+1/2/state", "park/ 1/2/state", "park/1/ 2/state", "park/1/2/ 3",
		"park/1/2/state ", "park/1/2/3x", "park/1/2/x", "park/1/2x/state",
		"park/1x/2/state", "park/x/2/state", "park/1/x/state", "park/1/Supervisor/state",
		"park/1/2/State", "park/1/supervisor/state/x", "park/1/2/state/", "park/1/2/3/4",
		"park/1/2/stat", "park/1/2/states", "park/4294967296/2/state",
		"park/1/4294967296/state", "park/1/4294967295/state", "park/1/2/4294967296",
		"park/99999999999999999999/2/state", "park/1/99999999999999999999/state",
		"park/1/2/99999999999999999999", "park/1/000000000000002/state",
		"park/1/0000000000000002/state", "park/1/2/0000000000000003",
		"park/1/supervisorsupervisor/state", "park/1/2/statestatestatestate",
		"park/0x1/2/state", "Park/1/2/state", " park/1/2/state", "/park/1/2/state", "admin",
		"public"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint32_t epoch = 4711, writer = 4712;
		bool is_state = true;

		if (park_parse_name(names[i], &epoch, &writer, &is_state))
			fail_msg("\"%s\" was taken", names[i]);
		assert_int_equal(epoch, 4711);
		assert_int_equal(writer, 4712);
		assert_true(is_state);
	}
}

static void
test_a_name_that_is_far_too_long(void **state)
{
	static char name[100000] = "park/1/2/";
	uint32_t epoch, writer;
	bool is_state;

	(void)state;
	memset(name + strlen(name), '3', sizeof(name) - strlen(name) - 1);
	assert_false(park_parse_name(name, &epoch, &writer, &is_state));
	memset(name + strlen("park/1/"), '2', strlen("2/"));
	assert_false(park_parse_name(name, &epoch, &writer, &is_state));
	memset(name + strlen("park/"), '1', strlen("1/"));
	assert_false(park_parse_name(name, &epoch, &writer, &is_state));
}

static void
test_whether_any_is_passed(void **state)
{
	static const struct {
		const char *names;
		bool passed;
	} cases[] = {{"", false}, {"public", false}, {"public:admin", false}, {"park", false},
		{"xpark/1/2/state", false}, {"public:xpark/1", false}, {"park/", true},
		{"park/1/2/state", true}, {"public:park/1/2/state", true},
		{"public:admin:park/1/2/1:park/1/2/state", true}};

	(void)state;
	assert_int_equal(unsetenv("LISTEN_FDNAMES"), 0);
	assert_false(park_is_passed());
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(setenv("LISTEN_FDNAMES", cases[i].names, 1), 0);
		assert_int_equal(park_is_passed(), cases[i].passed);
	}
	assert_int_equal(unsetenv("LISTEN_FDNAMES"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_there_and_back),
		cmocka_unit_test(test_a_name_is_one_that_systemd_takes),
		cmocka_unit_test(test_what_is_no_such_name),
		cmocka_unit_test(test_a_name_that_is_far_too_long),
		cmocka_unit_test(test_whether_any_is_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
