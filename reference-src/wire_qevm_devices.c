/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

#include <stdlib.h>

/* Sections of devices, and the end of the stream. */

/* [SEC-5] Above all that the recorded guest's sections have. */
static uint32_t id_of(const struct qevm *q, uint32_t device) {
    const struct src_recorded *r = q->options.recorded;
    uint32_t top = qevm_ram_id(q);
    for (size_t i = 0; r && i < r->section_count; i++)
        if (r->sections[i].about.id > top)
            top = r->sections[i].about.id;
    return top + device;
}

static struct vms_rec_section section_of(const struct qevm *q, uint32_t device) {
    for (size_t i = 0; i < q->options.device_count; i++) {
        const struct src_wire_device *d = &q->options.devices[i];
        if (d->number == device)
            return (struct vms_rec_section){id_of(q, device), d->instance, 1, VMS_SECTION_VFIO,
                                            vms_str(d->idstr)};
    }
    return (struct vms_rec_section){0};
}

static enum vms_code put_footer(struct qevm *q, struct qevm_out *out, uint32_t id,
                                struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_SECTION_FOOTER, .u.section.id = id};
    if (q->dialect.footers == VMS_OFF)
        return VMS_OK;
    return qevm_out_put(out, &r, vms_slice(NULL, 0), err);
}

/* ---- VFIO (chapter VFIO) ---- */

struct vfio_form {
    enum vms_record_type section, record;
    bool end; /* END_OF_STATE follows */
};

static struct vfio_form form_of(enum src_data_kind kind, bool last) {
    switch (kind) {
    case SRC_DATA_SETUP:
        return (struct vfio_form){VMS_R_SECTION_START, VMS_R_VFIO_SETUP_STATE, true};
    case SRC_DATA_INITIAL_SENT:
        return (struct vfio_form){VMS_R_SECTION_PART, VMS_R_VFIO_INIT_DATA_SENT, false};
    case SRC_DATA_STATE:
    case SRC_DATA_CONFIG: break;
    }
    return (struct vfio_form){last ? VMS_R_SECTION_END : VMS_R_SECTION_PART, VMS_R_VFIO_DATA_STATE,
                              true};
}

static enum vms_code put_vfio(struct qevm *q, struct qevm_out *out,
                              const struct vms_rec_section *section, struct vfio_form form,
                              struct vms_slice bytes, struct vms_error *err) {
    struct vms_record r = {.type = form.section, .u.section = *section};
    struct vms_record data = {.type = form.record, .bulk_len = bytes.len};
    struct vms_record end = {.type = VMS_R_VFIO_END_OF_STATE};
    bool empty = form.record == VMS_R_VFIO_DATA_STATE && !bytes.len; /* VFIO-3 */
    enum vms_code code = qevm_out_put(out, &r, vms_slice(NULL, 0), err);
    if (code == VMS_OK && !empty)
        code = qevm_out_put(out, &data, bytes, err);
    if (code == VMS_OK && form.end)
        code = qevm_out_put(out, &end, vms_slice(NULL, 0), err);
    if (code == VMS_OK)
        code = put_footer(q, out, section->id, err);
    return code == VMS_OK ? qevm_out_flush(out, err) : code;
}

/* All that a stopped device has is one END section, in as many DATA_STATE as it takes. */
static enum vms_code put_end(struct qevm *q, const struct vms_rec_section *section,
                             struct vms_slice bytes, bool last, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_SECTION_END, .u.section = *section};
    struct vms_record data = {.type = VMS_R_VFIO_DATA_STATE, .bulk_len = bytes.len};
    struct vms_record end = {.type = VMS_R_VFIO_END_OF_STATE};
    enum vms_code code = VMS_OK;
    if (!q->in_end)
        code = qevm_out_put(&q->main, &r, vms_slice(NULL, 0), err);
    q->in_end = !last;
    if (code == VMS_OK && bytes.len) /* VFIO-3 */
        code = qevm_out_put(&q->main, &data, bytes, err);
    if (code == VMS_OK && last)
        code = qevm_out_put(&q->main, &end, vms_slice(NULL, 0), err);
    if (code == VMS_OK && last)
        code = put_footer(q, &q->main, section->id, err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code;
}

static enum vms_code keep_config(struct qevm *q, const struct vms_rec_section *section,
                                 struct vms_slice bytes, struct vms_error *err) {
    struct qevm_config_state *c = malloc(sizeof *c + bytes.len), **end = &q->configs;
    if (!c)
        return vms_error_set(err, VMS_E_NO_MEMORY, "the state of a device");
    *c = (struct qevm_config_state){.section = *section, .len = bytes.len};
    memcpy(c->bytes, bytes.ptr, bytes.len);
    pthread_mutex_lock(&q->lock);
    while (*end)
        end = &(*end)->next;
    *end = c;
    pthread_mutex_unlock(&q->lock);
    return VMS_OK;
}

