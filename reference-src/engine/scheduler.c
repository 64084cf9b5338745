/* SPDX-License-Identifier: MIT */
#include "scheduler.h"

#include <string.h>

enum {
    DEFAULT_QUANTUM = 1 << 20,
};

/* Debts and credits beyond this are cut: a device that sends an exabyte in a row is not believed.
 */
static const uint64_t LARGEST = UINT64_C(1) << 60;

static int64_t bounded(uint64_t bytes) {
    return (int64_t)(bytes < LARGEST ? bytes : LARGEST);
}

void src_scheduler_init(struct src_scheduler *s, enum src_scheduler_kind kind, uint32_t count,
                        uint64_t quantum) {
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->count = count < SRC_SCHEDULER_DEVICES ? count : SRC_SCHEDULER_DEVICES;
    s->quantum = (uint64_t)bounded(quantum ? quantum : DEFAULT_QUANTUM);
    s->turn = s->count ? s->count - 1 : 0; /* the first turn is device 0's */
}

/* [SCH-3] Credit does not outlive the data that it was for; a debt does. */
static void has_nothing(struct src_scheduler *s, uint32_t device) {
    s->left[device] = 0;
    if (s->credit[device] > 0)
        s->credit[device] = 0;
}

void src_scheduler_pending(struct src_scheduler *s, uint32_t device, uint64_t bytes) {
    if (device >= s->count)
        return;
    s->left[device] = bytes;
    if (!bytes)
        has_nothing(s, device);
}

void src_scheduler_sent(struct src_scheduler *s, uint32_t device, uint64_t bytes, bool more) {
    if (device >= s->count)
        return;
    int64_t credit = s->credit[device] - bounded(bytes);
    s->sent[device] += bytes;
    s->credit[device] = credit > -bounded(LARGEST) ? credit : -bounded(LARGEST);
    s->left[device] = s->left[device] > bytes ? s->left[device] - bytes : 1;
    if (!more || !bytes) /* [SCH-5] who has data and sends none does not hold up the others */
        has_nothing(s, device);
}

/* Turns in which the device only pays: until its credit, a quantum a turn, is above 0. */
static uint64_t turns_owed(const struct src_scheduler *s, uint32_t device) {
    int64_t credit = s->credit[device];
    return credit > 0 ? 0 : (uint64_t)-credit / s->quantum + 1;
}

/*
 * Everybody owes: the rounds in which nobody could send are over at once, but for the last, which
 * goes by turns.
 */
static void skip_empty_rounds(struct src_scheduler *s) {
    uint64_t least = UINT64_MAX;
    for (uint32_t d = 0; d < s->count; d++)
        if (s->left[d] && turns_owed(s, d) < least)
            least = turns_owed(s, d);
    if (least == UINT64_MAX || least < 2)
        return;
    for (uint32_t d = 0; d < s->count; d++)
        if (s->left[d])
            s->credit[d] += (int64_t)((least - 1) * s->quantum);
    s->rounds += least - 1;
}

/* All of its credit: what is known to be left may be old, the device knows better. */
static bool offer(const struct src_scheduler *s, uint32_t device, uint32_t *out, uint64_t *bytes) {
    *out = device;
    *bytes = (uint64_t)s->credit[device];
    return true;
}

/* [SCH-1], [SCH-2] */
static bool next_drr(struct src_scheduler *s, uint32_t *device, uint64_t *bytes, bool *round_over) {
    uint32_t d = s->turn;
    if (s->left[d] && s->credit[d] > 0)
        return offer(s, d, device, bytes);
    skip_empty_rounds(s);
    for (uint32_t i = 0; i < 2 * s->count; i++) {
        d = s->turn = (s->turn + 1) % s->count;
        *round_over |= d == 0;
        s->rounds += d == 0;
        if (!s->left[d])
            continue;
        s->credit[d] += (int64_t)s->quantum;
        if (s->credit[d] > 0)
            return offer(s, d, device, bytes);
    }
    return false;
}

/* The first that has something; the others are asked anew after each of its quanta. */
static bool next_serial(struct src_scheduler *s, uint32_t *device, uint64_t *bytes,
                        bool *round_over) {
    for (uint32_t d = 0; d < s->count; d++) {
        if (!s->left[d])
            continue;
        *round_over = s->turn != d || s->credit[d] <= 0;
        s->rounds += *round_over;
        s->turn = d;
        if (s->credit[d] <= 0)
            s->credit[d] = (int64_t)s->quantum;
        return offer(s, d, device, bytes);
    }
    return false;
}

bool src_scheduler_next(struct src_scheduler *s, uint32_t *device, uint64_t *bytes,
                        bool *round_over) {
    *round_over = false;
    if (s->count == 0)
        return false;
    if (s->kind == SRC_SCHEDULER_SERIAL)
        return next_serial(s, device, bytes, round_over);
    return next_drr(s, device, bytes, round_over);
}
