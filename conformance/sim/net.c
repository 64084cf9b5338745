/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <string.h>

/*
 * One connection at a time, two directions, each in order, with a bandwidth and a latency. A lost
 * packet is one that comes late, with all behind it. A cut loses what is under way; a native
 * session keeps that and sends it again (RSM), unless a program of it has died.
 */
enum {
    OVERHEAD = 64,
};

static bool keeps(const struct world *w) {
    return w->config.native && w->src.config.resume && w->net.session;
}

static void keep(struct world *w, enum side to, const struct msg *m) {
    struct network *n = &w->net;
    if (n->kept_count[to] < KEPT)
        w->kept[to][n->kept_count[to]++] = *m;
    else
        broken(w, "too many messages to keep");
}

static uint64_t transfer_ns(const struct world *w, uint64_t bytes) {
    return (bytes + OVERHEAD) * 1000000000u / w->net.bandwidth + 1;
}

uint64_t net_send(struct world *w, enum side to, const struct msg *m) {
    struct network *n = &w->net;
    if (!n->up) {
        if (keeps(w) && m->type != MSG_ABORT)
            keep(w, to, m);
        return w->now;
    }
    uint64_t begin = n->busy[to] > w->now ? n->busy[to] : w->now;
    n->busy[to] = begin + transfer_ns(w, m->bytes);
    uint64_t arrives = n->busy[to] + n->latency;
    if (w->config.faults & SIM_FAULT_LOSS && chance(w, 2))
        arrives += n->latency + UINT64_C(200) * MS;
    if (arrives < n->last[to])
        arrives = n->last[to];
    n->last[to] = arrives;
    struct item *i = later(w, arrives - w->now, IT_MSG, to);
    i->epoch = n->epoch;
    i->sent = w->seq;
    i->msg = *m;
    uint64_t window = transfer_ns(w, WINDOW);
    return n->busy[to] > w->now + window ? n->busy[to] - window : w->now;
}

/* What is under way, in its order: the heap has it in none. */
static void keep_all(struct world *w) {
    uint16_t found[ITEMS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct item *x = &w->items[w->heap[i].item];
        if (x->type == IT_MSG && x->epoch == w->net.epoch)
            found[count++] = (uint16_t)w->heap[i].item;
    }
    for (uint32_t i = 1; i < count; i++) /* few, and nearly in order */
        for (uint32_t j = i; j && w->items[found[j]].sent < w->items[found[j - 1]].sent; j--) {
            uint16_t t = found[j];
            found[j] = found[j - 1];
            found[j - 1] = t;
        }
    for (uint32_t i = 0; i < count; i++)
        keep(w, (enum side)w->items[found[i]].side, &w->items[found[i]].msg);
}

static void go_down(struct world *w) {
    if (keeps(w))
        keep_all(w);
    else if (w->config.native)
        net_forget(w); /* nothing can go on where it was */
    w->net.up = false;
    w->net.epoch++;
}

/* The ends find out, each in its time. .value: of which connection. */
static void ends_see(struct world *w, uint64_t src_ns, uint64_t dst_ns) {
    source_say(w, src_ns, SRC_EV_CUT, 0, 0, w->net.epoch);
    if (w->config.native)
        native_say(w, dst_ns, DST_NEV_CUT, 0, 0, w->net.epoch);
    else
        later(w, dst_ns, IT_LOST, DST)->value = w->net.epoch;
}

void net_cut(struct world *w) {
    if (!w->net.up)
        return;
    trace(w, "the connection is cut");
    w->cut_after_commit |= w->eof_out;
    ends_see(w, spread(w, 10, 27), spread(w, 10, 27));
    go_down(w);
    w->net.out_until = w->now + spread(w, 16, 30);
}

static uint64_t until(const struct world *w, uint64_t at) {
    return at > w->now ? at - w->now + 1 : 1;
}

/* What was sent before arrives before the end does. Natively the session ends, up or down. */
void net_close(struct world *w) {
    if (w->config.native)
        net_forget(w);
    if (!w->net.up)
        return;
    trace(w, "the connection is closed");
    ends_see(w, until(w, w->net.last[SRC]), until(w, w->net.last[DST]));
    w->net.up = false;
}

void net_forget(struct world *w) {
    w->net.session = false;
    w->net.kept_count[SRC] = w->net.kept_count[DST] = 0;
}

bool net_connect(struct world *w) {
    struct network *n = &w->net;
    if (n->up || w->now < n->out_until || !w->dst.alive || w->dst.frozen > w->now)
        return false;
    n->up = true;
    n->epoch++;
    n->busy[SRC] = n->busy[DST] = n->last[SRC] = n->last[DST] = w->now;
    return true;
}

/* [RSM-7] */
void net_replay(struct world *w) {
    static struct msg kept[KEPT];
    for (unsigned to = SRC; to <= DST; to++) {
        uint32_t count = w->net.kept_count[to];
        memcpy(kept, w->kept[to], count * sizeof *kept);
        w->net.kept_count[to] = 0;
        for (uint32_t i = 0; i < count; i++)
            (void)net_send(w, (enum side)to, &kept[i]);
    }
}
