/* ctl_top: see ctl_top.h. */
#include "ctl_top.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "ctl_admin.h"
#include "ctl_screen.h"
#include "ctl_view.h"

#define BAR_WIDTH_MIN 12u
#define BAR_WIDTH_MAX 62u
#define BAR_SURROUND 68u  /* columns before a bar, and for what is told behind it */
#define ROWS_MIN 3u       /* of each table, however small the screen is */
#define PLAIN_ROWS 10u    /* of each table, when there is no screen */
#define SOURCES_MAX 1000u /* the contract's */

struct top_sample {
	struct ctl_answer stats, sources;
	uint64_t taken_usec;
};

struct top {
	struct ctl ctl;
	struct ctl_screen screen;
	struct top_sample now, before; /* without stats: there is none */
	uint64_t lost_usec;            /* since when there is no answer; 0: there is one */
	struct mg_error error;         /* why there is none */
	enum ctl_exit exit_code;
};

static void
top_sample_done(struct top_sample *sample)
{
	ctl_answer_done(&sample->stats);
	ctl_answer_done(&sample->sources);
}

static unsigned
top_rows(const struct top *top)
{
	unsigned columns, rows;

	if (!top->screen.open)
		return PLAIN_ROWS;
	ctl_term_size(STDOUT_FILENO, &columns, &rows);
	return rows / 4 < ROWS_MIN ? ROWS_MIN : rows / 4;
}

/* A gateway that was started anew counts from 0: there is nothing to compare with. */
static bool
top_is_same_run(const json_t *now, const json_t *before)
{
	return before && ctl_json_real(now, "pid") == ctl_json_real(before, "pid") &&
	       ctl_json_real(now, "uptime_seconds") >= ctl_json_real(before, "uptime_seconds");
}

/* Takes the place of the last sample, which becomes the one before. */
static void
top_keep_sample(struct top *top, const struct top_sample *fresh)
{
	top_sample_done(&top->before);
	top->before = top->now;
	top->now = *fresh;
	if (!top_is_same_run(top->now.stats.json, top->before.stats.json) || top->lost_usec != 0)
		top_sample_done(&top->before);
	top->lost_usec = 0;
}

static enum ctl_exit
top_ask(const struct top *top, struct top_sample *ret_sample, struct mg_error *reterr_error)
{
	struct ctl_call stats = {.command = COMMAND_STATS}, sources = {.command = COMMAND_SOURCES};
	struct top_sample sample = {.taken_usec = 0};
	char query[32];
	enum ctl_exit r = ctl_admin_try(&top->ctl, &stats, &sample.stats, reterr_error);

	if (r != CTL_EXIT_OK)
		return r;
	sample.taken_usec = clock_now_usec();
	snprintf(query, sizeof(query), "limit=%u",
		top_rows(top) < SOURCES_MAX ? top_rows(top) : SOURCES_MAX);
	sources.query = query;
	r = ctl_admin_try(&top->ctl, &sources, &sample.sources, reterr_error);
	if (r != CTL_EXIT_OK) {
		top_sample_done(&sample);
		return r;
	}
	*ret_sample = sample;
	return CTL_EXIT_OK;
}

/* Asks for the numbers, through keys and resizes that interrupt. False: it is time to quit. */
static bool
top_take_sample(struct top *top)
{
	struct top_sample fresh;

	for (;;) {
		top->error.text[0] = '\0';
		top->exit_code = top_ask(top, &fresh, &top->error);
		if (top->exit_code == CTL_EXIT_OK) {
			top_keep_sample(top, &fresh);
			return true;
		}
		if (top->error.text[0] != '\0')
			break;
		if (ctl_screen_wait(&top->screen, 0) == CTL_SCREEN_QUIT)
			return false;
	}
	if (top->lost_usec == 0)
		top->lost_usec = clock_now_usec();
	return true;
}

/* Growth a second of a member since the sample before, or NAN. */
static double
top_rate(const struct top *top, const json_t *now, const json_t *before, const char *key)
{
	double seconds = (double)(top->now.taken_usec - top->before.taken_usec) / 1e6;
	double growth = ctl_json_real(now, key) - ctl_json_real(before, key);

	if (!before || top->lost_usec != 0 || seconds <= 0 || growth < 0)
		return NAN;
	return growth / seconds;
}

