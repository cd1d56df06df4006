/* tune_show: see tune_show.h. */
#include "tune_show.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tune_facts.h"
#include "tune_machine.h"
#include "tune_print.h"

static int
tune_show_json(const json_t *tuning)
{
	char *text = json_dumps(tuning, JSON_INDENT(2));

	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

static int
tune_show_form(const json_t *tuning, bool is_here, enum tune_form form)
{
	switch (form) {
	case TUNE_FORM_TABLE:
		tune_print_table(stdout, tuning, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"));
		if (is_here)
			puts("LimitNOFILE and MemoryMax are those of this shell; millgatectl tune "
			     "tells the service's.");
		return 0;
	case TUNE_FORM_SYSCTL:
		tune_print_sysctl(stdout, tuning);
		return 0;
	case TUNE_FORM_UNIT:
		tune_print_unit(stdout, tuning);
		return 0;
	case TUNE_FORM_JSON:
		return tune_show_json(tuning);
	}
	return 0;
}

/* What is known of the machine, this one or another. */
static int
tune_show_facts(const struct conf *conf, const char *machine_path, struct tune_facts *ret_facts,
	struct mg_error *reterr_error)
{
	if (machine_path)
		return tune_machine_load(machine_path, ret_facts, reterr_error);
	if (tune_facts_read("", conf, ret_facts) < 0)
		return mg_error_set(reterr_error, -ENOMEM, "out of memory");
	return 0;
}

/* The advice, or NULL if there is no memory. */
static json_t *
tune_show_advice(const struct conf *conf, const struct tune_facts *facts)
{
	struct tune_report report;
	json_t *tuning = NULL;

	if (tune_check(conf, facts, &report) == 0) {
		tuning = tune_to_json(&report);
		tune_report_done(&report);
	}
	return tuning;
}

int
tune_show(const struct conf *conf, const char *machine_path, enum tune_form form, bool *ret_good,
	struct mg_error *reterr_error)
{
	struct tune_facts facts;
	json_t *tuning;
	int r = tune_show_facts(conf, machine_path, &facts, reterr_error);

	if (r < 0)
		return r;
	tuning = tune_show_advice(conf, &facts);
	tune_facts_done(&facts);
	r = tuning ? tune_show_form(tuning, !machine_path, form) : -ENOMEM;
	if (r < 0)
		mg_error_set(reterr_error, r, "out of memory");
	else
		*ret_good = tune_count_bad(tuning) == 0;
	json_decref(tuning);
	return r;
}
