/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

/* RAM records, XBZRLE. */

enum {
    ZERO = 0x02,
    MEM_SIZE = 0x04,
    PAGE = 0x08,
    EOS = 0x10,
    CONTINUE = 0x20,
    XBZRLE = 0x40,
    HOOK = 0x80,
    ZLIB = 0x100,
    FLUSH = 0x200,
};

/* A PART of ram, open. */
static struct vb *part(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_ram_part(v);
    return v;
}

/* A PART whose next record is this word, which is refused at its first octet. */
static struct vb *bad_word(struct area *a, const char *clause, const char *comment, uint64_t word,
                           const char *code) {
    struct vb *v = part(a, clause, comment);
    vb_at(v);
    vb_u64(v, word);
    vb_fails(v, code);
    return v;
}

static void make_words(struct area *a) {
    struct vb *v = part(a, "RAM-1", "every record of a RAM section");
    vb_normal(v, "pc.ram", 0);
    vb_normal(v, NULL, 0x1000);
    vb_zero(v, "vga", 0x7000);
    vb_zero(v, NULL, 0);
    vb_word(v, "RAM_XBZRLE", XBZRLE | CONTINUE);
    vb_u8(v, 1);
    vb_u16(v, 3);
    vb_raw(v, "\0\1\xb3", 3);
    vb_word(v, "RAM_COMPRESSED", 0x2000 | ZLIB);
    vb_str8(v, "pc.ram");
    vb_u32(v, 5);
    vb_text(v, "zlib!");
    vb_word(v, "RAM_HOOK", HOOK);
    vb_word(v, "RAM_MULTIFD_FLUSH", FLUSH);
    vb_close(v);
    vb_finish(v);

    static const uint64_t words[] = {0,
                                     CONTINUE,
                                     ZERO | PAGE,
                                     0x400,
                                     0x800 | PAGE,
                                     MEM_SIZE | CONTINUE,
                                     HOOK | CONTINUE,
                                     FLUSH | CONTINUE,
                                     EOS | PAGE,
                                     EOS | FLUSH,
                                     UINT64_MAX};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        bad_word(a, "RAM-1", "not exactly one flag, or CONTINUE with a record without block",
                 words[i], "RAM_FLAGS");
    bad_word(a, "RAM-2", "FULL, obsolete since 2009", 1, "RAM_FLAG_DIALECT");
    v = bad_word(a, "RAM-2", "MULTIFD_FLUSH in 7.2", FLUSH, "RAM_FLAG_DIALECT");
    v->dialect = "qemu=7.2";
    v = bad_word(a, "RAM-2", "COMPRESS_PAGE in 9.1", ZLIB, "RAM_FLAG_DIALECT");
    v->dialect = "qemu=9.1";
    bad_word(a, "RAM-3", "CONTINUE before a block was named", PAGE | CONTINUE, "RAM_CONTINUE");
    bad_word(a, "RAM-15", "EOS with an offset, which QEMU ignores", 0x5000 | EOS, "RAM_EOS_WORD");
    bad_word(a, "RAM-15", "EOS with CONTINUE, which QEMU ignores", EOS | CONTINUE, "RAM_EOS_WORD");

    v = part(a, "RAM-15", "the offset part of HOOK and MULTIFD_FLUSH has no meaning");
    vb_word(v, "RAM_HOOK", 0x5000 | HOOK);
    vb_word(v, "RAM_MULTIFD_FLUSH", 0xfffffffffffff000 | FLUSH);
    vb_close(v);
    vb_finish(v);
}

