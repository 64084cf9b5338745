/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/ram_postcopy_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Postcopy memory: from what precopy has left behind to memory that is served, and back. */

uint64_t pc_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t words(uint64_t bits) {
    return (bits + 63) / 64;
}

static enum vms_code local_error(struct vms_error *err, const struct pc_block *b,
                                 const char *what) {
    int why = errno;
    return vms_error_set(err, VMS_E_IO, "%s of RAM block %s: %s", what, b->map.name, strerror(why));
}

/* ---- making ---- */

static bool is_huge(const struct vms_guest_block *b) {
    return b->page_size > (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t minor_feature(const struct vms_guest_block *b) {
    return is_huge(b) ? UFFD_FEATURE_MINOR_HUGETLBFS : UFFD_FEATURE_MINOR_SHMEM;
}

static uint64_t missing_feature(const struct vms_guest_block *b) {
    if (is_huge(b))
        return UFFD_FEATURE_MISSING_HUGETLBFS;
    return b->shared ? UFFD_FEATURE_MISSING_SHMEM : 0;
}

static bool is_power(uint64_t n) {
    return n && (n & (n - 1)) == 0;
}

static enum vms_code check_block(const struct dst_postcopy *p, const struct pc_block *b,
                                 struct vms_error *err) {
    if (is_power(b->unit) && b->unit % p->config.page_size == 0 && b->map.length % b->unit == 0 &&
        (uintptr_t)b->map.memory % b->map.page_size == 0)
        return VMS_OK;
    return vms_error_set(err, VMS_E_RAM_BLOCK_SIZE,
                         "%s: %llu bytes are not whole host pages of %llu", b->map.name,
                         (unsigned long long)b->map.length, (unsigned long long)b->unit);
}

/* Page tables follow at the first touch, so that a second mapping costs nothing by itself. */
static enum vms_code map_again(struct pc_block *b, struct vms_error *err) {
    void *alias = mmap(NULL, b->map.length, PROT_READ | PROT_WRITE, MAP_SHARED, b->map.fd, 0);
    if (alias == MAP_FAILED)
        return local_error(err, b, "a second mapping");
    b->alias = alias;
    return VMS_OK;
}

static enum vms_code make_block(struct dst_postcopy *p, size_t i, uint64_t kernel,
                                struct vms_error *err) {
    struct pc_block *b = &p->blocks[i];
    const uint64_t *peer = p->config.host_pages;
    b->map = p->config.blocks[i];
    b->unit = peer && peer[i] > b->map.page_size ? peer[i] : b->map.page_size;
    if (b->unit < p->config.page_size)
        b->unit = p->config.page_size;
    if (check_block(p, b, err) != VMS_OK)
        return err->code;
    b->units = b->map.length / b->unit;
    b->per_unit = (uint32_t)(b->unit / p->config.page_size);
    b->arrived = calloc(words(b->units * b->per_unit), sizeof *b->arrived);
    b->shown = calloc(words(b->units), sizeof *b->shown);
    if (!b->arrived || !b->shown)
        return vms_error_set(err, VMS_E_NO_MEMORY, "bitmaps of RAM block %s", b->map.name);
    if (b->map.page_size > p->zeros_len)
        p->zeros_len = b->map.page_size;
    b->minor = b->map.shared && !p->config.by_copy && (kernel & minor_feature(&b->map));
    /* a huge page around a small one would show what has not arrived */
    if (!b->map.shared && !is_huge(&b->map))
        (void)madvise(b->map.memory, b->map.length, MADV_NOHUGEPAGE);
    return b->minor ? map_again(b, err) : VMS_OK;
}

static enum vms_code make(struct dst_postcopy *p, struct vms_error *err) {
    uint64_t features = 0, kernel = vms_uffd_features();
    p->fd = -1;
    p->stop = vms_cancel_new();
    p->blocks = calloc(p->config.block_count + 1, sizeof *p->blocks);
    if (!p->stop || !p->blocks)
        return vms_error_set(err, VMS_E_NO_MEMORY, "postcopy memory");
    for (size_t i = 0; i < p->config.block_count; i++) {
        if (make_block(p, i, kernel, err) != VMS_OK)
            return err->code;
        features |= missing_feature(&p->blocks[i].map);
        features |= p->blocks[i].minor ? minor_feature(&p->blocks[i].map) : 0;
    }
    p->zeros =
        mmap(NULL, p->zeros_len ? p->zeros_len : 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->zeros == MAP_FAILED) {
        p->zeros = NULL;
        return vms_error_set(err, VMS_E_NO_MEMORY, "a page of zeros");
    }
    return vms_uffd_open(features, &p->fd, err);
}

struct dst_postcopy *dst_postcopy_new(const struct dst_postcopy_config *config,
                                      struct vms_error *err) {
    struct dst_postcopy *p = calloc(1, sizeof *p);
    if (!p) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, "postcopy memory");
        return NULL;
    }
    p->config = *config;
    (void)pthread_mutex_init(&p->making_lock, NULL);
    (void)pthread_mutex_init(&p->asking, NULL);
    (void)pthread_mutex_init(&p->lock, NULL);
    if (make(p, err) == VMS_OK)
        return p;
    dst_postcopy_free(p);
    return NULL;
}

/* ---- before listen() ---- */

enum vms_code pc_empty(const struct pc_block *b, uint64_t start, uint64_t length,
                       struct vms_error *err) {
    int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int r = b->map.shared ? fallocate(b->map.fd, punch, (off_t)start, (off_t)length)
                          : madvise(b->map.memory + start, length, MADV_DONTNEED);
    return r == 0 ? VMS_OK : local_error(err, b, "emptying");
}

