/*
 * reference: a table of the source as a reference, for a terminal or as the body of a list in a
 * manual page (mdoc(7)).
 *
 * Process: none; pure. Knows the forms, and no table.
 */
#ifndef MILLGATE_REFERENCE_H
#define MILLGATE_REFERENCE_H

#include <stdio.h>

enum reference_form {
	REFERENCE_TEXT,
	REFERENCE_MDOC,
};

/* What stands at the head of an entry, and so how a manual sets it. */
enum reference_term {
	REFERENCE_WORD,  /* what is written as it is: a key, a reason */
	REFERENCE_NAME,  /* of a value: a metric, a setting */
	REFERENCE_ERROR, /* an errno */
	REFERENCE_USAGE, /* a command or an option: "list [--limit N]"; capitals are to be replaced */
};

struct reference {
	FILE *out;
	enum reference_form form;
};

#define REFERENCE_LINES_MAX 4

struct reference_entry {
	enum reference_term kind;
	const char *term;
	/* Sentences, each begins on a line of its own; those that are NULL or "" are left out. */
	const char *lines[REFERENCE_LINES_MAX];
};

/* A list with its entries: one begin, any number of put, one end. */
void reference_begin(const struct reference *reference);
void reference_put(const struct reference *reference, const struct reference_entry *entry);
void reference_end(const struct reference *reference);

#endif