static void make_pages(struct area *a) {
    struct vb *v = part(a, "RAM-4", "a page of a block that is not in the list");
    vb_word(v, "RAM_ZERO", ZERO);
    vb_at(v);
    vb_str8(v, "rom");
    vb_breaks(v, "RAM_BLOCK_UNKNOWN");

    static const uint64_t outside[] = {0x8000, 0xfffffffffffff000};
    for (size_t i = 0; i < 2; i++) {
        v = part(a, "RAM-5", "a page behind its block's end");
        vb_at(v);
        vb_zero(v, "vga", outside[i]);
        vb_breaks(v, "RAM_OFFSET");
    }
    v = part(a, "RAM-5", "the last page of a block");
    vb_normal(v, "vga", 0x7000);
    vb_close(v);
    vb_finish(v);

    v = part(a, "RAM-6", "a zero page with a fill of 1, with which QEMU before 8.2 filled");
    vb_word(v, "RAM_ZERO", ZERO);
    vb_str8(v, "vga");
    vb_at(v);
    vb_u8(v, 1);
    vb_breaks(v, "RAM_ZERO_FILL");

    v = part(a, "RAM-9", "a page of a block without a name");
    vb_word(v, "RAM_ZERO", ZERO);
    vb_at(v);
    vb_str8(v, "");
    vb_u8(v, 0);
    vb_breaks(v, "RAM_BLOCK_NAME");

    v = part(a, "RAM-25", "the last block outlives the section");
    vb_zero(v, "vga", 0);
    vb_close(v);
    vb_part(v, VB_RAM_ID);
    vb_zero(v, NULL, 0x1000);
    vb_close(v);
    vb_finish(v);

    v = part(a, "RAM-27", "a page twice in a section");
    vb_zero(v, "vga", 0);
    vb_normal(v, NULL, 0);
    vb_close(v);
    vb_finish(v);

    v = part(a, "MOD-3", "the input ends inside a page");
    vb_normal(v, "vga", 0);
    v->len -= 100;
    vb_ends_in_bulk(v);

    static const uint32_t lengths[] = {0, 4096 + 1 + 13 + 1, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        v = part(a, "RAM-17", "a compressed page of an impossible length");
        vb_word(v, "RAM_COMPRESSED", ZLIB);
        vb_str8(v, "vga");
        vb_at(v);
        vb_u32(v, lengths[i]);
        vb_breaks(v, "RAM_COMPRESSED_LENGTH");
    }
    v = part(a, "RAM-17", "a compressed page of the largest length");
    vb_word(v, "RAM_COMPRESSED", ZLIB);
    vb_str8(v, "vga");
    vb_u32(v, 4096 + 1 + 13);
    vb_fill(v, 0x78, 4096 + 1 + 13);
    vb_close(v);
    vb_finish(v);
}

static struct vb *list(struct area *a, const char *clause, const char *comment, uint64_t total) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_head(v);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, total);
    return v;
}

static void end_list(struct vb *v) {
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);
}

static void make_lists(struct area *a) {
    struct vb *v = list(a, "RAM-7", "the lengths pass the total, where QEMU runs on", 0x2000);
    vb_block(v, "a", 0x1000);
    vb_block(v, "b", 0x2000);
    vb_at_back(v, 8);
    vb_breaks(v, "RAM_BLOCK_SUM");

    v = list(a, "RAM-7", "a length of 2^64 - 4096", 0x2000);
    vb_block(v, "a", 0xfffffffffffff000);
    vb_at_back(v, 8);
    vb_breaks(v, "RAM_BLOCK_SUM");

    v = list(a, "RAM-8", "a block twice, which QEMU takes", 0x3000);
    vb_block(v, "a", 0x1000);
    vb_at(v);
    vb_block(v, "a", 0x1000);
    vb_breaks(v, "RAM_BLOCK_TWICE");

    v = list(a, "RAM-9", "a block without a name", 0x3000);
    vb_at(v);
    vb_block(v, "", 0x1000);
    vb_breaks(v, "RAM_BLOCK_NAME");

    v = list(a, "RAM-9", "a block with a name that is not printable", 0x3000);
    vb_at(v);
    vb_block(v, "\x1b[2J", 0x1000);
    vb_breaks(v, "RAM_BLOCK_NAME");

    static const uint64_t lengths[] = {0, 1, 0xfff, 0x1001, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        v = list(a, "RAM-10", "a length that is 0 or not whole pages", 0x3000);
        vb_block(v, "a", lengths[i]);
        vb_at_back(v, 8);
        vb_breaks(v, "RAM_BLOCK_LENGTH");
    }
    v = vector(a, "main", "RAM-11", "pages before the list, which QEMU takes");
    vb_head(v);
    vb_start(v, 1, "ram", 4);
    vb_at(v);
    vb_zero(v, "a", 0);
    vb_breaks(v, "RAM_NO_BLOCK_LIST");

    v = part(a, "RAM-12", "the list again, which QEMU takes");
    vb_at(v);
    vb_mem_size(v, 0x1000);
    vb_breaks(v, "RAM_LIST_TWICE");

    v = list(a, "RAM-21", "a total of 0 without blocks", 0);
    end_list(v);
}

static struct vb *postcopy_list(struct area *a, const char *clause, const char *comment,
                                uint64_t sizes) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_head(v);
    vb_command(v, 3, 16);
    vb_u64(v, sizes);
    vb_u64(v, 0x1000);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0x401000);
    return v;
}

