/* SPDX-License-Identifier: MIT */
#include "tool/relay.h"
#include <stdlib.h>

/* QEVM on both sides: octets pass as they are, decoded on the way, so that what is wrong is refused
 * here and not by the QEMU behind it. */

struct pass {
    struct relay *relay;
    struct vms_channel *from, *to;
    enum vms_qevm_kind kind;
    void *mem;
    struct vms_qevm_decoder *decoder;
    uint8_t *buffer;
    bool unchecked, adopted;
    bool listen;                /* POSTCOPY_LISTEN is in what was read last, */
    uint64_t listen_at, passed; /* there; octets written */
};

static bool make(struct pass *p) {
    struct vms_qevm_config config = vms_qevm_config_default();
    config.kind = p->kind;
    config.dialect = p->relay->options.dialect;
    config.limits = p->relay->options.limits;
    config.tail_mode = VMS_TAIL_OPAQUE;
    p->mem = malloc(vms_qevm_decoder_size(&config));
    p->decoder =
        p->mem ? vms_qevm_decoder_init(p->mem, vms_qevm_decoder_size(&config), &config) : NULL;
    p->buffer = malloc(RELAY_BUFFER);
    return p->decoder && p->buffer;
}

static void unmake(struct pass *p) {
    if (p->kind == VMS_QEVM_MAIN) {
        pthread_mutex_lock(&p->relay->learn);
        p->relay->main_decoder = NULL;
        pthread_mutex_unlock(&p->relay->learn);
    }
    free(p->mem);
    free(p->buffer);
}

static void learn(struct pass *p, const struct vms_record *record) {
    struct relay *r = p->relay;
    bool command = record->type == VMS_R_COMMAND && p->kind == VMS_QEVM_MAIN;
    if (command && record->u.command.command == VMS_CMD_POSTCOPY_LISTEN) {
        p->listen = true;
        p->listen_at = record->offset;
        atomic_store(&r->postcopy, true);
    }
    if (record->type == VMS_R_RP_SHUT && record->u.value == 0)
        atomic_store(&r->shut_seen, true);
}

static void adopt(struct pass *p) {
    struct relay *r = p->relay;
    bool learns = p->kind != VMS_QEVM_MAIN && p->kind != VMS_QEVM_RETURN_PATH && !p->adopted;
    if (learns && r->main_decoder)
        vms_qevm_adopt(p->decoder, r->main_decoder);
    p->adopted = true;
}

/* With learn held: one channel at a time, which costs less than what it saves. */
static enum vms_code check(struct pass *p, struct vms_slice input, struct vms_error *err) {
    struct vms_event ev;
    adopt(p);
    for (;;) {
        enum vms_step step = vms_qevm_decode(p->decoder, &input, &ev);
        if (step == VMS_STEP_NEED || (step == VMS_STEP_END && input.len == 0))
            return VMS_OK;
        if (step == VMS_STEP_END)
            return vms_error_set(err, VMS_E_TRAILING_BYTES, NULL);
        if (step == VMS_STEP_ERROR) {
            *err = *ev.error;
            return err->code;
        }
        if (step == VMS_STEP_RECORD)
            learn(p, &ev.record);
    }
}

static enum vms_code finish(struct pass *p, struct vms_error *err) {
    struct vms_event ev;
    struct vms_error ignored;
    bool broken = !p->unchecked && vms_qevm_finish(p->decoder, &ev) == VMS_STEP_ERROR;
    if (broken && !atomic_load(&p->relay->postcopy)) {
        *err = *ev.error;
        return err->code;
    }
    (void)vms_channel_shutdown(p->to, VMS_SHUT_WRITE, &ignored);
    return VMS_OK;
}

/* A QEMU that has said SHUT 0 may close before it has read the last octets. */
static enum vms_code write_on(struct pass *p, struct vms_slice data, struct vms_error *err) {
    p->passed += data.len;
    enum vms_code code = data.len ? vms_channel_write_all(p->to, data, err) : VMS_OK;
    return code == VMS_E_PEER_CLOSED && atomic_load(&p->relay->shut_seen) ? VMS_OK : code;
}

