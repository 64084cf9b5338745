/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_native_internal.h"
#include <stdlib.h>
#include <string.h>

/* The main channel: setup, devices, hand-over. */

static enum vms_code send_main(struct wire_native *w, struct vms_native_out *out,
                               struct vms_error *err) {
    return vms_native_link_send(w->link, 0, out, err);
}

static enum vms_code send_handover(struct wire_native *w, uint32_t type, uint64_t generation,
                                   struct vms_error *err) {
    struct vms_native_out out = {.frame.header.type = type};
    out.frame.u.generation = generation;
    return send_main(w, &out, err);
}

/* ---- setup ---- */

/* [MIG-3] MEM_SIZE and a RAM_BLOCK each, as QEMU's own START has them. */
static enum vms_code send_blocks(struct wire_native *w, const struct vms_guest *guest,
                                 struct vms_error *err) {
    struct vms_native_out out = {.frame.header.type = VMS_NATIVE_RECORDS};
    struct vms_record *r = calloc(guest->block_count + 1, sizeof *r);
    enum vms_code code = VMS_OK;
    if (!r)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    r[0].type = VMS_R_RAM_MEM_SIZE;
    for (size_t i = 0; i < guest->block_count; i++) {
        const struct vms_guest_block *b = &guest->blocks[i];
        r[i + 1].type = VMS_R_RAM_BLOCK;
        r[i + 1].u.block = (struct vms_rec_ram_block){.name = vms_str(b->name),
                                                      .used_length = b->length,
                                                      .has_page_size = true,
                                                      .page_size = b->page_size};
        r[0].u.ram_total += b->length;
    }
    for (size_t at = 0; at <= guest->block_count && code == VMS_OK; at += 64) {
        size_t left = guest->block_count + 1 - at;
        out.frame.u.records =
            (struct vms_native_records){(uint32_t)(left < 64 ? left : 64), r + at};
        code = send_main(w, &out, err);
    }
    free(r);
    return code;
}

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* [MIG-4] How pages travel. */
static enum vms_code send_manner(struct wire_native *w, struct vms_error *err) {
    uint8_t manner[8] = {0};
    struct vms_slice bulk = vms_slice(manner, sizeof manner);
    struct vms_native_out out = {.bulk = &bulk, .bulk_count = 1};
    put32(manner, w->channel_count);
    put32(manner + 4, w->preempt.wire ? 1 : 0);
    out.frame.header.type = VMS_NATIVE_DEVICE;
    out.frame.u.device = (struct vms_native_device_state){.device = 0, .kind = 0, .last = true};
    return send_main(w, &out, err);
}

enum vms_code wn_setup(void *ctx, const struct vms_guest *guest, bool postcopy,
                       struct vms_error *err) {
    struct wire_native *w = ctx;
    (void)postcopy; /* both hellos said so */
    if (send_blocks(w, guest, err) != VMS_OK)
        return err->code;
    return send_manner(w, err);
}

/* ---- devices ---- */

enum {
    IS_VFIO = 1, /* of a device in HELLO */
};

/* [MIG-6] The data channel of a VFIO device; NULL: main. */
static struct wn_channel *channel_of(struct wire_native *w, uint32_t device) {
    const struct src_options *o = &w->options;
    for (size_t i = 0; w->device_channels && i < o->device_count; i++)
        if (device && o->devices[i].number == device && o->devices[i].kind == IS_VFIO)
            return &w->channels[(device - 1) % w->channel_count];
    return NULL;
}

/* [MIG-12] Not between a DIGEST and its PAGES. */
static enum vms_code send_on(struct wn_channel *c, struct vms_native_out *out,
                             struct vms_error *err) {
    pthread_mutex_lock(&c->sending);
    enum vms_code code = vms_native_link_send(c->wire->link, c->number, out, err);
    pthread_mutex_unlock(&c->sending);
    return code;
}

