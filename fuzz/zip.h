/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_ZIP_H
#define VMSTREAM_FUZZ_ZIP_H

#include "fuzz.h"

#include <vmstream/pack_zstd.h>

/*
 * zstd for a harness, for good. It makes its contexts when they are first wanted; here that is now,
 * so that no input is the first (stability). level_max 0: it only unpacks.
 */
static inline struct vms_zip_ops fuzz_zip(int level_max, size_t unpacked_max) {
    struct vms_zstd_config config = {.level_max = level_max, .unpacked_max = unpacked_max};
    uint8_t packed[64], plain[64] = {0};
    size_t len = vms_zstd_size(&config);
    struct vms_zstd *zstd = vms_zstd_init(fuzz_memory(len), len, &config);
    ORACLE(zstd, "zstd of level %d for %zu octets", level_max, unpacked_max);
    struct vms_zip_ops zip = vms_zstd_ops(zstd);
    struct vms_slice in = vms_slice(plain, unpacked_max < 32 ? unpacked_max : 32);
    (void)zip.compress(zip.ctx, 1, in, (struct vms_room){packed, sizeof packed});
    (void)zip.decompress(zip.ctx, in, (struct vms_room){plain, sizeof plain});
    return zip;
}

#endif
