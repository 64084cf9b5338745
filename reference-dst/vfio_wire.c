/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

/* VFIO devices on QEMU's wire: records and packets to the devices, acknowledgements back. */

static enum vms_code open_devices(struct dst_session *s, struct vms_error *err) {
    static const struct vms_guest nobody; /* without memory of a guest devices see none */
    const struct dst_options *o = s->options;
    return dst_vfio_new(s->guest ? s->guest : &nobody, o->vfio, o->vfio_count, &s->vfio, err);
}

/* [ACK-1] Without devices and acknowledgement VFIO sections are counted, and passed over. */
enum vms_code dst_devices_open(struct dst_session *s, struct vms_error *err) {
    const struct dst_options *o = s->options;
    if (o->vfio_count == 0 && o->ack == DST_VFIO_ACK_NONE)
        return VMS_OK;
    enum vms_code code = open_devices(s, err);
    if (code == VMS_OK)
        dst_lanes_open(s);
    return code == VMS_OK
               ? dst_vfio_records_new(s->vfio, o->ack, o->vfio_multifd, &s->vfio_records, err)
               : code;
}

void dst_devices_free(struct dst_session *s) {
    dst_vfio_records_free(s->vfio_records);
    dst_vfio_free(s->vfio);
}

enum vms_code dst_devices_record(struct dst_channel *c, const struct vms_record *r,
                                 struct vms_error *err) {
    struct dst_session *s = c->session;
    unsigned acks = 0;
    c->bulk_to_vfio = false;
    if (!s->vfio_records)
        return VMS_OK;
    enum vms_code code = dst_vfio_record(s->vfio_records, r, &c->bulk_to_vfio, &acks, err);
    for (; acks > 0 && code == VMS_OK && s->engine.return_path; acks--)
        code = dst_reply(s, VMS_R_RP_SWITCHOVER_ACK, 0, err);
    return code;
}

enum vms_code dst_devices_packet(struct dst_channel *c, const struct vms_record *r,
                                 struct vms_error *err) {
    c->bulk_to_vfio = false;
    if (!c->session->vfio_records || r->type != VMS_R_MULTIFD_DEVICE_STATE)
        return VMS_OK;
    c->bulk_to_vfio = true;
    return dst_vfio_packet(c->session->vfio_records, r, &c->packet, err);
}

enum vms_code dst_devices_bulk(struct dst_channel *c, struct vms_slice bytes,
                               struct vms_error *err) {
    return c->kind == VMS_QEVM_MULTIFD ? dst_vfio_packet_bulk(&c->packet, bytes, err)
                                       : dst_vfio_bulk(c->session->vfio_records, bytes, err);
}

enum vms_code dst_devices_done(struct dst_channel *c, struct vms_error *err) {
    struct dst_vfio_records *records = c->session->vfio_records;
    return c->kind == VMS_QEVM_MULTIFD ? dst_vfio_packet_done(records, &c->packet, err)
                                       : dst_vfio_done(records, err);
}

/* [VDEV-11] */
enum vms_code dst_devices_verify(struct dst_session *s, struct vms_error *err) {
    return s->vfio_records && s->options->vfio_count ? dst_vfio_complete(s->vfio_records, err)
                                                     : VMS_OK;
}

enum vms_code dst_devices_run(struct dst_session *s, struct vms_error *err) {
    return s->vfio_records && s->options->vfio_count ? dst_vfio_run(s->vfio, err) : VMS_OK;
}

void dst_devices_abort(struct dst_session *s) {
    if (s->vfio_records)
        dst_vfio_records_abort(s->vfio_records);
}

/* [VDEV-24] When nobody feeds them any more. */
void dst_devices_reset(struct dst_session *s) {
    struct vms_error err = {.clause = ""};
    if (s->vfio && dst_vfio_reset(s->vfio, &err) != VMS_OK)
        dst_say(s, "a device was quieted, and not reset: %s", err.message);
}
