/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

/* Recovery connections. */

static struct vb *recovery(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "recovery", clause, comment);
    v->main = vb_adopted();
    return v;
}

static void bitmap(struct vb *v, const char *block) {
    size_t n = 0;
    while (block[n])
        n++;
    vb_command(v, 10, (uint16_t)(n + 1));
    vb_str8(v, block);
}

void make_rec(struct area *a) {
    struct vb *v = recovery(a, "REC-1", "a recovery: bitmaps, RESUME, pages, END");
    vb_clause(v, "CMD-6");
    bitmap(v, "pc.ram");
    bitmap(v, "vga");
    vb_command(v, 9, 0);
    vb_part(v, VB_RAM_ID);
    vb_normal(v, "vga", 0x1000);
    vb_zero(v, NULL, 0x2000);
    vb_close(v);
    vb_finish(v);

    v = vector(a, "recovery", "REC-2", "read by itself: every id is taken for ram's");
    vb_part(v, 77);
    vb_zero(v, "any", 0x1000);
    vb_eos(v);
    vb_footer(v, 77);
    vb_eof(v);

    v = recovery(a, "REC-2", "an id that the main channel had not started");
    vb_part(v, 77);
    vb_at_back(v, 4);
    vb_breaks(v, "UNKNOWN_SECTION");

    v = recovery(a, "CMD-6", "POSTCOPY_RESUME twice");
    vb_command(v, 9, 0);
    vb_command(v, 9, 0);
    vb_at_back(v, 4);
    vb_breaks(v, "POSTCOPY_STATE");

    v = recovery(a, "CMD-6", "RECV_BITMAP behind POSTCOPY_RESUME");
    vb_command(v, 9, 0);
    bitmap(v, "vga");
    vb_at_back(v, 8);
    vb_breaks(v, "POSTCOPY_STATE");

    v = recovery(a, "CMD-8", "RECV_BITMAP with an empty name");
    vb_command(v, 10, 1);
    vb_at(v);
    vb_u8(v, 0);
    vb_breaks(v, "RECV_BITMAP_FORM");

    v = recovery(a, "CMD-8", "RECV_BITMAP without payload");
    vb_command(v, 10, 0);
    vb_at(v);
    vb_breaks(v, "RECV_BITMAP_FORM");

    v = recovery(a, "CMD-8", "RECV_BITMAP with octets behind the name");
    vb_command(v, 10, 5);
    vb_at(v);
    vb_str8(v, "vga");
    vb_u8(v, 0);
    vb_breaks(v, "RECV_BITMAP_FORM");

    v = recovery(a, "CMD-8", "RECV_BITMAP with a name longer than the payload");
    vb_command(v, 10, 4);
    vb_at(v);
    vb_u8(v, 255);
    vb_text(v, "vga");
    vb_breaks(v, "RECV_BITMAP_FORM");

    v = recovery(a, "RAM-4", "RECV_BITMAP for a block that is not in the list");
    bitmap(v, "rom");
    vb_at_back(v, 4);
    vb_breaks(v, "RAM_BLOCK_UNKNOWN");

    v = recovery(a, "RAM-13", "a difference in postcopy");
    vb_command(v, 9, 0);
    vb_part(v, VB_RAM_ID);
    vb_at(v);
    vb_word(v, "RAM_XBZRLE", 0x40);
    vb_str8(v, "vga");
    vb_breaks(v, "RAM_POSTCOPY_RECORD");
}
