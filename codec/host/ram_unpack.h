/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_RAM_UNPACK_H
#define VMSTREAM_HOST_RAM_UNPACK_H

#include <vmstream/slice.h>

/**
 * A decompressor whose output goes where the caller says, never further. Memory: about 40 KiB for
 * zlib; for zstd the window that the frame announces, at most 128 MiB (what QEMU's highest level
 * uses; zstd's own default limit).
 */
struct vms_unpack;

enum vms_unpack_kind {
    VMS_UNPACK_ZLIB,
    VMS_UNPACK_ZSTD,
};

/** NULL when there is no memory. */
struct vms_unpack *vms_unpack_new(enum vms_unpack_kind kind);
void vms_unpack_free(struct vms_unpack *unpack);
enum vms_unpack_kind vms_unpack_kind(const struct vms_unpack *unpack);

/** Forgets everything: the next byte begins a new stream. */
void vms_unpack_reset(struct vms_unpack *unpack);

/**
 * Unpacks until *in is empty or *out is full, taking what it used off the front of both. Both may
 * keep something when the compressed stream has ended. False: the data is malformed, or needs more
 * memory than it may have.
 */
bool vms_unpack(struct vms_unpack *unpack, struct vms_slice *in, struct vms_room *out);

/** The compressed stream came to its end and nothing of another one followed. */
bool vms_unpack_ended(const struct vms_unpack *unpack);

#endif
