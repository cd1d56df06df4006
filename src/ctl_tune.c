/* ctl_tune: see ctl_tune.h. */
#include "ctl_tune.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl_admin.h"
#include "sysctl.h"
#include "tune_print.h"
#include "tune_table.h"

static enum ctl_exit
tune_ask(const struct ctl *ctl, struct ctl_answer *ret_answer)
{
	const struct ctl_call call = {.command = COMMAND_TUNE};
	enum ctl_exit r = ctl_admin_call(ctl, &call, ret_answer);

	if (r == CTL_EXIT_UNREACHABLE)
		fputs("Without a gateway, 'millgated --tune --config FILE' tells what its "
		      "configuration needs.\n",
			stderr);
	return r;
}

static enum ctl_exit
tune_judge(const struct ctl_answer *answer)
{
	return tune_count_bad(answer->json) > 0 ? CTL_EXIT_FAILED : CTL_EXIT_OK;
}

/* Root does not set what it pleases the gateway to name, but what our own table knows. */
static bool
tune_is_ours(const char *key)
{
	for (enum tune_row row = 0; row < TUNE_ROW_COUNT; row++)
		if (tune_row_info(row)->where == TUNE_SYSCTL &&
			strcmp(tune_row_info(row)->key, key) == 0)
			return true;
	return strcmp(key, TUNE_RESERVED_PORTS_KEY) == 0;
}

/* Does the file hold these numbers? A list of ports is kept in the kernel's own way, and is left
 * to the gateway to judge. */
static bool
tune_is_set(const char *key, const char *value)
{
	struct sysctl_numbers now, wanted;
	bool same = true;
	char *text;

	if (sysctl_read("", key, &text) < 0)
		return false;
	if (sysctl_parse(value, &wanted) == 0)
		same = sysctl_parse(text, &now) == 0 && memcmp(&now, &wanted, sizeof(now)) == 0;
	free(text);
	return same;
}

/* Sets one key and says what became of it; false if it is not as it should be. */
static bool
tune_apply_one(struct ctl_text *text, const char *key, const char *value)
{
	char *before = NULL;
	int r;

	if (!tune_is_ours(key)) {
		ctl_complain("%s = %s: is no setting that --apply knows; set it with sysctl -w",
			key, value);
		return false;
	}
	r = sysctl_read("", key, &before);
	if (r == 0)
		r = sysctl_write("", key, value);
	if (r < 0) {
		ctl_complain("%s = %s: %s", key, value, strerror(-r));
	} else if (!tune_is_set(key, value)) {
		ctl_complain("%s = %s: the kernel took it, and did not keep it", key, value);
		r = -1;
	} else {
		ctl_text_put(text, CTL_PLAIN, "%s = %s", key, value);
		ctl_text_put(text, CTL_DIM, "  (it was %s)", before[0] ? before : "empty");
		ctl_text_end_line(text);
	}
	free(before);
	return r == 0;
}

/* Sets what is needed; false if something could not be set. */
static bool
tune_apply_all(struct ctl_text *text, const json_t *tuning)
{
	const char *key, *value;
	bool good = true;
	json_t *setting;
	size_t i, n = 0;

	json_array_foreach(json_object_get(tuning, "settings"), i, setting) {
		if (!json_is_true(json_object_get(setting, "needed")) ||
			!tune_setting_read(setting, "sysctl", &key, &value))
			continue;
		good &= tune_apply_one(text, key, value);
		n++;
	}
	if (n == 0)
		puts("There is nothing to set in the kernel.");
	return good;
}

/* What is still wrong, and not for want of trying. */
static void
tune_print_rest(struct ctl_text *text, const json_t *tuning)
{
	json_t *finding;
	size_t i;

	if (tune_count_bad(tuning) > 0) {
		ctl_text_put(text, CTL_WARN, "Still short or harmful, as the gateway sees it:");
		ctl_text_end_line(text);
	}
	json_array_foreach(json_object_get(tuning, "findings"), i, finding) {
		if (i == tune_count_bad(tuning))
			break;
		ctl_text_put(text, CTL_PLAIN, "  %s: %s", ctl_json_text(finding, "key"),
			ctl_json_text(finding, "how"));
		ctl_text_end_line(text);
	}
}

static enum ctl_exit
tune_apply(const struct ctl *ctl, const struct ctl_answer *answer)
{
	struct ctl_text text = ctl_text_stdout(ctl);
	struct ctl_answer after;
	enum ctl_exit r;
	bool good;

	good = tune_apply_all(&text, answer->json);
	/* The gateway may live in another network namespace than we do. */
	r = tune_ask(ctl, &after);
	if (r != CTL_EXIT_OK)
		return r;
	tune_print_rest(&text, after.json);
	r = good ? tune_judge(&after) : CTL_EXIT_FAILED;
	ctl_answer_done(&after);
	return r;
}

static enum ctl_exit
tune_show(const struct ctl *ctl, const struct ctl_answer *answer)
{
	if (ctl->json)
		ctl_print_json(ctl, answer);
	else if (ctl->given & CTL_OPTION_SYSCTL)
		tune_print_sysctl(stdout, answer->json);
	else if (ctl->given & CTL_OPTION_UNIT)
		tune_print_unit(stdout, answer->json);
	else
		tune_print_table(stdout, answer->json, ctl->color);
	return tune_judge(answer);
}

enum ctl_exit
ctl_tune_run(const struct ctl *ctl)
{
	struct ctl_answer answer;
	enum ctl_exit r;

	if (__builtin_popcount(ctl->given) + ctl->json > 1)
		return ctl_usage_error(
			"tune", "tune takes one of --sysctl, --unit, --apply and --json");
	if (ctl->given & CTL_OPTION_APPLY && geteuid() != 0) {
		ctl_complain("tune --apply writes to /proc/sys, which needs root");
		return CTL_EXIT_FAILED;
	}
	r = tune_ask(ctl, &answer);
	if (r != CTL_EXIT_OK)
		return r;
	r = ctl->given & CTL_OPTION_APPLY ? tune_apply(ctl, &answer) : tune_show(ctl, &answer);
	ctl_answer_done(&answer);
	return r;
}
