/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_GUEST_TEST_UTIL_H
#define VMSTREAM_HOST_GUEST_TEST_UTIL_H

#include "host/guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

/* Guest memory of every kind, for tests. */

/* What a machine lacks is a visible skip, and a failure where everything is expected to be. */
#define skip_without(what)                                                                         \
    do {                                                                                           \
        if (getenv("CI"))                                                                          \
            cr_assert(false, "missing: %s", what);                                                 \
        else                                                                                       \
            cr_skip_test("missing: %s", what);                                                     \
    } while (0)

enum {
    SMALL_PAGE = 4096,
    HUGE_PAGE = 2 << 20
};

struct memory_kind {
    const char *name;
    uint64_t page_size;
    bool shared;
};

static const struct memory_kind MEMORY_KINDS[] = {
    {"private 4K", SMALL_PAGE, false},
    {"shared 4K", SMALL_PAGE, true},
    {"private 2M", HUGE_PAGE, false},
    {"shared 2M", HUGE_PAGE, true},
};

enum {
    MEMORY_KIND_COUNT = sizeof MEMORY_KINDS / sizeof *MEMORY_KINDS
};

/* Adds so many huge pages to the kernel's pool (a negative number: takes them away again). Tests
 * run side by side, so that each adds its own. */
static inline bool huge_pages_add(long count) {
    int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
    char text[32] = "";
    if (fd < 0)
        return false;
    bool ok = flock(fd, LOCK_EX) == 0 && read(fd, text, sizeof text - 1) > 0;
    long want = ok ? atol(text) + count : 0, have = -1;
    int len = snprintf(text, sizeof text, "%ld", want);
    ok = ok && pwrite(fd, text, (size_t)len, 0) == len;
    memset(text, 0, sizeof text);
    if (ok && pread(fd, text, sizeof text - 1, 0) > 0)
        have = atol(text);
    close(fd);
    return ok && have >= want;
}

/* A block of fresh memory. memory NULL: the machine has no such pages. */
static inline struct vms_guest_block block_new(const struct memory_kind *kind, uint64_t pages) {
    struct vms_guest_block block = {.name = "ram",
                                    .length = pages * kind->page_size,
                                    .page_size = kind->page_size,
                                    .shared = kind->shared,
                                    .fd = -1};
    bool huge = kind->page_size > SMALL_PAGE;
    if (huge && !huge_pages_add((long)pages))
        return block;
    if (kind->shared) {
        block.fd = memfd_create("ram", MFD_CLOEXEC | (huge ? MFD_HUGETLB | 21u << 26 : 0));
        cr_assert(block.fd >= 0 && ftruncate(block.fd, (off_t)block.length) == 0);
    }
    int flags = kind->shared ? MAP_SHARED
                             : MAP_PRIVATE | MAP_ANONYMOUS | (huge ? MAP_HUGETLB | 21 << 26 : 0);
    void *memory = mmap(NULL, block.length, PROT_READ | PROT_WRITE, flags, block.fd, 0);
    if (memory == MAP_FAILED) {
        if (huge)
            huge_pages_add(-(long)pages);
        return block;
    }
    if (!huge)
        madvise(memory, block.length, MADV_NOHUGEPAGE);
    block.memory = memory;
    return block;
}

static inline void block_free(struct vms_guest_block *block) {
    if (!block->memory)
        return;
    munmap(block->memory, block->length);
    if (block->fd >= 0)
        close(block->fd);
    if (block->page_size > SMALL_PAGE)
        huge_pages_add(-(long)(block->length / block->page_size));
    block->memory = NULL;
}

#endif