static void
top_draw_rates(const struct top *top, struct ctl_text *text, const struct ctl_close *closes,
	unsigned n_closes)
{
	const json_t *now = json_object_get(top->now.stats.json, "metrics");
	const json_t *before = json_object_get(top->before.stats.json, "metrics");
	double seconds = (double)(top->now.taken_usec - top->before.taken_usec) / 1e6;
	double closed = before && top->lost_usec == 0 ? 0 : NAN;
	unsigned i;

	for (i = 0; i < n_closes; i++)
		if (!closes[i].is_refused && !isnan(closes[i].since))
			closed += closes[i].since;
	ctl_text_put(text, CTL_PLAIN, "A second      ");
	ctl_text_put(text, CTL_BOLD, "%s",
		ctl_term_rate(top_rate(top, now, before, "connections_accepted_total")).text);
	ctl_text_put(text, CTL_PLAIN, " accepted, ");
	ctl_text_put(text, CTL_BOLD, "%s", ctl_term_rate(closed / seconds).text);
	ctl_text_put(text, CTL_PLAIN, " closed, ");
	ctl_text_put(text, CTL_BOLD, "%s",
		ctl_term_rate(top_rate(top, now, before, "connections_refused_total")).text);
	ctl_text_put(text, CTL_PLAIN, " refused, ");
	ctl_text_put(text, CTL_BOLD, "%s",
		ctl_term_bytes(top_rate(top, now, before, "bytes_received_total")).text);
	ctl_text_put(text, CTL_PLAIN, " received, ");
	ctl_text_put(text, CTL_BOLD, "%s",
		ctl_term_bytes(top_rate(top, now, before, "bytes_sent_total")).text);
	ctl_text_put(text, CTL_PLAIN, " sent");
	ctl_text_end_line(text);
}

static void
top_draw_listeners(const struct top *top, struct ctl_text *text)
{
	static const struct ctl_column columns[] = {{"LISTENER", false}, {"SERVICE", false},
		{"STATE", false}, {"CONNECTIONS", true}, {"LIMIT", true}, {"FULL", true},
		{"ACCEPTED/S", true}, {"REFUSED/S", true}};
	json_t *listeners = json_object_get(top->now.stats.json, "listeners");
	const json_t *all_before = json_object_get(top->before.stats.json, "listeners"), *before;
	struct ctl_table table;
	const char *name;
	json_t *listener;
	unsigned rows = 0;

	ctl_table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	json_object_foreach(listeners, name, listener) {
		if (rows++ == top_rows(top))
			break;
		before = json_object_get(all_before, name);
		ctl_view_listener(&table, name, listener);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_rate(top_rate(top, listener, before, "accepted_total")).text);
		ctl_table_add(&table, CTL_PLAIN, "%s",
			ctl_term_rate(top_rate(top, listener, before, "refused_total")).text);
	}
	ctl_table_print(&table, text);
	ctl_table_done(&table);
}

static void
top_draw_closes(const struct top *top, struct ctl_text *text, const struct ctl_close *closes,
	unsigned n_closes)
{
	static const struct ctl_column columns[] = {
		{"CLOSED", false}, {"A SECOND", true}, {"TOTAL", true}, {"WHY", false}};
	const json_t *before = json_object_get(top->before.stats.json, "closed");
	const json_t *now = json_object_get(top->now.stats.json, "closed");
	struct ctl_table table;
	unsigned i;

	ctl_table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	for (i = 0; i < n_closes && i < top_rows(top); i++) {
		ctl_table_add(&table, ctl_view_close_style(&closes[i]), "%s", closes[i].name);
		ctl_table_add(&table, CTL_BOLD, "%s",
			ctl_term_rate(top_rate(top, now, before, closes[i].name)).text);
		ctl_table_add(&table, CTL_PLAIN, "%s", ctl_term_count(closes[i].total).text);
		ctl_table_add(&table, CTL_DIM, "%s", closes[i].text);
	}
	ctl_table_print(&table, text);
	ctl_table_done(&table);
}

