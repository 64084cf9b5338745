/* SPDX-License-Identifier: MIT */
#include "host/ram_test_util.h"
#include <zlib.h>

static struct ram_fixture f;
static uint8_t *memory;

static void setup(void) {
    struct vms_ram_image_config config = vms_ram_image_config_default();
    ram_open(&f, &config);
    ram_add(&f, "m", 64 * PAGE);
    memory = vms_ram_image_block(f.image, 0)->memory;
}

static void teardown(void) {
    ram_close(&f);
}

TestSuite(ram_channel, .init = setup, .fini = teardown);

static enum vms_code give_page(uint64_t offset, unsigned seed) {
    uint8_t page[PAGE];
    ram_pattern(page, seed);
    return ram_give(&f, ram_page(VMS_R_RAM_PAGE, "m", offset), vms_slice(page, PAGE));
}

static void expect_page(uint64_t offset, unsigned seed) {
    uint8_t page[PAGE];
    ram_pattern(page, seed);
    cr_assert_eq(memcmp(memory + offset, page, PAGE), 0);
}

static void expect_zero(uint64_t offset) {
    uint8_t page[PAGE] = {0};
    cr_assert_eq(memcmp(memory + offset, page, PAGE), 0);
}

static struct vms_ram_stats stats(void) {
    return vms_ram_image_stats(f.image, 0);
}

Test(ram_channel, pages_and_zeros) {
    EXPECT(give_page(0, 1), VMS_OK);
    EXPECT(give_page(63 * PAGE, 2), VMS_OK);
    EXPECT(give_page(0, 3), VMS_OK);
    expect_page(0, 3);
    expect_page(63 * PAGE, 2);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_ZERO, "m", 63 * PAGE), vms_slice(NULL, 0)), VMS_OK);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_ZERO, "m", PAGE), vms_slice(NULL, 0)), VMS_OK);
    expect_zero(63 * PAGE);
    expect_zero(PAGE);
    cr_assert_eq(stats().normal, 3);
    cr_assert_eq(stats().zero, 2);
    cr_assert_eq(stats().duplicates, 2);
}

/* Up to 8.1 a ZERO record could fill with any byte. */
Test(ram_channel, fill) {
    struct vms_record record = ram_page(VMS_R_RAM_ZERO, "m", PAGE);
    record.u.page.fill = 0x5a;
    EXPECT(ram_give(&f, record, vms_slice(NULL, 0)), VMS_OK);
    for (size_t i = 0; i < PAGE; i++)
        cr_assert_eq(memory[PAGE + i], 0x5a);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_ZERO, "m", PAGE), vms_slice(NULL, 0)), VMS_OK);
    expect_zero(PAGE);
}

/* [RAM-4] [RAM-5] whatever decoded it: the block must be there and hold the page. */
Test(ram_channel, bounds) {
    struct vms_slice none = {NULL, 0};
    static const uint64_t bad[] = {64 * PAGE, 1, PAGE / 2, UINT64_MAX, UINT64_MAX - PAGE + 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        EXPECT(give_page(bad[i], 1), VMS_E_RAM_OFFSET);
        EXPECT(ram_give(&f, ram_page(VMS_R_RAM_ZERO, "m", bad[i]), none), VMS_E_RAM_OFFSET);
        EXPECT(ram_give(&f, ram_page(VMS_R_RAM_XBZRLE, "m", bad[i]), vms_str("x")),
               VMS_E_RAM_OFFSET);
        EXPECT(ram_give(&f, ram_page(VMS_R_RAM_COMPRESSED, "m", bad[i]), vms_str("x")),
               VMS_E_RAM_OFFSET);
    }
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_ZERO, "other", 0), none), VMS_E_RAM_BLOCK_UNKNOWN);
    uint8_t two[2 * PAGE] = {0};
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_PAGE, "m", 0), vms_slice(two, sizeof two)),
           VMS_E_MISUSE);
}

/* [TAIL-4] what a guest may have forged is not loaded. */
Test(ram_channel, guessed) {
    struct vms_record record = ram_page(VMS_R_RAM_ZERO, "m", 0);
    record.guessed = true;
    EXPECT(ram_give(&f, record, vms_slice(NULL, 0)), VMS_E_DST_GUESSED);
}

/* [XBZ-2] [XBZ-3] a difference applies to what the page holds now, the one before it included. */
Test(ram_channel, xbzrle) {
    uint8_t old[PAGE], new[PAGE], diff[PAGE];
    EXPECT(give_page(PAGE, 1), VMS_OK);
    ram_pattern(old, 1);
    ram_pattern(new, 1);
    memset(new + 100, 9, 50);
    new[4000] = 1;
    size_t len = vms_xbzrle_encode(vms_slice(old, PAGE), vms_slice(new, PAGE),
                                   (struct vms_room){diff, PAGE});
    cr_assert_lt(len, 200);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_XBZRLE, "m", PAGE), vms_slice(diff, len)), VMS_OK);
    cr_assert_eq(memcmp(memory + PAGE, new, PAGE), 0);
    memcpy(old, new, PAGE);
    memset(new + 120, 3, 90);
    len = vms_xbzrle_encode(vms_slice(old, PAGE), vms_slice(new, PAGE),
                            (struct vms_room){diff, PAGE});
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_XBZRLE, "m", PAGE), vms_slice(diff, len)), VMS_OK);
    cr_assert_eq(memcmp(memory + PAGE, new, PAGE), 0);
    expect_zero(0);
    expect_zero(2 * PAGE);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_XBZRLE, "m", PAGE), vms_slice("\xff\xff\xff", 3)),
           VMS_E_XBZRLE_DATA);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_XBZRLE, "m", PAGE), vms_slice(memory, PAGE + 1)),
           VMS_E_XBZRLE_HEADER);
    cr_assert_eq(stats().xbzrle, 3);
}

