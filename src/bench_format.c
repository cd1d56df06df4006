/* bench_format: see bench_format.h. */
#include "bench_format.h"

#include <stdio.h>
#include <string.h>

const char *
bench_format_count(double value, char buf[static BENCH_TEXT_MAX])
{
	char digits[BENCH_TEXT_MAX];
	size_t length, out = 0;

	if (value < 100 && value > -100 && value != (double)(long)value) {
		snprintf(buf, BENCH_TEXT_MAX, "%.1f", value);
		return buf;
	}
	snprintf(digits, 32, "%.0f", value);
	length = strlen(digits);
	for (size_t i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	buf[out] = '\0';
	return buf;
}

const char *
bench_format_bytes(double bytes, char buf[static BENCH_TEXT_MAX])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	unsigned unit = 0;

	while ((bytes >= 1024 || bytes <= -1024) && unit < 4) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, BENCH_TEXT_MAX, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
	return buf;
}

const char *
bench_format_seconds(double seconds, char buf[static BENCH_TEXT_MAX])
{
	static const char *const units[] = {"s", "ms", "us"};
	unsigned unit = 0;

	while (seconds < 1 && seconds > 0 && unit < 2) {
		seconds *= 1000;
		unit++;
	}
	snprintf(buf, BENCH_TEXT_MAX, "%.*f %s", seconds < 10 ? 2 : 1, seconds, units[unit]);
	return buf;
}
