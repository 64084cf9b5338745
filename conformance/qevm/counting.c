/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/counting.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

static _Atomic uint64_t calls;

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)

/* Of sanitizer/allocator_interface.h, which GCC's package lacks. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *ptr, size_t size) {
    (void)ptr, (void)size;
    calls++;
}

static void on_free(const volatile void *ptr) {
    (void)ptr;
}

__attribute__((constructor)) static void install(void) {
    if (!__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free))
        abort();
}

#else

/* In front of the C library's, for the whole process. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t n);

void *malloc(size_t n) {
    calls++;
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    calls++;
    return __libc_calloc(n, size);
}
void *realloc(void *ptr, size_t n) {
    calls++;
    return __libc_realloc(ptr, n);
}

#endif

uint64_t counting_calls(void) {
    return calls;
}
