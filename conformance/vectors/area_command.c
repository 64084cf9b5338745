/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

/* Commands, packages. */

static const struct {
    uint16_t number;
    uint16_t len;
} FIXED[] = {{1, 0}, {2, 4}, {4, 0}, {5, 0}, {7, 4}, {8, 0}, {9, 0}, {11, 0}};

static struct vb *main_stream(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_ram(v);
    return v;
}

static void advise(struct vb *v) {
    vb_command(v, 3, 16);
    vb_u64(v, 0x1000);
    vb_u64(v, 0x1000);
}

static void make_numbers(struct area *a) {
    static const uint16_t unknown[] = {0, 12, 0xffff};
    for (size_t i = 0; i < 3; i++) {
        struct vb *v = main_stream(a, "CMD-1", "a command number that is not in the registry");
        vb_command(v, unknown[i], 0);
        vb_at_back(v, 4);
        vb_breaks(v, "UNKNOWN_COMMAND");
    }
    for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++)
        for (int huge = 0; huge < 2; huge++) {
            struct vb *v = main_stream(a, "CMD-2", "a command with another length than its own");
            vb_command(v, FIXED[i].number, huge ? 0xffff : (uint16_t)(FIXED[i].len + 1));
            vb_at_back(v, 2);
            vb_breaks(v, "COMMAND_LENGTH");
        }
    static const uint16_t advise_lengths[] = {1, 8, 15, 17, 0xffff};
    for (size_t i = 0; i < 5; i++) {
        struct vb *v = main_stream(a, "CMD-2", "POSTCOPY_ADVISE has 0 or 16 octets");
        vb_command(v, 3, advise_lengths[i]);
        vb_at_back(v, 2);
        vb_fill(v, 0, advise_lengths[i]);
        vb_breaks(v, "COMMAND_LENGTH");
    }
}

static void make_once(struct area *a) {
    struct vb *v = main_stream(a, "CMD-3", "PING without a return path");
    vb_ping(v, 1);
    vb_at_back(v, 8);
    vb_breaks(v, "PING_WITHOUT_RETURN_PATH");

    v = main_stream(a, "CMD-3", "PING with a return path");
    vb_command(v, 1, 0);
    vb_ping(v, 1);
    vb_finish(v);

    v = main_stream(a, "CMD-4", "OPEN_RETURN_PATH twice, which QEMU warns of");
    vb_command(v, 1, 0);
    vb_command(v, 1, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "RETURN_PATH_TWICE");

    v = main_stream(a, "CMD-9", "SWITCHOVER_START, early as it is");
    vb_command(v, 11, 0);
    vb_finish(v);

    v = main_stream(a, "CMD-9", "SWITCHOVER_START twice, which QEMU does not check");
    vb_command(v, 11, 0);
    vb_command(v, 11, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "SWITCHOVER_START_TWICE");

    v = main_stream(a, "CMD-10", "SWITCHOVER_START in 9.2, which does not have it");
    v->dialect = "qemu=9.2";
    vb_command(v, 11, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "COMMAND_DIALECT");

    v = main_stream(a, "CMD-10", "ENABLE_COLO in 11.1, which refuses it");
    v->dialect = "qemu=11.1";
    vb_command(v, 8, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "COMMAND_DIALECT");

    v = main_stream(a, "CMD-10", "ENABLE_COLO in 7.2");
    v->dialect = "qemu=7.2";
    vb_command(v, 8, 0);
    vb_finish(v);

    v = main_stream(a, "MOD-3", "the input ends inside a command");
    vb_command(v, 1, 0);
    vb_command(v, 2, 4);
    vb_u16(v, 0);
    vb_at(v);
    vb_breaks(v, "TRUNCATED");
}