/* With device state on multifd channels the sections on main are empty (VFIO-5). */
static enum vms_code give_config(struct qevm *q, const struct vms_rec_section *section,
                                 uint32_t device, struct vms_slice bytes, struct vms_error *err) {
    if (!qevm_states_on(q))
        return keep_config(q, section, bytes, err);
    enum vms_code code = qevm_state_give(q, section, device, true, bytes, err);
    return code == VMS_OK ? keep_config(q, section, vms_slice("", 0), err) : code;
}

/* [VDEV-22] Each device on a thread of its own. */
static enum vms_code give_state(struct qevm *q, const struct vms_rec_section *section,
                                uint32_t device, struct vms_slice bytes, bool last,
                                struct vms_error *err) {
    enum vms_code code =
        bytes.len ? qevm_state_give(q, section, device, false, bytes, err) : VMS_OK;
    if (code != VMS_OK || !last)
        return code;
    pthread_mutex_lock(&q->ends);
    code = qevm_switchover_start(q, err);
    if (code == VMS_OK)
        code = put_end(q, section, vms_slice(NULL, 0), true, err);
    pthread_mutex_unlock(&q->ends);
    return code;
}

unsigned qevm_lanes(void *ctx) {
    const struct qevm *q = ctx;
    return qevm_states_on(q) ? q->worker_count : 1;
}

enum vms_code qevm_data(void *ctx, uint32_t device, enum src_data_kind kind, struct vms_slice bytes,
                        bool last, struct vms_error *err) {
    struct qevm *q = ctx;
    struct vms_rec_section section = section_of(q, device);
    if (!section.idstr.len)
        return vms_error_set(err, VMS_E_MISUSE, "no device %u", device);
    if (kind == SRC_DATA_CONFIG)
        return give_config(q, &section, device, bytes, err);
    if (kind == SRC_DATA_STATE && q->stopped && !q->section && qevm_states_on(q))
        return give_state(q, &section, device, bytes, last, err);
    enum vms_code code = qevm_close_section(q, err);
    if (code == VMS_OK && kind == SRC_DATA_STATE && last)
        code = qevm_switchover_start(q, err);
    if (code == VMS_OK && kind == SRC_DATA_STATE && q->stopped)
        return put_end(q, &section, bytes, last, err);
    if (kind == SRC_DATA_SETUP)
        bytes.len = 0; /* QEMU's SETUP_STATE has none */
    return code == VMS_OK ? put_vfio(q, &q->main, &section, form_of(kind, last), bytes, err) : code;
}

void qevm_devices_free(struct qevm *q) {
    qevm_states_free(q);
    while (q->configs) {
        struct qevm_config_state *c = q->configs;
        q->configs = c->next;
        free(c);
    }
}

/* ---- device sections ---- */

static enum vms_code put_full(struct qevm *q, struct qevm_out *out,
                              const struct vms_rec_section *section, struct vms_slice bytes,
                              struct vms_error *err) {
    struct vms_record r = {
        .type = VMS_R_SECTION_FULL, .bulk_len = bytes.len, .u.section = *section};
    enum vms_code code = qevm_out_put(out, &r, bytes, err);
    return code == VMS_OK ? put_footer(q, out, section->id, err) : code;
}

static enum vms_code put_configs(struct qevm *q, struct qevm_out *out, struct vms_error *err) {
    static const struct vfio_form here = {VMS_R_SECTION_FULL, VMS_R_VFIO_CONFIG_STATE, true},
                                  elsewhere = {VMS_R_SECTION_FULL, VMS_R_VFIO_DATA_STATE, true};
    struct vfio_form form = qevm_states_on(q) ? elsewhere : here;
    enum vms_code code = qevm_states_on(q) ? qevm_multifd_idle(q, err) : VMS_OK;
    for (struct qevm_config_state *c = q->configs; c && code == VMS_OK; c = c->next)
        code = put_vfio(q, out, &c->section, form, vms_slice(c->bytes, c->len), err);
    return code;
}

/* u32 length first: the section delimits itself (SRC-11). */
static enum vms_code put_guest(struct qevm *q, struct qevm_out *out, struct vms_slice state,
                               struct vms_error *err) {
    static const struct vms_rec_section section = {
        QEVM_GUEST_ID,
        0,
        1,
        VMS_SECTION_DEVICE,
        {(const uint8_t *)QEVM_GUEST_IDSTR, sizeof QEVM_GUEST_IDSTR - 1}};
    uint8_t *bytes = malloc(4 + state.len);
    if (!bytes)
        return vms_error_set(err, VMS_E_NO_MEMORY, "the guest's state");
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(state.len >> (24 - 8 * i));
    memcpy(bytes + 4, state.ptr, state.len);
    q->guest_len = state.len;
    enum vms_code code = put_full(q, out, &section, vms_slice(bytes, 4 + state.len), err);
    if (code == VMS_OK)
        code = qevm_out_flush(out, err);
    free(bytes);
    return code;
}

