/* SPDX-License-Identifier: MIT */
#include "pack_test_util.h"
#include <zstd.h>

enum {
    LONGEST = 4 << 20,
};

/* [PACK-19] every level fits into the fixed workspace for every size of input. */
Test(zstd, workspace_suffices) {
    static const int levels[] = {-7, -3, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 19};
    struct rig *rig = rig_new(1, false);
    rig_fill(rig);
    uint8_t *out = test_alloc(ZSTD_compressBound(PAGES * PAGE));
    uint8_t *back = test_alloc(PAGES * PAGE);
    for (int top = 1; top <= 19; top += 9) {
        struct vms_zstd *zstd = make_zstd(top, PAGES * PAGE);
        struct vms_zip_ops ops = vms_zstd_ops(zstd);
        for (size_t i = 0; i < sizeof levels / sizeof *levels && levels[i] <= top; i++)
            for (size_t len = 1; len <= PAGES * PAGE; len = len * 2 + 1) {
                len = len > PAGES * PAGE / 2 ? PAGES * PAGE : len;
                struct vms_room room = {out, ZSTD_compressBound(len)};
                size_t n = ops.compress(ops.ctx, levels[i], vms_slice(rig->source, len), room);
                cr_assert_gt(n, 0, "level %d of %d, %zu bytes", levels[i], top, len);
                cr_assert(ops.decompress(ops.ctx, vms_slice(out, n), (struct vms_room){back, len}));
                cr_assert_arr_eq(back, rig->source, len);
            }
        free(zstd);
    }
    free(out);
    free(back);
    rig_free(rig);
}

/* Configurations out of range; memory that is short; a context for decompression only. */
Test(zstd, construction) {
    struct vms_zstd_config config = {20, 4096};
    cr_assert_eq(vms_zstd_size(&config), 0);
    config = (struct vms_zstd_config){-1, 4096};
    cr_assert_eq(vms_zstd_size(&config), 0);
    config = (struct vms_zstd_config){1, 0};
    cr_assert_eq(vms_zstd_size(&config), 0);
    config = (struct vms_zstd_config){3, 4096};
    size_t size = vms_zstd_size(&config);
    void *mem = test_alloc(size);
    cr_assert_null(vms_zstd_init(mem, size - 1, &config));
    cr_assert_not_null(vms_zstd_init(mem, size, &config));
    config = (struct vms_zstd_config){0, LONGEST};
    cr_assert_leq(vms_zstd_size(&config), 256 << 10);
    struct vms_zstd *zstd = make_zstd(0, LONGEST);
    struct vms_zip_ops ops = vms_zstd_ops(zstd);
    cr_assert_eq(ops.compress(ops.ctx, 1, vms_str("aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                              (struct vms_room){mem, 100}),
                 0);
    free(zstd);
    free(mem);
}

/* Levels and sizes that the workspace was not made for are answered, not tried. */
Test(zstd, refusals) {
    uint8_t out[256], in[200] = {0};
    struct vms_zstd *zstd = make_zstd(3, 100);
    struct vms_zip_ops ops = vms_zstd_ops(zstd);
    struct vms_room room = {out, sizeof out};
    cr_assert_gt(ops.compress(ops.ctx, 3, vms_slice(in, 100), room), 0);
    cr_assert_eq(ops.compress(ops.ctx, 4, vms_slice(in, 100), room), 0);
    cr_assert_eq(ops.compress(ops.ctx, -8, vms_slice(in, 100), room), 0);
    cr_assert_eq(ops.compress(ops.ctx, 0, vms_slice(in, 100), room), 0);
    cr_assert_eq(ops.compress(ops.ctx, 3, vms_slice(in, 101), room), 0);
    free(zstd);
}

/* A frame that does not fit leaves nothing behind: the next one is as if it were the first. */
Test(zstd, after_failure) {
    struct rig *rig = rig_new(2, false);
    uint8_t out[2 * PAGE], again[2 * PAGE];
    struct vms_zip_ops ops = vms_zstd_ops(rig->zstd);
    make_page(&rig->rng, CONTENT_RANDOM, rig->source);
    make_page(&rig->rng, CONTENT_TEXT, rig->source + PAGE);
    struct vms_slice noise = vms_slice(rig->source, PAGE),
                     text = vms_slice(rig->source + PAGE, PAGE);
    struct vms_room room = {out, sizeof out};
    for (int level = -3; level <= 9; level++) {
        size_t n = ops.compress(ops.ctx, level, text, room);
        cr_assert_eq(n == 0, level == 0);
        cr_assert_eq(ops.compress(ops.ctx, level, noise, (struct vms_room){again, PAGE - 1}), 0);
        cr_assert_eq(ops.compress(ops.ctx, level, text, (struct vms_room){again, sizeof again}), n);
        cr_assert_arr_eq(again, out, n);
    }
    rig_free(rig);
}
