/* SPDX-License-Identifier: MIT */
#include "host/ram_test_util.h"

enum {
    BLOCK_PAGES = 70, /* the bitmap has 128 bits */
    BITMAP = 16,
};

static struct ram_fixture f;
static uint8_t *memory;
static uint8_t bitmap[BITMAP];
static uint8_t *region;

static void open_block(enum vms_ram_store store) {
    struct vms_ram_image_config config = {.store = store, .limits = vms_limits_default()};
    ram_open(&f, &config);
    ram_add(&f, "m", BLOCK_PAGES * PAGE);
    ram_add(&f, "n", BLOCK_PAGES * PAGE);
    memory = vms_ram_image_block(f.image, 0)->memory;
}

static bool is_present(unsigned page) {
    return page < 3 || page == 10 || page >= 64;
}

/* Present pages hold a pattern, absent ones stale bytes; bits past the last page are set, too. */
static void setup(void) {
    region = malloc(BLOCK_PAGES * PAGE);
    memset(bitmap, 0, sizeof bitmap);
    memset(region, 0xee, BLOCK_PAGES * PAGE);
    for (unsigned i = 0; i < 8 * BITMAP; i++)
        if (is_present(i))
            bitmap[i / 8] |= (uint8_t)(1u << (i % 8));
    for (unsigned i = 0; i < BLOCK_PAGES; i++)
        if (is_present(i))
            ram_pattern(region + i * PAGE, i);
    open_block(VMS_RAM_MEMORY);
}

static void teardown(void) {
    ram_close(&f);
    free(region);
}

TestSuite(ram_mapped, .init = setup, .fini = teardown);

static enum vms_code give_bitmap(const char *block, size_t len) {
    return ram_give(&f, ram_page(VMS_R_MAPPED_BITMAP, block, 0), vms_slice(bitmap, len));
}

static enum vms_code give_pages(const char *block, size_t len) {
    return ram_give(&f, ram_page(VMS_R_MAPPED_PAGES, block, 0), vms_slice(region, len));
}

/* [MAP-5] [MAP-7] absent pages are zero, whatever the region holds for them. */
Test(ram_mapped, pages) {
    uint8_t zero[PAGE] = {0};
    for (f.piece = 1; f.piece < 40; f.piece *= 3) {
        EXPECT(give_bitmap("m", BITMAP), VMS_OK);
        EXPECT(ram_give(&f, ram_page(VMS_R_MAPPED_PADDING, "m", 0), vms_slice(region, 100)),
               VMS_OK);
        EXPECT(give_pages("m", BLOCK_PAGES * PAGE), VMS_OK);
    }
    for (unsigned i = 0; i < BLOCK_PAGES; i++)
        cr_assert_eq(memcmp(memory + i * PAGE, is_present(i) ? region + i * PAGE : zero, PAGE), 0,
                     "%u", i);
    cr_assert_eq(vms_ram_image_stats(f.image, 0).mapped, 4 * 10);
}

/* Runs of absent pages are passed over, never read. */
Test(ram_mapped, rooms) {
    struct vms_pump_sink sink = vms_ram_channel_sink(f.channel);
    struct vms_record record = ram_page(VMS_R_MAPPED_PAGES, "m", 0);
    struct vms_answer answer = {0};
    struct vms_room room;
    EXPECT(give_bitmap("m", BITMAP), VMS_OK);
    record.bulk_len = BLOCK_PAGES * PAGE;
    EXPECT(sink.ops->record(sink.ctx, &record, &answer, &f.err), VMS_OK);
    static const struct {
        unsigned first, count;
    } runs[] = {{0, 3}, {3, 7}, {10, 1}, {11, 53}, {64, 6}};
    for (size_t i = 0; i < 5; i++) {
        EXPECT(sink.ops->direct(sink.ctx, &record, runs[i].first * PAGE, &room, &f.err), VMS_OK);
        cr_assert_eq(room.len, runs[i].count * PAGE);
        cr_assert_eq(room.ptr, i % 2 ? NULL : memory + runs[i].first * PAGE);
    }
}

/* [MAP-2] lengths that do not fit the block, pages without their bitmap. */
Test(ram_mapped, layout) {
    EXPECT(give_pages("m", BLOCK_PAGES * PAGE), VMS_E_MAPPED_LAYOUT);
    EXPECT(give_bitmap("m", BITMAP - 8), VMS_E_MAPPED_LAYOUT);
    EXPECT(give_bitmap("other", BITMAP), VMS_E_RAM_BLOCK_UNKNOWN);
    EXPECT(give_bitmap("m", BITMAP), VMS_OK);
    EXPECT(give_pages("n", BLOCK_PAGES * PAGE), VMS_E_MAPPED_LAYOUT);
    EXPECT(give_pages("m", (BLOCK_PAGES - 1) * PAGE), VMS_E_MAPPED_LAYOUT);
}

Test(ram_mapped, check_only) {
    ram_close(&f);
    open_block(VMS_RAM_CHECK);
    f.piece = 3;
    EXPECT(give_bitmap("m", BITMAP), VMS_OK);
    EXPECT(give_pages("m", BLOCK_PAGES * PAGE), VMS_OK);
    cr_assert_eq(vms_ram_image_stats(f.image, 0).mapped, 10);
}