/* The last that was heard, and, on top, that nothing is heard any more. */
static void
top_draw(const struct top *top, struct ctl_text *text)
{
	const json_t *stats = top->now.stats.json;
	struct ctl_close closes[CTL_CLOSES_MAX];
	unsigned n_closes, bar_width = BAR_WIDTH_MIN;

	if (top->lost_usec != 0) {
		ctl_text_put(text, CTL_BAD, "No answer for %s, trying again.",
			ctl_term_duration((double)(clock_now_usec() - top->lost_usec) / 1e6).text);
		ctl_text_end_line(text);
		ctl_text_put(text, CTL_BAD, "  ! %s", top->error.text);
		ctl_text_end_line(text);
		if (!top->screen.open)
			return;
	}
	if (text->width > BAR_SURROUND + BAR_WIDTH_MIN)
		bar_width = text->width - BAR_SURROUND < BAR_WIDTH_MAX ? text->width - BAR_SURROUND
								       : BAR_WIDTH_MAX;
	n_closes = ctl_view_closes(json_object_get(stats, "closed"),
		json_object_get(top->before.stats.json, "closed"), closes);
	ctl_view_headline(text, stats);
	ctl_text_end_line(text);
	ctl_view_limits(text, stats, top->now.sources.json, bar_width);
	top_draw_rates(top, text, closes, n_closes);
	ctl_text_end_line(text);
	top_draw_listeners(top, text);
	ctl_text_end_line(text);
	if (json_array_size(json_object_get(stats, "upstreams")) > 0) {
		ctl_view_upstreams(text, json_object_get(stats, "upstreams"), top_rows(top));
		ctl_text_end_line(text);
	}
	top_draw_closes(top, text, closes, n_closes);
	ctl_text_end_line(text);
	ctl_view_sources(text, top->now.sources.json, top_rows(top));
}

/* The whole picture in one write, over the last one: no flicker. */
static void
top_show_screen(const struct top *top)
{
	struct ctl_text text = {.color = top->ctl.color, .erase = true};
	char *frame = NULL;
	size_t length;

	text.out = open_memstream(&frame, &length);
	if (!text.out)
		return;
	ctl_term_size(STDOUT_FILENO, &text.width, &text.height);
	fputs("\033[H", text.out);
	top_draw(top, &text);
	if (text.row < text.height)
		fputs("\033[J", text.out);
	if (fclose(text.out) == 0) {
		fwrite(frame, 1, length, stdout);
		fflush(stdout);
	}
	free(frame);
}

static void
top_show_plain(const struct top *top)
{
	struct ctl_text text = ctl_text_stdout(&top->ctl);
	time_t now = time(NULL);
	char stamp[64] = "";
	struct tm local;

	if (localtime_r(&now, &local))
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S%z", &local);
	ctl_text_put(&text, CTL_PLAIN, "%s", stamp);
	ctl_text_end_line(&text);
	top_draw(top, &text);
	ctl_text_end_line(&text);
	fflush(stdout);
}

/* Shows, and waits for the next time. False: it is time to quit. */
static bool
top_show_until(struct top *top, uint64_t until_usec)
{
	enum ctl_screen_event event;

	do {
		if (top->screen.open)
			top_show_screen(top);
		event = ctl_screen_wait(&top->screen, until_usec);
	} while (event == CTL_SCREEN_REDRAW);
	return event != CTL_SCREEN_QUIT;
}

static void
top_loop(struct top *top)
{
	uint64_t next_usec = clock_now_usec(), shown;

	for (shown = 1;; shown++) {
		if (ferror(stdout))
			return;
		/* Without a screen the first sample only serves to compare with. */
		if (top->screen.open && top->ctl.count > 0 && shown == top->ctl.count)
			break;
		next_usec += top->ctl.interval_usec;
		if (next_usec < clock_now_usec()) /* answers take longer than that */
			next_usec = clock_now_usec();
		if (!top_show_until(top, next_usec) || !top_take_sample(top))
			return;
		if (top->screen.open)
			continue;
		top_show_plain(top);
		if (shown == top->ctl.count)
			return;
	}
	top_show_screen(top);
}

enum ctl_exit
ctl_top_run(const struct ctl *ctl)
{
	struct top top = {.ctl = *ctl};
	int r;

	if (ctl->json)
		return ctl_usage_error("top", "top has no JSON; 'millgatectl --json stats' has");
	ctl_screen_init(&top.screen);
	if (!top_take_sample(&top) || top.exit_code != CTL_EXIT_OK) {
		ctl_complain("%s", top.error.text);
		return top.exit_code;
	}
	if (ctl->tty) {
		r = ctl_screen_open(&top.screen);
		if (r < 0)
			ctl_complain("the terminal cannot be used: %s", strerror(-r));
		top.ctl.server.cancel_fd = top.screen.event_fd;
	}
	top_loop(&top);
	ctl_screen_close(&top.screen);
	top_sample_done(&top.now);
	top_sample_done(&top.before);
	ctl_screen_leave(&top.screen);
	return ctl->tty ? CTL_EXIT_OK : top.exit_code;
}
