/*
 * commands: what the admin interface and millgatectl can do. The facts stand in commands.def.
 *
 * Process: S and millgatectl. Pure.
 */
#ifndef MILLGATE_COMMANDS_H
#define MILLGATE_COMMANDS_H

#include <stdbool.h>

enum command {
#define COMMAND(symbol, method, path, access, body, verb, usage, help) COMMAND_##symbol,
#include "commands.def"
#undef COMMAND
	COMMAND_COUNT,
};

/* In the order of what they give away. */
enum command_access {
	COMMAND_ACCESS_PUBLIC,
	COMMAND_ACCESS_READ,
	COMMAND_ACCESS_WRITE,
};

enum command_body {
	COMMAND_BODY_NO_BODY,
	COMMAND_BODY_BODY,
};

struct command_info {
	const char *method; /* "": no route */
	const char *path;   /* may end in "/ID" */
	enum command_access access;
	enum command_body body;
	const char *verb; /* "": no verb of its own */
	const char *usage;
	const char *help;
};

/* The row of a command; COMMAND_COUNT and above are our bug (asserted). */
const struct command_info *commands_info(unsigned command);

/* The command with this verb, or COMMAND_COUNT. */
enum command commands_find_verb(const char *verb);

#endif