static enum vms_code put_sections(struct qevm *q, struct qevm_out *out, struct vms_slice state,
                                  struct vms_error *err) {
    const struct src_recorded *r = q->options.recorded;
    enum vms_code code = put_configs(q, out, err);
    for (size_t i = 0; r && i < r->section_count && code == VMS_OK; i++)
        if (!r->sections[i].early)
            code = put_full(q, out, &r->sections[i].about, r->sections[i].bytes, err);
    if (code == VMS_OK && state.len)
        return put_guest(q, out, state, err);
    return code == VMS_OK ? qevm_out_flush(out, err) : code;
}

/* ---- the package (chapter PKG) ---- */

enum {
    RUN_BYTES = 5, /* of the command POSTCOPY_RUN, which commit() sends (SRC-3) */
};

static enum vms_code put_command(struct qevm_out *out, enum vms_command command,
                                 struct vms_slice payload, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_COMMAND, .u.command = {(uint16_t)command, payload}};
    return qevm_out_put(out, &r, vms_slice(NULL, 0), err);
}

static enum vms_code fill_package(struct qevm *q, struct vms_slice state, struct vms_error *err) {
    struct qevm_out *out = &q->package;
    enum vms_code code = put_command(out, VMS_CMD_POSTCOPY_LISTEN, vms_slice(NULL, 0), err);
    if (code == VMS_OK)
        code = put_sections(q, out, state, err);
    if (code == VMS_OK)
        code = qevm_ping(q, out, 3, err);
    if (code == VMS_OK && q->habits.loaded_ping)
        code = qevm_ping(q, out, 0x42, err);
    return code == VMS_OK ? qevm_out_flush(out, err) : code;
}

static enum vms_code send_package(struct qevm *q, struct vms_slice state, struct vms_error *err) {
    uint8_t length[4];
    enum vms_code code = fill_package(q, state, err);
    uint64_t total = q->package.memory_len + RUN_BYTES;
    if (code == VMS_OK && total > UINT32_MAX)
        return vms_error_set(err, VMS_E_LIMIT, "a package of %llu bytes",
                             (unsigned long long)total);
    for (unsigned i = 0; i < 4; i++)
        length[i] = (uint8_t)(total >> (24 - 8 * i));
    if (code == VMS_OK)
        code = qevm_ping(q, &q->main, 2, err);
    if (code == VMS_OK)
        code = qevm_command(q, VMS_CMD_PACKAGED, vms_slice(length, sizeof length), err);
    if (code == VMS_OK)
        code = vms_channel_write_all(q->main.io,
                                     vms_slice(q->package.memory, q->package.memory_len), err);
    return code;
}

enum vms_code qevm_devices(void *ctx, struct vms_slice guest_state, bool postcopy,
                           struct vms_error *err) {
    struct qevm *q = ctx;
    enum vms_code code = qevm_close_section(q, err);
    if (code != VMS_OK)
        return code;
    return postcopy ? send_package(q, guest_state, err)
                    : put_sections(q, &q->main, guest_state, err);
}

/* ---- the end of the stream ---- */

static enum vms_code put_json(struct qevm *q, struct vms_slice json, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_VMDESCRIPTION, .bulk_len = json.len};
    enum vms_code code = qevm_out_put(&q->main, &r, json, err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code;
}

static enum vms_code put_description(struct qevm *q, struct vms_error *err) {
    const struct src_recorded *recorded = q->options.recorded;
    if (q->dialect.vmdesc == VMS_OFF || (recorded && !recorded->vmdesc.len))
        return qevm_out_flush(&q->main, err);
    if (recorded && !q->configs)
        return put_json(q, recorded->vmdesc, err);
    char *text = qevm_describe(q);
    if (!text)
        return vms_error_set(err, VMS_E_NO_MEMORY, "the description");
    enum vms_code code = put_json(q, vms_str(text), err);
    free(text);
    return code;
}

static enum vms_code put_eof(struct qevm *q, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_EOF};
    return qevm_put(q, &r, err);
}

/* [SRC-3] From the first octet that leaves here on the guest may run at the destination. */
enum vms_code qevm_commit(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err) {
    struct qevm *q = ctx;
    (void)generation;
    if (!postcopy) {
        enum vms_code code = put_eof(q, err);
        return code == VMS_OK ? put_description(q, err) : code;
    }
    enum vms_code code = put_command(&q->main, VMS_CMD_POSTCOPY_RUN, vms_slice(NULL, 0), err);
    if (code == VMS_OK)
        code = qevm_ping(q, &q->main, 4, err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code;
}

enum vms_code qevm_end(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    struct vms_record eos = {.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS};
    enum vms_code code = qevm_section(q, VMS_R_SECTION_END, err);
    if (code == VMS_OK)
        code = qevm_close_section(q, err);
    if (code == VMS_OK && q->preempt.io && q->habits.early_preempt) { /* PRE-3 */
        code = qevm_out_put(&q->preempt, &eos, vms_slice(NULL, 0), err);
        if (code == VMS_OK)
            code = qevm_out_flush(&q->preempt, err);
    }
    if (code == VMS_OK)
        code = put_eof(q, err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code;
}
