/* precedence: see precedence.h. */
#include "precedence.h"

#include <sched.h>
#include <stdbool.h>

static bool precedence_yields;

void
precedence_yield(void)
{
	static const struct sched_param none = {0};

	if (sched_getscheduler(0) == SCHED_OTHER)
		precedence_yields = sched_setscheduler(0, SCHED_BATCH, &none) == 0;
}

void
precedence_restore(void)
{
	static const struct sched_param none = {0};

	if (precedence_yields)
		(void)sched_setscheduler(0, SCHED_OTHER, &none);
	precedence_yields = false;
}
