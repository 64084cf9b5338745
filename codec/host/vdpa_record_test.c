/* SPDX-License-Identifier: MIT */
#include "host/vdpa_record.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* [VDPA-26] [VDPA-27] Records of a device's state. */
static struct vms_error err;
static uint8_t bytes[VMS_VDPA_STATE_MAX];
static const struct vms_room room = {bytes, sizeof bytes};

static uint32_t pick(unsigned *seed, uint32_t n) {
    return (uint32_t)rand_r(seed) % n;
}

static void any_queue(struct vms_vdpa_queue *q, unsigned *seed) {
    *q = (struct vms_vdpa_queue){pick(seed, 2) == 0,
                                 {1u << pick(seed, 9), pick(seed, 65536),
                                  (uint64_t)pick(seed, 1 << 20) << 12, pick(seed, 1 << 20),
                                  pick(seed, 1 << 20)}};
}

static struct vms_vdpa_state example(unsigned *seed) {
    struct vms_vdpa_state s;
    memset(&s, 0, sizeof s);
    s.profile = (struct vms_vdpa_profile){1, 0x3000e0020, 24, 1 + 2 * (1 + pick(seed, 64)), 256};
    for (uint32_t i = 0; i < s.profile.queues; i++)
        any_queue(&s.queue[i], seed);
    return s;
}

static void alter(struct vms_vdpa_state *s, unsigned *seed) {
    uint32_t i = pick(seed, s->profile.queues);
    switch (pick(seed, 9)) {
    case 0: s->status = (uint8_t)rand_r(seed); break;
    case 1: s->config[pick(seed, 24)] = (uint8_t)rand_r(seed); break;
    case 2: any_queue(&s->queue[i], seed); break;
    case 3:
    case 4: s->queue[i].ring.base = pick(seed, 65536); break;
    case 5: s->net.mac[pick(seed, 6)] = (uint8_t)rand_r(seed); break;
    case 6: s->net.rx[pick(seed, 6)] ^= 1; break;
    case 7:
        s->net.unicast = (uint16_t)pick(seed, 33);
        s->net.multicast = (uint16_t)pick(seed, 32);
        memset(s->net.macs, 0, sizeof s->net.macs);
        for (size_t n = 0; n < 6u * (s->net.unicast + s->net.multicast); n++)
            ((uint8_t *)s->net.macs)[n] = (uint8_t)rand_r(seed);
        break;
    default: s->net.vlans[pick(seed, 512)] ^= (uint8_t)(1u << pick(seed, 8)); break;
    }
}

/* What differs, over what was, is what is; nothing is written of what is the same. */
Test(vdpa_record, whatever_differs_arrives) {
    static struct vms_vdpa_state from, to, got;
    for (unsigned run = 1; run <= 3000; run++) {
        unsigned seed = run;
        from = to = example(&seed);
        for (uint32_t n = pick(&seed, run % 10 ? 6 : 3000); n > 0; n--)
            alter(&to, &seed);
        size_t len = vms_vdpa_record_write(&from, &to, room);
        bool same = memcmp(&from, &to, sizeof from) == 0;
        cr_assert_eq(len == 0, same);
        cr_assert_leq(len, sizeof bytes);
        got = from;
        if (len)
            cr_assert_eq(vms_vdpa_record_read(vms_slice(bytes, len), true, &got, &err), VMS_OK,
                         "run %u: %s", run, err.message);
        cr_assert_arr_eq(&got, &to, sizeof to, "run %u", run);
    }
}

/* Whatever comes: an answer, and a state that could be, or none at all. */
Test(vdpa_record, whatever_comes_is_answered) {
    static struct vms_vdpa_state from, to, got, again;
    static uint8_t whole[VMS_VDPA_STATE_MAX];
    for (unsigned run = 1; run <= 20000; run++) {
        unsigned seed = run;
        from = to = example(&seed);
        for (int n = 0; n < 4; n++)
            alter(&to, &seed);
        size_t len = vms_vdpa_record_write(&from, &to, room);
        for (uint32_t n = 1 + pick(&seed, 3); n > 0 && len > 1; n--)
            bytes[1 + pick(&seed, (uint32_t)len - 1)] = (uint8_t)rand_r(&seed);
        len -= pick(&seed, 3) == 0 && len ? pick(&seed, (uint32_t)len) : 0;
        got = from;
        if (vms_vdpa_record_read(vms_slice(bytes, len), true, &got, &err) != VMS_OK) {
            cr_assert_eq(err.code, VMS_E_VDPA_STATE);
            cr_assert_arr_eq(&got, &from, sizeof from, "it is as before");
            continue;
        }
        size_t n = vms_vdpa_state_write(&got, (struct vms_room){whole, sizeof whole});
        cr_assert_eq(vms_vdpa_state_read(vms_slice(whole, n), &again, &err), VMS_OK, "run %u", run);
    }
}

Test(vdpa_record, what_cannot_be) {
    static const struct {
        uint8_t bytes[8];
        size_t len;
        const char *why;
    } cases[] = {
        {{0}, 0, "no such record"},
        {{2}, 1, "no such record"},
        {{1, 0}, 2, "no such change"},
        {{1, 8}, 2, "no such change"},
        {{1, 1}, 2, "too short"},
        {{1, 4, 1, 0, 0, 0, 0, 0}, 8, "of nothing"},
        {{1, 3, 0, 0, 2, 0, 0, 0}, 8, "too"},
        {{1, 6, 0xff, 0xff, 0xff, 0xff}, 6, "of nothing"},
        {{1, 7, 2, 0, 0, 1, 9}, 7, "of nothing"},
    };
    unsigned seed = 1;
    struct vms_vdpa_state s = example(&seed), was = s;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vms_slice in = vms_slice(cases[i].bytes, cases[i].len);
        cr_expect_eq(vms_vdpa_record_read(in, true, &s, &err), VMS_E_VDPA_STATE, "%zu", i);
        cr_expect(strstr(err.message, cases[i].why), "%zu: %s", i, err.message);
        cr_expect_arr_eq(&s, &was, sizeof s);
    }
    const uint8_t none[1] = {1};
    cr_expect_eq(vms_vdpa_record_read(vms_slice(none, 1), false, &s, &err), VMS_E_VDPA_STATE,
                 "changes of nothing");
    cr_expect_eq(vms_vdpa_record_read(vms_slice(none, 1), true, &s, &err), VMS_OK);
}

/* Another driver: what it is has changed, and all of it comes. */
Test(vdpa_record, another_profile_is_whole) {
    unsigned seed = 1;
    struct vms_vdpa_state from = example(&seed), to = from, got = from;
    to.profile.features ^= 1;
    size_t len = vms_vdpa_record_write(&from, &to, room);
    cr_expect_eq(bytes[0], 0);
    cr_expect_eq(vms_vdpa_record_read(vms_slice(bytes, len), true, &got, &err), VMS_OK);
    cr_expect_eq(got.profile.features, to.profile.features);
}
