/*
 * fuzz_control: whatever the bytes, they are refused, or every record of the message can be read
 * and used as the daemon uses it.
 *
 * Links: control.c close_reason.c addr.c error.c
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "close_reason.h"
#include "control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use_peer(const struct cidr *cidr, const struct addr *peer)
{
	char text[ADDR_TEXT_MAX], host[ADDR_TEXT_MAX];

	if (strlen(addr_format(peer, text)) >= sizeof(text) ||
		strlen(addr_format_host(peer, host)) >= sizeof(host))
		abort();
	if (cidr->family != ADDR_NONE)
		(void)cidr_contains(cidr, peer);
}

static void
use_record(const struct control_message *message, const void *record)
{
	const struct control_closed *closed = record;
	const struct control_peer *peer = record;
	const struct control_details *details = record;
	const struct control_ask *ask = record;

	switch (message->header.type) {
	case CONTROL_CLOSED:
		if (!close_reason_info(closed->reason)->name)
			abort();
		break;
	case CONTROL_PEERS:
		use_peer(&message->header.cidr, &peer->peer);
		break;
	case CONTROL_DETAILS:
		use_peer(&message->header.cidr, &details->peer);
		break;
	case CONTROL_IDENTIFIED:
	case CONTROL_UNSERVED:
		use_peer(&message->header.cidr, &ask->peer);
		break;
	default:
		break;
	}
}

/* The records end where the bytes end; the address sanitizer knows where that is. */
static void
use_message(const struct control_message *message, const uint8_t *bytes, size_t size)
{
	size_t each = control_record_bytes(message->header.type);
	const uint8_t *record = message->records;

	if (record != bytes + sizeof(message->header) ||
		record + message->header.count * each != bytes + size)
		abort();
	for (unsigned i = 0; i < message->header.count; i++, record += each)
		use_record(message, record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_message message, untouched;
	uint8_t *bytes = malloc(size > 0 ? size : 1); /* aligned, as control_decode() wants it */

	if (!bytes)
		abort();
	memcpy(bytes, data, size);
	memset(&message, 0x5a, sizeof(message));
	memcpy(&untouched, &message, sizeof(untouched));
	if (control_decode(bytes, size, &message) == 0)
		use_message(&message, bytes, size);
	else if (memcmp(&message, &untouched, sizeof(message)) != 0)
		abort();
	free(bytes);
	return 0;
}
