/* SPDX-License-Identifier: MIT */
#include "host/dirty_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

enum vms_code vms_dirty_new(enum vms_dirty_kind kind, const struct vms_guest *guest,
                            struct vms_dirty *out, struct vms_error *err) {
    if (kind != VMS_DIRTY_UFFD_WP) {
        enum vms_code code = vms_dirty_new_async(guest, out, err);
        if (code == VMS_OK || kind == VMS_DIRTY_WP_ASYNC)
            return code;
    }
    return vms_dirty_new_sync(guest, vms_uffd_features(), out, err);
}

enum vms_code vms_dirty_check_range(const struct vms_guest *guest, size_t block, uint64_t first,
                                    uint64_t count, struct vms_error *err) {
    if (block < guest->block_count) {
        uint64_t pages = vms_dirty_pages(&guest->blocks[block]);
        if (first <= pages && count <= pages - first)
            return VMS_OK;
    }
    return vms_error_set(err, VMS_E_MISUSE, "dirty pages outside block %zu", block);
}

/* Before Linux 6.4 write protection passes over private pages that nothing was in yet, and the
 * first write to them would go unseen. Reading puts the shared zero page there, which can be
 * protected. [HOST-13] */
static void fill_holes(const struct vms_guest_block *block) {
    if (madvise(block->memory, block->length, MADV_POPULATE_READ) == 0)
        return;
    for (uint64_t at = 0; at < block->length; at += block->page_size)
        (void)*(volatile uint8_t *)(block->memory + at);
}

static enum vms_code protect_block(const struct vms_dirty_memory *memory,
                                   const struct vms_guest_block *block, struct vms_error *err) {
    enum vms_code code =
        vms_uffd_register(memory->uffd, block->memory, block->length, VMS_UFFD_WP, err);
    if (code != VMS_OK)
        return code;
    if (!block->shared && !(memory->features & UFFD_FEATURE_WP_UNPOPULATED))
        fill_holes(block);
    if (vms_uffd_protect(memory->uffd, block->memory, block->length, true) != VMS_UFFD_DONE)
        return vms_error_set(err, VMS_E_IO, "write protection of block %s: %s", block->name,
                             strerror(errno));
    return VMS_OK;
}

enum vms_code vms_dirty_protect_all(struct vms_dirty_memory *memory, struct vms_error *err) {
    enum vms_code code = vms_uffd_open(memory->features, &memory->uffd, err);
    for (size_t i = 0; code == VMS_OK && i < memory->guest->block_count; i++)
        code = protect_block(memory, &memory->guest->blocks[i], err);
    if (code != VMS_OK)
        vms_dirty_release_all(memory);
    return code;
}

/* The protection is taken away by hand: closing alone leaves it to the kernel's version whether
 * pages stay protected until each is written once. [HOST-15] */
void vms_dirty_release_all(struct vms_dirty_memory *memory) {
    if (memory->uffd < 0)
        return;
    for (size_t i = 0; i < memory->guest->block_count; i++) {
        const struct vms_guest_block *block = &memory->guest->blocks[i];
        (void)vms_uffd_protect(memory->uffd, block->memory, block->length, false);
        vms_uffd_unregister(memory->uffd, block->memory, block->length);
    }
    close(memory->uffd);
    memory->uffd = -1;
}
