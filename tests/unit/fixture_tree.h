/*
 * fixture_tree: files below a temporary directory, to stand for /proc and /sys. Static functions
 * only.
 */
#ifndef MILLGATE_TESTS_FIXTURE_TREE_H
#define MILLGATE_TESTS_FIXTURE_TREE_H

#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fixture.h"

struct tree {
	char root[64];
};

static inline struct tree
make_tree(void)
{
	struct tree tree = {"/tmp/millgate-tree.XXXXXX"};

	assert_non_null(mkdtemp(tree.root));
	return tree;
}

/* Writes a file, and makes the directories that it is in. */
static inline void
put_file(const struct tree *tree, const char *path, const char *text)
{
	char full[640];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", tree->root, path);
	for (char *p = full + strlen(tree->root) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		(void)mkdir(full, 0700);
		*p = '/';
	}
	file = fopen(full, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static inline int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void
remove_tree(const struct tree *tree)
{
	assert_int_equal(nftw(tree->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
