/* SPDX-License-Identifier: MIT */
#include "host/ram_test_util.h"
#include <pthread.h>
#include <zlib.h>
#include <zstd.h>

enum {
    BLOCK_PAGES = 64,
    SLOTS = 128,
};

static struct ram_fixture f;
static uint8_t *memory;

static void open_block(enum vms_ram_store store) {
    struct vms_ram_image_config config = {.store = store, .limits = vms_limits_default()};
    ram_open(&f, &config);
    ram_add(&f, "m", BLOCK_PAGES * PAGE);
    memory = vms_ram_image_block(f.image, 0)->memory;
}

static void setup(void) {
    open_block(VMS_RAM_MEMORY);
}

static void teardown(void) {
    ram_close(&f);
}

TestSuite(ram_multifd, .init = setup, .fini = teardown);

/* A packet of pages by number; -1 ends a list. */
struct packet {
    struct vms_record record;
    uint8_t offsets[8 * SLOTS];
};

static void put_offset(struct packet *p, size_t slot, uint64_t offset) {
    for (size_t i = 0; i < 8; i++)
        p->offsets[8 * slot + i] = (uint8_t)(offset >> (56 - 8 * i));
}

static struct vms_record *make(struct packet *p, uint32_t flags, const int *normal,
                               const int *zero) {
    *p = (struct packet){.record = {.type = VMS_R_MULTIFD_PACKET}};
    struct vms_rec_multifd_packet *m = &p->record.u.packet;
    for (; normal && *normal >= 0; normal++)
        put_offset(p, m->normal_pages++, (uint64_t)*normal * PAGE);
    for (; zero && *zero >= 0; zero++)
        put_offset(p, m->normal_pages + m->zero_pages++, (uint64_t)*zero * PAGE);
    m->flags = flags;
    m->pages_alloc = SLOTS;
    m->block = vms_str("m");
    m->offsets = vms_slice(p->offsets, sizeof p->offsets);
    return &p->record;
}

static const int NORMAL[] = {3, 4, 5, 9, 1, -1};
static const int ZERO[] = {20, 21, -1};

enum {
    NORMALS = 5,
};

static void make_pages(uint8_t *pages) {
    for (unsigned i = 0; i < NORMALS; i++)
        ram_pattern(pages + i * PAGE, i + 1);
}

static void expect_pages(void) {
    uint8_t pages[NORMALS * PAGE];
    make_pages(pages);
    for (unsigned i = 0; i < NORMALS; i++)
        cr_assert_eq(memcmp(memory + NORMAL[i] * PAGE, pages + i * PAGE, PAGE), 0, "%d", NORMAL[i]);
}

static struct vms_ram_stats stats(void) {
    return vms_ram_image_stats(f.image, 0);
}

/* [MFD-6] [MFD-7] plain pages go straight to their places, neighbours in one room. */
Test(ram_multifd, plain) {
    struct packet p;
    uint8_t pages[NORMALS * PAGE];
    make_pages(pages);
    memset(memory + 20 * PAGE, 0xff, PAGE);
    EXPECT(ram_give(&f, *make(&p, 0, (int[]){20, -1}, NULL), vms_slice(pages, PAGE)), VMS_OK);
    EXPECT(ram_give(&f, *make(&p, 0, NORMAL, ZERO), vms_slice(pages, sizeof pages)), VMS_OK);
    expect_pages();
    for (size_t i = 0; i < 2 * PAGE; i++)
        cr_assert_eq(memory[20 * PAGE + i], 0);
    cr_assert_eq(stats().multifd_normal, NORMALS + 1);
    cr_assert_eq(stats().multifd_zero, 2);
    cr_assert_eq(stats().duplicates, 1);
}

Test(ram_multifd, rooms) {
    struct packet p;
    struct vms_pump_sink sink = vms_ram_channel_sink(f.channel);
    struct vms_answer answer = {0};
    struct vms_room room;
    struct vms_record *record = make(&p, 0, NORMAL, NULL);
    record->bulk_len = NORMALS * PAGE;
    EXPECT(sink.ops->record(sink.ctx, record, &answer, &f.err), VMS_OK);
    cr_assert_eq(answer.want, VMS_WANT_DIRECT);
    EXPECT(sink.ops->direct(sink.ctx, record, 0, &room, &f.err), VMS_OK);
    cr_assert(room.ptr == memory + 3 * PAGE && room.len == 3 * PAGE);
    EXPECT(sink.ops->direct(sink.ctx, record, 3 * PAGE, &room, &f.err), VMS_OK);
    cr_assert(room.ptr == memory + 9 * PAGE && room.len == PAGE);
    EXPECT(sink.ops->direct(sink.ctx, record, 4 * PAGE, &room, &f.err), VMS_OK);
    cr_assert(room.ptr == memory + PAGE && room.len == PAGE);
}

