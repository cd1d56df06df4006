/*
 * conf_unit: durations, sizes and modes as people write them.
 *
 * Process: both. Pure: text to number and back. What is formatted parses to the same number.
 */
#ifndef MILLGATE_CONF_UNIT_H
#define MILLGATE_CONF_UNIT_H

#include <stdint.h>

#include "error.h"

#define CONF_UNIT_TEXT_MAX 64

/* What the parsers below accept, as regular expressions (ECMA-262) for the schema. */
#define CONF_UNIT_DURATION_PATTERN \
	"^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?$"
#define CONF_UNIT_SIZE_PATTERN "^[0-9]+(B|KiB|MiB|GiB|TiB)$"
#define CONF_UNIT_MODE_PATTERN "^0?[0-7]{3}$"

/* Each returns -EINVAL for what is not of its form and -ERANGE for what no uint64_t holds. */

/* Reads digits at *text and moves it behind them. */
int conf_unit_take_number(const char **text, uint64_t *ret_number) MG_MUST_CHECK;

/* "10s", "250ms", "1h30m": microseconds. The units d h m s ms us stand in this order, once each. */
int conf_unit_parse_duration(const char *text, uint64_t *ret_usec) MG_MUST_CHECK;

/* "64KiB": bytes. The units are B, KiB, MiB, GiB and TiB. */
int conf_unit_parse_size(const char *text, uint64_t *ret_bytes) MG_MUST_CHECK;

/* "0660" or "660". */
int conf_unit_parse_mode(const char *text, uint64_t *ret_mode) MG_MUST_CHECK;

/* The canonical forms: "1m30s", "256KiB" (the largest unit that leaves no rest), "0660". */
const char *conf_unit_format_duration(uint64_t usec, char buf[static CONF_UNIT_TEXT_MAX]);
const char *conf_unit_format_size(uint64_t bytes, char buf[static CONF_UNIT_TEXT_MAX]);
const char *conf_unit_format_mode(uint64_t mode, char buf[static CONF_UNIT_TEXT_MAX]);

#endif
