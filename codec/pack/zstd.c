/* SPDX-License-Identifier: MIT */
/* Fixed workspaces are in zstd's "static" API, which the shared library exports too. */
#define ZSTD_STATIC_LINKING_ONLY
#include <vmstream/pack_zstd.h>
#include <zstd.h>

#include "arena.h"

enum {
    LEVEL_MAX = 19,
    LEVEL_MIN = -7,
    WINDOW_LOG_MAX = 23, /* PACK-8 */
};

/* A context is made in its room when it is first wanted: most go one way only, some none. */
struct vms_zstd {
    int level_max;
    size_t unpacked_max;
    void *cctx_room, *dctx_room;
    size_t cctx_len, dctx_len; /* cctx_len 0: decompression only */
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
};

/*
 * What zstd takes for an input of this size, with tables a little larger at the fast levels and a
 * window over all of it: a frame has no earlier ones to refer to, and this makes up for it
 * in part. Measured on program files in inputs of 512 KiB: level 1 has 1.2 to 2.4 % fewer bytes for
 * 5 to 10 % more time; level 3 0.5 to 0.8 % fewer for 12 to 27 % more.
 */
static ZSTD_compressionParameters parameters(int level, size_t size) {
    ZSTD_compressionParameters p = ZSTD_getCParams(level, size, 0);
    if (level < 1 || p.strategy > ZSTD_dfast)
        return p;
    p.hashLog++;
    if (p.strategy == ZSTD_dfast)
        p.chainLog += 2;
    while (p.windowLog < WINDOW_LOG_MAX && (size_t)1 << p.windowLog < size)
        p.windowLog++;
    return p;
}

static size_t estimate(int level, size_t size) {
    return ZSTD_estimateCCtxSize_usingCParams(parameters(level, size));
}

/*
 * The workspace that suffices for any input up to size at this level. Parameters depend on the
 * input's size, in steps at powers of two, and smaller inputs can need more.
 */
static size_t most_for_level(int level, size_t size) {
    size_t most = estimate(level, size);
    for (size_t step = 1; step < size; step *= 2) {
        size_t n = estimate(level, step);
        most = n > most ? n : most;
    }
    return most;
}

static size_t workspace(const struct vms_zstd_config *config) {
    size_t most = 0;
    for (int level = LEVEL_MIN; level <= config->level_max; level++) {
        size_t n = most_for_level(level, config->unpacked_max);
        most = n > most ? n : most;
    }
    return most;
}

static struct vms_zstd *lay_out(struct vms_arena *arena, const struct vms_zstd_config *config) {
    struct vms_zstd *zstd = vms_arena_take(arena, sizeof *zstd);
    size_t cctx_len = config->level_max > 0 ? workspace(config) : 0;
    size_t dctx_len = ZSTD_estimateDCtxSize();
    void *cctx = vms_arena_take(arena, cctx_len);
    void *dctx = vms_arena_take(arena, dctx_len);
    if (!zstd)
        return NULL;
    *zstd = (struct vms_zstd){.level_max = config->level_max,
                              .unpacked_max = config->unpacked_max,
                              .cctx_room = cctx,
                              .dctx_room = dctx,
                              .cctx_len = cctx_len,
                              .dctx_len = dctx_len};
    return zstd;
}

static bool config_ok(const struct vms_zstd_config *config) {
    return config->level_max >= 0 && config->level_max <= LEVEL_MAX && config->unpacked_max > 0 &&
           config->unpacked_max <= (size_t)1 << 30;
}

size_t vms_zstd_size(const struct vms_zstd_config *config) {
    struct vms_arena arena = {NULL, 0};
    if (!config_ok(config))
        return 0;
    (void)lay_out(&arena, config);
    return arena.used;
}

struct vms_zstd *vms_zstd_init(void *mem, size_t mem_len, const struct vms_zstd_config *config) {
    struct vms_arena arena = {mem, 0};
    size_t size = vms_zstd_size(config);
    bool aligned = (uintptr_t)mem % sizeof(void *) == 0; /* zstd makes no context elsewhere */
    return mem && aligned && size && mem_len >= size ? lay_out(&arena, config) : NULL;
}

/* NULL: none was configured. */
static ZSTD_CCtx *compressor(struct vms_zstd *zstd) {
    if (zstd->cctx || !zstd->cctx_len)
        return zstd->cctx;
    zstd->cctx = ZSTD_initStaticCCtx(zstd->cctx_room, zstd->cctx_len);
    if (zstd->cctx) /* a static context begins with all parameters 0, not with the defaults */
        (void)ZSTD_CCtx_reset(zstd->cctx, ZSTD_reset_session_and_parameters);
    return zstd->cctx;
}

static bool set_parameters(ZSTD_CCtx *cctx, int level, size_t size) {
    ZSTD_compressionParameters p = parameters(level, size);
    const struct {
        ZSTD_cParameter name;
        int value;
    } all[] = {{ZSTD_c_compressionLevel, level},
               {ZSTD_c_windowLog, (int)p.windowLog},
               {ZSTD_c_hashLog, (int)p.hashLog},
               {ZSTD_c_chainLog, (int)p.chainLog}};
    (void)ZSTD_CCtx_reset(cctx, ZSTD_reset_session_only); /* the last frame may not have fitted */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (ZSTD_isError(ZSTD_CCtx_setParameter(cctx, all[i].name, all[i].value)))
            return false;
    return true;
}

static size_t compress(void *ctx, int level, struct vms_slice in, struct vms_room out) {
    struct vms_zstd *zstd = ctx;
    ZSTD_CCtx *cctx = compressor(zstd);
    if (!cctx || level == VMS_LEVEL_NONE || level > zstd->level_max || level < LEVEL_MIN ||
        in.len > zstd->unpacked_max || !set_parameters(cctx, level, in.len))
        return 0;
    size_t n = ZSTD_compress2(cctx, out.ptr, out.len, in.ptr, in.len);
    return ZSTD_isError(n) ? 0 : n;
}

static bool decompress(void *ctx, struct vms_slice in, struct vms_room out) {
    struct vms_zstd *zstd = ctx;
    if (!zstd->dctx)
        zstd->dctx = ZSTD_initStaticDCtx(zstd->dctx_room, zstd->dctx_len);
    return zstd->dctx &&
           ZSTD_decompressDCtx(zstd->dctx, out.ptr, out.len, in.ptr, in.len) == out.len;
}

struct vms_zip_ops vms_zstd_ops(struct vms_zstd *zstd) {
    return (struct vms_zip_ops){compress, decompress, zstd};
}
