/* SPDX-License-Identifier: MIT */
#include "scheduler.h"

#include <criterion/criterion.h>
#include <string.h>

/*
 * The scheduler over random mixes of devices, beside two others: a slow one that counts byte by
 * byte, and the ideal link that is shared evenly at every moment.
 */
enum {
    MIXES = 3000,
    TURNS = 400,
    DEVICES = SRC_SCHEDULER_DEVICES,
};

static uint64_t seed;

static uint64_t rnd(uint64_t below) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed % below;
}

struct mix {
    uint32_t n;
    uint64_t quantum, batch; /* a device sends more than it may by less than a batch */
    uint64_t left[DEVICES], rate[DEVICES];
};

static struct mix random_mix(uint64_t number) {
    struct mix m = {0};
    seed = number * 0x9e3779b97f4a7c15u + 1;
    m.n = 1 + (uint32_t)rnd(number % 10 ? 6 : DEVICES);
    m.quantum = 1 + rnd(1 << rnd(14));
    m.batch = 1 + rnd(1 << rnd(14));
    for (uint32_t d = 0; d < m.n; d++) {
        m.left[d] = rnd(3) ? rnd(1 << 16) : 0;
        m.rate[d] = rnd(3) ? 0 : rnd(4 * m.quantum);
    }
    return m;
}

/* What the device sends when it may send so much: whole batches of its own. */
static uint64_t send(const struct mix *m, uint32_t d, uint64_t allowed) {
    uint64_t piece = 1 + rnd(m->batch), sent = 0;
    while (sent < allowed && sent < m->left[d])
        sent += piece < m->left[d] - sent ? piece : m->left[d] - sent;
    return sent;
}

/* ---- [SCH-1] [SCH-2] [SCH-3]: byte by byte ---- */

struct slow {
    uint32_t n, at;
    uint64_t quantum;
    int64_t purse[DEVICES];
    bool paid; /* the device at turn has had its quantum */
};

/* Walks on until somebody may send; one byte of the purse a byte. */
static uint32_t slow_next(struct slow *s, const uint64_t *left) {
    for (;;) {
        if (!s->paid && left[s->at])
            s->purse[s->at] += (int64_t)s->quantum;
        s->paid = true;
        if (left[s->at] && s->purse[s->at] > 0)
            return s->at;
        s->at = (s->at + 1) % s->n;
        s->paid = false;
    }
}

static void slow_sent(struct slow *s, uint32_t d, uint64_t bytes, uint64_t left) {
    for (; bytes; bytes--)
        s->purse[d]--;
    if (!left && s->purse[d] > 0)
        s->purse[d] = 0;
}

Test(scheduler, is_round_robin_by_bytes, .timeout = 60) {
    for (uint64_t number = 1; number <= MIXES; number++) {
        struct mix m = random_mix(number);
        struct slow slow = {.n = m.n, .quantum = m.quantum};
        struct src_scheduler s;
        src_scheduler_init(&s, SRC_SCHEDULER_DRR, m.n, m.quantum);
        for (int turn = 0; turn < TURNS; turn++) {
            uint32_t device;
            uint64_t bytes;
            bool over;
            for (uint32_t d = 0; d < m.n; d++) {
                m.left[d] += rnd(2) ? m.rate[d] : 0;
                src_scheduler_pending(&s, d, m.left[d]);
            }
            if (!src_scheduler_next(&s, &device, &bytes, &over)) {
                for (uint32_t d = 0; d < m.n; d++)
                    cr_assert_eq(m.left[d], 0);
                break;
            }
            cr_assert_eq(device, slow_next(&slow, m.left), "mix %d, turn %d", (int)number, turn);
            cr_assert_eq(bytes, (uint64_t)slow.purse[device]);
            uint64_t sent = send(&m, device, bytes);
            m.left[device] -= sent;
            src_scheduler_sent(&s, device, sent, m.left[device] > 0);
            slow_sent(&slow, device, sent, m.left[device]);
        }
    }
}

/* Asked twice it says the same: the machine looks before it decides. */
Test(scheduler, picking_is_not_serving) {
    struct src_scheduler s;
    uint32_t a, b;
    uint64_t x, y;
    bool over;
    src_scheduler_init(&s, SRC_SCHEDULER_DRR, 3, 100);
    src_scheduler_pending(&s, 1, 50);
    cr_assert(src_scheduler_next(&s, &a, &x, &over) && over);
    cr_assert(src_scheduler_next(&s, &b, &y, &over) && !over);
    cr_assert(a == 1 && b == 1 && x == 100 && y == 100);
}

/* ---- [SCH-4]: the bounds ---- */

struct watch {
    uint64_t rounds, sent; /* since all have data */
    uint64_t others;       /* bytes of others since its last service */
};

static void check_bounds(const struct mix *m, const struct watch *watch, uint64_t total) {
    int64_t q = (int64_t)m->quantum, b = (int64_t)m->batch;
    for (uint32_t d = 0; d < m->n; d++) {
        int64_t sent = (int64_t)watch[d].sent, k = (int64_t)watch[d].rounds;
        cr_assert(sent > k * q - b - q && sent < k * q + b + q, "a round more or less is open");
        int64_t even = (int64_t)(total / m->n);
        cr_assert(sent > even - 2 * (q + b) && sent < even + 2 * (q + b),
                  "device %u of %u has sent %d of %d", d, m->n, (int)sent, (int)total);
    }
}

