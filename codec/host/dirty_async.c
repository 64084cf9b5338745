/* SPDX-License-Identifier: MIT */
#include "host/dirty_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Linux 6.7, Documentation/admin-guide/mm/pagemap.rst. */
#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN          _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_WRITTEN       (1 << 1)
#define PM_SCAN_WP_MATCHING   (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)

struct page_region {
    __u64 start;
    __u64 end;
    __u64 categories;
};

struct pm_scan_arg {
    __u64 size;
    __u64 flags;
    __u64 start;
    __u64 end;
    __u64 walk_end;
    __u64 vec;
    __u64 vec_len;
    __u64 max_pages;
    __u64 category_inverted;
    __u64 category_mask;
    __u64 category_anyof_mask;
    __u64 return_mask;
};
#endif

enum {
    REGIONS = 1024, /* of one scan: 24 KiB */
    FEATURES = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
               UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
};

struct async {
    struct vms_dirty_memory memory;
    int pagemap;
    struct page_region regions[REGIONS];
};

/* One step of a scan: fetches written pages and protects them again, each page in one go under its
 * page table's lock, so that no write falls between the two. */
static int scan(const struct async *a, uint64_t start, uint64_t end, uint64_t *walked) {
    struct pm_scan_arg arg = {
        .size = sizeof arg,
        .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
        .start = start,
        .end = end,
        .vec = (uintptr_t)a->regions,
        .vec_len = REGIONS,
        .category_mask = PAGE_IS_WRITTEN,
        .return_mask = PAGE_IS_WRITTEN,
    };
    int count = ioctl(a->pagemap, PAGEMAP_SCAN, &arg);
    *walked = arg.walk_end;
    return count;
}

static void mark(const struct vms_guest_block *block, const struct page_region *region,
                 uint64_t *bitmap, uint64_t *found) {
    uint64_t base = (uintptr_t)block->memory;
    uint64_t first = (region->start - base) / block->page_size;
    uint64_t end = (region->end - base + block->page_size - 1) / block->page_size;
    for (uint64_t word = first / 64; word * 64 < end; word++)
        vms_dirty_or(bitmap, word, vms_dirty_mask(word, first, end), found);
}

/* [HOST-13] */
static enum vms_code collect(void *ctx, size_t index, uint64_t first, uint64_t count,
                             uint64_t *bitmap, uint64_t *found, struct vms_error *err) {
    struct async *a = ctx;
    uint64_t sum = 0;
    if (vms_dirty_check_range(a->memory.guest, index, first, count, err) != VMS_OK)
        return err->code;
    if (a->memory.uffd < 0)
        return vms_error_set(err, VMS_E_MISUSE, "dirty tracking was not started");
    const struct vms_guest_block *block = &a->memory.guest->blocks[index];
    uint64_t at = (uintptr_t)block->memory + first * block->page_size;
    uint64_t end = at + count * block->page_size;
    while (at < end) {
        uint64_t walked = at;
        int regions = scan(a, at, end, &walked);
        if (regions < 0 && errno == EINTR)
            continue;
        if (regions < 0 || walked <= at)
            return vms_error_set(err, VMS_E_IO, "scanning block %s for writes: %s", block->name,
                                 regions < 0 ? strerror(errno) : "no progress");
        for (int i = 0; i < regions; i++)
            mark(block, &a->regions[i], bitmap, &sum);
        at = walked;
    }
    if (found)
        *found = sum;
    return VMS_OK;
}

static enum vms_code start(void *ctx, struct vms_error *err) {
    struct async *a = ctx;
    if (a->memory.uffd >= 0)
        return vms_error_set(err, VMS_E_MISUSE, "dirty tracking was started twice");
    return vms_dirty_protect_all(&a->memory, err);
}

static void stop(void *ctx) {
    struct async *a = ctx;
    vms_dirty_release_all(&a->memory);
}

static void free_async(void *ctx) {
    struct async *a = ctx;
    stop(a);
    if (a->pagemap >= 0)
        close(a->pagemap);
    free(a);
}

/* An empty range asks whether the call exists. */
static enum vms_code probe(struct async *a, struct vms_error *err) {
    uint64_t walked, missing = FEATURES & ~vms_uffd_features();
    if (missing)
        return vms_error_set(err, VMS_E_IO, "this kernel's userfaultfd lacks features %#llx",
                             (unsigned long long)missing);
    a->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (a->pagemap < 0)
        return vms_error_set(err, VMS_E_IO, "/proc/self/pagemap: %s", strerror(errno));
    if (scan(a, 0, 0, &walked) < 0)
        return vms_error_set(err, VMS_E_IO, "PAGEMAP_SCAN: %s", strerror(errno));
    return VMS_OK;
}

enum vms_code vms_dirty_new_async(const struct vms_guest *guest, struct vms_dirty *out,
                                  struct vms_error *err) {
    static const struct vms_dirty_ops ops = {start, collect, stop, free_async};
    struct async *a = calloc(1, sizeof *a);
    if (!a)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    a->memory = (struct vms_dirty_memory){.guest = guest, .features = FEATURES, .uffd = -1};
    a->pagemap = -1;
    if (probe(a, err) != VMS_OK) {
        free_async(a);
        return err->code;
    }
    *out = (struct vms_dirty){&ops, a, "wp-async"};
    return VMS_OK;
}
