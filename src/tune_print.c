/* tune_print: see tune_print.h. */
#include "tune_print.h"

#include <string.h>

#include "sysctl.h"
#include "tune_report.h"

#define PRINT_COLUMNS 78
#define PRINT_INDENT "         "
#define VALUE_CHARACTERS "0123456789 ,-"
#define UNIT_KEY_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static json_t *
tune_finding_to_json(const struct tune_finding *finding)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "key", finding->key,
		"part", finding->part, "where", tune_where_name(finding->where), "status",
		tune_status_name(finding->status), "now", finding->now, "rule",
		tune_rule_name(finding->rule), "wanted", finding->wanted, "why", finding->why,
		"how", finding->how, "configured", finding->is_want);
}

static json_t *
tune_setting_to_json(const struct tune_setting *setting)
{
	return json_pack("{s:s, s:s, s:s, s:b, s:s}", "where", tune_where_name(setting->where),
		"key", setting->key, "value", setting->value, "needed", setting->needed, "why",
		setting->why);
}

json_t *
tune_to_json(const struct tune_report *report)
{
	json_t *findings = json_array(), *settings = json_array(), *tuning = json_object();
	size_t count[TUNE_STATUS_COUNT] = {0};
	int r = 0;

	for (size_t i = 0; i < report->n_findings; i++) {
		r |= json_array_append_new(findings, tune_finding_to_json(&report->findings[i]));
		count[report->findings[i].status]++;
	}
	for (size_t i = 0; i < report->n_settings; i++)
		r |= json_array_append_new(settings, tune_setting_to_json(&report->settings[i]));
	for (enum tune_status status = 0; status < TUNE_STATUS_COUNT; status++)
		r |= json_object_set_new(
			tuning, tune_status_name(status), json_integer((json_int_t)count[status]));
	r |= json_object_set_new(tuning, "findings", findings);
	r |= json_object_set_new(tuning, "settings", settings);
	if (r == 0)
		return tuning;
	json_decref(tuning);
	return NULL;
}

static size_t
tune_json_count(const json_t *tuning, enum tune_status status)
{
	json_int_t n = json_integer_value(json_object_get(tuning, tune_status_name(status)));

	return n > 0 ? (size_t)n : 0;
}

size_t
tune_count_bad(const json_t *tuning)
{
	return tune_json_count(tuning, TUNE_HARMFUL) + tune_json_count(tuning, TUNE_SHORT);
}

