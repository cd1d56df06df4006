/* ctl_text: see ctl_text.h. */
#include "ctl_text.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN_GAP 2

static bool
text_row_hidden(const struct ctl_text *text)
{
	return text->height > 0 && text->row >= text->height;
}

static void
text_put_glyphs(struct ctl_text *text, const char *bytes)
{
	size_t length = strlen(bytes), at = 0;
	struct ctl_glyph glyph;

	while (at < length) {
		at += ctl_term_glyph(bytes + at, length - at, &glyph);
		if (text->width > 0 && text->column + glyph.width > text->width)
			return;
		fputs(glyph.text, text->out);
		text->column += glyph.width;
	}
}

static void
text_put_styled(struct ctl_text *text, enum ctl_style style, const char *bytes)
{
	bool styled = text->color && style != CTL_PLAIN && bytes[0] != '\0';

	if (text_row_hidden(text))
		return;
	if (styled)
		fputs(ctl_term_style(style), text->out);
	text_put_glyphs(text, bytes);
	if (styled)
		fputs(ctl_term_style(CTL_PLAIN), text->out);
}

void
ctl_text_put(struct ctl_text *text, enum ctl_style style, const char *format, ...)
{
	char *bytes = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&bytes, format, args);
	va_end(args);
	if (r < 0)
		return;
	text_put_styled(text, style, bytes);
	free(bytes);
}

void
ctl_text_pad(struct ctl_text *text, unsigned column)
{
	do
		text_put_styled(text, CTL_PLAIN, " ");
	while (text->column < column && (text->width == 0 || text->column < text->width) &&
		!text_row_hidden(text));
}

void
ctl_text_end_line(struct ctl_text *text)
{
	if (!text_row_hidden(text)) {
		if (text->erase)
			fputs("\033[K", text->out);
		/* A newline in the last row would scroll the screen. */
		if (text->height == 0 || text->row + 1 < text->height)
			fputc('\n', text->out);
	}
	text->column = 0;
	text->row++;
}

enum ctl_style
ctl_text_fill_style(double fraction)
{
	if (fraction >= 0.95)
		return CTL_BAD;
	return fraction >= 0.8 ? CTL_WARN : CTL_GOOD;
}

void
ctl_text_bar(struct ctl_text *text, double fraction, unsigned width)
{
	unsigned inner = width > 2 ? width - 2 : 0;
	double part = isnan(fraction) || fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
	unsigned full = (unsigned)floor(part * inner), i;
	char bar[256];

	if (inner > sizeof(bar) - 1)
		inner = sizeof(bar) - 1;
	if (full == 0 && part > 0) /* not nothing, and it shall be seen */
		full = 1;
	for (i = 0; i < inner; i++)
		bar[i] = i < full ? '#' : '.';
	bar[inner] = '\0';
	ctl_text_put(text, CTL_PLAIN, "[");
	ctl_text_put(
		text, ctl_text_fill_style(part), "%.*s", (int)(full < inner ? full : inner), bar);
	ctl_text_put(text, CTL_DIM, "%s", bar + (full < inner ? full : inner));
	ctl_text_put(text, CTL_PLAIN, "]");
}

void
ctl_table_init(struct ctl_table *table, const struct ctl_column *columns, unsigned n_columns)
{
	unsigned i;

	assert(n_columns <= CTL_TABLE_COLUMNS_MAX);
	memset(table, 0, sizeof(*table));
	table->columns = columns;
	table->n_columns = n_columns;
	for (i = 0; i < n_columns; i++)
		table->widths[i] = ctl_term_width(columns[i].title);
}

static void
table_clear(struct ctl_table *table)
{
	size_t i;

	for (i = 0; i < table->n_cells; i++)
		free(table->cells[i].text);
	table->n_cells = 0;
}

void
ctl_table_done(struct ctl_table *table)
{
	table_clear(table);
	free(table->cells);
	table->cells = NULL;
	table->capacity = 0;
}

static struct ctl_table_cell *
table_next_cell(struct ctl_table *table)
{
	size_t capacity = table->capacity ? table->capacity * 2 : 256;
	struct ctl_table_cell *cells;

	if (table->n_cells == table->capacity) {
		cells = reallocarray(table->cells, capacity, sizeof(*cells));
		if (!cells)
			return NULL;
		table->cells = cells;
		table->capacity = capacity;
	}
	return &table->cells[table->n_cells++];
}

void
ctl_table_add(struct ctl_table *table, enum ctl_style style, const char *format, ...)
{
	struct ctl_table_cell *cell = table_next_cell(table);
	size_t column;
	unsigned width;
	va_list args;

	if (!cell)
		return;
	va_start(args, format);
	if (vasprintf(&cell->text, format, args) < 0)
		cell->text = NULL;
	va_end(args);
	cell->style = style;
	column = (table->n_cells - 1) % table->n_columns;
	width = cell->text ? ctl_term_width(cell->text) : 0;
	if (width > table->widths[column])
		table->widths[column] = width;
}

static void
table_print_cell(struct ctl_table *table, struct ctl_text *text, unsigned column, unsigned start,
	enum ctl_style style, const char *bytes)
{
	unsigned width = ctl_term_width(bytes);
	unsigned at = start;

	if (table->columns[column].right)
		at += table->widths[column] - width;
	if (at > text->column && bytes[0] != '\0')
		ctl_text_pad(text, at);
	ctl_text_put(text, style, "%s", bytes);
}

void
ctl_table_print(struct ctl_table *table, struct ctl_text *text)
{
	unsigned column, start;
	size_t i;

	for (column = 0, start = 0; !table->title_done && column < table->n_columns; column++) {
		table_print_cell(
			table, text, column, start, CTL_BOLD, table->columns[column].title);
		start += table->widths[column] + COLUMN_GAP;
	}
	if (!table->title_done)
		ctl_text_end_line(text);
	table->title_done = true;
	for (i = 0; i < table->n_cells; i++) {
		column = (unsigned)(i % table->n_columns);
		start = column == 0 ? 0 : start;
		table_print_cell(table, text, column, start, table->cells[i].style,
			table->cells[i].text ? table->cells[i].text : "");
		start += table->widths[column] + COLUMN_GAP;
		if (column + 1 == table->n_columns)
			ctl_text_end_line(text);
	}
	table_clear(table);
}
