/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

#include <string.h>

/* Multifd channels, the preempt channel. */

static const uint64_t OFFSETS[128] = {0x1000, 0x7000, 0, 0x3000};

static struct vb *channel(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "multifd", clause, comment);
    v->main = vb_adopted();
    vb_hello(v, 0);
    return v;
}

static void make_hellos(struct area *a) {
    struct vb *v = vector(a, "multifd", "MFD-1", "a handshake and nothing else");
    vb_clause(v, "MFD-24");
    vb_hello(v, 3);

    v = vector(a, "multifd", "MFD-1", "a main channel taken for a multifd one");
    vb_u32(v, 0x5145564d);
    vb_u32(v, 3);
    vb_fails(v, "MULTIFD_MAGIC");

    v = vector(a, "multifd", "MFD-1", "a handshake of version 2");
    vb_u32(v, 0x11223344);
    vb_at(v);
    vb_u32(v, 2);
    vb_fails(v, "MULTIFD_MAGIC");

    v = channel(a, "MFD-1", "a packet with another magic");
    vb_at(v);
    vb_u32(v, 0x11223345);
    vb_u64(v, 1);
    vb_fails(v, "MULTIFD_MAGIC");

    v = channel(a, "MFD-1", "a packet of version 0");
    vb_u32(v, 0x11223344);
    vb_at(v);
    vb_u64(v, 0);
    vb_fails(v, "MULTIFD_MAGIC");

    v = vector(a, "multifd", "MFD-20", "reserved octets and a UUID are kept");
    vb_expect(v, "MULTIFD_HELLO");
    vb_u32(v, 0x11223344);
    vb_u32(v, 1);
    vb_fill(v, 0xab, 16);
    vb_u8(v, 254);
    vb_fill(v, 0xcd, 39);

    v = vector(a, "multifd", "MOD-3", "the input ends inside the handshake");
    vb_hello(v, 0);
    v->len--;
    vb_at(v);
    vb_breaks(v, "TRUNCATED");
}

/* A packet that is refused, with the mark `at` octets behind its beginning. */
static void bad_packet(struct area *a, const char *clause, const char *comment, struct vb_packet p,
                       const uint64_t *offsets, size_t at, const char *code) {
    struct vb *v = channel(a, clause, comment);
    size_t from = v->len;
    vb_packet(v, &p, offsets);
    v->error_at = from + at;
    vb_breaks(v, code);
}

static void make_packets(struct area *a) {
    struct vb *v = channel(a, "MFD-13", "two pages and a zero page; the size means nothing");
    vb_packet(v, &(struct vb_packet){0, 128, 2, 0xffffffff, 1, 1, "vga"}, OFFSETS);
    vb_page(v, 1);
    vb_page(v, 2);
    vb_packet(v, &(struct vb_packet){1, 0, 0, 0, 2, 0, ""}, OFFSETS);

    v = channel(a, "MFD-14", "a SYNC packet of 7.2: a stale size, and no data");
    vb_clause(v, "MFD-6");
    vb_packet(v, &(struct vb_packet){1, 128, 0, 0x80000, 7, 0, "no such block"}, OFFSETS);

    v = channel(a, "MFD-15", "a SYNC packet with pages");
    vb_packet(v, &(struct vb_packet){1, 128, 1, 4096, 7, 0, "vga"}, OFFSETS);
    vb_page(v, 1);

    v = channel(a, "MFD-17", "zero pages only");
    vb_packet(v, &(struct vb_packet){0, 128, 0, 0, 0, 4, "vga"}, OFFSETS);

    static const uint32_t methods[] = {0x02, 0x04, 0x08, 0x10, 0x20};
    for (size_t i = 0; i < 5; i++) {
        v = channel(a, "MFD-8", "compressed pages: the size counts");
        vb_packet(v, &(struct vb_packet){methods[i], 128, 2, 9, 0, 0, "vga"}, OFFSETS);
        vb_raw(v, "ninebytes", 9);
    }
    v = channel(a, "MFD-20", "reserved octets and stale offsets are kept");
    vb_packet(v, &(struct vb_packet){0, 128, 0, 0, 0, 1, "vga"}, OFFSETS);
    memset(v->ptr + 64 + 36, 0xee, 28);
    memset(v->ptr + 64 + 330, 0xee, 1344 - 330);
    memset(v->ptr + 64 + 64 + 4, 0xee, 252);

    v = channel(a, "MFD-24", "the input ends inside a packet");
    vb_clause(v, "MOD-3");
    vb_packet(v, &(struct vb_packet){0, 128, 0, 0, 0, 1, "vga"}, OFFSETS);
    v->len -= 1;
    vb_at(v);
    vb_breaks(v, "TRUNCATED");

    v = channel(a, "MFD-24", "the input ends inside a packet's data");
    vb_clause(v, "MOD-3");
    vb_packet(v, &(struct vb_packet){0, 128, 1, 0, 0, 0, "vga"}, OFFSETS);
    vb_fill(v, 9, 4095);
    vb_ends_in_bulk(v);
}

