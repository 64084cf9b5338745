/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_PACK_ZSTD_H
#define VMSTREAM_PACK_ZSTD_H

#include <vmstream/pack.h>

/**
 * zstd for packers and unpackers (archive libvmstream-zstd, link with -lzstd). It lives wholly in
 * the caller's memory: zstd is given fixed workspaces and cannot allocate.
 */
struct vms_zstd;

struct vms_zstd_config {
    int level_max;       /* highest level for compression, at most 19; 0: decompression only */
    size_t unpacked_max; /* bytes of the longest input of a frame */
};

/** Bytes of memory, decompression included: for 512 KiB 1.4 MiB at level 1, 2.6 at 3, 6.6 at 9. */
size_t vms_zstd_size(const struct vms_zstd_config *config);
/** NULL when mem_len is short. Alignment: that of malloc. */
struct vms_zstd *vms_zstd_init(void *mem, size_t mem_len, const struct vms_zstd_config *config);
/** The operations; zstd must outlive them. */
struct vms_zip_ops vms_zstd_ops(struct vms_zstd *zstd);

#endif