static enum vms_code send_device(struct wire_native *w, uint32_t device, uint32_t kind,
                                 struct vms_slice bytes, bool last, struct vms_error *err) {
    struct wn_channel *c = channel_of(w, device);
    uint64_t *offset = device < SRC_DEVICES_MAX ? &w->offsets[device * 4 + kind] : NULL;
    if (!offset)
        return vms_error_set(err, VMS_E_MISUSE, "device %u", device);
    do {
        struct vms_slice bulk =
            vms_slice(bytes.ptr, bytes.len < WN_DEVICE_BYTES ? bytes.len : WN_DEVICE_BYTES);
        struct vms_native_out out = {.bulk = &bulk, .bulk_count = bulk.len ? 1 : 0};
        out.frame.header.type = VMS_NATIVE_DEVICE;
        out.frame.u.device =
            (struct vms_native_device_state){.device = device,
                                             .kind = kind,
                                             .offset = *offset,
                                             .last = last && bulk.len == bytes.len};
        if ((c ? send_on(c, &out, err) : send_main(w, &out, err)) != VMS_OK)
            return err->code;
        *offset += bulk.len;
        bytes = vms_slice(bytes.ptr + bulk.len, bytes.len - bulk.len);
    } while (bytes.len);
    return VMS_OK;
}

enum vms_code wn_data(void *ctx, uint32_t device, enum src_data_kind kind, struct vms_slice bytes,
                      bool last, struct vms_error *err) {
    static const uint32_t kinds[] = {[SRC_DATA_SETUP] = 0,
                                     [SRC_DATA_STATE] = 1,
                                     [SRC_DATA_CONFIG] = 2,
                                     [SRC_DATA_INITIAL_SENT] = 3};
    struct wire_native *w = ctx;
    if (wn_check(w, err) != VMS_OK)
        return err->code;
    return send_device(w, device, kinds[kind], bytes, last || kind == SRC_DATA_INITIAL_SENT, err);
}

/* [VDEV-22] */
unsigned wn_lanes(void *ctx) {
    struct wire_native *w = ctx;
    return w->device_channels ? w->channel_count : 1;
}

/* [MIG-6] */
enum vms_code wn_devices(void *ctx, struct vms_slice guest_state, bool postcopy,
                         struct vms_error *err) {
    (void)postcopy;
    return send_device(ctx, 0, 1, guest_state, true, err);
}

enum vms_code wn_switchover(void *ctx, uint32_t device, uint64_t generation, bool grant,
                            struct vms_error *err) {
    struct vms_native_out out = {.frame.header.type =
                                     grant ? VMS_NATIVE_GRANT : VMS_NATIVE_REQUEST};
    out.frame.u.switchover = (struct vms_native_switchover){device, generation};
    return send_main(ctx, &out, err);
}

/* ---- hand-over ---- */

enum vms_code wn_flush(void *ctx, struct vms_error *err) {
    struct wire_native *w = ctx;
    enum vms_code code = VMS_OK;
    for (unsigned i = 0; i < w->channel_count && code == VMS_OK; i++)
        code = wn_channel_drain(&w->channels[i], err);
    return code;
}

/* [MIG-21] Behind the last page of precopy on every data channel. */
static enum vms_code mark(struct wire_native *w, struct vms_error *err) {
    static const struct wn_job job = {.kind = WN_MARK};
    for (unsigned i = 0; i < w->channel_count; i++)
        if (wn_channel_put(&w->channels[i], &job, err) != VMS_OK)
            return err->code;
    return VMS_OK;
}

enum vms_code wn_start(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err) {
    struct wire_native *w = ctx;
    if (postcopy && mark(w, err) != VMS_OK)
        return err->code;
    if (wn_flush(w, err) != VMS_OK)
        return err->code;
    if (!postcopy && vms_native_link_send_end(w->link, err) != VMS_OK)
        return err->code;
    w->started = true;
    return send_handover(w, VMS_NATIVE_START, generation, err);
}

enum vms_code wn_commit(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err) {
    (void)postcopy;
    return send_handover(ctx, VMS_NATIVE_COMMIT, generation, err);
}

/* Postcopy's END: its acknowledgement says that every page has arrived. */
static void *ender(void *arg) {
    struct wire_native *w = arg;
    struct vms_error err = {.clause = ""};
    struct src_event shut = {.kind = SRC_EV_SHUT, .value = 0};
    if (vms_native_link_end(w->link, &err) == VMS_OK)
        w->owner->event(w->owner->ctx, &shut, NULL);
    return NULL;
}

enum vms_code wn_end(void *ctx, struct vms_error *err) {
    struct wire_native *w = ctx;
    if (w->ender_runs)
        return VMS_OK; /* what was sent is repeated by itself */
    if (wn_flush(w, err) != VMS_OK)
        return err->code;
    w->ender_runs = pthread_create(&w->ender, NULL, ender, w) == 0;
    return w->ender_runs ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "threads");
}
