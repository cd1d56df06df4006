/* close_reason: see close_reason.h. */
#include "close_reason.h"

#include <assert.h>

static const struct close_reason_info CLOSE_REASONS[CLOSE_REASON_COUNT] = {
#define CLOSE(symbol, name, class, websocket, text, advice) \
	[CLOSE_##symbol] = {name, CLOSE_CLASS_##class, websocket, text, advice},
#include "close_reason.def"
#undef CLOSE
};

const struct close_reason_info *
close_reason_info(unsigned reason)
{
	assert(reason < CLOSE_REASON_COUNT);
	return &CLOSE_REASONS[reason];
}

const char *close_class_name(enum close_class class)
{
	static const char *const names[] = {
		[CLOSE_CLASS_NORMAL] = "normal",
		[CLOSE_CLASS_ERROR] = "error",
		[CLOSE_CLASS_REFUSED] = "refused",
	};
	return names[class];
}
