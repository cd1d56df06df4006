/* tune_show: see tune_show.h. */
#include "tune_show.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tune_facts.h"
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
tune_show_form(const json_t *tuning, enum tune_form form)
{
	switch (form) {
	case TUNE_FORM_TABLE:
		tune_print_table(stdout, tuning, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"));
		puts("LimitNOFILE and MemoryMax are those of this shell; millgatectl tune tells "
		     "the service's.");
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

/* The advice, or NULL if there is no memory. */
static json_t *
tune_show_advice(const struct conf *conf)
{
	struct tune_report report;
	struct tune_facts facts;
	json_t *tuning = NULL;

	if (tune_facts_read("", conf, &facts) < 0)
		return NULL;
	if (tune_check(conf, &facts, &report) == 0) {
		tuning = tune_to_json(&report);
		tune_report_done(&report);
	}
	tune_facts_done(&facts);
	return tuning;
}

int
tune_show(const struct conf *conf, enum tune_form form, bool *ret_good)
{
	json_t *tuning = tune_show_advice(conf);
	int r = tuning ? tune_show_form(tuning, form) : -ENOMEM;

	if (r == 0)
		*ret_good = tune_count_bad(tuning) == 0;
	json_decref(tuning);
	return r;
}
