/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <string.h>

/* ---- the guest at the source ---- */

static void write_page(struct world *w, uint32_t p) {
    w->src.memory.gen[p]++;
    set_bit(w->src.written, p);
}

/* Writes until now, as many as the rate and the throttle make; most of them to the hot pages. */
void guest_writes(struct world *w) {
    struct source *s = &w->src;
    uint64_t ns = w->now - s->wrote;
    uint64_t rate = s->writes * (100 - s->throttle) / 100;
    if (!s->runs || !rate) {
        s->wrote = w->now;
        return;
    }
    uint64_t count = ns * rate / 1000000000u;
    if (!count)
        return;
    s->wrote += count * 1000000000u / rate;
    if (count > 4 * w->pages) { /* every page, and the last ones again */
        for (uint32_t p = 0; p < s->hot; p++)
            write_page(w, p);
        count = w->pages;
    }
    for (; count; count--)
        write_page(w, (uint32_t)rnd(w, rnd(w, 10) ? s->hot : w->pages));
}

void guest_collect(struct world *w) {
    guest_writes(w);
    src_ram_merge(w->src.ram, 0, w->src.written);
}

/* ---- devices at the source ---- */

void device_update(struct world *w, uint32_t d) {
    struct device *v = &w->device[d];
    uint64_t made = w->src.runs ? (w->now - v->updated) * v->rate / 1000000000u : 0;
    if (!made && w->src.runs)
        return;
    v->dirty += made;
    v->updated = w->now;
    if (v->dirty > 1 << 20) /* a device has so much state, no more */
        v->dirty = 1 << 20;
}

void device_reinit(struct world *w, uint32_t d) {
    struct device *v = &w->device[d];
    if (!w->src.runs || w->legacy || v->generation > 2)
        return;
    v->generation++;
    v->left += rnd(w, 3) ? rnd(w, v->initial + 1) : 0;
    if (chance(w, 30))
        later(w, spread(w, 16, 29), IT_REINIT, SRC)->device = d;
}

void device_pending(struct world *w, uint32_t d, bool exact, struct src_pending *out) {
    struct device *v = &w->device[d];
    *out = (struct src_pending){.exact = exact};
    if (d == 0) {
        if (exact)
            guest_collect(w);
        out->precopy = out->postcopy = w->src.ram->dirty * PAGE;
        return;
    }
    if (exact)
        device_update(w, d);
    out->initial = v->left;
    out->precopy = v->left + v->dirty;
    if (!out->precopy && v->announced < v->generation)
        out->precopy = 1; /* the mark that initial data is over */
    out->stop = v->stop;
    out->generation = v->generation;
}

static uint64_t send_data(struct world *w, uint32_t d, enum msg_type type, uint64_t bytes) {
    struct device *v = &w->device[d];
    struct msg m = {.type = (uint8_t)type,
                    .device = d,
                    .bytes = (uint32_t)bytes,
                    .generation = v->generation,
                    .value = bytes};
    v->sent += bytes;
    return net_send(w, DST, &m);
}

static uint64_t ram_save(struct world *w, uint64_t budget, bool final, uint64_t *bytes,
                         bool *more) {
    struct src_batch b;
    uint64_t go_on = w->now;
    while (*bytes < budget || final) {
        enum src_ram_step step = src_ram_next(w->src.ram, BATCH, &b);
        if (step == SRC_RAM_CLEAN || (step == SRC_RAM_PASS_OVER && !final))
            break;
        if (step == SRC_RAM_PASS_OVER)
            continue;
        go_on = pages_send(w, &b);
        *bytes += b.count * PAGE;
    }
    *more = w->src.ram->dirty > 0;
    return go_on;
}

uint64_t device_save(struct world *w, uint32_t d, uint64_t budget, bool final, uint64_t *bytes,
                     bool *more) {
    struct device *v = &w->device[d];
    uint64_t go_on = w->now;
    *bytes = 0;
    *more = false;
    if (d == 0)
        return ram_save(w, budget, final, bytes, more);
    uint64_t n = v->left < budget ? v->left : budget;
    if (n) {
        go_on = send_data(w, d, MSG_DATA, n);
        v->left -= n, *bytes += n;
    }
    if (!v->left && v->announced < v->generation) {
        go_on = send_data(w, d, MSG_INITIAL, 1);
        v->announced = v->generation, *bytes += 1;
    }
    n = v->dirty < budget - n || final ? v->dirty : budget - n;
    if (n) {
        go_on = send_data(w, d, MSG_DATA, n);
        v->dirty -= n, *bytes += n;
    }
    if (final)
        go_on = send_data(w, d, MSG_DATA, v->stop);
    *more = v->left || v->dirty;
    return go_on;
}

