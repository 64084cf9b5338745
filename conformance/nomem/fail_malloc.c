/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * LD_PRELOAD: the allocation whose number is $FAIL_MALLOC fails, counted from 1 behind the
 * program's start; with $FAIL_MALLOC_ON all that follow, too.
 */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *ptr, size_t n);

static _Atomic int64_t left = INT64_MAX;
static int for_good;

__attribute__((constructor)) static void begin(void) {
    const char *number = getenv("FAIL_MALLOC");
    for_good = getenv("FAIL_MALLOC_ON") != NULL;
    left = number ? strtoll(number, NULL, 10) : INT64_MAX;
}

static int fails(void) {
    int64_t now = --left;
    if (now != 0 && !(for_good && now < 0))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) {
    return fails() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *ptr, size_t n) {
    return fails() ? NULL : __libc_realloc(ptr, n);
}