static size_t zip(uint8_t *out, size_t size, const uint8_t *in, size_t n) {
    uLongf len = size;
    cr_assert_eq(compress(out, &len, in, n), Z_OK);
    return len;
}

static enum vms_code give_compressed(const uint8_t *data, size_t len) {
    return ram_give(&f, ram_page(VMS_R_RAM_COMPRESSED, "m", PAGE), vms_slice(data, len));
}

/* [RAM-18] one zlib stream, exactly one page; however it is cut. */
Test(ram_channel, compressed) {
    uint8_t pages[2 * PAGE], packed[3 * PAGE];
    ram_pattern(pages, 5);
    ram_pattern(pages + PAGE, 6);
    size_t len = zip(packed, sizeof packed, pages, PAGE);
    for (f.piece = 1; f.piece < 2 * PAGE; f.piece *= 3) {
        EXPECT(give_compressed(packed, len), VMS_OK);
        expect_page(PAGE, 5);
        EXPECT(give_compressed(packed, len - 1), VMS_E_RAM_COMPRESSED_DATA);
        packed[len] = 0;
        EXPECT(give_compressed(packed, len + 1), VMS_E_RAM_COMPRESSED_DATA);
        EXPECT(give_compressed(packed + 1, len - 1), VMS_E_RAM_COMPRESSED_DATA);
    }
    len = zip(packed, sizeof packed, pages, PAGE + 1);
    EXPECT(give_compressed(packed, len), VMS_E_RAM_COMPRESSED_DATA);
    len = zip(packed, sizeof packed, pages, PAGE - 1);
    EXPECT(give_compressed(packed, len), VMS_E_RAM_COMPRESSED_DATA);
    expect_zero(0);
    expect_zero(2 * PAGE);
}

/* [CMD-7] */
Test(ram_channel, discard) {
    static const uint8_t payload[] = {0,    1, 'm', 0, 0, 0, 0, 0, 0,    0,
                                      0x10, 0, 0,   0, 0, 0, 0, 0, 0x20, 0};
    struct vms_record record = {
        .type = VMS_R_COMMAND,
        .u.command = {VMS_CMD_POSTCOPY_RAM_DISCARD, vms_slice(payload, sizeof payload)}};
    for (unsigned i = 0; i < 4; i++)
        EXPECT(give_page(i * PAGE, i + 1), VMS_OK);
    cr_assert(vms_ram_channel_takes(&record));
    EXPECT(ram_give(&f, record, vms_slice(NULL, 0)), VMS_OK);
    expect_page(0, 1);
    expect_zero(PAGE);
    expect_zero(2 * PAGE);
    expect_page(3 * PAGE, 4);
    cr_assert_eq(stats().discarded_bytes, 2 * PAGE);
    record.u.command.command = VMS_CMD_PING;
    cr_assert_not(vms_ram_channel_takes(&record));
}

/* ---- postcopy: pages are handed on ---- */

struct placed {
    unsigned count, zeros;
    uint64_t offset;
    uint8_t page[PAGE];
};

static enum vms_code place(void *ctx, const struct vms_ram_block *block, uint64_t offset,
                           struct vms_slice page, struct vms_error *err) {
    struct placed *p = ctx;
    (void)err;
    cr_assert_str_eq(block->name, "m");
    p->count++;
    p->zeros += page.len == 0;
    p->offset = offset;
    if (page.len)
        memcpy(p->page, page.ptr, page.len);
    return VMS_OK;
}

Test(ram_channel, place) {
    struct placed placed = {0};
    struct vms_ram_place to = {place, &placed};
    uint8_t want[PAGE];
    vms_ram_channel_place(f.channel, &to);
    EXPECT(give_page(2 * PAGE, 7), VMS_OK);
    ram_pattern(want, 7);
    cr_assert_eq(memcmp(placed.page, want, PAGE), 0);
    cr_assert_eq(placed.offset, 2 * PAGE);
    expect_zero(2 * PAGE);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_ZERO, "m", PAGE), vms_slice(NULL, 0)), VMS_OK);
    cr_assert(placed.count == 2 && placed.zeros == 1 && placed.offset == PAGE);
    vms_ram_channel_place(f.channel, NULL);
    EXPECT(give_page(2 * PAGE, 8), VMS_OK);
    expect_page(2 * PAGE, 8);
    cr_assert_eq(placed.count, 2);
}

/* Without memory everything is still checked and counted. */
Test(ram_channel, check_only) {
    struct vms_ram_image_config config = {.store = VMS_RAM_CHECK, .limits = vms_limits_default()};
    uint8_t packed[2 * PAGE], page[PAGE];
    ram_close(&f);
    ram_open(&f, &config);
    ram_add(&f, "m", 64 * PAGE);
    ram_pattern(page, 1);
    size_t len = zip(packed, sizeof packed, page, PAGE);
    EXPECT(give_page(0, 1), VMS_OK);
    EXPECT(give_page(64 * PAGE, 1), VMS_E_RAM_OFFSET);
    EXPECT(give_compressed(packed, len), VMS_OK);
    EXPECT(give_compressed(packed, len - 1), VMS_E_RAM_COMPRESSED_DATA);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_XBZRLE, "m", 0), vms_slice("\x00\x01z", 3)), VMS_OK);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_XBZRLE, "m", 0), vms_slice("\x00", 1)),
           VMS_E_XBZRLE_DATA);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_ZERO, "m", 0), vms_slice(NULL, 0)), VMS_OK);
    cr_assert_eq(stats().normal, 1);
    cr_assert_eq(stats().zero, 1);
}
