/* SPDX-License-Identifier: MIT */
#include "native/body.h"

/* Bodies of class HELLO: HELLO, ATTACH, RESUME, RESUMED (NAT-40 to NAT-48). */

enum {
    SUITES_MAX = 16,
    TEXT_MAX = 255,
};

/* ---- SUITES ---- */

static void read_suites(struct vms_body_in *in, struct vms_native_frame *frame) {
    struct vms_native_hello *h = &frame->u.hello;
    size_t at = in->c.pos;
    h->suite_count = vms_cbor_array(&in->c, UINT64_MAX, "");
    if (!in->c.code && (!h->suite_count || h->suite_count > SUITES_MAX))
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "not 1 to 16 suites");
    uint32_t *suites = vms_body_list(in, h->suite_count, sizeof *suites);
    for (uint32_t i = 0; suites && i < h->suite_count; i++)
        suites[i] = (uint32_t)vms_cbor_uint(&in->c, 0, UINT32_MAX);
    h->suites = suites;
}

static void write_suites(struct vms_writer *w, const struct vms_native_frame *frame) {
    const struct vms_native_hello *h = &frame->u.hello;
    vms_cbor_put_array(w, h->suite_count);
    for (uint32_t i = 0; i < h->suite_count; i++)
        vms_cbor_put_uint(w, h->suites[i]);
}

static const char *object_suites(const struct vms_native_frame *frame,
                                 const struct vms_limits *limits) {
    (void)limits;
    uint32_t count = frame->u.hello.suite_count;
    return count < 1 || count > SUITES_MAX ? "not 1 to 16 suites" : NULL;
}

static const struct vms_codec SUITES = {read_suites, write_suites, object_suites, NULL};

/* ---- DEVICES ---- */

static void read_devices(struct vms_body_in *in, struct vms_native_frame *frame) {
    struct vms_native_hello *h = &frame->u.hello;
    size_t at = in->c.pos;
    h->device_count = vms_cbor_array(&in->c, in->limits->native_devices, "native_devices");
    if (!in->c.code && !h->device_count)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "an empty list");
    struct vms_native_device *list = vms_body_list(in, h->device_count, sizeof *list);
    for (uint32_t i = 0; list && !in->c.code && i < h->device_count; i++) {
        at = in->c.pos;
        if (vms_cbor_array(&in->c, UINT64_MAX, "") != 3)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "not three elements");
        list[i].id = (uint32_t)vms_cbor_uint(&in->c, 0, UINT32_MAX);
        list[i].kind = (uint32_t)vms_cbor_uint(&in->c, 0, UINT32_MAX);
        list[i].name = vms_cbor_bytes(&in->c, in->limits->native_name_bytes);
        if (i && !in->c.code && list[i].id <= list[i - 1].id)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "device ids that do not ascend");
    }
    h->devices = list;
}

static void write_devices(struct vms_writer *w, const struct vms_native_frame *frame) {
    const struct vms_native_hello *h = &frame->u.hello;
    vms_cbor_put_array(w, h->device_count);
    for (uint32_t i = 0; i < h->device_count; i++) {
        vms_cbor_put_array(w, 3);
        vms_cbor_put_uint(w, h->devices[i].id);
        vms_cbor_put_uint(w, h->devices[i].kind);
        vms_cbor_put_bytes(w, h->devices[i].name);
    }
}

static const char *object_devices(const struct vms_native_frame *frame,
                                  const struct vms_limits *limits) {
    const struct vms_native_hello *h = &frame->u.hello;
    if (h->device_count > limits->native_devices)
        return "native_devices";
    for (uint32_t i = 0; i < h->device_count; i++) {
        if (h->devices[i].name.len > limits->native_name_bytes)
            return "native_name_bytes";
        if (i && h->devices[i].id <= h->devices[i - 1].id)
            return "device ids that do not ascend";
    }
    return NULL;
}

static bool has_devices(const struct vms_native_frame *frame) {
    return frame->u.hello.device_count != 0;
}

static const struct vms_codec DEVICES = {read_devices, write_devices, object_devices, has_devices};

/* ---- POSITIONS of RESUME; those of ACK have the same form but are required ---- */

void vms_read_positions(struct vms_body_in *in, uint32_t *count,
                        const struct vms_native_position **positions) {
    size_t at = in->c.pos;
    *count = vms_cbor_array(&in->c, in->limits->native_channels, "native_channels");
    if (!in->c.code && !*count)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "an empty list");
    struct vms_native_position *list = vms_body_list(in, *count, sizeof *list);
    for (uint32_t i = 0; list && !in->c.code && i < *count; i++) {
        at = in->c.pos;
        if (vms_cbor_array(&in->c, UINT64_MAX, "") != 2)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "not two elements");
        list[i].channel = (uint16_t)vms_cbor_uint(&in->c, 0, UINT16_MAX);
        list[i].next = vms_cbor_uint(&in->c, 0, UINT64_MAX);
        if (i && !in->c.code && list[i].channel <= list[i - 1].channel)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "channels that do not ascend");
    }
    *positions = list;
}

