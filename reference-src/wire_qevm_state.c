/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

#include <stdlib.h>

/*
 * State of stopped VFIO devices in packets on the multifd channels, [VFIO-6] [VFIO-7]: each with
 * its index, whichever channel takes it; the config state comes last.
 */
enum {
    WAITING_MAX = 64 << 20, /* bytes */
    TAG = 8,
};

struct qevm_state {
    struct qevm_state *next;
    struct vms_rec_multifd_device head;
    size_t len;
    uint8_t bytes[];
};

bool qevm_states_on(const struct qevm *q) {
    return q->options.vfio_multifd && q->worker_count > 0;
}

static void put_tag(uint8_t *at, uint8_t last) {
    static const uint8_t tag[TAG] = {0xff, 0xff, 0xff, 0xff, 0xef, 0x10, 0, 0};
    memcpy(at, tag, TAG);
    at[TAG - 1] = last;
}

/* CONFIG_STATE, the config state, END_OF_STATE (VFIO-4). */
static void fill(struct qevm_state *s, bool config, struct vms_slice bytes) {
    uint8_t *at = s->bytes;
    if (config)
        put_tag(at, 2);
    memcpy(at + (config ? TAG : 0), bytes.ptr, bytes.len);
    if (config)
        put_tag(at + TAG + bytes.len, 1);
}

static struct qevm_state *make(struct qevm *q, const struct vms_rec_section *section,
                               uint32_t device, bool config, struct vms_slice bytes) {
    size_t len = bytes.len + (config ? 2 * TAG : 0);
    struct qevm_state *s = malloc(sizeof *s + len);
    if (!s)
        return NULL;
    *s = (struct qevm_state){.head = {.idstr = section->idstr,
                                      .instance = section->instance,
                                      .index = q->state_index[device]++,
                                      .flags = config,
                                      .raw_flags = VMS_MULTIFD_DEVICE_STATE},
                             .len = len};
    fill(s, config, bytes);
    return s;
}

enum vms_code qevm_state_give(struct qevm *q, const struct vms_rec_section *section,
                              uint32_t device, bool config, struct vms_slice bytes,
                              struct vms_error *err) {
    struct qevm_state *s =
        device < SRC_DEVICES_MAX ? make(q, section, device, config, bytes) : NULL;
    if (!s)
        return vms_error_set(err, VMS_E_NO_MEMORY, "the state of a device");
    pthread_mutex_lock(&q->lock);
    enum vms_code code = qevm_multifd_trouble(q, err);
    while (code == VMS_OK && q->states && q->state_bytes + s->len > WAITING_MAX) {
        pthread_cond_wait(&q->changed, &q->lock);
        code = qevm_multifd_trouble(q, err);
    }
    if (code == VMS_OK) {
        if (!q->states)
            q->states_end = &q->states;
        *q->states_end = s;
        q->states_end = &s->next;
        q->state_bytes += s->len;
        pthread_cond_broadcast(&q->changed);
    } else {
        free(s);
    }
    pthread_mutex_unlock(&q->lock);
    return code;
}

struct qevm_state *qevm_state_take(struct qevm *q) {
    struct qevm_state *s = q->states;
    if (s) {
        q->states = s->next;
        q->state_bytes -= s->len;
    }
    return s;
}

enum vms_code qevm_state_send(struct qevm *q, struct qevm_out *out, struct qevm_state *s,
                              struct vms_error *err) {
    struct vms_record r = {
        .type = VMS_R_MULTIFD_DEVICE_STATE, .bulk_len = s->len, .u.device = s->head};
    (void)q;
    enum vms_code code = qevm_out_put(out, &r, vms_slice(s->bytes, s->len), err);
    if (code == VMS_OK)
        code = qevm_out_flush(out, err);
    free(s);
    return code;
}

void qevm_states_free(struct qevm *q) {
    for (struct qevm_state *s; (s = qevm_state_take(q)) != NULL;)
        free(s);
}
