/* lazy: see lazy.h. */
#include "lazy.h"

#include <sys/mman.h>

void *
lazy_alloc(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* Both are only savings: a kernel that has neither works as well. */
	(void)madvise(memory, bytes, MADV_NOHUGEPAGE);
	(void)madvise(memory, bytes, MADV_DONTFORK);
	return memory;
}

void
lazy_free(void *memory, size_t bytes)
{
	if (memory)
		(void)munmap(memory, bytes);
}
