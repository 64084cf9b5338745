/* SPDX-License-Identifier: MIT */
#include "transcode/gather.h"
#include "transcode/transcode_test_util.h"
#include <vmstream/pack_zstd.h>

static uint8_t data[1 << 20];

static void fill_data(void) {
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 4096 + 1) | 1;
}

TestSuite(to_native, .init = fill_data);

static struct vms_slice bytes(size_t from, size_t n) {
    return vms_slice(data + from, n);
}

/* ---- the gather list ---- */

static void check_gather(struct vms_gather *g, const uint8_t *want, size_t n) {
    size_t count = vms_gather_front(g, n), at = 0;
    for (size_t i = 0; i < count; at += g->front[i++].len)
        cr_assert(!memcmp(g->front[i].ptr, want + at, g->front[i].len));
    cr_assert_eq(at, n);
}

/* [MOD-11] Pieces stay where they are until they are settled. */
Test(to_native, gather) {
    static uint8_t buffer[65536];
    static struct vms_gather g;
    g = (struct vms_gather){.buffer = buffer, .cap = sizeof buffer};
    vms_gather_add(&g, bytes(0, 100));
    vms_gather_add(&g, bytes(100, 100));
    cr_assert_eq(g.count, 1, "what lies side by side is one piece");
    cr_assert_eq(g.pieces[0].ptr, data);
    vms_gather_settle(&g);
    cr_assert_eq(g.pieces[0].ptr, buffer);
    vms_gather_drop(&g, 50);
    vms_gather_add(&g, bytes(200, 10));
    vms_gather_settle(&g);
    check_gather(&g, data + 50, 160);
    /* more pieces than there is room for */
    vms_gather_drop(&g, 160);
    for (size_t i = 0; i < 2000; i++)
        vms_gather_add(&g, bytes(2 * i, 1));
    cr_assert_leq(g.count, VMS_GATHER_PIECES);
    cr_assert_eq(g.len, 2000);
    size_t count = vms_gather_front(&g, 1500);
    cr_assert_eq(g.front[0].ptr[999], data[1998]);
    cr_assert_gt(count, 0);
}

/* ---- batches ---- */

/* [TRC-2] [TRC-3] Pages of one block in a frame; what PAGES cannot say in RECORDS. */
Test(to_native, which_frame) {
    struct vms_to_native_config config = vms_to_native_config_default();
    struct writer w = writer_new(&config);
    struct vms_record odd = page(VMS_R_RAM_ZERO, "a", 9), guessed = page(VMS_R_RAM_ZERO, "a", 10);
    odd.u.page.fill = 1;
    guessed.guessed = true;
    put(&w, eos());
    put(&w, eos());
    put(&w, page(VMS_R_RAM_PAGE, "a", 1));
    put_bulk(&w, bytes(0, PAGE));
    put(&w, page(VMS_R_RAM_PAGE, "a", 2));
    put_bulk(&w, bytes(PAGE, PAGE));
    put(&w, page(VMS_R_RAM_ZERO, "a", 3));
    put(&w, page(VMS_R_RAM_ZERO, "b", 4));
    put(&w, odd);
    put(&w, guessed);
    end(&w);
    static const struct {
        uint32_t type, records, runs;
        size_t len;
    } want[] = {{VMS_NATIVE_RECORDS, 2, 0, 0},
                {VMS_NATIVE_PAGES, 0, 2, 2 * PAGE},
                {VMS_NATIVE_PAGES, 0, 1, 0},
                {VMS_NATIVE_RECORDS, 2, 0, 0}};
    cr_assert_eq(w.count, 4);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(w.frames[i].type, want[i].type, "%zu", i);
        cr_assert_eq(w.frames[i].records, want[i].records);
        cr_assert_eq(w.frames[i].runs, want[i].runs);
        cr_assert_eq(w.frames[i].len, want[i].len);
    }
    cr_assert(!memcmp(w.frames[1].bulk, data, 2 * PAGE));
    writer_free(&w);
}

