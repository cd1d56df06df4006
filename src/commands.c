/* commands: see commands.h. */
#include "commands.h"

#include <assert.h>
#include <string.h>

static const struct command_info COMMANDS[COMMAND_COUNT] = {
#define COMMAND(symbol, method, path, access, body, verb, usage, help) \
	[COMMAND_##symbol] = {                                         \
		method, path, COMMAND_ACCESS_##access, COMMAND_BODY_##body, verb, usage, help},
#include "commands.def"
#undef COMMAND
};

const struct command_info *
commands_info(unsigned command)
{
	assert(command < COMMAND_COUNT);
	return &COMMANDS[command];
}

enum command
commands_find_verb(const char *verb)
{
	unsigned i;

	for (i = 0; i < COMMAND_COUNT; i++)
		if (verb[0] != '\0' && strcmp(COMMANDS[i].verb, verb) == 0)
			break;
	return (enum command)i;
}
