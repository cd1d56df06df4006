/*
 * ctl_text: lines of styled text, and tables, for a terminal or a file.
 *
 * Process: millgatectl. Everything put here is made harmless first (ctl_term), so what a server
 * says may be put without thought. Lines are cut at a width and a height where these are set.
 */
#ifndef MILLGATE_CTL_TEXT_H
#define MILLGATE_CTL_TEXT_H

#include "ctl_term.h"

struct ctl_text {
	FILE *out; /* borrowed */
	bool color;
	bool erase;      /* each line wipes what a screen had behind it */
	unsigned width;  /* columns; 0: no limit */
	unsigned height; /* rows; 0: no limit */
	unsigned column, row;
};

void ctl_text_put(struct ctl_text *text, enum ctl_style style, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Spaces up to a column; at least one when the line is that long already. */
void ctl_text_pad(struct ctl_text *text, unsigned column);
void ctl_text_end_line(struct ctl_text *text);

/* "[#####.....]", `width` columns in all, coloured by how full it is. NAN is empty. */
void ctl_text_bar(struct ctl_text *text, double fraction, unsigned width);

/* Good, below 80%; warning, below 95%; bad. */
enum ctl_style ctl_text_fill_style(double fraction);

#define CTL_TABLE_COLUMNS_MAX 16

struct ctl_column {
	const char *title;
	bool right; /* numbers */
};

struct ctl_table {
	const struct ctl_column *columns;
	unsigned n_columns;
	unsigned widths[CTL_TABLE_COLUMNS_MAX];
	struct ctl_table_cell {
		char *text; /* owned */
		enum ctl_style style;
	} * cells;
	size_t n_cells, capacity;
	bool title_done;
};

void ctl_table_init(struct ctl_table *table, const struct ctl_column *columns, unsigned n_columns);
void ctl_table_done(struct ctl_table *table);

/* The next cell, row by row; a cell for which there is no memory stays empty. */
void ctl_table_add(struct ctl_table *table, enum ctl_style style, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints the titles, the first time only, and the rows, which are gone then: a long table can be
 * printed in parts. Columns keep their widths, or grow. */
void ctl_table_print(struct ctl_table *table, struct ctl_text *text);

#endif
