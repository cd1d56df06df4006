/* control: see control.h. */
#include "control.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "close_reason.h"

struct control_none {
	char nothing[0];
};

static const size_t CONTROL_RECORD_BYTES[CONTROL_TYPE_COUNT] = {
#define CONTROL(symbol, record, help) [CONTROL_##symbol] = sizeof(struct record),
#include "control.def"
#undef CONTROL
};

_Static_assert(
	sizeof(struct control_header) == 48 && sizeof(struct control_handover) % 8 == 0 &&
		sizeof(struct control_place) % 8 == 0 && sizeof(struct control_closed) % 8 == 0 &&
		sizeof(struct control_peer) % 8 == 0 && sizeof(struct control_details) % 8 == 0 &&
		sizeof(struct control_ask) % 8 == 0 && sizeof(struct control_assign) % 8 == 0,
	"records stay aligned");

size_t
control_record_bytes(enum control_type type)
{
	assert(type < CONTROL_TYPE_COUNT);
	return CONTROL_RECORD_BYTES[type];
}

unsigned
control_records_max(enum control_type type, unsigned max)
{
	size_t each = control_record_bytes(type), fit;

	assert(each > 0);
	fit = (CONTROL_MESSAGE_MAX - sizeof(struct control_header)) / each;
	return fit < max ? (unsigned)fit : max;
}

static bool
control_cidr_valid(const struct cidr *cidr)
{
	switch (cidr->family) {
	case ADDR_NONE:
		return cidr->prefix == 0;
	case ADDR_IPV4:
		return cidr->prefix <= 32;
	case ADDR_IPV6:
		return cidr->prefix <= 128;
	default:
		return false;
	}
}

static bool
control_records_valid(const struct control_message *message)
{
	const struct control_closed *closed = message->records;
	const struct control_peer *peers = message->records;
	const struct control_details *details = message->records;
	const struct control_ask *asks = message->records;
	bool asks_all = message->header.type == CONTROL_IDENTIFIED ||
			message->header.type == CONTROL_UNSERVED;

	for (unsigned i = 0; i < message->header.count; i++) {
		if (message->header.type == CONTROL_CLOSED &&
			closed[i].reason >= CLOSE_REASON_COUNT)
			return false;
		if (message->header.type == CONTROL_PEERS && peers[i].peer.family > ADDR_UNIX)
			return false;
		if (message->header.type == CONTROL_DETAILS && details[i].peer.family > ADDR_UNIX)
			return false;
		if (asks_all && asks[i].peer.family > ADDR_UNIX)
			return false;
	}
	return true;
}

int
control_decode(const void *data, size_t length, struct control_message *ret_message)
{
	struct control_message message;

	if (length < sizeof(message.header) || length > CONTROL_MESSAGE_MAX)
		return -EBADMSG;
	memcpy(&message.header, data, sizeof(message.header));
	message.records = (const char *)data + sizeof(message.header);
	if (message.header.type >= CONTROL_TYPE_COUNT ||
		length - sizeof(message.header) !=
			message.header.count * CONTROL_RECORD_BYTES[message.header.type])
		return -EBADMSG;
	/* A type without records must not claim any. */
	if (CONTROL_RECORD_BYTES[message.header.type] == 0 && message.header.count != 0)
		return -EBADMSG;
	if (!control_cidr_valid(&message.header.cidr) || !control_records_valid(&message))
		return -EBADMSG;
	*ret_message = message;
	return 0;
}
