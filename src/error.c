/* error: see error.h. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int
mg_error_set(struct mg_error *reterr_error, int error, const char *format, ...)
{
	va_list args;

	if (reterr_error) {
		va_start(args, format);
		vsnprintf(reterr_error->text, sizeof(reterr_error->text), format, args);
		va_end(args);
	}
	return error;
}
