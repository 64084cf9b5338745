/* SPDX-License-Identifier: MIT */
#include "bandwidth.h"

static const uint64_t LARGEST = UINT64_C(1) << 60;

/* a * b / c without overflow, UINT64_MAX when it does not fit. c is not 0. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t high = a / c, low = a % c;
    if (b && high > UINT64_MAX / b)
        return UINT64_MAX;
    uint64_t whole = high * b;
    uint64_t part = low <= UINT64_MAX / (b ? b : 1)
                        ? low * b / c
                        : (uint64_t)((long double)low * (long double)b / (long double)c);
    return whole > UINT64_MAX - part ? UINT64_MAX : whole + part;
}

uint64_t src_bandwidth_bytes(uint64_t per_second, uint64_t ns) {
    return scale(ns, per_second, SRC_NS);
}

uint64_t src_bandwidth_ns(uint64_t per_second, uint64_t bytes) {
    return per_second ? scale(bytes, SRC_NS, per_second) : UINT64_MAX;
}

void src_bandwidth_init(struct src_bandwidth *b, uint64_t limit, uint64_t now_ns) {
    *b = (struct src_bandwidth){.limit = limit, .filled = now_ns, .since = now_ns};
}

/* The bucket holds what leaves in a tenth of a second: a pause is not made up for later. */
static void fill(struct src_bandwidth *b, uint64_t now_ns) {
    uint64_t room = b->limit / 10 + 1;
    uint64_t gain = src_bandwidth_bytes(b->limit, now_ns - b->filled);
    if (!gain)
        return; /* too little time for a byte: it counts with the next */
    b->filled = now_ns;
    if (gain > LARGEST || b->tokens + (int64_t)gain > (int64_t)room)
        b->tokens = (int64_t)(room < LARGEST ? room : LARGEST);
    else
        b->tokens += (int64_t)gain;
}

static void take_window(struct src_bandwidth *b, uint64_t per_second) {
    b->windows[b->next] = per_second ? per_second : 1;
    b->next = (b->next + 1) % SRC_WINDOWS;
    b->measured = 0;
    for (unsigned i = 0; i < SRC_WINDOWS; i++)
        if (b->windows[i] && (!b->measured || b->windows[i] < b->measured))
            b->measured = b->windows[i];
}

/*
 * [ENG-18] What leaves while nothing more is given comes out of queues: over the whole time it is
 * the least that the link carries, so it raises the measure and never lowers it. Time in which the
 * limit held us back counts: the switchover may not use more than the limit either. Before there is
 * any measure such a window has to do, without the time, and however short it is: a small guest is
 * not kept waiting for a figure. Little goes into buffers: a window that would raise the measure
 * goes on until it was more.
 */
void src_bandwidth_measure(struct src_bandwidth *b, uint64_t now_ns) {
    if (b->resting)
        b->idle += now_ns - b->resting;
    b->resting = 0;
    uint64_t whole = now_ns - b->since;
    bool early = !b->measured && b->idle && b->bytes >= SRC_LITTLE;
    if ((whole < SRC_WINDOW_NS && !early) || !b->bytes)
        return;
    bool resting = b->idle > whole / 2;
    uint64_t busy = whole > b->idle ? whole - b->idle : 1;
    uint64_t now = scale(b->bytes, SRC_NS, early || (resting && !b->measured) ? busy : whole);
    bool raises = now > b->measured;
    if (b->measured && raises && b->bytes < SRC_LITTLE)
        return;
    if (!b->measured || raises || !resting)
        take_window(b, now);
    b->since = now_ns;
    b->bytes = b->idle = 0;
}

void src_bandwidth_sent(struct src_bandwidth *b, uint64_t now_ns, uint64_t bytes, uint64_t left) {
    if (b->limit) {
        fill(b, now_ns);
        int64_t take = (int64_t)(bytes < LARGEST ? bytes : LARGEST);
        b->tokens = b->tokens - take > -(int64_t)LARGEST ? b->tokens - take : -(int64_t)LARGEST;
    }
    b->bytes = b->bytes < UINT64_MAX - left ? b->bytes + left : UINT64_MAX;
    src_bandwidth_measure(b, now_ns);
}

void src_bandwidth_idle(struct src_bandwidth *b, uint64_t now_ns) {
    b->resting = now_ns;
}

uint64_t src_bandwidth_delay(struct src_bandwidth *b, uint64_t now_ns) {
    if (!b->limit)
        return 0;
    fill(b, now_ns);
    return b->tokens > 0 ? 0 : src_bandwidth_ns(b->limit, (uint64_t)-b->tokens + 1) + 1;
}