Test(scheduler, nobody_starves, .timeout = 60) {
    for (uint64_t number = 1; number <= MIXES; number++) {
        struct mix m = random_mix(number);
        struct watch watch[DEVICES] = {0};
        struct src_scheduler s;
        uint64_t total = 0, r = m.batch / m.quantum + 1;
        src_scheduler_init(&s, SRC_SCHEDULER_DRR, m.n, m.quantum);
        for (int turn = 0; turn < TURNS; turn++) {
            uint32_t device;
            uint64_t bytes;
            bool over;
            for (uint32_t d = 0; d < m.n; d++) { /* everybody makes more than the link carries */
                m.left[d] = UINT32_MAX;
                src_scheduler_pending(&s, d, m.left[d]);
            }
            cr_assert(src_scheduler_next(&s, &device, &bytes, &over));
            uint64_t sent = send(&m, device, bytes);
            src_scheduler_sent(&s, device, sent, true);
            uint64_t most = (uint64_t)(m.n - 1) * (r * m.quantum + m.batch);
            cr_assert_leq(watch[device].others, most, "mix %d", (int)number);
            for (uint32_t d = 0; d < m.n; d++)
                watch[d].others = d == device ? 0 : watch[d].others + sent;
            watch[device].sent += sent;
            total += sent;
            for (uint32_t d = 0; d < m.n; d++)
                watch[d].rounds = s.rounds;
            check_bounds(&m, watch, total);
        }
    }
}

/* A device that has more than it said goes on with its credit, not byte by byte. */
Test(scheduler, more_than_was_known) {
    struct src_scheduler s;
    uint32_t device;
    uint64_t bytes;
    bool over;
    src_scheduler_init(&s, SRC_SCHEDULER_DRR, 2, 100);
    src_scheduler_pending(&s, 0, 10);
    cr_assert(src_scheduler_next(&s, &device, &bytes, &over));
    src_scheduler_sent(&s, 0, 10, true);
    cr_assert(src_scheduler_next(&s, &device, &bytes, &over) && device == 0);
    cr_assert_eq(bytes, 90);
}

/* ---- [SCH-5] ---- */

Test(scheduler, who_sends_nothing_holds_up_nobody) {
    struct src_scheduler s;
    unsigned served = 0;
    src_scheduler_init(&s, SRC_SCHEDULER_DRR, 2, 100);
    for (int i = 0; i < 10; i++) {
        uint32_t device;
        uint64_t bytes;
        bool over;
        src_scheduler_pending(&s, 0, 1000);
        src_scheduler_pending(&s, 1, 1000);
        cr_assert(src_scheduler_next(&s, &device, &bytes, &over));
        src_scheduler_sent(&s, device, device ? bytes : 0, true);
        served += device == 1;
    }
    cr_assert_eq(served, 5);
}

/* ---- [SCH-6] ---- */

Test(scheduler, serial_serves_the_first) {
    struct src_scheduler s;
    uint32_t device;
    uint64_t bytes;
    bool over;
    src_scheduler_init(&s, SRC_SCHEDULER_SERIAL, 2, 100);
    src_scheduler_pending(&s, 1, 1000);
    for (int i = 0; i < 20; i++) {
        src_scheduler_pending(&s, 0, 1000);
        cr_assert(src_scheduler_next(&s, &device, &bytes, &over) && device == 0);
        cr_assert_eq(bytes, 100);
        src_scheduler_sent(&s, 0, bytes, true);
    }
    src_scheduler_sent(&s, 0, 1, false);
    cr_assert(src_scheduler_next(&s, &device, &bytes, &over) && device == 1);
}

/* Numbers that nothing should have. */
Test(scheduler, bad_numbers_do_no_harm) {
    struct src_scheduler s;
    uint32_t device;
    uint64_t bytes;
    bool over;
    src_scheduler_init(&s, SRC_SCHEDULER_DRR, 1000, UINT64_MAX);
    cr_assert_eq(s.count, SRC_SCHEDULER_DEVICES);
    src_scheduler_pending(&s, 1000, 5);
    src_scheduler_sent(&s, 1000, 5, true);
    cr_assert_not(src_scheduler_next(&s, &device, &bytes, &over));
    src_scheduler_init(&s, SRC_SCHEDULER_DRR, 2, 1);
    for (int i = 0; i < 10; i++) {
        src_scheduler_pending(&s, 0, UINT64_MAX);
        src_scheduler_pending(&s, 1, UINT64_MAX);
        cr_assert(src_scheduler_next(&s, &device, &bytes, &over));
        src_scheduler_sent(&s, device, UINT64_MAX, true);
    }
    src_scheduler_init(&s, SRC_SCHEDULER_DRR, 0, 0);
    cr_assert_not(src_scheduler_next(&s, &device, &bytes, &over));
}