static void make_list_fields(struct area *a) {
    struct vb *v = postcopy_list(a, "RAM-20", "the page size of a block of huge pages", 0x201000);
    vb_block(v, "huge", 0x400000);
    vb_u64(v, 0x200000);
    vb_block(v, "small", 0x1000);
    end_list(v);

    v = postcopy_list(a, "RAM-20", "no page sizes after an ADVISE of small pages", 0x1000);
    vb_block(v, "huge", 0x400000);
    vb_block(v, "small", 0x1000);
    end_list(v);

    v = vector(a, "main", "RAM-22", "the address of every block, with x-ignore-shared");
    vb_header(v);
    vb_config(v, "test");
    vb_subsection(v, "configuration/capabilities", 1);
    vb_u32(v, 1);
    vb_str8(v, "x-ignore-shared");
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0x2000);
    vb_block(v, "a", 0x1000);
    vb_u64(v, 0);
    vb_block(v, "b", 0x1000);
    vb_u64(v, UINT64_MAX);
    end_list(v);
}

static struct vb *listening(struct area *a, const char *clause, const char *comment, uint64_t sizes,
                            bool field) {
    struct vb *v = postcopy_list(a, clause, comment, sizes);
    vb_block(v, "huge", 0x400000);
    if (field)
        vb_u64(v, 0x200000);
    vb_block(v, "small", 0x1000);
    vb_eos(v);
    vb_footer(v, 1);
    vb_command(v, 4, 0);
    vb_part(v, 1);
    return v;
}

static void make_postcopy(struct area *a) {
    static const uint64_t words[] = {XBZRLE, MEM_SIZE, HOOK, FLUSH};
    for (size_t i = 0; i < 4; i++) {
        struct vb *v =
            listening(a, "RAM-13", "a record that postcopy does not allow", 0x1000, false);
        vb_at(v);
        vb_u64(v, words[i]);
        vb_fails(v, "RAM_POSTCOPY_RECORD");
    }
    struct vb *v =
        listening(a, "RAM-14", "another huge page before the first is whole", 0x201000, true);
    vb_zero(v, "huge", 0x1000);
    vb_at(v);
    vb_zero(v, NULL, 0x200000);
    vb_breaks(v, "RAM_HOST_PAGE");

    v = listening(a, "RAM-14", "a small page before the huge one is whole", 0x201000, true);
    vb_zero(v, "huge", 0);
    vb_at(v);
    vb_zero(v, "small", 0);
    vb_breaks(v, "RAM_HOST_PAGE");

    v = listening(a, "RAM-14", "a huge page, last part first, then a small one", 0x201000, true);
    for (uint64_t i = 512; i-- > 0;)
        vb_zero(v, i == 511 ? "huge" : NULL, 0x200000 + i * 0x1000);
    vb_zero(v, "small", 0);
    end_list(v);

    v = listening(a, "RAM-31", "without the field the smallest size announced counts", 0x2000,
                  false);
    vb_zero(v, "huge", 0);
    vb_at(v);
    vb_zero(v, NULL, 0x2000);
    vb_breaks(v, "RAM_HOST_PAGE");
}

void make_ram(struct area *a) {
    make_words(a);
    make_pages(a);
    make_lists(a);
    make_list_fields(a);
    make_postcopy(a);
}

static struct vb *difference(struct area *a, const char *clause, const char *comment, uint8_t mark,
                             uint16_t len) {
    struct vb *v = part(a, clause, comment);
    vb_word(v, "RAM_XBZRLE", XBZRLE);
    vb_str8(v, "vga");
    vb_at(v);
    vb_u8(v, mark);
    vb_u16(v, len);
    return v;
}

void make_xbz(struct area *a) {
    struct vb *v = difference(a, "XBZ-1", "a marker of 0", 0, 3);
    vb_breaks(v, "XBZRLE_HEADER");
    v = difference(a, "XBZ-1", "a marker of 2", 2, 3);
    vb_breaks(v, "XBZRLE_HEADER");
    v = difference(a, "XBZ-1", "one octet more than a page", 1, 4097);
    vb_breaks(v, "XBZRLE_HEADER");
    v = difference(a, "XBZ-1", "a length of 65535", 1, UINT16_MAX);
    vb_breaks(v, "XBZRLE_HEADER");
    v = difference(a, "XBZ-1", "a length of a whole page", 1, 4096);
    vb_fill(v, 1, 4096);
    vb_close(v);
    vb_finish(v);
    v = difference(a, "XBZ-4", "a length of 0", 1, 0);
    vb_close(v);
    vb_finish(v);
}