void vms_write_positions(struct vms_writer *w, uint32_t count,
                         const struct vms_native_position *positions) {
    vms_cbor_put_array(w, count);
    for (uint32_t i = 0; i < count; i++) {
        vms_cbor_put_array(w, 2);
        vms_cbor_put_uint(w, positions[i].channel);
        vms_cbor_put_uint(w, positions[i].next);
    }
}

const char *vms_object_positions(uint32_t count, const struct vms_native_position *positions,
                                 const struct vms_limits *limits) {
    if (!count)
        return "no positions";
    if (count > limits->native_channels)
        return "native_channels";
    for (uint32_t i = 1; i < count; i++)
        if (positions[i].channel <= positions[i - 1].channel)
            return "channels that do not ascend";
    return NULL;
}

static void read_resume(struct vms_body_in *in, struct vms_native_frame *frame) {
    vms_read_positions(in, &frame->u.resume.position_count, &frame->u.resume.positions);
}
static void write_resume(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_write_positions(w, frame->u.resume.position_count, frame->u.resume.positions);
}
static const char *object_resume(const struct vms_native_frame *frame,
                                 const struct vms_limits *limits) {
    return vms_object_positions(frame->u.resume.position_count, frame->u.resume.positions, limits);
}
static bool has_positions(const struct vms_native_frame *frame) {
    return frame->u.resume.position_count != 0;
}

static const struct vms_codec POSITIONS = {read_resume, write_resume, object_resume, has_positions};

/* ---- tables ---- */

static const struct vms_field HELLO[] = {
    VMS_F_UINT(VERSION, u.hello.version, 1, UINT16_MAX),
    VMS_F_UINT(VERSION_MIN, u.hello.version_min, 1, UINT16_MAX),
    VMS_F_WHO(u.hello.who),
    VMS_F_UINT_OPT(FORM, u.hello.form, VMS_FORM_INQUIRY),
    VMS_F_WHO_IDS(u.hello.who),
    VMS_F_CODEC(SUITES, SUITES),
    VMS_F_WHO_SECRET(u.hello.who),
    VMS_F_UINT_OPT(FEATURES, u.hello.features, UINT64_MAX),
    VMS_F_UINT_OPT(FEATURES_NEEDED, u.hello.features_needed, UINT64_MAX),
    VMS_F_UINT(BODY_BYTES, u.hello.body_bytes, 1024, UINT32_MAX),
    VMS_F_UINT(BULK_BYTES, u.hello.bulk_bytes, 4096, UINT32_MAX),
    VMS_F_UINT(CHANNELS, u.hello.channels, 1, UINT16_MAX + 1),
    VMS_F_UINT_OPT(REPLAY_BYTES, u.hello.replay_bytes, UINT64_MAX),
    VMS_F_UINT_OPT(KEEPALIVE_MS, u.hello.keepalive_ms, UINT32_MAX),
    VMS_F_BYTES_OPT(MACHINE, u.hello.machine, TEXT_MAX),
    VMS_F_CODEC_OPT(DEVICES, DEVICES),
    VMS_F_TEXT_OPT(SOFTWARE, u.hello.software, TEXT_MAX),
    VMS_F_TEXT_OPT(DIALECT, u.hello.dialect, TEXT_MAX),
};

static const struct vms_field ATTACH[] = {
    VMS_F_WHO(u.attach.who),
    VMS_F_WHO_IDS(u.attach.who),
    VMS_F_WHO_SECRET(u.attach.who),
    VMS_F_UINT_OPT(KIND, u.attach.kind, UINT32_MAX),
    VMS_F_UINT(EPOCH, u.attach.epoch, 1, UINT32_MAX),
};

static const struct vms_field RESUME[] = {
    VMS_F_WHO(u.resume.who),
    VMS_F_WHO_IDS(u.resume.who),
    VMS_F_WHO_SECRET(u.resume.who),
    VMS_F_UINT(EPOCH, u.resume.epoch, 2, UINT32_MAX),
    VMS_F_CODEC_OPT(POSITIONS, POSITIONS),
};

const struct vms_body vms_body_hello = VMS_BODY(HELLO);
const struct vms_body vms_body_attach = VMS_BODY(ATTACH);
const struct vms_body vms_body_resume = VMS_BODY(RESUME);