static void make_bad_packets(struct area *a) {
    bad_packet(a, "MFD-4", "a capacity of 129", (struct vb_packet){0, 129, 0, 0, 0, 0, ""}, OFFSETS,
               12, "MULTIFD_COUNTS");
    bad_packet(a, "MFD-4", "a capacity of 0xffffffff",
               (struct vb_packet){0, UINT32_MAX, 0, 0, 0, 0, ""}, OFFSETS, 12, "MULTIFD_COUNTS");
    bad_packet(a, "MFD-4", "more pages than capacity", (struct vb_packet){0, 1, 2, 0, 0, 0, "vga"},
               OFFSETS, 16, "MULTIFD_COUNTS");
    bad_packet(a, "MFD-4", "more zero pages than are left",
               (struct vb_packet){0, 2, 1, 0, 0, 2, "vga"}, OFFSETS, 32, "MULTIFD_COUNTS");
    bad_packet(a, "MFD-4", "counts whose sum wraps",
               (struct vb_packet){0, 128, 128, 0, 0, UINT32_MAX - 126, "vga"}, OFFSETS, 32,
               "MULTIFD_COUNTS");
    bad_packet(a, "MFD-5", "zlib and zstd together",
               (struct vb_packet){0x06, 128, 1, 5, 0, 0, "vga"}, OFFSETS, 8, "MULTIFD_COMPRESSION");
    bad_packet(a, "MFD-6", "pages of an unknown block",
               (struct vb_packet){0, 128, 1, 0, 0, 0, "rom"}, OFFSETS, 64, "MULTIFD_BLOCK");
    bad_packet(a, "MFD-6", "pages of no block", (struct vb_packet){0, 128, 0, 0, 0, 1, ""}, OFFSETS,
               64, "MULTIFD_BLOCK");
    static const uint64_t bad[][2] = {{0x1000, 0x8000}, {0x1000, 0x1001}, {0x1000, UINT64_MAX}};
    for (size_t i = 0; i < 3; i++)
        bad_packet(a, "MFD-7", "an offset outside its block, or unaligned, which QEMU takes",
                   (struct vb_packet){0, 128, 1, 0, 0, 1, "vga"}, bad[i], 328, "MULTIFD_OFFSET");
    bad_packet(a, "MFD-8", "compressed pages of no octets",
               (struct vb_packet){0x04, 128, 1, 0, 0, 0, "vga"}, OFFSETS, 20, "MULTIFD_SIZE");
    bad_packet(a, "LIM-1", "compressed pages of 0xffffffff octets",
               (struct vb_packet){0x02, 128, 1, UINT32_MAX, 0, 0, "vga"}, OFFSETS, 20, "LIMIT");
    bad_packet(a, "MFD-10", "an unknown flag, which QEMU ignores",
               (struct vb_packet){0x80, 128, 0, 0, 0, 0, ""}, OFFSETS, 8, "MULTIFD_FLAGS");
    bad_packet(a, "MFD-10", "all flags", (struct vb_packet){UINT32_MAX, 128, 0, 0, 0, 0, ""},
               OFFSETS, 8, "MULTIFD_FLAGS");

    struct vb *v = channel(a, "MFD-10", "QPL in 9.0, which does not have it");
    v->main->dialect = v->dialect = "qemu=9.0";
    vb_packet(v, &(struct vb_packet){0x08, 128, 1, 5, 0, 0, "vga"}, OFFSETS);
    v->error_at = 64 + 8;
    vb_breaks(v, "MULTIFD_FLAGS");

    v = vector(a, "multifd", "MFD-6", "a block name without NUL, on a channel read by itself");
    vb_hello(v, 0);
    vb_packet(v, &(struct vb_packet){0, 128, 0, 0, 0, 1, "vga"}, OFFSETS);
    memset(v->ptr + 64 + 64, 'v', 256);
    v->error_at = 64 + 64;
    vb_breaks(v, "MULTIFD_BLOCK");
}

struct device {
    uint32_t flags;
    const char *idstr;
    uint32_t size, version, index, body_flags;
};

static void device(struct vb *v, const struct device *d) {
    size_t n = strlen(d->idstr);
    vb_expect(v, "MULTIFD_DEVICE_STATE");
    vb_u32(v, 0x11223344);
    vb_u32(v, 1);
    vb_u32(v, d->flags);
    vb_raw(v, d->idstr, n);
    vb_fill(v, 0, 256 - n);
    vb_u32(v, 0);
    vb_u32(v, d->size);
    vb_u32(v, d->version);
    vb_u32(v, d->index);
    vb_u32(v, d->body_flags);
}