/* [MFD-4] [MFD-6] [MFD-7] [MFD-8] */
Test(ram_multifd, bounds) {
    struct packet p;
    uint8_t page[2 * PAGE] = {0};
    struct vms_slice one = vms_slice(page, PAGE);
    EXPECT(ram_give(&f, *make(&p, 0, (int[]){BLOCK_PAGES, -1}, NULL), one), VMS_E_MULTIFD_OFFSET);
    EXPECT(ram_give(&f, *make(&p, 0, NULL, (int[]){BLOCK_PAGES, -1}), vms_slice(NULL, 0)),
           VMS_E_MULTIFD_OFFSET);
    make(&p, 0, (int[]){1, -1}, NULL);
    put_offset(&p, 0, PAGE + 1);
    EXPECT(ram_give(&f, p.record, one), VMS_E_MULTIFD_OFFSET);
    put_offset(&p, 0, UINT64_MAX - PAGE + 1);
    EXPECT(ram_give(&f, p.record, one), VMS_E_MULTIFD_OFFSET);
    make(&p, 0, (int[]){1, -1}, NULL);
    EXPECT(ram_give(&f, p.record, vms_slice(page, 2 * PAGE)), VMS_E_MULTIFD_SIZE);
    p.record.u.packet.block = vms_str("other");
    EXPECT(ram_give(&f, p.record, one), VMS_E_MULTIFD_BLOCK);
    make(&p, 0, (int[]){1, -1}, NULL)->u.packet.zero_pages = SLOTS;
    EXPECT(ram_give(&f, p.record, one), VMS_E_MULTIFD_COUNTS);
    p.record.u.packet.zero_pages = UINT32_MAX;
    EXPECT(ram_give(&f, p.record, one), VMS_E_MULTIFD_COUNTS);
    p.record.u.packet.normal_pages = UINT32_MAX;
    EXPECT(ram_give(&f, p.record, one), VMS_E_MULTIFD_COUNTS);
}

/* An empty packet may name any block, and its next_packet_size means nothing. */
Test(ram_multifd, empty) {
    struct packet p;
    make(&p, VMS_MULTIFD_SYNC, NULL, NULL);
    p.record.u.packet.block = vms_str("");
    p.record.u.packet.next_packet_size = 1000;
    EXPECT(ram_give(&f, p.record, vms_slice(NULL, 0)), VMS_OK);
}

/* ---- compression: one stream a channel ---- */

struct packer {
    uint32_t flag;
    z_stream z;
    ZSTD_CStream *zstd;
    uint8_t out[8 * NORMALS * PAGE];
};

static void packer_init(struct packer *p, uint32_t flag) {
    *p = (struct packer){.flag = flag};
    if (flag == VMS_MULTIFD_ZLIB)
        cr_assert_eq(deflateInit(&p->z, 1), Z_OK);
    else
        p->zstd = ZSTD_createCStream();
}

static struct vms_slice pack(struct packer *p, const uint8_t *in, size_t n) {
    if (p->flag == VMS_MULTIFD_ZLIB) {
        p->z.next_in = (Bytef *)(uintptr_t)in;
        p->z.avail_in = (uInt)n;
        p->z.next_out = p->out;
        p->z.avail_out = sizeof p->out;
        cr_assert_eq(deflate(&p->z, Z_SYNC_FLUSH), Z_OK);
        return vms_slice(p->out, sizeof p->out - p->z.avail_out);
    }
    ZSTD_inBuffer zin = {in, n, 0};
    ZSTD_outBuffer zout = {p->out, sizeof p->out, 0};
    cr_assert_eq(ZSTD_compressStream2(p->zstd, &zout, &zin, ZSTD_e_flush), 0);
    return vms_slice(p->out, zout.pos);
}

static void packer_free(struct packer *p) {
    if (p->flag == VMS_MULTIFD_ZLIB)
        (void)deflateEnd(&p->z);
    ZSTD_freeCStream(p->zstd);
}

static void give_packed(uint32_t flag, size_t piece) {
    static struct packer packer;
    struct packet p;
    uint8_t pages[NORMALS * PAGE];
    packer_init(&packer, flag);
    f.piece = piece;
    for (int round = 0; round < 3; round++) {
        memset(pages, round, sizeof pages);
        struct vms_slice data = pack(&packer, pages, sizeof pages);
        EXPECT(ram_give(&f, *make(&p, flag, NORMAL, ZERO), data), VMS_OK);
    }
    make_pages(pages);
    EXPECT(ram_give(&f, *make(&p, flag | VMS_MULTIFD_SYNC, NORMAL, NULL),
                    pack(&packer, pages, sizeof pages)),
           VMS_OK);
    expect_pages();
    packer_free(&packer);
}

/* [MFD-11] the stream goes on from packet to packet. */
Test(ram_multifd, zlib) {
    give_packed(VMS_MULTIFD_ZLIB, 1);
}
Test(ram_multifd, zlib_whole) {
    give_packed(VMS_MULTIFD_ZLIB, SIZE_MAX / 2);
}
Test(ram_multifd, zstd) {
    give_packed(VMS_MULTIFD_ZSTD, 1);
}
Test(ram_multifd, zstd_whole) {
    give_packed(VMS_MULTIFD_ZSTD, SIZE_MAX / 2);
}

