/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

#include <stdio.h>

/* [LIM-1] Every limit with a stream at the limit, which is taken, and one past it. */

/* Makes a stream whose announced quantity is n; at the limit it is complete. */
typedef void make_stream(struct vb *v, uint64_t n, bool past);

static void breaks(struct vb *v, bool past, size_t back) {
    vb_at_back(v, back);
    if (past)
        vb_breaks(v, "LIMIT");
}

static void machine_name(struct vb *v, uint64_t n, bool past) {
    vb_header(v);
    vb_expect(v, "CONFIGURATION");
    vb_u8(v, 0x07);
    vb_u32(v, (uint32_t)n);
    breaks(v, past, 4);
    vb_fill(v, 'm', n);
    if (!past)
        vb_eof(v);
}

static void capabilities(struct vb *v, uint64_t n, bool past) {
    vb_header(v);
    vb_config(v, "test");
    vb_subsection(v, "configuration/capabilities", 1);
    vb_u32(v, (uint32_t)n);
    breaks(v, past, 4);
    for (uint64_t i = 0; i < n; i++)
        vb_str8(v, "xbzrle");
    if (!past)
        vb_eof(v);
}

static void sections(struct vb *v, uint64_t n, bool past) {
    vb_head(v);
    for (uint64_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u/vfio", (unsigned)i);
        vb_start(v, (uint32_t)i, name, 1);
        if (past && i + 1 == n) {
            breaks(v, past, 20);
            return;
        }
        vb_word(v, "VFIO_SETUP_STATE", 0xffffffffef100003);
        vb_word(v, "VFIO_END_OF_STATE", 0xffffffffef100001);
        vb_footer(v, (uint32_t)i);
    }
    vb_eof(v);
}

static void ram_blocks(struct vb *v, uint64_t n, bool past) {
    vb_head(v);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, n * 0x1000);
    for (uint64_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%u", (unsigned)i);
        vb_block(v, name, 0x1000);
    }
    if (past) {
        breaks(v, past, 11);
        return;
    }
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);
}

static void ram_bytes(struct vb *v, uint64_t n, bool past) {
    uint64_t total = n * 0x1000;
    vb_head(v);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, total);
    breaks(v, past, 8);
    if (past)
        return;
    vb_block(v, "b", total);
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);
}

/* Held: section head (15), data, footer and EOF. */
static void device_tail(struct vb *v, uint64_t n, bool past) {
    vb_ram(v);
    if (!past)
        vb_guessed(v);
    uint64_t from = v->len;
    vb_full(v, 5, "d");
    vb_fill(v, 'd', n - 15 - 5 - 1);
    if (past) {
        vb_fill(v, 0, 6);
        v->error_at = from + n - 1;
        vb_breaks(v, "LIMIT");
        return;
    }
    vb_footer(v, 5);
    vb_eof(v);
}

static void package(struct vb *v, uint64_t n, bool past) {
    vb_ram(v);
    vb_command(v, 1, 0);
    vb_command(v, 3, 0);
    vb_command(v, 7, 4);
    vb_u32(v, (uint32_t)n);
    breaks(v, past, 4);
    if (past)
        return;
    for (uint64_t i = 10; i < n; i += 9)
        vb_ping(v, 3);
    vb_command(v, 4, 0);
    vb_command(v, 5, 0);
    vb_expect(v, "PACKAGE_END");
    vb_eof(v);
}

static void vmdesc(struct vb *v, uint64_t n, bool past) {
    vb_ram(v);
    vb_eof(v);
    vb_expect(v, "VMDESCRIPTION");
    vb_u8(v, 0x06);
    vb_u32(v, (uint32_t)n);
    breaks(v, past, 4);
    vb_text(v, "{\"devices\":[]}");
    vb_fill(v, ' ', n - 14);
}

static void vfio_data(struct vb *v, uint64_t n, bool past) {
    vb_head(v);
    vb_start(v, 1, "vfio", 1);
    vb_word(v, "VFIO_SETUP_STATE", 0xffffffffef100003);
    vb_word(v, "VFIO_END_OF_STATE", 0xffffffffef100001);
    vb_footer(v, 1);
    vb_part(v, 1);
    vb_word(v, "VFIO_DATA_STATE", 0xffffffffef100004);
    vb_u64(v, n);
    breaks(v, past, 8);
    vb_fill(v, 'v', n);
    if (past)
        return;
    vb_word(v, "VFIO_END_OF_STATE", 0xffffffffef100001);
    vb_footer(v, 1);
    vb_eof(v);
}

static void multifd_data(struct vb *v, uint64_t n, bool past) {
    static const uint64_t offset = 0;
    v->main = vb_adopted();
    vb_hello(v, 0);
    vb_packet(v, &(struct vb_packet){0x02, 128, 1, (uint32_t)n, 0, 0, "vga"}, &offset);
    breaks(v, past, 1344 - 20);
    vb_fill(v, 'z', n);
}

static void device_state(struct vb *v, uint64_t n, bool past) {
    vb_hello(v, 0);
    vb_expect(v, "MULTIFD_DEVICE_STATE");
    vb_u32(v, 0x11223344);
    vb_u32(v, 1);
    vb_u32(v, 0x40);
    vb_text(v, "vfio");
    vb_fill(v, 0, 252);
    vb_u32(v, 0);
    vb_u32(v, (uint32_t)n + 12);
    breaks(v, past, 4);
    vb_fill(v, 0, 12);
    vb_fill(v, 's', n);
}

