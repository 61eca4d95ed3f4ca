/* The Nth allocation fails: a program's own malloc, calloc and realloc stand before the C library's. A sanitizer's
 * cannot be replaced so: then SANITIZED is defined instead. For one file of a test program. */
#pragma once
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#ifndef SANITIZED
static atomic_long fail_in; /* allocations until one fails, in any thread; 0: none does */
static atomic_long failed;
static atomic_bool fail_own_only; /* none of those made by shared libraries, which may not survive it */
static __thread bool in_library;  /* this thread is in a library that is linked statically: the same */

extern const char __executable_start[], etext[]; /* the linker's */

static bool fails(const char *caller)
{
    bool own = caller >= __executable_start && caller < etext && !in_library;

    if (fail_in > 0 && (own || !fail_own_only) && --fail_in == 0) {
        failed++;
        errno = ENOMEM;
        return true;
    }
    return false;
}

void *malloc(size_t size)
{
    static void *(*next)(size_t);

    if (next == NULL)
        next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    return fails(__builtin_return_address(0)) ? NULL : next(size);
}

void *calloc(size_t count, size_t size)
{
    static void *(*next)(size_t, size_t);

    if (next == NULL)
        next = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    return fails(__builtin_return_address(0)) ? NULL : next(count, size);
}

void *realloc(void *old, size_t size)
{
    static void *(*next)(void *, size_t);

    if (next == NULL)
        next = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    return fails(__builtin_return_address(0)) ? NULL : next(old, size);
}
#endif