/* [MFD-11] neither more nor less than the announced pages. */
static void give_wrong(uint32_t flag, size_t bytes) {
    static struct packer packer;
    static uint8_t pages[(NORMALS + 1) * PAGE];
    struct packet p;
    packer_init(&packer, flag);
    EXPECT(ram_give(&f, *make(&p, flag, NORMAL, NULL), pack(&packer, pages, bytes)),
           VMS_E_MULTIFD_DATA);
    packer_free(&packer);
}

Test(ram_multifd, zlib_too_much) {
    give_wrong(VMS_MULTIFD_ZLIB, NORMALS * PAGE + 1);
}
Test(ram_multifd, zlib_too_little) {
    give_wrong(VMS_MULTIFD_ZLIB, NORMALS * PAGE - 1);
}
Test(ram_multifd, zstd_too_much) {
    give_wrong(VMS_MULTIFD_ZSTD, NORMALS * PAGE + 1);
}
Test(ram_multifd, zstd_too_little) {
    give_wrong(VMS_MULTIFD_ZSTD, NORMALS * PAGE - 1);
}

Test(ram_multifd, malformed_data) {
    struct packet p;
    uint8_t junk[100];
    memset(junk, 0xee, sizeof junk);
    EXPECT(ram_give(&f, *make(&p, VMS_MULTIFD_ZLIB, NORMAL, NULL), vms_slice(junk, sizeof junk)),
           VMS_E_MULTIFD_DATA);
}

/* What follows the end of a zlib stream is not looked at for ever. */
Test(ram_multifd, stream_that_ends) {
    struct packet p;
    uint8_t pages[NORMALS * PAGE], packed[2 * NORMALS * PAGE];
    uLongf len = sizeof packed - 10;
    make_pages(pages);
    cr_assert_eq(compress(packed, &len, pages, sizeof pages), Z_OK);
    memset(packed + len, 0, 10);
    make(&p, VMS_MULTIFD_ZLIB, NORMAL, NULL);
    EXPECT(ram_give(&f, p.record, vms_slice(packed, len + 10)), VMS_E_MULTIFD_DATA);
}

/* [MFD-5] */
Test(ram_multifd, methods) {
    static struct packer packer;
    struct packet p;
    uint8_t page[PAGE] = {1};
    packer_init(&packer, VMS_MULTIFD_ZLIB);
    const int one[] = {1, -1};
    EXPECT(ram_give(&f, *make(&p, VMS_MULTIFD_ZLIB, one, NULL), pack(&packer, page, PAGE)), VMS_OK);
    EXPECT(ram_give(&f, *make(&p, VMS_MULTIFD_ZSTD, one, NULL), vms_slice(page, 10)),
           VMS_E_MULTIFD_COMPRESSION);
    EXPECT(ram_give(&f, *make(&p, VMS_MULTIFD_QPL, one, NULL), vms_slice(page, 10)),
           VMS_E_MULTIFD_COMPRESSION);
    cr_assert(strstr(f.err.message, "qpl compression is not supported"));
    packer_free(&packer);
    ram_close(&f);
    open_block(VMS_RAM_CHECK);
    EXPECT(ram_give(&f, *make(&p, VMS_MULTIFD_QPL, one, NULL), vms_slice(page, 10)), VMS_OK);
    EXPECT(ram_give(&f, *make(&p, 0, one, NULL), vms_slice(page, PAGE)), VMS_OK);
    cr_assert_eq(stats().multifd_normal, 2);
}

/* ---- several threads ---- */

enum {
    THREADS = 4,
};

static void *load_pages(void *arg) {
    struct vms_ram_channel *channel = arg;
    static _Thread_local uint8_t page[PAGE];
    struct vms_error err;
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < BLOCK_PAGES; i++) {
            struct packet p;
            if (i % THREADS != round % THREADS)
                continue;
            ram_pattern(page, (unsigned)i);
            if (ram_give_to(channel, *make(&p, 0, (int[]){i, -1}, NULL), vms_slice(page, PAGE),
                            PAGE, &err) != VMS_OK)
                return NULL;
        }
    return channel;
}

Test(ram_multifd, threads) {
    struct vms_ram_channel *channels[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        channels[i] = vms_ram_channel_new(f.image, (uint32_t)i, &f.err);
        cr_assert_eq(pthread_create(&threads[i], NULL, load_pages, channels[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        cr_assert_eq(pthread_join(threads[i], &result), 0);
        cr_assert_not_null(result);
        vms_ram_channel_free(channels[i]);
    }
    uint64_t given = 50 * BLOCK_PAGES / THREADS * THREADS;
    cr_assert_eq(stats().multifd_normal, given);
    cr_assert_eq(stats().duplicates, given - BLOCK_PAGES);
}
