/* SPDX-License-Identifier: MIT */
#include "core/reader.h"
#include "core/writer.h"
#include <vmstream/qevm.h>

/* XBZRLE: runs of unchanged bytes and runs of new bytes, in turn (XBZ-2). */

enum {
    LOW_BITS = 0x7f,
    MORE = 0x80,
    LONGEST = 0x3fff, /* two bytes of seven bits */
};

/* A run length of one or two bytes. False when it is not there or has a third byte. */
static bool read_length(struct vms_reader *r, size_t *n) {
    uint8_t low = vms_read_u8(r);
    *n = low & LOW_BITS;
    if (low & MORE) {
        uint8_t high = vms_read_u8(r);
        *n |= (size_t)(high & LOW_BITS) << 7;
        if (high & MORE)
            return false;
    }
    return !vms_reader_short(r);
}

bool vms_xbzrle_apply(struct vms_slice diff, struct vms_room page) {
    struct vms_reader r = vms_reader(diff);
    for (size_t at = 0; r.pos < r.len;) {
        size_t zeros, news;
        if (!read_length(&r, &zeros) || (at && !zeros) || zeros > page.len - at)
            return false;
        at += zeros;
        if (!read_length(&r, &news) || !news || news > page.len - at)
            return false;
        struct vms_slice bytes = vms_read_bytes(&r, news);
        if (vms_reader_short(&r))
            return false;
        memcpy(page.ptr + at, bytes.ptr, news);
        at += news;
    }
    return true;
}

static void write_length(struct vms_writer *w, size_t n) {
    if (n <= LOW_BITS) {
        vms_write_u8(w, (uint8_t)n);
        return;
    }
    vms_write_u8(w, (uint8_t)((n & LOW_BITS) | MORE));
    vms_write_u8(w, (uint8_t)(n >> 7));
}

/* How many bytes from `at` on are equal (or different) in both pages. */
static size_t run(struct vms_slice a, struct vms_slice b, size_t at, bool equal) {
    size_t n = 0;
    while (at + n < a.len && n < LONGEST && (a.ptr[at + n] == b.ptr[at + n]) == equal)
        n++;
    return n;
}

size_t vms_xbzrle_encode(struct vms_slice old_page, struct vms_slice new_page,
                         struct vms_room out) {
    struct vms_writer w = vms_writer(out);
    if (old_page.len != new_page.len || old_page.len > LONGEST)
        return SIZE_MAX;
    for (size_t at = 0; at < old_page.len;) {
        size_t zeros = run(old_page, new_page, at, true);
        size_t news = run(old_page, new_page, at + zeros, false);
        if (!news)
            break;
        write_length(&w, zeros);
        write_length(&w, news);
        vms_write_bytes(&w, vms_slice(new_page.ptr + at + zeros, news));
        at += zeros + news;
    }
    return vms_writer_over(&w) ? SIZE_MAX : w.pos;
}
