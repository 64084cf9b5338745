/* SPDX-License-Identifier: MIT */
#include "host/ram_unpack.h"
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

struct vms_inflate {
    enum vms_inflate_kind kind;
    z_stream z;
    ZSTD_DStream *zstd;
    bool ended;
};

static bool open_stream(struct vms_inflate *u) {
    if (u->kind == VMS_UNPACK_ZLIB)
        return inflateInit(&u->z) == Z_OK;
    u->zstd = ZSTD_createDStream();
    return u->zstd != NULL;
}

struct vms_inflate *vms_inflate_new(enum vms_inflate_kind kind) {
    struct vms_inflate *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->kind = kind;
    if (open_stream(u))
        return u;
    free(u);
    return NULL;
}

void vms_inflate_free(struct vms_inflate *unpack) {
    if (!unpack)
        return;
    if (unpack->kind == VMS_UNPACK_ZLIB)
        (void)inflateEnd(&unpack->z);
    (void)ZSTD_freeDStream(unpack->zstd);
    free(unpack);
}

enum vms_inflate_kind vms_inflate_kind(const struct vms_inflate *unpack) {
    return unpack->kind;
}

void vms_inflate_reset(struct vms_inflate *unpack) {
    unpack->ended = false;
    if (unpack->kind == VMS_UNPACK_ZLIB)
        (void)inflateReset(&unpack->z);
    else
        (void)ZSTD_DCtx_reset(unpack->zstd, ZSTD_reset_session_only);
}

static uInt clip(size_t n) {
    return n < UINT_MAX ? (uInt)n : UINT_MAX;
}

/* One call of inflate. Z_BUF_ERROR only says that it could do nothing. */
static bool step_zlib(struct vms_inflate *u, struct vms_slice *in, struct vms_room *out) {
    uInt in_len = clip(in->len), out_len = clip(out->len);
    u->z.next_in = (Bytef *)(uintptr_t)in->ptr;
    u->z.avail_in = in_len;
    u->z.next_out = out->ptr;
    u->z.avail_out = out_len;
    int r = inflate(&u->z, Z_NO_FLUSH);
    *in = vms_slice_tail(*in, in_len - u->z.avail_in);
    out->ptr += out_len - u->z.avail_out;
    out->len -= out_len - u->z.avail_out;
    u->ended = r == Z_STREAM_END;
    return r == Z_OK || r == Z_BUF_ERROR || r == Z_STREAM_END;
}

static bool step_zstd(struct vms_inflate *u, struct vms_slice *in, struct vms_room *out) {
    ZSTD_inBuffer zin = {in->ptr, in->len, 0};
    ZSTD_outBuffer zout = {out->ptr, out->len, 0};
    size_t r = ZSTD_decompressStream(u->zstd, &zout, &zin);
    if (ZSTD_isError(r))
        return false;
    *in = vms_slice_tail(*in, zin.pos);
    out->ptr += zout.pos;
    out->len -= zout.pos;
    u->ended = r == 0;
    return true;
}

/* Goes on without input as long as output comes, since a decompressor may hold some back. */
bool vms_inflate(struct vms_inflate *unpack, struct vms_slice *in, struct vms_room *out) {
    size_t in_before, out_before;
    do {
        in_before = in->len;
        out_before = out->len;
        bool ok = unpack->kind == VMS_UNPACK_ZLIB ? step_zlib(unpack, in, out)
                                                  : step_zstd(unpack, in, out);
        if (!ok)
            return false;
    } while (out->len > 0 && (in->len < in_before || out->len < out_before));
    return true;
}

bool vms_inflate_ended(const struct vms_inflate *unpack) {
    return unpack->ended;
}
