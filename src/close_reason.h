/*
 * close_reason: why a connection was closed. The facts stand in close_reason.def.
 *
 * Process: both. Pure.
 */
#ifndef MILLGATE_CLOSE_REASON_H
#define MILLGATE_CLOSE_REASON_H

enum close_reason {
#define CLOSE(symbol, name, class, websocket, text, advice) CLOSE_##symbol,
#include "close_reason.def"
#undef CLOSE
	CLOSE_REASON_COUNT,
	CLOSE_NONE = 255, /* not closed; fits a byte */
};

enum close_class {
	CLOSE_CLASS_NORMAL,
	CLOSE_CLASS_ERROR,
	CLOSE_CLASS_REFUSED,
};

struct close_reason_info {
	const char *name;
	enum close_class class;
	unsigned websocket_code; /* RFC 6455 section 7.4.1; 0: none can be sent */
	const char *text;
	const char *advice; /* what to do when there are many */
};

/* The row of a reason; CLOSE_REASON_COUNT and above are our bug (asserted). */
const struct close_reason_info *close_reason_info(unsigned reason);

/* "normal", "error", "refused". */
const char *close_class_name(enum close_class class);

#endif