/* A member that is a text; "" if it is not. */
static const char *
tune_json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* Writes text with everything but printable ASCII made harmless; returns its length. */
static int
tune_put(FILE *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		fputc(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?', out);
	return (int)length;
}

/* Writes text in lines that begin with `indent`, broken at blanks. */
static void
tune_put_wrapped(FILE *out, const char *indent, const char *text)
{
	size_t column = 0, length;

	for (const char *word = text + strspn(text, " "); *word != '\0';
		word += length + strspn(word + length, " ")) {
		length = strcspn(word, " ");
		if (column > 0 && column + 1 + length > PRINT_COLUMNS) {
			fputc('\n', out);
			column = 0;
		}
		if (column == 0)
			column += (size_t)fprintf(out, "%s", indent);
		else
			column += (size_t)fprintf(out, " ");
		tune_put(out, word, length);
		column += length;
	}
	if (column > 0)
		fputc('\n', out);
}

/* What stands in a column of the table; in `buf`, or borrowed. */
#define CELL_MAX (TUNE_KEY_MAX + TUNE_VALUE_MAX)

static const char *
tune_cell_key(const json_t *finding, char buf[static CELL_MAX])
{
	const char *part = tune_json_text(finding, "part");
	bool has_part = *part != '\0';

	snprintf(buf, CELL_MAX, "%s%s%s%s", tune_json_text(finding, "key"), has_part ? " (" : "",
		part, has_part ? ")" : "");
	return buf;
}

static const char *
tune_cell_now(const json_t *finding, char buf[static CELL_MAX])
{
	const char *now = tune_json_text(finding, "now");

	snprintf(buf, CELL_MAX, "%s", *now != '\0' ? now : "?");
	return buf;
}

static const char *
tune_cell_wanted(const json_t *finding, char buf[static CELL_MAX])
{
	const char *wanted = tune_json_text(finding, "wanted");
	const char *rule = tune_json_text(finding, "rule"), *words = "";

	for (enum tune_rule i = TUNE_AT_LEAST; i <= TUNE_UNUSED; i++)
		if (strcmp(rule, tune_rule_name(i)) == 0)
			words = tune_rule_words(i);
	snprintf(buf, CELL_MAX, "%s%s", words, *wanted != '\0' ? wanted : "-");
	return buf;
}

static const struct tune_column {
	const char *title;
	const char *(*cell)(const json_t *finding, char buf[static CELL_MAX]);
} COLUMNS[] = {
	{"SETTING", tune_cell_key},
	{"NOW", tune_cell_now},
	{"WANTED", tune_cell_wanted},
};
#define N_COLUMNS (sizeof(COLUMNS) / sizeof(COLUMNS[0]))

static void
tune_measure(const json_t *findings, size_t widths[static N_COLUMNS])
{
	char buf[CELL_MAX];
	json_t *finding;
	size_t i, length;

	for (size_t column = 0; column < N_COLUMNS; column++)
		widths[column] = strlen(COLUMNS[column].title);
	json_array_foreach(findings, i, finding) {
		for (size_t column = 0; column < N_COLUMNS; column++) {
			length = strlen(COLUMNS[column].cell(finding, buf));
			if (length > widths[column])
				widths[column] = length;
		}
	}
}

static const char *
tune_status_color(const char *status)
{
	static const char *const colors[TUNE_STATUS_COUNT] = {
		[TUNE_HARMFUL] = "\033[1;31m",
		[TUNE_SHORT] = "\033[33m",
		[TUNE_UNKNOWN] = "\033[2m",
		[TUNE_OK] = "\033[32m",
	};

	for (enum tune_status i = 0; i < TUNE_STATUS_COUNT; i++)
		if (strcmp(status, tune_status_name(i)) == 0)
			return colors[i];
	return "";
}

static void
tune_print_cells(FILE *out, const json_t *finding, const size_t widths[static N_COLUMNS])
{
	char buf[CELL_MAX];

	for (size_t column = 0; column < N_COLUMNS; column++) {
		const char *text =
			finding ? COLUMNS[column].cell(finding, buf) : COLUMNS[column].title;
		int length = tune_put(out, text, strlen(text));

		if (column + 1 < N_COLUMNS)
			fprintf(out, "%*s", (int)widths[column] + 2 - length, "");
	}
	fputc('\n', out);
}

static void
tune_print_finding(
	FILE *out, const json_t *finding, const size_t widths[static N_COLUMNS], bool color)
{
	const char *status = tune_json_text(finding, "status");
	const char *how = tune_json_text(finding, "how");
	int length;

	fputs(color ? tune_status_color(status) : "", out);
	length = tune_put(out, status, strlen(status));
	fputs(color ? "\033[0m" : "", out);
	fprintf(out, "%*s", length < 8 ? 9 - length : 1, "");
	tune_print_cells(out, finding, widths);
	tune_put_wrapped(out, PRINT_INDENT, tune_json_text(finding, "why"));
	if (*how != '\0') {
		/* Not wrapped, to be copied. */
		fputs(PRINT_INDENT "> ", out);
		tune_put(out, how, strlen(how));
		fputc('\n', out);
	}
}

void
tune_print_table(FILE *out, const json_t *tuning, bool color)
{
	const json_t *findings = json_object_get(tuning, "findings");
	size_t widths[N_COLUMNS], i;
	json_t *finding;

	tune_measure(findings, widths);
	fputs("STATUS   ", out);
	tune_print_cells(out, NULL, widths);
	json_array_foreach(findings, i, finding)
		tune_print_finding(out, finding, widths, color);
	fprintf(out, "\n%zu harmful, %zu short, %zu unknown, %zu ok.\n",
		tune_json_count(tuning, TUNE_HARMFUL), tune_json_count(tuning, TUNE_SHORT),
		tune_json_count(tuning, TUNE_UNKNOWN), tune_json_count(tuning, TUNE_OK));
}

bool
tune_setting_read(
	const json_t *setting, const char *where, const char **ret_key, const char **ret_value)
{
	const char *key = tune_json_text(setting, "key"), *value = tune_json_text(setting, "value");
	bool is_sysctl = strcmp(where, tune_where_name(TUNE_SYSCTL)) == 0;

	if (strcmp(tune_json_text(setting, "where"), where) != 0 || *key == '\0' ||
		*value == '\0' || value[strspn(value, VALUE_CHARACTERS)] != '\0')
		return false;
	if (is_sysctl ? !sysctl_is_key(key) : key[strspn(key, UNIT_KEY_LETTERS)] != '\0')
		return false;
	*ret_key = key;
	*ret_value = value;
	return true;
}

/* The settings of one kind, each with its reason in front. */
static void
tune_print_settings(FILE *out, const json_t *tuning, const char *where, const char *equals)
{
	const char *key, *value;
	bool any = false;
	json_t *setting;
	size_t i;

	json_array_foreach(json_object_get(tuning, "settings"), i, setting) {
		if (!tune_setting_read(setting, where, &key, &value))
			continue;
		fputc('\n', out);
		tune_put_wrapped(out, "# ", tune_json_text(setting, "why"));
		fprintf(out, "%s%s%s\n", key, equals, value);
		any = true;
	}
	if (!any)
		fputs("\n# Nothing falls short here.\n", out);
}

void
tune_print_sysctl(FILE *out, const json_t *tuning)
{
	fputs("# What the kernel must allow for what millgate's configuration allows.\n"
	      "# To be kept as /etc/sysctl.d/60-millgate.conf; sysctl --system applies it.\n",
		out);
	tune_print_settings(out, tuning, tune_where_name(TUNE_SYSCTL), " = ");
}

void
tune_print_unit(FILE *out, const json_t *tuning)
{
	fputs("# What the unit must allow for what millgate's configuration allows.\n"
	      "# To be kept as /etc/systemd/system/millgate.service.d/60-tuning.conf; systemctl\n"
	      "# daemon-reload and a restart apply it.\n"
	      "[Service]\n",
		out);
	tune_print_settings(out, tuning, tune_where_name(TUNE_UNIT), "=");
}
