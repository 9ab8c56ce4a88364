/* failing_malloc.c - for tests: a malloc that fails when told to. Loaded before the C library (LD_PRELOAD).
 *
 * Only the thread that calls failing_malloc_arm sees failures: its n-th allocation from then on of at least `least`
 * bytes, counted from 1. The others go through to the C library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static __thread long left; /* allocations until the failing one; 0: none is to fail */
static __thread long seen;
static __thread size_t least;

void failing_malloc_arm(long n, size_t least_bytes)
{
    seen = 0;
    least = least_bytes;
    left = n;
}

/* Stop failing; how many allocations were counted. */
long failing_malloc_disarm(void)
{
    left = 0;
    return seen;
}

static int fails(size_t size)
{
    if (left == 0 || size < least) {
        return 0;
    }
    seen++;
    if (seen != left) {
        return 0;
    }
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails(n * size) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    return fails(size) ? NULL : __libc_realloc(block, size);
}
