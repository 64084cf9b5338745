/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_DEVICES_VFIO_RECORDS_H
#define REFERENCE_DST_DEVICES_VFIO_RECORDS_H

#include "reference-dst/devices/vfio_queue.h"

#include <vmstream/record.h>

/**
 * VFIO devices on QEMU's wire: takes the records of the main channel and the device-state packets
 * of multifd channels, and drives the devices with them. It says when a SWITCHOVER_ACK is due.
 *
 * Main channel, one thread: record() for every record; when it says that the bulk is its own, the
 * bulk in pieces with bulk(), and done(). Each multifd channel, its own thread: packet() for a
 * MULTIFD_DEVICE_STATE, then its bulk and done through the struct dst_vfio_packet. Before the guest
 * is answered for: complete(), which waits for the queues and verifies.
 */
enum dst_vfio_ack {
    DST_VFIO_ACK_EACH,   /* [ACK-3] one for each INIT_DATA_SENT */
    DST_VFIO_ACK_LEGACY, /* [ACK-2] one, when every user had its INIT_DATA_SENT */
    DST_VFIO_ACK_NONE,   /* [VFIO-9] not used: INIT_DATA_SENT is refused */
    DST_VFIO_ACK_AUTO,   /* [ACK-1] as the machine type has it: known from CONFIGURATION on */
};

struct dst_vfio_records;

/** parallel: state comes in device-state packets (DST-12); else these are refused. */
enum vms_code dst_vfio_records_new(struct dst_vfio *vfio, enum dst_vfio_ack ack, bool parallel,
                                   struct dst_vfio_records **out, struct vms_error *err);
/** After all channels. Does not reset the devices. NULL is allowed. */
void dst_vfio_records_free(struct dst_vfio_records *records);

/**
 * A record of the main channel; those that are no matter of VFIO pass. *bulk: its bulk comes here.
 * *acks: so many SWITCHOVER_ACK are to be sent now, before anything else. A section of a device
 * that is not here, and what comes out of order: VFIO_UNEXPECTED, DST_UNEXPECTED.
 */
enum vms_code dst_vfio_record(struct dst_vfio_records *records, const struct vms_record *record,
                              bool *bulk, unsigned *acks, struct vms_error *err);
enum vms_code dst_vfio_bulk(struct dst_vfio_records *records, struct vms_slice bytes,
                            struct vms_error *err);
enum vms_code dst_vfio_done(struct dst_vfio_records *records, struct vms_error *err);

/** A packet that is being read; zero before the first, dst_vfio_packet_free at the end. */
struct dst_vfio_packet {
    size_t device;
    uint32_t index;
    bool config;
    uint8_t *bytes;
    size_t len, size;
};
enum vms_code dst_vfio_packet(struct dst_vfio_records *records, const struct vms_record *record,
                              struct dst_vfio_packet *packet, struct vms_error *err);
enum vms_code dst_vfio_packet_bulk(struct dst_vfio_packet *packet, struct vms_slice bytes,
                                   struct vms_error *err);
enum vms_code dst_vfio_packet_done(struct dst_vfio_records *records, struct dst_vfio_packet *packet,
                                   struct vms_error *err);
void dst_vfio_packet_free(struct dst_vfio_packet *packet);

/** All devices have all, and find it good: dst_vfio_verify. Waits for device-state packets. */
enum vms_code dst_vfio_complete(struct dst_vfio_records *records, struct vms_error *err);
/** From any thread: makes everybody who waits return. */
void dst_vfio_records_abort(struct dst_vfio_records *records);

#endif