/* [RLY-15] What is before LISTEN goes, then LISTEN waits for QEMU's other connections. */
static enum vms_code up_to_listen(struct pass *p, struct vms_slice *data, struct vms_error *err) {
    uint64_t before = p->listen_at > p->passed ? p->listen_at - p->passed : 0;
    struct vms_slice head = vms_slice_head(*data, before < data->len ? (size_t)before : data->len);
    *data = vms_slice_tail(*data, head.len);
    p->listen = false;
    enum vms_code code = write_on(p, head, err);
    return code == VMS_OK ? relay_hold_listen(p->relay, err) : code;
}

static enum vms_code pass_some(struct pass *p, size_t n, bool known, struct vms_error *err) {
    struct vms_slice data = vms_slice(p->buffer, n);
    enum vms_code code = VMS_OK;
    pthread_mutex_lock(&p->relay->learn);
    if (!p->unchecked)
        code = check(p, data, err);
    pthread_mutex_unlock(&p->relay->learn);
    if (code != VMS_OK && known)
        return code;
    p->unchecked |= code != VMS_OK; /* RLY-5: its kind was guessed */
    if (p->listen && up_to_listen(p, &data, err) != VMS_OK)
        return err->code;
    return write_on(p, data, err);
}

static enum vms_code pass_all(struct relay *r, struct vms_channel *from, struct vms_channel *to,
                              enum vms_qevm_kind kind, bool known, _Atomic uint64_t *bytes,
                              struct vms_error *err) {
    struct pass p = {.relay = r, .from = from, .to = to, .kind = kind};
    enum vms_code code = make(&p) ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "a channel");
    if (code == VMS_OK && kind == VMS_QEVM_MAIN) {
        pthread_mutex_lock(&r->learn);
        r->main_decoder = p.decoder;
        pthread_mutex_unlock(&r->learn);
    }
    while (code == VMS_OK) {
        size_t n = 0;
        code = vms_channel_read(from, (struct vms_room){p.buffer, RELAY_BUFFER}, &n, err);
        bool late = atomic_load(&r->postcopy) || atomic_load(&r->shut_seen);
        if (code == VMS_E_PEER_CLOSED && late)
            code = VMS_OK;
        if (code == VMS_OK && n == 0) {
            code = finish(&p, err);
            break;
        }
        atomic_fetch_add(bytes, n);
        if (code == VMS_OK)
            code = pass_some(&p, n, known, err);
    }
    unmake(&p);
    return code;
}

/* ---- a lane ---- */

static void *reverse_main(void *arg) {
    struct relay_lane *lane = arg;
    struct vms_error err = {.clause = ""};
    bool talks = lane->kind == VMS_QEVM_MAIN || lane->kind == VMS_QEVM_RECOVERY;
    enum vms_code code = VMS_OK;
    if (talks)
        code = pass_all(lane->relay, lane->onward, lane->qemu, VMS_QEVM_RETURN_PATH, true,
                        &lane->reverse_bytes, &err);
    if (code != VMS_OK)
        relay_fail(lane->relay, &err);
    return NULL;
}

static enum vms_code connect_on(struct relay_lane *lane, struct vms_error *err) {
    struct relay *r = lane->relay;
    struct vms_channel *c = NULL;
    pthread_mutex_lock(&r->mutex);
    while (lane->channel && !r->lanes[0].onward && !r->failed)
        pthread_cond_wait(&r->changed, &r->mutex);
    pthread_mutex_unlock(&r->mutex);
    if (vms_channel_connect(&r->connect_uri, &r->qemu_options, &c, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&r->mutex);
    lane->onward = c;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    return VMS_OK;
}

enum vms_code relay_pass_lane(struct relay_lane *lane, bool known, struct vms_error *err) {
    enum vms_code code = connect_on(lane, err);
    relay_arrived(lane->relay);
    if (code != VMS_OK)
        return code;
    lane->reverse_runs = pthread_create(&lane->reverse, NULL, reverse_main, lane) == 0;
    code = pass_all(lane->relay, lane->qemu, lane->onward, lane->kind, known, &lane->bytes, err);
    if (code != VMS_OK)
        relay_fail(lane->relay, err);
    if (lane->reverse_runs)
        (void)pthread_join(lane->reverse, NULL);
    lane->reverse_runs = false;
    return code;
}
