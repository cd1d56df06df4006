/*
 * ctl_view: the parts that status and top have in common, from /stats and /sources to lines.
 *
 * Process: millgatectl. Members that are missing show as "-".
 */
#ifndef MILLGATE_CTL_VIEW_H
#define MILLGATE_CTL_VIEW_H

#include <jansson.h>

#include "ctl_text.h"

/* "millgate 0.1.0 is ok  pid 123, up 3h12m", draining, and the problems below. */
void ctl_view_headline(struct ctl_text *text, const json_t *stats);
void ctl_view_problems(struct ctl_text *text, const json_t *health);

/* A bar for each limit. `sources` is /sources, whose first one is the fullest, or NULL. */
void ctl_view_limits(
	struct ctl_text *text, const json_t *stats, const json_t *sources, unsigned bar_width);

/* A table of at most `max` sources. */
void ctl_view_sources(struct ctl_text *text, const json_t *sources, unsigned max);

#define CTL_CLOSES_MAX 64

struct ctl_close {
	const char *name; /* borrowed from the JSON */
	double total, since;
	const char *class, *text; /* of close_reason.def; "" for reasons we do not know */
	bool is_normal, is_refused;
};

/* The reasons of "closed" that ever occurred; `since` is the growth from `before`, which may be
 * NULL, or NAN where that is not known. Sorted by growth, then by total. Returns how many. */
unsigned ctl_view_closes(
	const json_t *closed, const json_t *before, struct ctl_close closes[CTL_CLOSES_MAX]);

/* The style of a reason's name, and of a listener's or worker's state. */
enum ctl_style ctl_view_close_style(const struct ctl_close *close);
enum ctl_style ctl_view_state_style(const char *state);

/* A table of servers behind relay listeners, as /stats and /upstreams list them; at most `max`. */
void ctl_view_upstreams(struct ctl_text *text, const json_t *upstreams, unsigned max);

/* The cells of a listener's row that every view of it has: name, service, state, connections, limit
 * and how full it is. */
void ctl_view_listener(struct ctl_table *table, const char *name, const json_t *listener);

#endif
