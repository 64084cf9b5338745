/* SPDX-License-Identifier: MIT */
#include "converge.h"

#include "bandwidth.h"

static void grow(struct src_converge *c) {
    unsigned next = c->throttle ? c->throttle + SRC_THROTTLE_STEP : (unsigned)SRC_THROTTLE_FIRST;
    c->throttle = next < SRC_THROTTLE_MOST ? next : (unsigned)SRC_THROTTLE_MOST;
    c->hot = 0;
}

void src_converge_period(struct src_converge *c, uint64_t now_ns, uint64_t dirtied) {
    uint64_t ns = now_ns - c->since;
    if (ns)
        c->dirty_rate = src_bandwidth_ns(ns, dirtied); /* dirtied * 1e9 / ns */
    if (!c->sent) /* nothing was sent: nothing to compare with */
        return;
    c->hot = dirtied > c->sent / 2 ? c->hot + 1 : 0;
    if (c->hot >= SRC_THROTTLE_PATIENCE)
        grow(c);
    c->since = now_ns;
    c->sent = 0;
}
