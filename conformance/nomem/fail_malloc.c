/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * LD_PRELOAD: the allocation whose number is $FAIL_MALLOC fails, counted from 1 behind the
 * program's start; with $FAIL_MALLOC_ON all that follow, too. The file $FAIL_MALLOC_COUNT gets how
 * many there were, one number a program. With $FAIL_MALLOC_OWN only what the program itself asks
 * for counts, not what a shared library does; with $FAIL_MALLOC_SPARE not what the object of that
 * name asks for.
 */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *ptr, size_t n);

static _Atomic int64_t left = INT64_MAX;
static int for_good;
static uintptr_t text, text_end; /* of the program; 0: who asks does not matter */

static uintptr_t spared, spared_end;

static void note_text(const struct dl_phdr_info *info, uintptr_t *begin, uintptr_t *end) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        *begin = info->dlpi_addr + p->p_vaddr;
        *end = *begin + p->p_memsz;
    }
}

/* The first object is the program. */
static int find_text(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    (void)data;
    note_text(info, &text, &text_end);
    return 1;
}

static int find_spared(struct dl_phdr_info *info, size_t size, void *name) {
    (void)size;
    if (!strstr(info->dlpi_name, name))
        return 0;
    note_text(info, &spared, &spared_end);
    return 1;
}

__attribute__((constructor)) static void begin(void) {
    const char *number = getenv("FAIL_MALLOC");
    if (getenv("FAIL_MALLOC_OWN"))
        (void)dl_iterate_phdr(find_text, NULL);
    if (getenv("FAIL_MALLOC_SPARE"))
        (void)dl_iterate_phdr(find_spared, getenv("FAIL_MALLOC_SPARE"));
    for_good = getenv("FAIL_MALLOC_ON") != NULL;
    left = number ? strtoll(number, NULL, 10) : INT64_MAX;
}

/* No allocation of its own, and no stdio: the program has closed what it wants by now. */
__attribute__((destructor)) static void end(void) {
    const char *number = getenv("FAIL_MALLOC"), *path = getenv("FAIL_MALLOC_COUNT");
    int64_t first = number ? strtoll(number, NULL, 10) : INT64_MAX;
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    char line[32];
    if (fd < 0)
        return;
    (void)snprintf(line, sizeof line, "%lld\n", (long long)(first - left));
    ssize_t n = write(fd, line, strlen(line));
    (void)n;
    (void)close(fd);
}

static int fails(const void *caller) {
    if (text && ((uintptr_t)caller < text || (uintptr_t)caller >= text_end))
        return 0;
    if (spared && (uintptr_t)caller >= spared && (uintptr_t)caller < spared_end)
        return 0;
    int64_t now = --left;
    if (now != 0 && !(for_good && now < 0))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}
void *realloc(void *ptr, size_t n) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(ptr, n);
}
