/* SPDX-License-Identifier: MIT */
#include "host/multifd_plain.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

/* Packets of one zlib or zstd stream, flushed behind each, as QEMU makes them. */
enum {
    PAGE = 4096,
    PAGES = 16,
    PACKETS = 5,
};

static uint8_t pages[PAGES * PAGE];
static uint8_t packed[PAGES * PAGE + 4096];

static void make_pages(int n) {
    for (size_t i = 0; i < sizeof pages; i++)
        pages[i] = (uint8_t)(i % 251 * (unsigned)(n + 1) + i / PAGE);
}

static size_t pack_zlib(z_stream *z) {
    z->next_in = pages;
    z->avail_in = sizeof pages;
    z->next_out = packed;
    z->avail_out = sizeof packed;
    cr_assert_eq(deflate(z, Z_SYNC_FLUSH), Z_OK);
    return sizeof packed - z->avail_out;
}

static size_t pack_zstd(ZSTD_CStream *z) {
    ZSTD_inBuffer in = {pages, sizeof pages, 0};
    ZSTD_outBuffer out = {packed, sizeof packed, 0};
    cr_assert_eq(ZSTD_compressStream2(z, &out, &in, ZSTD_e_flush), 0);
    return out.pos;
}

static struct vms_record packet(uint32_t method, size_t len) {
    struct vms_record r = {.type = VMS_R_MULTIFD_PACKET, .bulk_len = len};
    r.u.packet = (struct vms_rec_multifd_packet){.flags = method | VMS_MULTIFD_SYNC,
                                                 .pages_alloc = 128,
                                                 .normal_pages = PAGES,
                                                 .next_packet_size = (uint32_t)len,
                                                 .packet_num = 7,
                                                 .block = vms_str("a"),
                                                 .raw = vms_str("residue")};
    return r;
}

static enum vms_code recode(struct vms_multifd_plain *p, const struct vms_record *r, size_t cut,
                            struct vms_record *out, struct vms_slice *data) {
    struct vms_error err;
    enum vms_code code = vms_multifd_plain_begin(p, r, PAGE, &err);
    for (size_t at = 0; code == VMS_OK && at < r->bulk_len; at += cut) {
        size_t n = (size_t)r->bulk_len - at < cut ? (size_t)r->bulk_len - at : cut;
        code = vms_multifd_plain_bulk(p, vms_slice(packed + at, n), &err);
    }
    return code == VMS_OK ? vms_multifd_plain_end(p, out, data, &err) : code;
}

static void check(uint32_t method, size_t cut) {
    struct vms_multifd_plain *p = vms_multifd_plain_new();
    z_stream z = {0};
    ZSTD_CStream *zstd = ZSTD_createCStream();
    cr_assert_eq(deflateInit(&z, 1), Z_OK);
    for (int n = 0; n < PACKETS; n++) {
        make_pages(n);
        size_t len = method == VMS_MULTIFD_ZLIB ? pack_zlib(&z) : pack_zstd(zstd);
        struct vms_record r = packet(method, len), out;
        struct vms_slice data;
        cr_assert(vms_multifd_plain_takes(&r));
        cr_assert_eq(recode(p, &r, cut, &out, &data), VMS_OK);
        cr_assert(vms_slice_eq(data, vms_slice(pages, sizeof pages)));
        cr_assert_eq(out.u.packet.flags, VMS_MULTIFD_SYNC);
        cr_assert_eq(out.u.packet.next_packet_size, sizeof pages);
        cr_assert_eq(out.u.packet.packet_num, 7);
        cr_assert_eq(out.u.packet.raw.len, 0);
        cr_assert_eq(out.bulk_len, sizeof pages);
    }
    (void)deflateEnd(&z);
    (void)ZSTD_freeCStream(zstd);
    vms_multifd_plain_free(p);
}

Test(multifd_plain, recodes) {
    static const size_t cuts[] = {1, 7, 1000, 1 << 20};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        check(VMS_MULTIFD_ZLIB, cuts[i]);
        check(VMS_MULTIFD_ZSTD, cuts[i]);
    }
}

Test(multifd_plain, leaves_others) {
    struct vms_record r = packet(0, PAGES * PAGE);
    cr_assert_not(vms_multifd_plain_takes(&r));
    r = packet(VMS_MULTIFD_QATZIP, 10);
    cr_assert_not(vms_multifd_plain_takes(&r));
    r = packet(VMS_MULTIFD_ZLIB, 0);
    r.u.packet.normal_pages = 0;
    cr_assert_not(vms_multifd_plain_takes(&r));
    r.type = VMS_R_RAM_EOS;
    cr_assert_not(vms_multifd_plain_takes(&r));
}

/* [MFD-4] [MFD-5] [MFD-11] */
Test(multifd_plain, refuses) {
    struct vms_record out;
    struct vms_slice data;
    z_stream z = {0};
    cr_assert_eq(deflateInit(&z, 1), Z_OK);
    make_pages(1);
    size_t len = pack_zlib(&z);
    (void)deflateEnd(&z);
    static const struct {
        int change, pages;
        enum vms_code want;
    } cases[] = {{0, PAGES, VMS_OK},
                 {0, PAGES - 1, VMS_E_MULTIFD_DATA},
                 {0, PAGES + 1, VMS_E_MULTIFD_DATA},
                 {0, 129, VMS_E_MULTIFD_COUNTS},
                 {1, PAGES, VMS_E_MULTIFD_DATA}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vms_multifd_plain *p = vms_multifd_plain_new();
        struct vms_record r = packet(VMS_MULTIFD_ZLIB, len);
        r.u.packet.normal_pages = (uint32_t)cases[i].pages;
        packed[0] ^= (uint8_t)cases[i].change;
        cr_assert_eq(recode(p, &r, 100, &out, &data), cases[i].want, "%zu", i);
        packed[0] ^= (uint8_t)cases[i].change;
        if (i == 0) {
            r = packet(VMS_MULTIFD_ZSTD, len);
            cr_assert_eq(recode(p, &r, 100, &out, &data), VMS_E_MULTIFD_COMPRESSION);
        }
        vms_multifd_plain_free(p);
    }
}
