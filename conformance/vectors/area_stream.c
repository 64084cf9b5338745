/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

#include <string.h>

/* Header, configuration, sections. */

void make_hdr(struct area *a) {
    struct vb *v = vector(a, "main", "HDR-1", "the shortest complete stream");
    vb_clause(v, "END-5");
    vb_head(v);
    vb_eof(v);

    v = vector(a, "main", "HDR-1", "the magic is reversed");
    vb_u32(v, 0x4d564551);
    vb_u32(v, 3);
    vb_fails(v, "BAD_MAGIC");

    v = vector(a, "main", "HDR-1", "a multifd channel taken for a main one");
    vb_u32(v, 0x11223344);
    vb_u32(v, 1);
    vb_fails(v, "BAD_MAGIC");

    v = vector(a, "main", "HDR-2", "version 4");
    vb_u32(v, 0x5145564d);
    vb_at(v);
    vb_u32(v, 4);
    vb_fails(v, "BAD_VERSION");

    v = vector(a, "main", "HDR-2", "version 0xffffffff");
    vb_u32(v, 0x5145564d);
    vb_at(v);
    vb_u32(v, UINT32_MAX);
    vb_fails(v, "BAD_VERSION");

    v = vector(a, "main", "HDR-3", "version 2");
    vb_u32(v, 0x5145564d);
    vb_at(v);
    vb_u32(v, 2);
    vb_fails(v, "OBSOLETE_VERSION");

    v = vector(a, "main", "MOD-3", "an empty input");
    vb_fails(v, "TRUNCATED");

    v = vector(a, "main", "MOD-3", "the input ends inside the header");
    vb_raw(v, "QEVM\0\0", 6);
    vb_at(v);
    vb_fails(v, "TRUNCATED");
}

static struct vb *config(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_header(v);
    return v;
}

static void capabilities(struct vb *v, uint32_t count) {
    vb_subsection(v, "configuration/capabilities", 1);
    vb_u32(v, count);
}

static void page_bits(struct vb *v, uint32_t bits) {
    vb_subsection(v, "configuration/target-page-bits", 1);
    vb_u32(v, bits);
}

static void make_cfg_names(struct area *a) {
    struct vb *v = config(a, "CFG-1", "a section where the configuration should be");
    vb_at(v);
    vb_u8(v, 0x01);
    vb_fails(v, "CONFIG_MISSING");

    v = config(a, "CFG-1", "no configuration, in a dialect that has none");
    vb_clause(v, "DLC-6");
    v->dialect = "machine=2.2";
    vb_eof(v);

    v = config(a, "CFG-2", "an empty machine name, which QEMU takes for a match");
    vb_config(v, "");
    vb_at(v);
    vb_u8(v, 0);
    vb_breaks(v, "CONFIG_NAME");

    v = config(a, "CFG-2", "a NUL in the machine name ends QEMU's comparison");
    vb_expect(v, "CONFIGURATION");
    vb_u8(v, 0x07);
    vb_u32(v, 5);
    vb_at(v);
    vb_raw(v, "no\0ne", 5);
    vb_breaks(v, "CONFIG_NAME");

    v = config(a, "CFG-2", "a machine name that is not printable");
    vb_config(v, "no\x7f");
    vb_at_back(v, 3);
    vb_breaks(v, "CONFIG_NAME");
}

static void make_cfg_subsections(struct area *a) {
    struct vb *v = config(a, "CFG-3", "an unknown subsection");
    vb_config(v, "test");
    vb_at(v);
    vb_subsection(v, "configuration/other", 1);
    vb_breaks(v, "CONFIG_SUBSECTION");

    v = config(a, "CFG-3", "a subsection of something else");
    vb_config(v, "test");
    vb_at(v);
    vb_subsection(v, "timer/x", 1);
    vb_breaks(v, "CONFIG_SUBSECTION");

    v = config(a, "CFG-3", "a subsection without a name");
    vb_config(v, "test");
    vb_at(v);
    vb_subsection(v, "", 1);
    vb_breaks(v, "CONFIG_SUBSECTION");

    v = config(a, "CFG-3", "a subsection twice, of which QEMU keeps the second");
    vb_config(v, "test");
    page_bits(v, 12);
    vb_at(v);
    page_bits(v, 12);
    vb_breaks(v, "CONFIG_SUBSECTION");

    v = config(a, "CFG-4", "version 2 of a subsection");
    vb_config(v, "test");
    vb_subsection(v, "configuration/uuid", 2);
    vb_at_back(v, 4);
    vb_breaks(v, "CONFIG_SUBSECTION_VERSION");

    v = config(a, "CFG-4", "version 0 of a subsection");
    vb_config(v, "test");
    vb_subsection(v, "configuration/uuid", 0);
    vb_at_back(v, 4);
    vb_breaks(v, "CONFIG_SUBSECTION_VERSION");

    static const uint32_t bad_bits[] = {0, 9, 17, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad_bits / sizeof *bad_bits; i++) {
        v = config(a, "CFG-5", "impossible target page bits");
        vb_config(v, "test");
        page_bits(v, bad_bits[i]);
        vb_at_back(v, 4);
        vb_breaks(v, "CONFIG_PAGE_BITS");
    }
}

