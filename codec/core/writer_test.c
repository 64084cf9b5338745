/* SPDX-License-Identifier: MIT */
#include "core/writer.h"

#include <criterion/criterion.h>

static void write_all(struct vms_writer *w) {
    vms_write_u8(w, 0x01);
    vms_write_u16(w, 0x0203);
    vms_write_u32(w, 0x04050607);
    vms_write_u64(w, 0x08090a0b0c0d0e0f);
    vms_write_str8(w, vms_str("hi"));
    vms_write_zeros(w, 2);
}

static const uint8_t WANT[] = {1,  2,  3,  4,  5,  6, 7,   8,   9, 10,
                               11, 12, 13, 14, 15, 2, 'h', 'i', 0, 0};

/* [MOD-6] Whatever the room, pos is the exact size and nothing is written behind the room. */
Test(writer, every_room) {
    for (size_t room = 0; room <= sizeof WANT + 1; room++) {
        uint8_t out[32];
        memset(out, 0xee, sizeof out);
        struct vms_writer w = vms_writer((struct vms_room){out, room});
        write_all(&w);
        cr_expect_eq(w.pos, sizeof WANT);
        cr_expect_eq(vms_writer_over(&w), room < sizeof WANT);
        for (size_t i = room; i < sizeof out; i++)
            cr_expect_eq(out[i], 0xee, "room %zu, byte %zu", room, i);
        if (room >= sizeof WANT)
            cr_expect_eq(memcmp(out, WANT, sizeof WANT), 0);
    }
}

Test(writer, no_room_at_all) {
    struct vms_writer w = vms_writer((struct vms_room){NULL, 0});
    write_all(&w);
    cr_expect_eq(w.pos, sizeof WANT);
}
