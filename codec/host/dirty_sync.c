/* SPDX-License-Identifier: MIT */
#include "host/dirty_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The lock makes one step each of: noting a page and permitting writes to it; taking a note and
 * protecting the page again. A page whose bit is clear is thereby always protected. */
struct sync {
    struct vms_dirty_memory memory;
    pthread_mutex_t lock; /* of bits, failed, and of changes of protection */
    pthread_t thread;
    struct vms_cancel *cancel; /* NULL: the thread does not run */
    int failed;                /* errno: writes cannot be followed any more */
    uint64_t **bits;           /* of each block, of each page: written, not collected yet */
};

/* NULL: in none of ours. */
static const struct vms_guest_block *find(const struct sync *s, const uint8_t *address,
                                          size_t *index) {
    for (*index = 0; *index < s->memory.guest->block_count; ++*index) {
        const struct vms_guest_block *block = &s->memory.guest->blocks[*index];
        uint64_t at = (uintptr_t)address - (uintptr_t)block->memory;
        if ((uintptr_t)address >= (uintptr_t)block->memory && at < block->length)
            return block;
    }
    return NULL;
}

static int answer(struct sync *s, const struct vms_uffd_fault *fault) {
    size_t index;
    const struct vms_guest_block *block = find(s, fault->address, &index);
    if (!block)
        return EFAULT;
    uint64_t page = (uint64_t)(fault->address - block->memory) / block->page_size;
    pthread_mutex_lock(&s->lock);
    s->bits[index][page / 64] |= UINT64_C(1) << page % 64;
    enum vms_uffd_result result = vms_uffd_protect(
        s->memory.uffd, block->memory + page * block->page_size, block->page_size, false);
    int why = result == VMS_UFFD_DONE ? 0 : errno;
    pthread_mutex_unlock(&s->lock);
    return why;
}

/* What cannot be followed any more must not keep the guest waiting: everything becomes writable,
 * and every collection fails. [HOST-15] */
static void give_up(struct sync *s, int why) {
    pthread_mutex_lock(&s->lock);
    s->failed = why;
    for (size_t i = 0; i < s->memory.guest->block_count; i++) {
        const struct vms_guest_block *block = &s->memory.guest->blocks[i];
        (void)vms_uffd_protect(s->memory.uffd, block->memory, block->length, false);
        vms_uffd_unregister(s->memory.uffd, block->memory, block->length);
    }
    pthread_mutex_unlock(&s->lock);
}

static void *answer_all(void *ctx) {
    struct sync *s = ctx;
    struct vms_uffd_fault faults[VMS_UFFD_BATCH];
    for (;;) {
        size_t count;
        enum vms_wait waited =
            vms_uffd_read(s->memory.uffd, faults, VMS_UFFD_BATCH, &count, VMS_NEVER, s->cancel);
        if (waited == VMS_WAIT_CANCELLED)
            return NULL;
        int why = waited == VMS_WAIT_READY ? 0 : errno;
        for (size_t i = 0; !why && i < count; i++)
            why = answer(s, &faults[i]);
        if (why) {
            give_up(s, why);
            return NULL;
        }
    }
}

/* Protects the pages of a word's set bits, a run at a time. The lock is held. */
static int protect_word(struct sync *s, const struct vms_guest_block *block, uint64_t word,
                        uint64_t bits) {
    while (bits) {
        unsigned from = (unsigned)__builtin_ctzll(bits);
        uint64_t rest = ~(bits >> from);
        unsigned run = rest ? (unsigned)__builtin_ctzll(rest) : 64;
        uint8_t *start = block->memory + (word * 64 + from) * block->page_size;
        if (vms_uffd_protect(s->memory.uffd, start, run * block->page_size, true) != VMS_UFFD_DONE)
            return errno;
        bits &= run + from < 64 ? ~UINT64_C(0) << (run + from) : 0;
    }
    return 0;
}

/* A word at a time, so that a write that waits for its answer waits shortly. [HOST-13] */
static int collect_word(struct sync *s, size_t index, uint64_t word, uint64_t mask,
                        uint64_t *bits) {
    const struct vms_guest_block *block = &s->memory.guest->blocks[index];
    pthread_mutex_lock(&s->lock);
    *bits = s->bits[index][word] & mask;
    s->bits[index][word] &= ~mask;
    int why = s->failed ? s->failed : protect_word(s, block, word, *bits);
    if (why)
        s->failed = why;
    pthread_mutex_unlock(&s->lock);
    return why;
}