static void bad_device(struct area *a, const char *clause, const char *comment, struct device d,
                       size_t at, const char *code) {
    struct vb *v = channel(a, clause, comment);
    device(v, &d);
    v->error_at = 64 + at;
    vb_breaks(v, code);
}

static void make_device_state(struct area *a) {
    struct vb *v = channel(a, "MFD-9", "device state, and the config state");
    device(v, &(struct device){0x40, "0000:00:02.0/vfio", 12 + 4, 0, 0, 0});
    vb_text(v, "data");
    device(v, &(struct device){0x40, "0000:00:02.0/vfio", 12 + 16, 0, 1, 1});
    vb_u64(v, 0xffffffffef100002);
    vb_u64(v, 0xffffffffef100001);

    v = channel(a, "MFD-9", "device state of no octets");
    device(v, &(struct device){0x40, "vfio", 12, 0, 0, 0});

    bad_device(a, "MFD-9", "SYNC on a device-state packet",
               (struct device){0x41, "vfio", 16, 0, 0, 0}, 8, "MULTIFD_DEVICE_STATE");
    bad_device(a, "MFD-9", "no id string", (struct device){0x40, "", 16, 0, 0, 0}, 12,
               "MULTIFD_DEVICE_STATE");
    static const uint32_t sizes[] = {0, 11};
    for (size_t i = 0; i < 2; i++)
        bad_device(a, "MFD-9", "no room for its head",
                   (struct device){0x40, "v", sizes[i], 0, 0, 0}, 272, "MULTIFD_DEVICE_STATE");
    bad_device(a, "MFD-9", "version 1", (struct device){0x40, "v", 16, 1, 0, 0}, 276,
               "MULTIFD_DEVICE_STATE");
    bad_device(a, "MFD-9", "an unknown flag", (struct device){0x40, "v", 16, 0, 0, 2}, 284,
               "MULTIFD_DEVICE_STATE");
    bad_device(a, "LIM-1", "0xffffffff octets", (struct device){0x40, "v", UINT32_MAX, 0, 0, 0},
               272, "LIMIT");
    bad_device(a, "VFIO-6", "index 0xffffffff", (struct device){0x40, "v", 16, 0, UINT32_MAX, 0},
               280, "VFIO_STATE_INDEX");

    v = channel(a, "MFD-9", "an id string without NUL");
    device(v, &(struct device){0x40, "v", 16, 0, 0, 0});
    memset(v->ptr + 64 + 12, 'v', 256);
    v->error_at = 64 + 12;
    vb_breaks(v, "MULTIFD_DEVICE_STATE");

    v = channel(a, "MFD-10", "device state in 9.2, which does not have it");
    v->main->dialect = v->dialect = "qemu=9.2";
    device(v, &(struct device){0x40, "v", 12, 0, 0, 0});
    v->error_at = 64 + 8;
    vb_breaks(v, "MULTIFD_FLAGS");
}

void make_mfd(struct area *a) {
    make_hellos(a);
    make_packets(a);
    make_bad_packets(a);
    make_device_state(a);
}

/* ---- preempt ---- */

static struct vb *preempt(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "preempt", clause, comment);
    v->main = vb_adopted();
    return v;
}

void make_pre(struct area *a) {
    struct vb *v = preempt(a, "PRE-1", "page records from the first octet, and no EOS");
    vb_clause(v, "PRE-3");
    vb_normal(v, "vga", 0x1000);
    vb_zero(v, NULL, 0x2000);
    vb_normal(v, "pc.ram", 0);

    v = preempt(a, "PRE-3", "an empty channel");
    v = preempt(a, "PRE-3", "nothing but EOS, as of 7.2");
    vb_eos(v);

    static const uint64_t words[] = {0x40, 0x04, 0x80, 0x200};
    for (size_t i = 0; i < 4; i++) {
        v = preempt(a, "PRE-2", "a record that the preempt channel does not allow");
        vb_zero(v, "vga", 0);
        vb_at(v);
        vb_u64(v, words[i]);
        vb_str8(v, "vga");
        vb_fails(v, "PREEMPT_RECORD");
    }
    v = preempt(a, "PRE-4", "octets behind EOS");
    vb_eos(v);
    vb_at(v);
    vb_u8(v, 0);
    vb_fails(v, "TRAILING_BYTES");

    v = preempt(a, "RAM-3", "the last block is each channel's own");
    vb_clause(v, "RAM-25");
    vb_at(v);
    vb_zero(v, NULL, 0);
    vb_breaks(v, "RAM_CONTINUE");

    v = preempt(a, "RAM-4", "a page of an unknown block");
    vb_word(v, "RAM_ZERO", 0x02);
    vb_at(v);
    vb_str8(v, "rom");
    vb_breaks(v, "RAM_BLOCK_UNKNOWN");

    v = preempt(a, "MOD-3", "the input ends inside a record");
    vb_word(v, "RAM_ZERO", 0x02);
    vb_at(v);
    vb_breaks(v, "TRUNCATED");
}