static void make_cfg_capabilities(struct area *a) {
    struct vb *v = config(a, "CFG-6", "a capability without a name");
    vb_config(v, "test");
    capabilities(v, 2);
    vb_str8(v, "x-ignore-shared");
    vb_at(v);
    vb_str8(v, "");
    vb_breaks(v, "CONFIG_CAPABILITY");

    v = config(a, "CFG-6", "a capability that is not printable");
    vb_config(v, "test");
    capabilities(v, 1);
    vb_at(v);
    vb_str8(v, "map\xffped");
    vb_breaks(v, "CONFIG_CAPABILITY");

    v = config(a, "CFG-6", "no capabilities, with a list that says so");
    vb_config(v, "test");
    capabilities(v, 0);
    vb_eof(v);

    v = config(a, "CFG-6", "an unknown capability: for a destination to judge");
    vb_config(v, "test");
    capabilities(v, 1);
    vb_str8(v, "xbzrle");
    vb_eof(v);

    v = config(a, "CFG-11", "all subsections, in another order than QEMU's");
    vb_config(v, "test");
    vb_subsection(v, "configuration/uuid", 1);
    vb_raw(v, "0123456789abcdef", 16);
    capabilities(v, 1);
    vb_str8(v, "x-ignore-shared");
    page_bits(v, 14);
    vb_eof(v);

    v = config(a, "MOD-3", "the capability list is cut");
    vb_config(v, "test");
    capabilities(v, 2);
    vb_str8(v, "x-ignore-shared");
    vb_at(v);
    vb_breaks(v, "TRUNCATED");
}

static void make_cfg_page_size(struct area *a) {
    struct vb *v = config(a, "CFG-9", "pages of 16 KiB, as the configuration says");
    vb_config(v, "test");
    page_bits(v, 14);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0x8000);
    vb_block(v, "ram", 0x8000);
    vb_word(v, "RAM_PAGE", 0x4000 | 0x08);
    vb_str8(v, "ram");
    vb_fill(v, 0x55, 0x4000);
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);

    v = config(a, "CFG-9", "pages of 1 KiB, as the dialect says");
    v->dialect = "page-bits=10";
    vb_config(v, "test");
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0x800);
    vb_block(v, "ram", 0x800);
    vb_word(v, "RAM_PAGE", 0x400 | 0x08);
    vb_str8(v, "ram");
    vb_fill(v, 0x55, 0x400);
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);
}

void make_cfg(struct area *a) {
    make_cfg_names(a);
    make_cfg_subsections(a);
    make_cfg_capabilities(a);
    make_cfg_page_size(a);
}

static struct vb *section(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_head(v);
    return v;
}

static void make_sec_heads(struct area *a) {
    static const uint8_t types[] = {0x05, 0x06, 0x07, 0x09, 0x7e, 0xff};
    for (size_t i = 0; i < sizeof types; i++) {
        struct vb *v = section(a, "SEC-1", "a type octet that has no business at top level");
        vb_start(v, 1, "ram", 4);
        vb_mem_size(v, 0);
        vb_eos(v);
        vb_footer(v, 1);
        vb_at(v);
        vb_u8(v, types[i]);
        vb_fails(v, "BAD_RECORD_TYPE");
    }
    struct vb *v = section(a, "SEC-2", "an empty id string");
    vb_start(v, 1, "", 4);
    vb_at_back(v, 9);
    vb_breaks(v, "EMPTY_IDSTR");

    v = section(a, "SEC-3", "an id string with a line feed");
    vb_start(v, 1, "ra\n", 4);
    vb_at_back(v, 12);
    vb_breaks(v, "BAD_IDSTR");

    v = section(a, "SEC-3", "an id string with a NUL");
    vb_expect(v, "SECTION_FULL");
    vb_u8(v, 0x04);
    vb_u32(v, 1);
    vb_at(v);
    vb_u8(v, 3);
    vb_raw(v, "a\0b", 3);
    vb_u64(v, 1);
    vb_breaks(v, "BAD_IDSTR");
}