enum vms_code dst_postcopy_discard(struct dst_postcopy *p, size_t block, uint64_t start,
                                   uint64_t length, struct vms_error *err) {
    struct pc_block *b = &p->blocks[block];
    if (start % b->unit || length % b->unit || start > b->map.length ||
        length > b->map.length - start)
        return vms_error_set(err, VMS_E_DISCARD_FORM, "0x%llx bytes at 0x%llx of %s",
                             (unsigned long long)length, (unsigned long long)start, b->map.name);
    for (uint64_t i = 0; i < length / p->config.page_size; i++)
        pc_clear(b->arrived, start / p->config.page_size + i);
    return length ? pc_empty(b, start, length, err) : VMS_OK;
}

void dst_postcopy_arrived(struct dst_postcopy *p, size_t block, const uint64_t *bits) {
    struct pc_block *b = &p->blocks[block];
    for (uint64_t i = 0; i < words(b->units * b->per_unit); i++)
        atomic_fetch_or(&b->arrived[i], bits[i]);
}

/* ---- listen() ---- */

static bool unit_arrived(const struct pc_block *b, uint64_t unit) {
    for (uint32_t i = 0; i < b->per_unit; i++)
        if (!pc_bit(b->arrived, unit * b->per_unit + i))
            return false;
    return true;
}

static void forget_unit(struct pc_block *b, uint64_t unit) {
    for (uint32_t i = 0; i < b->per_unit; i++)
        pc_clear(b->arrived, unit * b->per_unit + i);
}

/*
 * [CMD-13] What has not arrived whole is emptied, whatever precopy or the memory's owner left
 * there: otherwise nobody would wait for it.
 */
static enum vms_code settle_block(struct dst_postcopy *p, struct pc_block *b,
                                  struct vms_error *err) {
    uint64_t first = 0;
    for (uint64_t i = 0; i <= b->units; i++) {
        bool arrived = i == b->units || unit_arrived(b, i);
        if (i < b->units && !arrived) {
            forget_unit(b, i);
            atomic_fetch_add(&p->missing, b->per_unit);
            continue;
        }
        if (i > first && pc_empty(b, first * b->unit, (i - first) * b->unit, err) != VMS_OK)
            return err->code;
        first = i + 1;
        if (i < b->units)
            (void)pc_set(b->shown, i);
    }
    return VMS_OK;
}

static enum vms_code listen_to(struct dst_postcopy *p, struct pc_block *b, struct vms_error *err) {
    unsigned modes = VMS_UFFD_MISSING | (b->minor ? VMS_UFFD_MINOR : 0u);
    if (settle_block(p, b, err) != VMS_OK)
        return err->code;
    return vms_uffd_register(p->fd, b->map.memory, b->map.length, modes, err);
}

enum vms_code dst_postcopy_listen(struct dst_postcopy *p, struct vms_error *err) {
    for (size_t i = 0; i < p->config.block_count; i++)
        if (listen_to(p, &p->blocks[i], err) != VMS_OK)
            return err->code;
    p->stats.awaited = dst_postcopy_missing(p);
    if (pthread_create(&p->thread, NULL, pc_fault_thread, p) != 0)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
    p->listening = true;
    return VMS_OK;
}

/* ---- what has come ---- */

size_t dst_postcopy_bitmap_bytes(const struct dst_postcopy *p, size_t block) {
    const struct pc_block *b = &p->blocks[block];
    return (size_t)words(b->units * b->per_unit) * 8;
}

/* [REC-6] Only what is visible counts: the rest of a host page would never come. */
void dst_postcopy_bitmap(const struct dst_postcopy *p, size_t block, uint8_t *out) {
    const struct pc_block *b = &p->blocks[block];
    memset(out, 0, dst_postcopy_bitmap_bytes(p, block));
    for (uint64_t i = 0; i < b->units * b->per_unit; i++)
        if (pc_bit(b->shown, i / b->per_unit))
            out[i / 8] |= (uint8_t)(1u << (i % 8));
}

uint64_t dst_postcopy_missing(const struct dst_postcopy *p) {
    return atomic_load(&p->missing);
}

/* ---- the end ---- */

static void stop_serving(struct dst_postcopy *p) {
    if (!p->listening)
        return;
    p->listening = false;
    vms_cancel_raise(p->stop);
    pthread_join(p->thread, NULL);
    for (size_t i = 0; i < p->config.block_count; i++)
        vms_uffd_unregister(p->fd, p->blocks[i].map.memory, p->blocks[i].map.length);
}

enum vms_code dst_postcopy_end(struct dst_postcopy *p, struct vms_error *err) {
    uint64_t missing = dst_postcopy_missing(p);
    if (missing > 0)
        return vms_error_set(err, VMS_E_DST_INCOMPLETE, "%llu pages have not come",
                             (unsigned long long)missing);
    stop_serving(p);
    return VMS_OK;
}

static void free_block(struct pc_block *b) {
    if (b->alias)
        munmap(b->alias, b->map.length);
    free(b->arrived);
    free(b->shown);
}

void dst_postcopy_free(struct dst_postcopy *p) {
    if (!p)
        return;
    stop_serving(p);
    pc_drop_making(p);
    for (size_t i = 0; p->blocks && i < p->config.block_count; i++)
        free_block(&p->blocks[i]);
    if (p->zeros)
        munmap(p->zeros, p->zeros_len ? p->zeros_len : 1);
    if (p->fd >= 0)
        close(p->fd);
    vms_cancel_free(p->stop);
    (void)pthread_mutex_destroy(&p->making_lock);
    (void)pthread_mutex_destroy(&p->asking);
    (void)pthread_mutex_destroy(&p->lock);
    free(p->blocks);
    free(p->waits);
    free(p);
}
