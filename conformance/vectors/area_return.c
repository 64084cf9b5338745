/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

#include <string.h>

/* The return path. */

static struct vb *back(struct area *a, const char *clause, const char *comment) {
    return vector(a, "return-path", clause, comment);
}

static void request(struct vb *v, const char *block, uint64_t offset, uint32_t length) {
    if (block)
        vb_message(v, "RP_REQ_PAGES_ID", 3, (uint16_t)(13 + strlen(block)));
    else
        vb_message(v, "RP_REQ_PAGES", 4, 12);
    vb_u64(v, offset);
    vb_u32(v, length);
    if (block)
        vb_str8(v, block);
}

static void bitmap(struct vb *v, const char *block, uint64_t size) {
    vb_message(v, "RP_RECV_BITMAP", 5, (uint16_t)(1 + strlen(block)));
    vb_str8(v, block);
    vb_u64(v, size);
}

static void make_messages(struct area *a) {
    struct vb *v = back(a, "RP-1", "every message; PONGs out of order");
    vb_clause(v, "RP-10");
    vb_message(v, "RP_SWITCHOVER_ACK", 7, 0);
    vb_message(v, "RP_PONG", 2, 4);
    vb_u32(v, 4);
    vb_message(v, "RP_PONG", 2, 4);
    vb_u32(v, 3);
    request(v, "pc.ram", 0x1000, 0x1000);
    request(v, NULL, 0x7000, 0x2000);
    bitmap(v, "vga", 8);
    vb_u64(v, 0xff00000000000000);
    vb_expect(v, "RP_RECV_BITMAP_END");
    vb_u64(v, 0x0123456789abcdef);
    request(v, NULL, 0, 0x1000);
    vb_message(v, "RP_RESUME_ACK", 6, 4);
    vb_u32(v, 1);
    vb_message(v, "RP_SHUT", 1, 4);
    vb_u32(v, 0);

    v = back(a, "RP-11", "a channel that ends without SHUT is for the source to judge");
    vb_message(v, "RP_PONG", 2, 4);
    vb_u32(v, 1);

    v = back(a, "RP-11", "a destination that failed");
    vb_message(v, "RP_SHUT", 1, 4);
    vb_u32(v, 1);
    v = back(a, "MOD-3", "the input ends inside a message");
    vb_message(v, "RP_PONG", 2, 4);
    vb_at(v);
    vb_breaks(v, "TRUNCATED");
}

static void make_bad_messages(struct area *a) {
    static const uint16_t types[] = {0, 8, UINT16_MAX};
    struct vb *v;
    for (size_t i = 0; i < 3; i++) {
        v = back(a, "RP-1", "an unknown message");
        vb_message(v, "RP_PONG", types[i], 0);
        vb_breaks(v, "RP_TYPE");
    }
    static const uint16_t lengths[][2] = {{1, 0}, {1, 5}, {2, 3},    {4, 13},
                                          {6, 8}, {7, 4}, {7, 65535}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        v = back(a, "RP-2", "a message with another length than its own");
        vb_message(v, "RP_PONG", lengths[i][0], lengths[i][1]);
        vb_at_back(v, 2);
        vb_breaks(v, "RP_LENGTH");
    }
    v = back(a, "RP-2", "a request that is too short for its offset");
    vb_message(v, "RP_REQ_PAGES_ID", 3, 4);
    vb_at_back(v, 2);
    vb_u32(v, 0);
    vb_breaks(v, "RP_LENGTH");
    v = back(a, "RP-2", "a name that is longer than its message");
    vb_message(v, "RP_REQ_PAGES_ID", 3, 14);
    vb_u64(v, 0);
    vb_u32(v, 0x1000);
    vb_at(v);
    vb_str8(v, "vga");
    vb_breaks(v, "RP_LENGTH");
    v = back(a, "RP-2", "a name that is shorter than its message, which QEMU takes");
    vb_message(v, "RP_RECV_BITMAP", 5, 5);
    vb_at(v);
    vb_str8(v, "vga");
    vb_u8(v, 0);
    vb_u64(v, 8);
    vb_breaks(v, "RP_LENGTH");
    v = back(a, "LIM-1", "a message of 65535 octets");
    vb_message(v, "RP_RECV_BITMAP", 5, UINT16_MAX);
    vb_at_back(v, 2);
    vb_breaks(v, "LIMIT");
    v = back(a, "RP-3", "a request of an empty block");
    request(v, "", 0, 0x1000);
    vb_at_back(v, 1);
    vb_breaks(v, "RP_BLOCK");
    v = back(a, "RP-3", "a request in no block");
    bitmap(v, "vga", 8);
    vb_u64(v, 0);
    vb_expect(v, "RP_RECV_BITMAP_END");
    vb_u64(v, 0x0123456789abcdef);
    request(v, NULL, 0, 0x1000);
    vb_at_back(v, 12);
    vb_breaks(v, "RP_BLOCK");
    v = back(a, "RP-6", "RESUME_ACK with the value 0");
    vb_message(v, "RP_RESUME_ACK", 6, 4);
    vb_at(v);
    vb_u32(v, 0);
    vb_breaks(v, "RP_RESUME_VALUE");
    v = back(a, "RP-6", "RESUME_ACK with the value 2");
    vb_message(v, "RP_RESUME_ACK", 6, 4);
    vb_at(v);
    vb_u32(v, 2);
    vb_breaks(v, "RP_RESUME_VALUE");
    v = back(a, "RP-7", "a message behind SHUT");
    vb_message(v, "RP_SHUT", 1, 4);
    vb_u32(v, 0);
    vb_at(v);
    vb_message(v, "RP_PONG", 2, 4);
    vb_u32(v, 0);
    vb_breaks(v, "RP_AFTER_SHUT");
}

static void make_bad_requests(struct area *a) {
    static const struct {
        uint64_t offset;
        uint32_t length;
    } bad[] = {{0, 0}, {0, 0x800}, {0x10, 0x1000}, {0, UINT32_MAX}, {UINT64_MAX, 0x1000}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vb *v = back(a, "RP-8", "a request that is not whole pages");
        request(v, "vga", bad[i].offset, bad[i].length);
        vb_at_back(v, 16);
        vb_breaks(v, "RP_ALIGNMENT");
    }
    static const uint64_t sizes[] = {0, 7, 12, 0xffffffffffffffff};
    for (size_t i = 0; i < 4; i++) {
        struct vb *v = back(a, "RP-4", "a bitmap of an impossible size");
        bitmap(v, "vga", sizes[i]);
        vb_at_back(v, 8);
        vb_breaks(v, "RP_BITMAP_SIZE");
    }
    struct vb *v = back(a, "LIM-1", "a bitmap of 2^64 - 8 octets");
    bitmap(v, "vga", 0xfffffffffffffff8);
    vb_at_back(v, 8);
    vb_breaks(v, "LIMIT");
    v = back(a, "RP-5", "a bitmap without its end mark");
    bitmap(v, "vga", 8);
    vb_u64(v, 0);
    vb_at(v);
    vb_u64(v, 0xefcdab8967452301);
    vb_fails(v, "RP_BITMAP_END");
}

void make_rp(struct area *a) {
    make_messages(a);
    make_bad_messages(a);
    make_bad_requests(a);
}
