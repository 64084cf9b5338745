/* SPDX-License-Identifier: MIT */
#include "reference-src/qevm_out.h"

#include <stdlib.h>

enum vms_code qevm_out_init(struct qevm_out *out, uint32_t channel,
                            const struct vms_dialect *dialect, struct vms_error *err) {
    memset(out, 0, sizeof *out);
    vms_qevm_encoder_init(&out->encoder, channel, dialect);
    out->block = UINT32_MAX;
    out->heads = malloc(QEVM_OUT_HEADS);
    return out->heads ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "a channel");
}

void qevm_out_attach(struct qevm_out *out, struct vms_channel *io) {
    if (out->io)
        out->before += vms_channel_bytes_out(out->io);
    (void)vms_channel_close(out->io, NULL);
    out->io = io;
    out->used = 0;
    out->count = 0;
    out->block = UINT32_MAX;
    out->encoder.bulk_left = 0;
}

void qevm_out_free(struct qevm_out *out) {
    (void)vms_channel_close(out->io, NULL);
    free(out->heads);
    free(out->memory);
    out->io = NULL;
    out->heads = out->memory = NULL;
}

static void add_piece(struct qevm_out *out, const void *ptr, size_t len) {
    struct iovec *last = out->count ? &out->pieces[out->count - 1] : NULL;
    if (last && (const uint8_t *)last->iov_base + last->iov_len == ptr)
        last->iov_len += len;
    else
        out->pieces[out->count++] = (struct iovec){(void *)(uintptr_t)ptr, len};
}

static enum vms_code to_memory(struct qevm_out *out, struct vms_error *err) {
    size_t len = out->memory_len;
    for (int i = 0; i < out->count; i++)
        len += out->pieces[i].iov_len;
    uint8_t *memory = realloc(out->memory, len + 1);
    if (!memory)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a package of %zu bytes", len);
    out->memory = memory;
    for (int i = 0; i < out->count; i++) {
        memcpy(memory + out->memory_len, out->pieces[i].iov_base, out->pieces[i].iov_len);
        out->memory_len += out->pieces[i].iov_len;
    }
    return VMS_OK;
}

enum vms_code qevm_out_flush(struct qevm_out *out, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    if (out->count)
        code = out->io ? vms_channel_writev_all(out->io, out->pieces, out->count, err)
                       : to_memory(out, err);
    out->count = 0;
    out->used = 0;
    return code;
}

static enum vms_code encode(struct qevm_out *out, const struct vms_record *rec,
                            struct vms_error *err) {
    size_t len;
    struct vms_room room = {out->heads + out->used, QEVM_OUT_HEADS - out->used};
    enum vms_code code = vms_qevm_encode(&out->encoder, rec, room, &len);
    if (code == VMS_E_SPACE && out->used) {
        code = qevm_out_flush(out, err);
        return code == VMS_OK ? encode(out, rec, err) : code;
    }
    if (code != VMS_OK) {
        *err = out->encoder.error;
        return code;
    }
    if (len)
        add_piece(out, room.ptr, len);
    out->used += len;
    return VMS_OK;
}

enum vms_code qevm_out_putv(struct qevm_out *out, const struct vms_record *rec,
                            const struct iovec *bulk, int count, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    if (out->count + count + 1 > QEVM_OUT_PIECES)
        code = qevm_out_flush(out, err);
    if (code == VMS_OK)
        code = encode(out, rec, err);
    for (int i = 0; code == VMS_OK && i < count; i++) {
        add_piece(out, bulk[i].iov_base, bulk[i].iov_len);
        (void)vms_qevm_encode_bulk(&out->encoder, bulk[i].iov_len);
    }
    return code;
}

enum vms_code qevm_out_put(struct qevm_out *out, const struct vms_record *rec,
                           struct vms_slice bulk, struct vms_error *err) {
    struct iovec piece = {(void *)(uintptr_t)bulk.ptr, bulk.len};
    return qevm_out_putv(out, rec, &piece, bulk.len ? 1 : 0, err);
}

uint64_t qevm_out_bytes(const struct qevm_out *out) {
    return out->before + (out->io ? vms_channel_bytes_out(out->io) : 0);
}