static void make_sec_ids(struct area *a) {
    struct vb *v = section(a, "SEC-4", "a PART of id 0 before any START, which QEMU takes");
    vb_part(v, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "UNKNOWN_SECTION");

    v = section(a, "SEC-4", "an END of an id that nothing has bound");
    vb_end(v, UINT32_MAX);
    vb_at_back(v, 4);
    vb_breaks(v, "UNKNOWN_SECTION");

    v = vector(a, "main", "SEC-5", "an id that belongs to another section");
    vb_ram(v);
    vb_start(v, VB_RAM_ID, "dirty-bitmap", 1);
    vb_at_back(v, 25);
    vb_breaks(v, "SECTION_ID_REUSED");

    v = vector(a, "main", "SEC-14", "ram is started again with its id");
    vb_ram(v);
    vb_start(v, VB_RAM_ID, "ram", 4);
    vb_at_back(v, 16);
    vb_breaks(v, "SECTION_ID_REUSED");

    v = vector(a, "main", "SEC-14", "ram is started again with another id: QEMU rebinds");
    vb_ram(v);
    vb_start(v, 9, "ram", 4);
    vb_at_back(v, 16);
    vb_breaks(v, "SECTION_ID_REUSED");

    v = section(a, "SEC-6", "version 3 of ram");
    vb_start(v, 1, "ram", 3);
    vb_at_back(v, 4);
    vb_breaks(v, "SECTION_VERSION");

    v = section(a, "SEC-6", "version 2 of dirty-bitmap");
    vb_start(v, 1, "dirty-bitmap", 2);
    vb_at_back(v, 4);
    vb_breaks(v, "SECTION_VERSION");

    v = section(a, "SEC-6", "any version of a VFIO section is handed on");
    vb_start(v, 0, "vfio", UINT32_MAX);
    vb_word(v, "VFIO_SETUP_STATE", 0xffffffffef100003);
    vb_word(v, "VFIO_END_OF_STATE", 0xffffffffef100001);
    vb_footer(v, 0);
    vb_eof(v);
}

static void make_sec_ends(struct area *a) {
    struct vb *v = vector(a, "main", "SEC-7", "no footer in a dialect that has footers");
    vb_ram_part(v);
    vb_eos(v);
    vb_at(v);
    vb_eof(v);
    vb_breaks(v, "FOOTER_MISSING");

    v = vector(a, "main", "SEC-7", "no footers, in a dialect without");
    v->dialect = "footers=off";
    vb_head(v);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0);
    vb_eos(v);
    vb_end(v, 1);
    vb_eos(v);
    vb_eof(v);

    v = vector(a, "main", "SEC-8", "a footer of another section");
    vb_ram_part(v);
    vb_eos(v);
    vb_footer(v, VB_RAM_ID + 1);
    vb_at_back(v, 4);
    vb_breaks(v, "FOOTER_MISMATCH");

    v = section(a, "SEC-9", "a START of a section without a parser");
    vb_start(v, 1, "slirp", 4);
    vb_at_back(v, 14);
    vb_breaks(v, "UNSUPPORTED_SECTION");

    v = vector(a, "main", "SEC-10", "a PART behind the section's END");
    vb_ram(v);
    vb_end(v, VB_RAM_ID);
    vb_close(v);
    vb_part(v, VB_RAM_ID);
    vb_at_back(v, 4);
    vb_breaks(v, "SECTION_AFTER_END");

    v = vector(a, "main", "SEC-10", "a second END");
    vb_ram(v);
    vb_end(v, VB_RAM_ID);
    vb_close(v);
    vb_end(v, VB_RAM_ID);
    vb_at_back(v, 4);
    vb_breaks(v, "SECTION_AFTER_END");

    v = vector(a, "main", "SEC-12", "PARTs with nothing but their terminator");
    vb_ram(v);
    for (int i = 0; i < 5; i++) {
        vb_part(v, VB_RAM_ID);
        vb_close(v);
    }
    vb_finish(v);

    v = vector(a, "main", "SEC-13", "a started section without END, as of a background snapshot");
    vb_ram_part(v);
    vb_zero(v, "vga", 0);
    vb_close(v);
    vb_eof(v);

    v = vector(a, "main", "MOD-3", "the input ends between two sections");
    vb_ram(v);
    vb_at(v);
    vb_fails(v, "TRUNCATED");
}

void make_sec(struct area *a) {
    make_sec_heads(a);
    make_sec_ids(a);
    make_sec_ends(a);
}