static void make_advise(struct area *a) {
    static const struct {
        uint64_t sizes, target;
        size_t back;
    } bad[] = {{0x1000, 0x2000, 8},     {0, 0x1000, 16}, {0x800, 0x1000, 16},
               {0x1800, 0x1000, 16},    {0x1000, 0, 8},  {0x1000, UINT64_MAX, 8},
               {UINT64_MAX, 0x1000, 16}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vb *v = main_stream(a, "CMD-5", "impossible page sizes in POSTCOPY_ADVISE");
        vb_command(v, 3, 16);
        vb_u64(v, bad[i].sizes);
        vb_u64(v, bad[i].target);
        vb_at_back(v, bad[i].back);
        vb_breaks(v, "ADVISE_PAGE_SIZE");
    }
    struct vb *v = main_stream(a, "CMD-5", "POSTCOPY_ADVISE with pages of 4 KiB, 2 MiB and 1 GiB");
    vb_command(v, 3, 16);
    vb_u64(v, 0x40201000);
    vb_u64(v, 0x1000);
    vb_finish(v);
}

static void make_states(struct area *a) {
    static const uint16_t commands[] = {4, 5, 7, 9};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct vb *v = main_stream(a, "CMD-6", "a postcopy command before POSTCOPY_ADVISE");
        vb_command(v, commands[i], commands[i] == 7 ? 4 : 0);
        vb_at_back(v, 4);
        vb_fill(v, 0, commands[i] == 7 ? 4 : 0);
        vb_breaks(v, "POSTCOPY_STATE");
    }
    struct vb *v = main_stream(a, "CMD-6", "POSTCOPY_ADVISE twice");
    vb_command(v, 3, 0);
    vb_command(v, 3, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "POSTCOPY_STATE");

    v = main_stream(a, "CMD-6", "POSTCOPY_RUN without POSTCOPY_LISTEN");
    vb_command(v, 3, 0);
    vb_command(v, 5, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "POSTCOPY_STATE");

    v = main_stream(a, "CMD-6", "POSTCOPY_RESUME on a main channel, which QEMU warns of");
    vb_command(v, 3, 0);
    vb_command(v, 4, 0);
    vb_command(v, 5, 0);
    vb_command(v, 9, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "POSTCOPY_STATE");

    v = main_stream(a, "CMD-6", "RECV_BITMAP on a main channel, which QEMU ignores");
    vb_command(v, 10, 4);
    vb_at_back(v, 4);
    vb_str8(v, "vga");
    vb_breaks(v, "POSTCOPY_STATE");
}

static struct vb *discard(struct area *a, const char *comment, uint16_t len) {
    struct vb *v = main_stream(a, "CMD-7", comment);
    advise(v);
    vb_command(v, 6, len);
    vb_at(v);
    return v;
}

static void ranges(struct vb *v, const char *block, uint64_t start, uint64_t length) {
    vb_u8(v, 0);
    vb_str8(v, block);
    vb_u8(v, 0);
    vb_u64(v, start);
    vb_u64(v, length);
}

static void make_discard(struct area *a) {
    struct vb *v = discard(a, "two ranges", 38);
    ranges(v, "vga", 0, 0x1000);
    vb_u64(v, 0x7000);
    vb_u64(v, 0x1000);
    vb_finish(v);

    v = discard(a, "an empty payload", 0);
    vb_breaks(v, "DISCARD_FORM");
    v = discard(a, "version 1", 22);
    vb_u8(v, 1);
    vb_str8(v, "vga");
    vb_fill(v, 0, 17);
    vb_breaks(v, "DISCARD_FORM");
    v = discard(a, "no terminator behind the name", 22);
    vb_u8(v, 0);
    vb_str8(v, "vga");
    vb_fill(v, 1, 17);
    vb_breaks(v, "DISCARD_FORM");
    v = discard(a, "an empty name", 19);
    ranges(v, "", 0, 0x1000);
    vb_breaks(v, "DISCARD_FORM");
    v = discard(a, "a name that is longer than the payload", 19);
    vb_u8(v, 0);
    vb_u8(v, 255);
    vb_fill(v, 'a', 17);
    vb_breaks(v, "DISCARD_FORM");
    v = discard(a, "no range", 6);
    vb_u8(v, 0);
    vb_str8(v, "vga");
    vb_u8(v, 0);
    vb_breaks(v, "DISCARD_FORM");
    v = discard(a, "half a range", 14);
    vb_u8(v, 0);
    vb_str8(v, "vga");
    vb_fill(v, 0, 9);
    vb_breaks(v, "DISCARD_FORM");
}

