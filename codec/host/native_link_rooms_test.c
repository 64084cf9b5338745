/* SPDX-License-Identifier: MIT */
#include "host/native_link_rooms.h"

#include <criterion/criterion.h>
#include <string.h>

/* [RSM-15] Which room is filled when. */

static size_t number(const struct link_rooms *r) {
    return (size_t)(r->at - r->memory) / LINK_ROOM;
}

static void give(struct link_rooms *r, uint64_t behind, uint64_t acked) {
    cr_assert(link_rooms_may_lend(r));
    link_rooms_lent(r, behind);
    link_rooms_next(r, acked);
}

Test(native_link_rooms, acknowledged_ones_again) {
    struct link_rooms r = {0};
    cr_assert(link_rooms_make(&r));
    cr_expect_eq(number(&r), 1);
    give(&r, 3, 0); /* octets of frames 0, 1, 2 */
    cr_expect_eq(number(&r), 2);
    give(&r, 5, 2); /* 2 is not acknowledged */
    cr_expect_eq(number(&r), 3);
    link_rooms_next(&r, 3);
    cr_expect_eq(number(&r), 1);
    give(&r, 6, 4);
    cr_expect_eq(number(&r), 3);
    link_rooms_next(&r, 5);
    cr_expect_eq(number(&r), 2);
    link_rooms_free(&r);
}

/* The list of rooms in use, kept apart: none is filled that is not free, and the first never lent.
 */
Test(native_link_rooms, any_order) {
    struct link_rooms r = {0};
    uint64_t until[LINK_ROOMS] = {0}, behind = 0, acked = 0;
    unsigned seed = 5;
    bool all_out = false;
    cr_assert(link_rooms_make(&r));
    cr_assert(link_rooms_make(&r)); /* again is nothing */
    for (int step = 0; step < 20000; step++) {
        size_t at = number(&r);
        cr_assert_leq(until[at], acked);
        cr_assert_eq(link_rooms_may_lend(&r), at != 0);
        if (at) {
            behind += (unsigned)rand_r(&seed) % 3;
            until[at] = behind;
            link_rooms_lent(&r, behind);
        }
        all_out |= !at;
        if (rand_r(&seed) % 64 == 0)
            acked += (unsigned)rand_r(&seed) % (unsigned)(behind - acked + 1);
        link_rooms_next(&r, acked);
    }
    cr_expect(all_out, "rooms were never short");
    link_rooms_free(&r);
    cr_expect_null(r.memory);
}