/* [TRC-3] Beside XBZRLE pages stay in RECORDS. */
Test(to_native, mixed) {
    struct vms_to_native_config config = vms_to_native_config_default();
    struct writer w = writer_new(&config);
    struct vms_record x = page(VMS_R_RAM_XBZRLE, "a", 1);
    x.bulk_len = 3;
    for (int i = 0; i < 10; i++) {
        put(&w, x);
        put_bulk(&w, bytes(0, 3));
        put(&w, page(VMS_R_RAM_ZERO, "a", 2));
    }
    end(&w);
    cr_assert_eq(w.count, 1);
    cr_assert_eq(w.frames[0].records, 20);
    writer_free(&w);
}

/* [TRC-4] A number only when the list went over the channel. */
Test(to_native, block_numbers) {
    struct vms_to_native_config config = vms_to_native_config_default();
    struct writer w = writer_new(&config);
    struct vms_record r = page(VMS_R_RAM_ZERO, "a", 1);
    r.u.page.block_index = 0;
    put(&w, r);
    put(&w, (struct vms_record){.type = VMS_R_RAM_BLOCK,
                                .u.block = {.name = vms_str("a"), .used_length = 8 * PAGE}});
    put(&w, r);
    end(&w);
    cr_assert_eq(w.count, 3);
    cr_assert_eq(w.frames[0].block.index, VMS_NATIVE_NO_INDEX);
    cr_assert_eq(w.frames[2].block.index, 0);
    cr_assert_eq(w.frames[2].block.name.len, 0);
    writer_free(&w);
}

/* [TRC-14] Without a block list PAGES has no place for pages behind ram_bytes: the last one within
 * it, and one past it. */
Test(to_native, pages_behind_the_limit) {
    struct vms_to_native_config config = vms_to_native_config_default();
    config.limits.ram_bytes = 8 * PAGE;
    struct writer w = writer_new(&config);
    put(&w, page(VMS_R_RAM_ZERO, "a", 7));
    put(&w, page(VMS_R_RAM_ZERO, "a", 8));
    end(&w);
    cr_assert_eq(w.count, 2);
    cr_assert_eq(w.frames[0].type, VMS_NATIVE_PAGES);
    cr_assert_eq(w.frames[0].run.first, 7);
    cr_assert_eq(w.frames[1].type, VMS_NATIVE_RECORDS);
    writer_free(&w);
}

/* [TRC-6] at the limit and one past it */
Test(to_native, frame_pages) {
    struct vms_to_native_config config = vms_to_native_config_default();
    config.limits.native_frame_pages = 5;
    struct writer w = writer_new(&config);
    for (uint64_t i = 0; i < 6; i++)
        put(&w, page(VMS_R_RAM_ZERO, "a", i));
    end(&w);
    cr_assert_eq(w.count, 2);
    cr_assert_eq(w.frames[0].run.count, 5);
    cr_assert_eq(w.frames[1].run.count, 1);
    writer_free(&w);
}

/* A batch that is full is due; what fits into one frame is not torn. */
Test(to_native, full) {
    struct vms_to_native_config config = vms_to_native_config_default();
    config.batch_bytes = VMS_BATCH_BYTES_MIN;
    struct writer w = writer_new(&config);
    for (uint64_t i = 0; i < 17; i++) {
        put(&w, page(VMS_R_RAM_PAGE, "a", i));
        put_bulk(&w, bytes(i * PAGE, PAGE));
    }
    cr_assert_eq(w.count, 1, "it goes when no page fits any more");
    cr_assert_eq(w.frames[0].len, VMS_BATCH_BYTES_MIN);
    struct vms_record data_state = {.type = VMS_R_VFIO_DATA_STATE, .bulk_len = 40000};
    for (int i = 0; i < 2; i++) {
        put(&w, data_state);
        put_bulk(&w, bytes(0, 40000));
    }
    data_state.bulk_len = 200000;
    put(&w, data_state);
    put_bulk(&w, bytes(0, 200000));
    end(&w);
    static const size_t lens[] = {65536, PAGE, 40000, 65536, 65536, 65536, 38928};
    cr_assert_eq(w.count, 7);
    size_t sum = 0;
    for (size_t i = 0; i < 7; i++)
        sum += w.frames[i].len;
    cr_assert_eq(sum, 17u * PAGE + 80000 + 200000);
    cr_assert_eq(w.frames[2].len, lens[2], "the second one is begun in a frame of its own");
    writer_free(&w);
}

