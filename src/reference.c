/* reference: see reference.h. */
#include "reference.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define COLUMNS 78
#define INDENT "    "

/* The words of a text, one after the other. */
struct reference_word {
	const char *text;
	size_t length;
};

static bool
reference_next_word(struct reference_word *word)
{
	word->text += word->length;
	word->text += strspn(word->text, " ");
	word->length = strcspn(word->text, " ");
	return word->length > 0;
}

static bool
reference_ends_sentence(const struct reference_word *word)
{
	size_t n = word->length;

	while (n > 0 && strchr(")\"'", word->text[n - 1]))
		n--;
	return n > 0 && strchr(".!?", word->text[n - 1]);
}

/* A name such as limits.accept_rate is not to be broken at a hyphen that it does not have. */
static bool
reference_is_name(const struct reference_word *word)
{
	for (size_t i = 1; i + 1 < word->length; i++)
		if (strchr("._", word->text[i]) && isalnum((unsigned char)word->text[i - 1]) &&
			isalnum((unsigned char)word->text[i + 1]))
			return true;
	return false;
}

/* What stands for a character that roff would not print as it is; NULL if it would. Hyphens are left
 * alone within words, where a line may be broken at them; in front of one they belong to an option.
 */
static const char *
reference_escape(char character, bool in_front)
{
	switch (character) {
	case '\\':
		return "\\e";
	case '^':
		return "\\(ha";
	case '~':
		return "\\(ti";
	case '`':
		return "\\(ga";
	case '-':
		return in_front ? "\\-" : NULL;
	default:
		return NULL;
	}
}

/* Returns how many bytes that are. Without a file, only counts them. */
static size_t
reference_put_escaped(FILE *out, const struct reference_word *word)
{
	size_t front = strspn(word->text, "[(\"-"), n = 0;
	char one[2] = "";

	for (size_t i = 0; i < word->length; i++) {
		const char *escaped = reference_escape(word->text[i], i < front);

		one[0] = word->text[i];
		escaped = escaped ? escaped : one;
		n += strlen(escaped);
		if (out)
			fputs(escaped, out);
	}
	return n;
}

/* A word of a text line. Returns how many bytes that are; without a file, only counts them. */
static size_t
reference_put_text_word(FILE *out, const struct reference_word *word)
{
	const char *no_hyphens = reference_is_name(word) ? "\\%" : "";

	if (out)
		fputs(no_hyphens, out);
	return strlen(no_hyphens) + reference_put_escaped(out, word);
}

/* A text line: each sentence begins on a new one, and none begins with what roff takes for a
 * request. */
static void
reference_put_mdoc_text(FILE *out, const char *text)
{
	struct reference_word word = {.text = text};
	bool ended = true;
	size_t column = 0;

	while (reference_next_word(&word)) {
		if (ended || column + 1 + reference_put_text_word(NULL, &word) > COLUMNS) {
			fputs(column > 0 ? "\n" : "", out);
			fputs(strchr(".'", *word.text) ? "\\&" : "", out);
			column = 0;
		} else {
			fputc(' ', out);
			column++;
		}
		column += reference_put_text_word(out, &word);
		ended = reference_ends_sentence(&word);
	}
	fputc('\n', out);
}

/* An argument of a macro. A short one could be taken for a macro or for punctuation. */
static void
reference_put_argument(FILE *out, const struct reference_word *word)
{
	fputs(word->length <= 3 ? " \\&" : " ", out);
	for (size_t i = 0; i < word->length; i++) {
		struct reference_word one = {.text = word->text + i, .length = 1};

		if (word->text[i] == '"')
			fputs("\\(dq", out);
		else if (word->text[i] == ' ')
			fputs("\\ ", out);
		else
			(void)reference_put_escaped(out, &one);
	}
}

/* One word of a usage, with its brackets: "[--limit", "N]", "|". */
static void
reference_put_usage_word(FILE *out, struct reference_word word)
{
	size_t dashes, closing = 0;
	bool comma;

	for (; word.length > 0 && *word.text == '['; word.text++, word.length--)
		fputs(" Oo", out);
	for (; word.length > 0 && word.text[word.length - 1] == ']'; word.length--)
		closing++;
	comma = word.length > 0 && word.text[word.length - 1] == ',';
	word.length -= comma;
	dashes = strspn(word.text, "-");
	if (word.length == 1 && *word.text == '|') {
		fputs(" |", out);
	} else if (dashes > 0 && dashes < word.length) {
		fprintf(out, " Fl %s", dashes > 1 ? "-" : "");
		fprintf(out, "%.*s", (int)(word.length - dashes), word.text + dashes);
	} else if (word.length > 0) {
		fputs(isupper((unsigned char)*word.text) ? " Ar" : " Cm", out);
		reference_put_argument(out, &word);
	}
	fputs(comma ? " ," : "", out);
	while (closing-- > 0)
		fputs(" Oc", out);
}

static void
reference_put_mdoc_term(FILE *out, const struct reference_entry *entry)
{
	static const char *const macros[] = {
		[REFERENCE_WORD] = "Cm",
		[REFERENCE_NAME] = "Va",
		[REFERENCE_ERROR] = "Er",
	};
	struct reference_word word = {.text = entry->term};

	fputs(".It", out);
	if (entry->kind == REFERENCE_USAGE) {
		while (reference_next_word(&word))
			reference_put_usage_word(out, word);
	} else {
		fprintf(out, " %s", macros[entry->kind]);
		word.length = strlen(entry->term);
		reference_put_argument(out, &word);
	}
	fputc('\n', out);
}

/* Indented lines of at most COLUMNS, broken at blanks. */
static void
reference_put_text(FILE *out, const char *text)
{
	struct reference_word word = {.text = text};
	size_t column = 0;

	while (reference_next_word(&word)) {
		if (column == 0 || column + 1 + word.length > COLUMNS) {
			fprintf(out, "%s" INDENT, column > 0 ? "\n" : "");
			column = strlen(INDENT);
		} else {
			fputc(' ', out);
			column++;
		}
		fwrite(word.text, 1, word.length, out);
		column += word.length;
	}
	fputc('\n', out);
}

void
reference_begin(const struct reference *reference)
{
	if (reference->form == REFERENCE_MDOC)
		fputs(".Bl -tag -width Ds\n", reference->out);
}

void
reference_put(const struct reference *reference, const struct reference_entry *entry)
{
	FILE *out = reference->out;
	bool is_mdoc = reference->form == REFERENCE_MDOC, first = true;

	if (is_mdoc)
		reference_put_mdoc_term(out, entry);
	else
		fprintf(out, "%s\n", entry->term);
	for (size_t i = 0; i < REFERENCE_LINES_MAX; i++) {
		const char *line = entry->lines[i];

		if (!line || *line == '\0')
			continue;
		fputs(is_mdoc && !first ? ".br\n" : "", out);
		first = false;
		if (is_mdoc)
			reference_put_mdoc_text(out, line);
		else
			reference_put_text(out, line);
	}
	fputs(is_mdoc ? "" : "\n", out);
}

void
reference_end(const struct reference *reference)
{
	if (reference->form == REFERENCE_MDOC)
		fputs(".El\n", reference->out);
}
