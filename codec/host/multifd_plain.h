/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_MULTIFD_PLAIN_H
#define VMSTREAM_HOST_MULTIFD_PLAIN_H

#include <vmstream/error.h>
#include <vmstream/record.h>

/**
 * Recodes the packets of one multifd channel: what a QEMU compressed with zlib or zstd becomes
 * plain pages, so that it can be packed in another way. Guest memory and the records' other fields
 * stay the same; the octets do not (chapter TRC, Recoding). Data of a channel is one stream: all of
 * its packets have to come, in their order.
 */
struct vms_multifd_plain;

/** NULL when there is no memory. */
struct vms_multifd_plain *vms_multifd_plain_new(void);
/** NULL is fine. */
void vms_multifd_plain_free(struct vms_multifd_plain *plain);

/** True for the packets that are recoded: begin, bulk, end. All others go on as they are. */
bool vms_multifd_plain_takes(const struct vms_record *record);
/** A packet; page_size in bytes. Its slices must hold until the end. MULTIFD_COUNTS, _COMPRESSION.
 */
enum vms_code vms_multifd_plain_begin(struct vms_multifd_plain *plain,
                                      const struct vms_record *record, uint32_t page_size,
                                      struct vms_error *err);
/** The next piece of its bulk. MULTIFD_DATA (MFD-11). */
enum vms_code vms_multifd_plain_bulk(struct vms_multifd_plain *plain, struct vms_slice piece,
                                     struct vms_error *err);
/** All its bulk came: the packet as it is now, and its pages, until the next begin. */
enum vms_code vms_multifd_plain_end(struct vms_multifd_plain *plain, struct vms_record *record,
                                    struct vms_slice *pages, struct vms_error *err);

#endif