/* [TRC-5] */
Test(to_native, limits) {
    struct vms_to_native_config config = vms_to_native_config_default();
    config.limits.native_records = 3;
    config.limits.native_body_bytes = 300;
    struct writer w = writer_new(&config);
    for (int i = 0; i < 4; i++)
        put(&w, eos());
    cr_assert_eq(w.count, 1);
    cr_assert_eq(w.frames[0].records, 3);
    struct vms_record command = {.type = VMS_R_COMMAND, .u.command.payload = bytes(0, 1000)};
    put(&w, command);
    cr_assert_eq(w.answer, VMS_TRANSCODE_ERROR);
    cr_assert_eq(vms_to_native_error(w.t)->code, VMS_E_LIMIT);
    put(&w, eos());
    cr_assert_eq(w.answer, VMS_TRANSCODE_ERROR, "it stays");
    writer_free(&w);
    config.batch_bytes = VMS_BATCH_BYTES_MIN - 1;
    cr_assert_eq(vms_to_native_size(&config), 0);
    config.batch_bytes = (uint32_t)config.limits.native_bulk_bytes + 1;
    cr_assert_eq(vms_to_native_size(&config), 0);
}

/* [TRC-7] Zeros in long bulk, in any cuts. */
Test(to_native, zeros) {
    static uint8_t region[100 * PAGE];
    memset(region + 10 * PAGE, 1, 5 * PAGE);
    region[99 * PAGE] = 1;
    for (size_t cut = 1000; cut < sizeof region; cut *= 3) {
        struct vms_to_native_config config = vms_to_native_config_default();
        struct writer w = writer_new(&config);
        put(&w, (struct vms_record){.type = VMS_R_MAPPED_PAGES,
                                    .bulk_len = sizeof region,
                                    .u.page.block_index = VMS_NATIVE_NO_INDEX});
        for (size_t at = 0; at < sizeof region; at += cut)
            put_bulk(&w, vms_slice_head(vms_slice(region + at, sizeof region - at), cut));
        end(&w);
        size_t sent = 0, zeros = 0;
        for (size_t i = 0; i < w.count; i++) {
            sent += w.frames[i].len;
            zeros += (size_t)w.frames[i].zeros;
        }
        cr_assert_eq(sent + zeros, sizeof region);
        if (cut > 2 * PAGE)
            cr_assert_lt(sent, 12u * PAGE, "cut %zu: %zu sent", cut, sent);
        writer_free(&w);
    }
}

/* A page that is not complete waits; flush gives the others. */
Test(to_native, flush_in_page) {
    struct vms_to_native_config config = vms_to_native_config_default();
    struct writer w = writer_new(&config);
    put(&w, page(VMS_R_RAM_PAGE, "a", 1));
    put_bulk(&w, bytes(0, 1000));
    flush(&w);
    cr_assert_eq(w.count, 0);
    put_bulk(&w, bytes(1000, PAGE - 1000));
    put(&w, page(VMS_R_RAM_PAGE, "a", 2));
    put_bulk(&w, bytes(PAGE, 10));
    flush(&w);
    cr_assert_eq(w.count, 1);
    cr_assert_eq(w.frames[0].run.count, 1);
    cr_assert_eq(vms_to_native_waiting(w.t), 10);
    vms_to_native_settle(w.t);
    put_bulk(&w, bytes(PAGE + 10, PAGE - 10));
    flush(&w);
    cr_assert_eq(w.frames[1].run.first, 2);
    cr_assert(!memcmp(w.frames[1].bulk, data + PAGE, PAGE));
    writer_free(&w);
}

/* [TRC-9] broken off in a page, in bulk that is under way, and in a head */
Test(to_native, broken_off) {
    struct vms_to_native_config config = vms_to_native_config_default();
    struct writer w = writer_new(&config);
    struct vms_native_out out;
    put(&w, page(VMS_R_RAM_PAGE, "a", 1));
    put_bulk(&w, bytes(0, PAGE));
    put(&w, page(VMS_R_RAM_PAGE, "a", 2));
    put_bulk(&w, bytes(PAGE, 99));
    end(&w);
    cr_assert_eq(w.count, 2);
    cr_assert_eq(w.frames[0].run.count, 1);
    cr_assert_eq(w.frames[1].type, VMS_NATIVE_RECORDS);
    cr_assert_eq(w.frames[1].len, 99);
    writer_free(&w);

    w = writer_new(&config);
    put(&w, eos());
    struct vms_slice rest = bytes(0, 7);
    while (keep(&w, vms_to_native_opaque(w.t, 8, &rest, &out), &out))
        continue;
    end(&w);
    cr_assert_eq(w.count, 2);
    cr_assert_eq(w.frames[1].type, VMS_NATIVE_OPAQUE);
    cr_assert_eq(w.frames[1].offset, 8);
    cr_assert(w.frames[1].last);
    put(&w, eos());
    cr_assert_eq(vms_to_native_error(w.t)->code, VMS_E_MISUSE);
    writer_free(&w);
}