/* ---- pages ---- */

uint64_t pages_send(struct world *w, const struct src_batch *b) {
    uint64_t go_on = w->now;
    guest_writes(w);
    for (uint32_t i = 0; i < b->count;) {
        struct msg m = {.type = MSG_PAGES};
        for (; i < b->count && m.count < BATCH; i++) {
            uint32_t p = (uint32_t)b->pages[i];
            bool forgotten = w->config.plant == SIM_PLANT_PAGE && rnd(w, 300) == 0;
            if (forgotten)
                continue;
            m.page[m.count] = (uint16_t)p;
            m.gen[m.count++] = w->src.memory.gen[p];
        }
        m.bytes = m.count * PAGE;
        go_on = net_send(w, DST, &m);
    }
    return go_on;
}

static void place(struct world *w, uint32_t p, uint32_t gen) {
    struct destination *d = &w->dst;
    if (d->listening && bit(d->arrived, p)) {
        if (d->memory.gen[p] != gen)
            broken(w, "page %u comes twice, and differs", p);
        return; /* a page that is there stays as the guest left it */
    }
    d->memory.gen[p] = gen;
    set_bit(d->memory.here, p);
    if (!d->listening)
        return;
    set_bit(d->arrived, p);
    if (d->missing)
        d->missing--;
    if (d->waits_for == p + 1) {
        d->waits_for = 0;
        (void)later(w, 1 + rnd(w, MS), IT_TOUCH, DST);
    }
}

void pages_arrive(struct world *w, const struct msg *m) {
    if (w->dst.started && !w->dst.listening)
        broken(w, "pages come behind the start of the guest");
    for (uint32_t i = 0; i < m->count; i++)
        place(w, m->page[i], m->gen[i]);
}

/* ---- the guest at the destination ---- */

/* Every page that counts as there is the source's; in precopy every page is there. */
static void check_memory(struct world *w, bool all) {
    for (uint32_t p = 0; p < w->pages; p++) {
        bool here = bit(w->dst.memory.here, p);
        if (!here && all)
            broken(w, "page %u has not arrived", p);
        if (here && w->dst.memory.gen[p] != w->src.memory.gen[p])
            broken(w, "page %u is of generation %u, not %u", p, w->dst.memory.gen[p],
                   w->src.memory.gen[p]);
    }
}

/* [ACK-5] [SES-27] What was to be waited for has been. */
static void check_devices(struct world *w) {
    for (uint32_t d = 1; d < w->device_count; d++) {
        const struct device *v = &w->device[d];
        if (v->sent != v->received)
            broken(w, "device %u lacks %llu bytes", d, (unsigned long long)(v->sent - v->received));
        bool waits = w->ack && (!w->legacy || v->generation == 1) && v->generation;
        if (waits && v->loaded != v->generation)
            broken(w, "device %u has not loaded its initial data", d);
        if (w->ack && v->mapping && v->wants && !v->mapped)
            broken(w, "device %u has not mapped the memory", d);
    }
}

void destination_runs(struct world *w, bool postcopy) {
    trace(w, "the guest runs at the destination");
    check_memory(w, !postcopy);
    check_devices(w);
    w->dst.runs = w->dst.started = true;
    if (w->src.locks && w->config.plant != SIM_PLANT_NONE)
        broken(w, "the guest runs at the destination, the locks are at the source");
    if (postcopy)
        (void)later(w, 1 + rnd(w, MS), IT_TOUCH, DST);
}

void destination_whole(struct world *w) {
    check_memory(w, true);
}

/* A virtual CPU touches a page, now and then; where one is missing it waits for it. */
void destination_touch(struct world *w) {
    struct destination *d = &w->dst;
    if (!d->runs || !d->missing || d->waits_for)
        return;
    uint32_t p = (uint32_t)rnd(w, w->pages);
    if (bit(d->memory.here, p)) {
        (void)later(w, spread(w, 16, 22), IT_TOUCH, DST);
        return;
    }
    struct msg m = {.type = MSG_NEED, .value = p, .bytes = 16};
    d->waits_for = p + 1;
    (void)net_send(w, SRC, &m);
}
