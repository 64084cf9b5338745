/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

/* Into postcopy, and out of a lost connection. */

enum {
    RANGES = 12,        /* in one command (CMD-14) */
    WAITING = 64 << 10, /* bytes in a socket that a requested page may stand behind */
};

/* ---- the preempt channel ---- */

/* Lock held. QEMU from 8.0 on wants to have answered the first PING before it is connected. */
static enum vms_code wait_for_pong(struct qevm *q, struct vms_error *err) {
    int ms = q->options.timeout_ms;
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms < 0 ? 1000000000 : ms / 1000 + 1;
    while (!q->pong && !q->aborted)
        if (pthread_cond_timedwait(&q->changed, &q->lock, &t) != 0)
            return vms_error_set(err, VMS_E_TIMEOUT, "no PONG from the destination");
    return q->aborted ? vms_error_set(err, VMS_E_IO, "given up here") : VMS_OK;
}

enum vms_code qevm_open_preempt(struct qevm *q, struct vms_error *err) {
    struct vms_channel *io;
    enum vms_code code = qevm_open(q, &io, err);
    if (code == VMS_OK)
        qevm_attach(q, &q->preempt, io);
    return code;
}

static enum vms_code late_preempt(struct qevm *q, struct vms_error *err) {
    if (!q->options.preempt || q->preempt.io)
        return VMS_OK;
    pthread_mutex_lock(&q->lock);
    enum vms_code code = wait_for_pong(q, err);
    pthread_mutex_unlock(&q->lock);
    return code == VMS_OK ? qevm_open_preempt(q, err) : code;
}

/* ---- entering ---- */

/* [MFD-22] The last packets are synchronised; pages come on the main channel from here on. */
static enum vms_code enter(struct qevm *q, struct vms_error *err) {
    if (q->postcopy)
        return VMS_OK;
    enum vms_code code = qevm_sync(q, err);
    q->postcopy = true;
    vms_channel_keep_short(q->main.io, WAITING);
    if (code == VMS_OK)
        code = qevm_switchover_start(q, err);
    return code == VMS_OK ? late_preempt(q, err) : code;
}

static uint8_t *put_u64(uint8_t *at, uint64_t v) {
    for (unsigned i = 0; i < 8; i++)
        *at++ = (uint8_t)(v >> (56 - 8 * i));
    return at;
}

static enum vms_code put_discard(struct qevm *q, uint32_t block, const uint64_t *ranges,
                                 size_t count, struct vms_error *err) {
    uint8_t payload[3 + VMS_NAME_MAX + 16 * RANGES], *at = payload;
    struct vms_slice name = qevm_block_name(q, block);
    *at++ = 0; /* version */
    *at++ = (uint8_t)name.len;
    memcpy(at, name.ptr, name.len);
    at += name.len;
    *at++ = 0;
    for (size_t i = 0; i < 2 * count; i++)
        at = put_u64(at, ranges[i] * q->page_size);
    return qevm_command(q, VMS_CMD_POSTCOPY_RAM_DISCARD, vms_slice(payload, (size_t)(at - payload)),
                        err);
}

enum vms_code qevm_discard(void *ctx, uint32_t block, const uint64_t *ranges, size_t count,
                           struct vms_error *err) {
    struct qevm *q = ctx;
    enum vms_code code = enter(q, err);
    while (count && code == VMS_OK) {
        size_t n = count < RANGES ? count : RANGES;
        code = put_discard(q, block, ranges, n, err);
        ranges += 2 * n;
        count -= n;
    }
    return code;
}

/* LISTEN itself goes into the package (PKG). */
enum vms_code qevm_listen(void *ctx, struct vms_error *err) {
    return enter(ctx, err);
}

/* ---- recovery (chapter REC) ---- */

/* [REC-1] No header; section ids stay in force, the last named block does not. */
enum vms_code qevm_reconnect(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    struct vms_error ignored;
    struct vms_channel *io;
    if (q->main.io)
        (void)vms_channel_shutdown(q->main.io, VMS_SHUT_BOTH, &ignored);
    qevm_reader_join(q);
    qevm_multifd_stop(q);
    pthread_mutex_lock(&q->lock);
    q->aborted = false; /* that was the connection before, given up for what its peer did */
    pthread_mutex_unlock(&q->lock);
    vms_cancel_lower(q->cancel);
    q->section = false;
    enum vms_code code = qevm_open(q, &io, err);
    if (code != VMS_OK)
        return code;
    vms_channel_keep_short(io, WAITING);
    qevm_attach(q, &q->main, io);
    qevm_attach(q, &q->preempt, NULL);
    code = qevm_reader_start(q, err);
    if (code == VMS_OK && q->options.preempt && q->habits.early_preempt)
        code = qevm_open_preempt(q, err);
    return code;
}

enum vms_code qevm_ask_bitmaps(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    enum vms_code code = VMS_OK;
    pthread_mutex_lock(&q->lock);
    q->bitmaps_missing = q->guest->block_count;
    for (size_t i = 0; i < q->guest->block_count; i++)
        q->bitmap_asked[i] = true;
    pthread_mutex_unlock(&q->lock);
    for (uint32_t i = 0; i < q->guest->block_count && code == VMS_OK; i++) {
        uint8_t payload[1 + VMS_NAME_MAX];
        struct vms_slice name = qevm_block_name(q, i);
        payload[0] = (uint8_t)name.len;
        memcpy(payload + 1, name.ptr, name.len);
        code = qevm_command(q, VMS_CMD_RECV_BITMAP, vms_slice(payload, 1 + name.len), err);
    }
    return code;
}

/* [REC-5] */
enum vms_code qevm_resume(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    bool preempt = q->options.preempt && !q->preempt.io;
    enum vms_code code = preempt ? qevm_open_preempt(q, err) : VMS_OK;
    pthread_mutex_lock(&q->lock);
    q->resume_asked = true;
    pthread_mutex_unlock(&q->lock);
    return code == VMS_OK ? qevm_command(q, VMS_CMD_POSTCOPY_RESUME, vms_slice(NULL, 0), err)
                          : code;
}