/* Bulk of unknown length: LAST comes with the end, though nothing else does. */
Test(to_native, unknown_length) {
    struct vms_to_native_config config = vms_to_native_config_default();
    struct writer w = writer_new(&config);
    struct vms_record tail = {
        .type = VMS_R_DEVICE_TAIL, .bulk_len = VMS_BULK_UNKNOWN, .offset = 77};
    put(&w, tail);
    put_bulk(&w, bytes(0, 10));
    flush(&w);
    end(&w);
    cr_assert_eq(w.count, 2);
    cr_assert_eq(w.frames[0].offset, 77);
    cr_assert_eq(w.frames[1].offset, 87);
    cr_assert(!w.frames[0].last && w.frames[1].last);
    writer_free(&w);

    w = writer_new(&config);
    tail.guessed = true; /* OPAQUE has no marks: as a record then */
    put(&w, tail);
    put_bulk(&w, bytes(0, 10));
    end(&w);
    cr_assert_eq(w.count, 2);
    cr_assert_eq(w.frames[0].type, VMS_NATIVE_RECORDS);
    cr_assert_eq(w.frames[1].type, VMS_NATIVE_BULK);
    cr_assert(w.frames[1].last);
    writer_free(&w);
}

Test(to_native, misuse) {
    struct vms_to_native_config config = vms_to_native_config_default();
    struct writer w = writer_new(&config);
    put(&w, page(VMS_R_RAM_PAGE, "a", 1));
    put(&w, eos());
    cr_assert_eq(vms_to_native_error(w.t)->code, VMS_E_MISUSE);
    writer_free(&w);
    w = writer_new(&config);
    put(&w, eos());
    put_bulk(&w, bytes(0, 1));
    cr_assert_eq(vms_to_native_error(w.t)->code, VMS_E_MISUSE);
    writer_free(&w);
    cr_assert_null(vms_to_native_init(data, 100, &config));
}

/* ---- packing ---- */

/* [TRC-8] What a QEMU compressed is left alone. */
Test(to_native, packing) {
    struct vms_zstd_config zstd = {.level_max = 3, .unpacked_max = VMS_BATCH_BYTES};
    void *zstd_mem = malloc(vms_zstd_size(&zstd));
    struct vms_pack_config pack = {
        .zip = vms_zstd_ops(vms_zstd_init(zstd_mem, vms_zstd_size(&zstd), &zstd)),
        .page_size = PAGE,
        .unpacked_max = VMS_BATCH_BYTES};
    void *pack_mem = malloc(vms_packer_size(&pack));
    struct vms_to_native_config config = vms_to_native_config_default();
    config.packer = vms_packer_init(pack_mem, vms_packer_size(&pack), &pack);
    config.level = 3;
    struct writer w = writer_new(&config);
    struct vms_record packet = {.type = VMS_R_MULTIFD_PACKET, .bulk_len = 40000};
    for (int i = 0; i < 3; i++) {
        packet.u.packet.flags = i == 1 ? VMS_MULTIFD_ZLIB : 0;
        if (i == 2)
            vms_to_native_level(w.t, VMS_LEVEL_NONE);
        put(&w, packet);
        put_bulk(&w, bytes(0, 40000));
        flush(&w);
    }
    end(&w);
    cr_assert_eq(w.count, 3);
    cr_assert_eq(w.frames[0].flags, VMS_PACK_ZSTD);
    cr_assert_eq(w.frames[0].unpacked, 40000);
    cr_assert_lt(w.frames[0].len, 20000);
    cr_assert_eq(w.frames[1].flags, VMS_PACK_NONE);
    cr_assert_eq(w.frames[2].flags, VMS_PACK_NONE);
    writer_free(&w);
    free(pack_mem);
    free(zstd_mem);
}
