/*
 * ws_frame: the frames of a WebSocket (RFC 6455 sections 5 and 7.4), read and written.
 *
 * Process: both. Pure: bytes in, event or error out. Knows no connection, keeps no payload but that
 * of a control frame, which is 125 bytes at most. Serves both ends: a server reads frames that are
 * masked, a client such that are not.
 */
#ifndef MILLGATE_WS_FRAME_H
#define MILLGATE_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WS_HEAD_MAX 14 /* bytes before the payload */
#define WS_CONTROL_MAX 125
#define WS_MASK_BYTES 4

enum ws_opcode {
	WS_CONTINUATION = 0x0,
	WS_TEXT = 0x1,
	WS_BINARY = 0x2,
	WS_CLOSE = 0x8,
	WS_PING = 0x9,
	WS_PONG = 0xa,
};

/* Section 7.4.1; those that this code has to name. */
enum ws_code {
	WS_CODE_NORMAL = 1000,
	WS_CODE_GOING_AWAY = 1001,
	WS_CODE_PROTOCOL_ERROR = 1002,
	WS_CODE_NONE = 1005, /* stands for a close frame without a code; never sent */
	WS_CODE_BAD_TEXT = 1007,
	WS_CODE_TOO_BIG = 1009,
};

/*
 * Where reading is at. Zeroed memory is a reader before its first frame. It has no pointers and no
 * holes: a reader copied to another process goes on there, so a change of it is a change of the
 * format in which connections are handed from one process to the next.
 */
struct ws_reader {
	uint64_t left_bytes;    /* of the payload of the frame under way */
	uint64_t message_bytes; /* of the message under way, by the frame heads that have come */
	uint8_t mask[WS_MASK_BYTES]; /* mask[0] is for the next byte */
	uint8_t in_payload;          /* of the frame that head[0] is of; otherwise within a head */
	uint8_t message;             /* WS_TEXT, WS_BINARY; 0: between messages */
	uint8_t begun;               /* something of the message was told */
	uint8_t utf8;
	uint8_t head_length; /* bytes of the head that are here */
	uint8_t control_length;
	uint8_t head[WS_HEAD_MAX];
	uint8_t control[WS_CONTROL_MAX];
	uint8_t version; /* of this struct: 0 */
	uint8_t pad[2];
};

_Static_assert(sizeof(struct ws_reader) == 168, "no holes: see above");

/* What is read, and from whom. */
struct ws_rules {
	uint64_t message_max; /* bytes */
	bool masked;          /* whether frames must be masked; otherwise they must not */
};

enum ws_event_type {
	WS_EVENT_MORE,  /* all is read; more bytes are wanted */
	WS_EVENT_DATA,  /* a part of a message: `data`, `opcode`, `first`, `last` */
	WS_EVENT_PING,  /* `data` */
	WS_EVENT_PONG,  /* `data` */
	WS_EVENT_CLOSE, /* `code`; `data` is the reason as text */
	WS_EVENT_ERROR, /* `code` says what is wrong; nothing more can be read */
};

struct ws_event {
	enum ws_event_type type;
	enum ws_opcode opcode; /* WS_TEXT or WS_BINARY */
	bool first, last;      /* part of its message; the only one is both */
	uint16_t code;
	const void *data; /* in the caller's bytes or in the reader */
	size_t length;
};

/*
 * Reads up to the next event, and unmasks in place what it reads. Returns how many bytes were
 * read; when it is all of them there may be another event still, WS_EVENT_MORE says that there is
 * none. Parts of a text may begin and end within a character; the whole is checked.
 */
size_t ws_reader_next(struct ws_reader *reader, const struct ws_rules *rules, uint8_t *data,
	size_t length, struct ws_event *ret_event);

/* Whether nothing is under way, so that a zeroed reader would do as well. */
bool ws_reader_is_idle(const struct ws_reader *reader);

/* Whether these bytes can be a reader that is not idle. */
bool ws_reader_is_sound(const struct ws_reader *reader);

/* Masks or unmasks, and turns the mask so that it goes on from there. */
void ws_mask(uint8_t *data, size_t length, uint8_t mask[static WS_MASK_BYTES]);

/* Writes what goes before a payload; `mask` may be NULL. Returns how many bytes. */
size_t ws_frame_put_head(uint8_t ret_head[static WS_HEAD_MAX], enum ws_opcode opcode, bool last,
	uint64_t length, const uint8_t *mask);

/* Writes the payload of a close frame; the reason (UTF-8) is cut, between two characters, where
 * there is no room for more. WS_CODE_NONE gives an empty one. Returns how many bytes. */
size_t ws_close_put(uint8_t ret_payload[static WS_CONTROL_MAX], uint16_t code, const char *reason);

/* Whether a close frame may have this code: 7.4.1, 7.4.2, and what IANA has registered since. */
bool ws_code_is_valid(uint16_t code);

#endif