static void dirty_bitmap(struct vb *v, uint64_t n, bool past) {
    vb_head(v);
    vb_start(v, 1, "dirty-bitmap", 1);
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, 0x4d);
    vb_str8(v, "n");
    vb_str8(v, "b");
    vb_u64(v, 0);
    vb_u32(v, 8);
    vb_u64(v, n);
    breaks(v, past, 8);
    vb_fill(v, 'b', n);
    if (past)
        return;
    vb_footer(v, 1);
    vb_eof(v);
}

static void received_bitmap(struct vb *v, uint64_t n, bool past) {
    vb_message(v, "RP_RECV_BITMAP", 5, 4);
    vb_str8(v, "vga");
    vb_u64(v, n * 8);
    breaks(v, past, 8);
    vb_fill(v, 0xff, n * 8);
    if (past)
        return;
    vb_expect(v, "RP_RECV_BITMAP_END");
    vb_u64(v, 0x0123456789abcdef);
}

static void return_path(struct vb *v, uint64_t n, bool past) {
    vb_message(v, "RP_REQ_PAGES_ID", 3, (uint16_t)n);
    breaks(v, past, 2);
    vb_u64(v, 0);
    vb_u32(v, 0x1000);
    vb_u8(v, (uint8_t)(n - 13));
    vb_fill(v, 'b', n - 13);
}

static void channels(struct vb *v, uint64_t n, bool past) {
    vb_hello(v, (uint8_t)(n - 1));
    breaks(v, past, 40);
}

static const struct {
    const char *name, *kind;
    make_stream *make;
    uint64_t unit; /* of n, in the limit's units */
    uint64_t at;   /* n at the limit */
    uint64_t step; /* the next n that can be announced */
} LIMITS[] = {
    {"machine_name_bytes", "main", machine_name, 1, 8, 1},
    {"capabilities", "main", capabilities, 1, 2, 1},
    {"sections", "main", sections, 1, 3, 1},
    {"ram_blocks", "main", ram_blocks, 1, 3, 1},
    {"ram_bytes", "main", ram_bytes, 0x1000, 5, 1},
    {"device_tail_bytes", "main", device_tail, 1, 100, 1},
    {"device_tail_bytes", "main", package, 1, 28, 9},
    {"vmdesc_bytes", "main", vmdesc, 1, 20, 1},
    {"vfio_data_bytes", "main", vfio_data, 1, 64, 1},
    {"multifd_data_bytes", "multifd", multifd_data, 1, 64, 1},
    {"device_state_bytes", "multifd", device_state, 1, 64, 1},
    {"dirty_bitmap_bytes", "main", dirty_bitmap, 1, 64, 1},
    {"received_bitmap_bytes", "return-path", received_bitmap, 8, 8, 1},
    {"return_path_bytes", "return-path", return_path, 1, 20, 1},
    {"multifd_channels", "multifd", channels, 1, 4, 1},
};

static void make_both(struct area *a, size_t i) {
    for (int past = 0; past < 2; past++) {
        struct vb *v =
            vector(a, LIMITS[i].kind, "LIM-1", past ? "one past the limit" : "at the limit");
        uint64_t n = LIMITS[i].at + (past ? LIMITS[i].step : 0);
        vb_limit(v, LIMITS[i].name, LIMITS[i].at * LIMITS[i].unit);
        LIMITS[i].make(v, n, past);
    }
}

/* [LIM-2] 0 admits nothing. */
static void make_none(struct area *a) {
    struct vb *v = vector(a, "main", "LIM-2", "no machine name is admitted");
    vb_limit(v, "machine_name_bytes", 0);
    machine_name(v, 1, true);
    v = vector(a, "main", "LIM-2", "no section is admitted");
    vb_limit(v, "sections", 0);
    sections(v, 1, true);
    v = vector(a, "multifd", "LIM-2", "no channel is admitted");
    vb_limit(v, "multifd_channels", 0);
    channels(v, 1, true);
    v = vector(a, "main", "LIM-2", "no device section is held");
    vb_limit(v, "device_tail_bytes", 0);
    vb_ram(v);
    vb_at(v);
    vb_full(v, 5, "d");
    vb_breaks(v, "LIMIT");
}

/* Lengths of 0xffffffff and more with the default limits. */
static void make_huge(struct area *a) {
    struct vb *v = vector(a, "main", "LIM-1", "a machine name of 0xffffffff octets: 7.2 aborts");
    machine_name(v, 8, true);
    v->len -= 12;
    vb_u32(v, UINT32_MAX);
    v = vector(a, "main", "LIM-1", "0xffffffff capabilities");
    vb_header(v);
    vb_config(v, "test");
    vb_subsection(v, "configuration/capabilities", 1);
    vb_u32(v, UINT32_MAX);
    breaks(v, true, 4);
    v = vector(a, "main", "LIM-1", "a block list of 2^64 - 4096 octets");
    vb_clause(v, "LIM-3");
    vb_head(v);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0xfffffffffffff000);
    breaks(v, true, 8);
    v = vector(a, "main", "LIM-1", "a description of 0xffffffff octets");
    vb_ram(v);
    vb_eof(v);
    vb_expect(v, "VMDESCRIPTION");
    vb_u8(v, 0x06);
    vb_u32(v, UINT32_MAX);
    breaks(v, true, 4);
}

void make_lim(struct area *a) {
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++)
        make_both(a, i);
    make_none(a);
    make_huge(a);
}