static enum vms_code collect(void *ctx, size_t index, uint64_t first, uint64_t count,
                             uint64_t *bitmap, uint64_t *found, struct vms_error *err) {
    struct sync *s = ctx;
    uint64_t sum = 0, end = first + count;
    if (vms_dirty_check_range(s->memory.guest, index, first, count, err) != VMS_OK)
        return err->code;
    if (!s->cancel)
        return vms_error_set(err, VMS_E_MISUSE, "dirty tracking was not started");
    for (uint64_t word = first / 64; word * 64 < end; word++) {
        uint64_t bits;
        int why = collect_word(s, index, word, vms_dirty_mask(word, first, end), &bits);
        if (why)
            return vms_error_set(err, VMS_E_IO, "following writes to block %s: %s",
                                 s->memory.guest->blocks[index].name, strerror(why));
        vms_dirty_or(bitmap, word, bits, &sum);
    }
    if (found)
        *found = sum;
    return VMS_OK;
}

static void stop(void *ctx) {
    struct sync *s = ctx;
    if (s->cancel) {
        vms_cancel_raise(s->cancel);
        pthread_join(s->thread, NULL);
        vms_cancel_free(s->cancel);
        s->cancel = NULL;
    }
    vms_dirty_release_all(&s->memory);
}

static enum vms_code start(void *ctx, struct vms_error *err) {
    struct sync *s = ctx;
    if (s->cancel)
        return vms_error_set(err, VMS_E_MISUSE, "dirty tracking was started twice");
    s->failed = 0;
    for (size_t i = 0; i < s->memory.guest->block_count; i++)
        memset(s->bits[i], 0, (vms_dirty_pages(&s->memory.guest->blocks[i]) + 63) / 64 * 8);
    /* From the protection on writes wait, shortly, until the thread is there. */
    s->cancel = vms_cancel_new();
    if (!s->cancel)
        return vms_error_set(err, VMS_E_IO, "dirty tracking: %s", strerror(errno));
    if (vms_dirty_protect_all(&s->memory, err) == VMS_OK) {
        int why = pthread_create(&s->thread, NULL, answer_all, s);
        if (!why)
            return VMS_OK;
        vms_dirty_release_all(&s->memory);
        vms_error_set(err, VMS_E_IO, "a thread for dirty tracking: %s", strerror(why));
    }
    vms_cancel_free(s->cancel);
    s->cancel = NULL;
    return err->code;
}

static void free_sync(void *ctx) {
    struct sync *s = ctx;
    stop(s);
    for (size_t i = 0; s->bits && i < s->memory.guest->block_count; i++)
        free(s->bits[i]);
    free(s->bits);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static bool allocate(struct sync *s) {
    size_t count = s->memory.guest->block_count;
    s->bits = calloc(count ? count : 1, sizeof *s->bits);
    for (size_t i = 0; s->bits && i < count; i++) {
        s->bits[i] = calloc((vms_dirty_pages(&s->memory.guest->blocks[i]) + 63) / 64, 8);
        if (!s->bits[i])
            return false;
    }
    return s->bits;
}

/* Shared memory and huge pages need what private small pages do not. */
static uint64_t needed(const struct vms_guest *guest) {
    uint64_t features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
    for (size_t i = 0; i < guest->block_count; i++)
        if (guest->blocks[i].shared || guest->blocks[i].page_size > 4096)
            features |= UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
    return features;
}

enum vms_code vms_dirty_new_sync(const struct vms_guest *guest, uint64_t features,
                                 struct vms_dirty *out, struct vms_error *err) {
    static const struct vms_dirty_ops ops = {start, collect, stop, free_sync};
    uint64_t want = needed(guest);
    if (want & ~features)
        return vms_error_set(err, VMS_E_IO, "this kernel's userfaultfd lacks features %#llx",
                             (unsigned long long)(want & ~features));
    struct sync *s = calloc(1, sizeof *s);
    if (!s)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    s->memory = (struct vms_dirty_memory){
        .guest = guest, .features = want | (features & UFFD_FEATURE_WP_UNPOPULATED), .uffd = -1};
    pthread_mutex_init(&s->lock, NULL);
    if (!allocate(s)) {
        free_sync(s);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    *out = (struct vms_dirty){&ops, s, "uffd-wp"};
    return VMS_OK;
}
