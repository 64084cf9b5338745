/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_PACK_INTERNAL_H
#define VMSTREAM_PACK_INTERNAL_H

#include "core/reader.h"
#include "core/writer.h"
#include <vmstream/pack.h>

/*
 *   page.c        zero pages, portable; page_x86.c: SSE2, AVX2; page_neon.c: NEON
 *   hash.c        XXH64, page hashes            digest.c      the RAM digest
 *   known.c       what the destination holds    level.c       the adaptive level
 *   packer.c      the sender                    unpacker.c    the receiver
 *   zstd_frame.c  the outline of a zstd frame   arena.h       memory of the objects
 *   zstd.c        the back end, in an archive of its own
 */

enum {
    VMS_INFO_HEAD = 4,             /* PACK-10: u32 generation */
    VMS_INFO_REF = 12,             /* PACK-11: u32 generation, u64 hash */
    VMS_PACK_GAIN_SHIFT = 5,       /* PACK-5: at least 1/32 is saved */
    VMS_DELTA_SHARE = 4,           /* PACK-10: of a page's bytes, one in so many may differ */
    VMS_PACK_CHANNELS = 256,       /* that a vms_known keeps acknowledgements of */
    VMS_ZSTD_WINDOW_MAX = 8 << 20, /* PACK-8 */
};

const struct vms_page_ops *vms_page_ops_portable(void);
/* page_x86.c, page_neon.c; NULL when the CPU cannot do it */
const struct vms_page_ops *vms_page_ops_sse2(void);
const struct vms_page_ops *vms_page_ops_avx2(void);
const struct vms_page_ops *vms_page_ops_neon(void);

/* zstd_frame.c: one frame, from end to end, of this content size, without what PACK-8 forbids. */
bool vms_zstd_frame_ok(struct vms_slice frame, uint64_t content_size);

static inline bool vms_page_size_ok(uint32_t size) {
    return size >= 1024 && size <= 65536 && (size & (size - 1)) == 0;
}

/* known.c, for the packer. A slot is a number below the capacity. */
#define VMS_NO_SLOT UINT32_MAX

struct vms_known_entry {
    uint64_t page;
    uint64_t hash;
    uint64_t ticket;
    uint32_t block;
    uint32_t generation; /* 0: free */
    uint16_t channel;
    bool busy; /* base of a batch that is not packed yet */
};

/* The slot with the page's last version, if the destination holds it by the time that a new frame
 * of this channel arrives (PACK-13). */
uint32_t vms_known_find(const struct vms_known *known, uint32_t block, uint64_t page,
                        uint16_t channel);
struct vms_known_entry *vms_known_entry(struct vms_known *known, uint32_t slot);
uint8_t *vms_known_content(struct vms_known *known, uint32_t slot);
/* Remembers a version, in place of the page's earlier one; or none of them (PACK-15). */
void vms_known_store(struct vms_known *known, const struct vms_known_entry *version,
                     const uint8_t *content);
uint32_t vms_known_page_size(const struct vms_known *known);

#endif
