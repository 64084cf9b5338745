/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

/* mapped-ram files. */

struct mapped {
    uint32_t version;
    uint64_t page_size, bitmap, pages;
};

static struct vb *file(struct area *a, const char *clause, const char *comment, bool shared) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_header(v);
    vb_config(v, "test");
    vb_subsection(v, "configuration/capabilities", 1);
    vb_u32(v, shared ? 2 : 1);
    if (shared)
        vb_str8(v, "x-ignore-shared");
    vb_str8(v, "mapped-ram");
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0x2000);
    return v;
}

static void head(struct vb *v, struct mapped m) {
    vb_u32(v, m.version);
    vb_u64(v, m.page_size);
    vb_u64(v, m.bitmap);
    vb_u64(v, m.pages);
}

/* Where the next header's bitmap begins. */
static uint64_t here(const struct vb *v) {
    return v->len + 28;
}

/* The regions behind a header: a bitmap of 8 octets, padding up to `pages`, the pages. */
static void regions(struct vb *v, uint64_t pages, size_t length) {
    vb_expect(v, "MAPPED_BITMAP");
    vb_u64(v, 0x0300000000000000);
    if (v->len < pages)
        vb_expect(v, "MAPPED_PADDING");
    vb_fill(v, 0, pages - v->len);
    vb_expect(v, "MAPPED_PAGES");
    vb_fill(v, 0xa5, length);
}

static void end(struct vb *v) {
    vb_eos(v);
    vb_footer(v, 1);
    vb_part(v, 1);
    vb_eos(v);
    vb_footer(v, 1);
    vb_end(v, 1);
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);
}

static void make_good(struct area *a) {
    struct vb *v = file(a, "MAP-9", "two blocks with their regions", false);
    vb_block(v, "a", 0x1000);
    head(v, (struct mapped){1, 0x1000, here(v), 0x1000});
    regions(v, 0x1000, 0x1000);
    vb_block(v, "b", 0x1000);
    head(v, (struct mapped){1, 0x1000, here(v), 0x4000});
    regions(v, 0x4000, 0x1000);
    end(v);

    v = file(a, "MAP-6", "a shared block without regions", true);
    vb_block(v, "a", 0x1000);
    vb_u64(v, 0x100000);
    head(v, (struct mapped){1, 0x1000, 0, 0});
    vb_block(v, "b", 0x1000);
    vb_u64(v, 0);
    head(v, (struct mapped){1, 0x1000, here(v), 0x1000});
    regions(v, 0x1000, 0x1000);
    end(v);

    v = file(a, "MAP-8", "the stream begins later in its file", false);
    uint64_t base = 0x100000;
    vb_block(v, "a", 0x1000);
    head(v, (struct mapped){1, 0x1000, here(v) + base, 0x1000 + base});
    regions(v, 0x1000, 0x1000);
    vb_block(v, "b", 0x1000);
    head(v, (struct mapped){1, 0x1000, here(v) + base, 0x3000 + base});
    regions(v, 0x3000, 0x1000);
    end(v);
}

static struct vb *first_block(struct area *a, const char *clause, const char *comment) {
    struct vb *v = file(a, clause, comment, false);
    vb_block(v, "a", 0x1000);
    return v;
}

static void make_heads(struct area *a) {
    static const uint32_t versions[] = {0, 2, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct vb *v = first_block(a, "MAP-1", "a header of another version");
        vb_at(v);
        head(v, (struct mapped){versions[i], 0x1000, here(v), 0x1000});
        vb_breaks(v, "MAPPED_VERSION");
    }
    static const uint64_t sizes[] = {0, 0x2000, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct vb *v = first_block(a, "MAP-3", "another page size, by which QEMU divides");
        head(v, (struct mapped){1, sizes[i], here(v), 0x1000});
        vb_at_back(v, 24);
        vb_breaks(v, "MAPPED_PAGE_SIZE");
    }
}

static void make_layouts(struct area *a) {
    static const struct {
        const char *comment;
        int64_t bitmap; /* from where it belongs */
        uint64_t pages;
    } bad[] = {
        {"the bitmap lies in front of its header", -1, 0x1000},
        {"the bitmap at 0", INT64_MIN, 0x1000},
        {"the pages overlap the bitmap", 0, 0},
        {"the pages are not at a page boundary", 0, 0x1001},
        {"the pages pass the largest offset", 0, UINT64_MAX - 0xfff},
        {"both offsets at their largest", INT64_MAX, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vb *v = first_block(a, "MAP-2", bad[i].comment);
        uint64_t bitmap = here(v) + (uint64_t)bad[i].bitmap;
        if (bad[i].bitmap == INT64_MIN)
            bitmap = 0;
        if (bad[i].bitmap == INT64_MAX)
            bitmap = UINT64_MAX;
        head(v, (struct mapped){1, 0x1000, bitmap, bad[i].pages});
        vb_at_back(v, 16);
        vb_breaks(v, "MAPPED_LAYOUT");
    }
    struct vb *v = first_block(a, "MAP-2", "a page boundary inside the bitmap");
    head(v, (struct mapped){1, 0x1000, 0x1ffc, 0x2000});
    vb_at_back(v, 16);
    vb_breaks(v, "MAPPED_LAYOUT");

    v = first_block(a, "MAP-6", "no regions, but no x-ignore-shared either");
    head(v, (struct mapped){1, 0x1000, 0, 0});
    vb_at_back(v, 16);
    vb_breaks(v, "MAPPED_LAYOUT");

    v = first_block(a, "MAP-8", "the second block disagrees about where the stream begins");
    head(v, (struct mapped){1, 0x1000, here(v), 0x1000});
    regions(v, 0x1000, 0x1000);
    vb_block(v, "b", 0x1000);
    head(v, (struct mapped){1, 0x1000, here(v) + 8, 0x3000});
    vb_at_back(v, 16);
    vb_breaks(v, "MAPPED_LAYOUT");

    v = first_block(a, "MOD-3", "the file ends inside a block's pages");
    head(v, (struct mapped){1, 0x1000, here(v), 0x1000});
    regions(v, 0x1000, 0x800);
    vb_ends_in_bulk(v);
}

static void make_records(struct area *a) {
    static const uint64_t words[] = {0x02, 0x08, 0x40, 0x80, 0x100, 0x200};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct vb *v = file(a, "MAP-4", "a record that mapped-ram does not have", false);
        vb_block(v, "a", 0x2000);
        head(v, (struct mapped){1, 0x1000, here(v), 0x1000});
        regions(v, 0x1000, 0x2000);
        vb_at(v);
        vb_u64(v, words[i]);
        vb_str8(v, "a");
        vb_fails(v, "MAPPED_RECORD");
    }
}

void make_map(struct area *a) {
    make_good(a);
    make_heads(a);
    make_layouts(a);
    make_records(a);
}