static void make_discard_ranges(struct area *a) {
    static const struct {
        uint64_t start, length;
    } bad[] = {{0, 0},           {0x800, 0x1000}, {0, 0x1800},     {0x8000, 0x1000},
               {0x7000, 0x2000}, {0, UINT64_MAX}, {UINT64_MAX, 1}, {UINT64_MAX - 0xfff, 0x2000}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vb *v = discard(a, "a range that is empty, not whole pages or outside", 22);
        ranges(v, "vga", bad[i].start, bad[i].length);
        vb_at_back(v, 16);
        vb_breaks(v, "DISCARD_FORM");
    }
    struct vb *v = discard(a, "a block that is not in the list", 22);
    v->clauses[0] = "RAM-4";
    ranges(v, "rom", 0, 0x1000);
    vb_at_back(v, 21);
    vb_breaks(v, "RAM_BLOCK_UNKNOWN");
}

void make_cmd(struct area *a) {
    make_numbers(a);
    make_once(a);
    make_advise(a);
    make_states(a);
    make_discard(a);
    make_discard_ranges(a);
}

/* ---- packages ---- */

static struct vb *package(struct area *a, const char *clause, const char *comment, uint32_t len) {
    struct vb *v = main_stream(a, clause, comment);
    vb_command(v, 1, 0);
    advise(v);
    vb_command(v, 7, 4);
    vb_u32(v, len);
    return v;
}

void make_pkg(struct area *a) {
    struct vb *v = package(a, "PKG-2", "LISTEN and RUN", 10);
    vb_command(v, 4, 0);
    vb_command(v, 5, 0);
    vb_expect(v, "PACKAGE_END");
    vb_ping(v, 4);
    vb_finish(v);

    v = package(a, "PKG-2", "a package that ends with EOF", 6);
    vb_command(v, 4, 0);
    vb_eof(v);
    vb_expect(v, "PACKAGE_END");
    vb_finish(v);

    static const uint16_t nested[] = {3, 6, 7, 10};
    for (size_t i = 0; i < 4; i++) {
        v = package(a, "PKG-1", "a command with data of its own inside a package", 100);
        uint16_t len = nested[i] == 7 ? 4 : nested[i] == 3 ? 16 : 22;
        vb_command(v, nested[i], len);
        vb_at_back(v, 4);
        vb_fill(v, 0, len);
        vb_breaks(v, "PACKAGE_NESTED");
    }
    v = package(a, "PKG-2", "an empty package", 0);
    vb_at_back(v, 4);
    vb_breaks(v, "PACKAGE_SHORT");

    v = package(a, "PKG-2", "a package that ends inside a command", 8);
    vb_command(v, 4, 0);
    vb_u8(v, 0x08);
    vb_u16(v, 5);
    vb_at(v);
    vb_u16(v, 0);
    vb_fails(v, "PACKAGE_SHORT");

    v = package(a, "PKG-2", "a package that ends behind a command that is not RUN", 5);
    vb_command(v, 4, 0);
    vb_at(v);
    vb_command(v, 5, 0);
    vb_breaks(v, "PACKAGE_SHORT");

    v = package(a, "PKG-2", "a package that ends inside a page", 5 + 5 + 8 + 4 + 100);
    vb_command(v, 4, 0);
    vb_part(v, VB_RAM_ID);
    vb_normal(v, "vga", 0);
    v->error_at = v->len - VB_PAGE + 100;
    vb_breaks(v, "PACKAGE_SHORT");

    v = package(a, "PKG-3", "octets behind the package's RUN, which QEMU ignores", 11);
    vb_command(v, 4, 0);
    vb_command(v, 5, 0);
    vb_at(v);
    vb_u8(v, 0);
    vb_fails(v, "PACKAGE_TRAILER");

    v = package(a, "PKG-3", "octets behind the package's EOF, which QEMU ignores", 3);
    vb_eof(v);
    vb_at(v);
    vb_fill(v, 0xff, 2);
    vb_fails(v, "PACKAGE_TRAILER");

    v = package(a, "PKG-4", "a package of 0xffffffff octets", UINT32_MAX);
    vb_at_back(v, 4);
    vb_breaks(v, "LIMIT");
}
