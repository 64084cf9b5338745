/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_RAM_UNPACK_H
#define VMSTREAM_HOST_RAM_UNPACK_H

#include <vmstream/slice.h>

/**
 * A decompressor whose output goes where the caller says, never further. Memory: about 40 KiB for
 * zlib; for zstd the window that the frame announces, at most 128 MiB (what QEMU's highest level
 * uses; zstd's own default limit).
 */
struct vms_inflate;

enum vms_inflate_kind {
    VMS_UNPACK_ZLIB,
    VMS_UNPACK_ZSTD,
};

/** NULL when there is no memory. */
struct vms_inflate *vms_inflate_new(enum vms_inflate_kind kind);
void vms_inflate_free(struct vms_inflate *unpack);
enum vms_inflate_kind vms_inflate_kind(const struct vms_inflate *unpack);

/** Forgets everything: the next byte begins a new stream. */
void vms_inflate_reset(struct vms_inflate *unpack);

/**
 * Unpacks until *in is empty or *out is full, taking what it used off the front of both. Both may
 * keep something when the compressed stream has ended. False: the data is malformed, or needs more
 * memory than it may have.
 */
bool vms_inflate(struct vms_inflate *unpack, struct vms_slice *in, struct vms_room *out);

/** The compressed stream came to its end and nothing of another one followed. */
bool vms_inflate_ended(const struct vms_inflate *unpack);

#endif
