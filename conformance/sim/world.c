/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- chance: xoroshiro128+, seeded by splitmix64 ---- */

static uint64_t split(uint64_t *x) {
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, int k) {
    return x << k | x >> (64 - k);
}

/* A choice that was given; one below a great number is coarse. */
static uint64_t chosen(struct vms_slice *choices, uint64_t below) {
    uint64_t v = (uint64_t)choices->ptr[0] << 8 | choices->ptr[1];
    *choices = vms_slice_tail(*choices, 2);
    if (below <= 0x10000)
        return below ? v % below : 0;
    return v * (below >> 16);
}

uint64_t rnd(struct world *w, uint64_t below) {
    if (w->config.choices.len >= 2)
        return chosen(&w->config.choices, below);
    uint64_t a = w->random[0], b = w->random[1], r = a + b;
    b ^= a;
    w->random[0] = rotate(a, 24) ^ b ^ b << 16;
    w->random[1] = rotate(b, 37);
    return below ? (r >> 11) % below : 0;
}

bool chance(struct world *w, unsigned percent) {
    return rnd(w, 100) < percent;
}

uint64_t spread(struct world *w, unsigned low, unsigned high) {
    uint64_t base = UINT64_C(1) << (low + rnd(w, high - low));
    return base + rnd(w, base);
}

/* ---- the queue: a heap of turns ---- */

static inline bool before(struct turn a, struct turn b) {
    return a.at != b.at ? a.at < b.at : a.seq < b.seq;
}

static void sift_up(struct turn *heap, uint32_t i, struct turn t) {
    for (; i && before(t, heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = t;
}

static void sift_down(struct turn *heap, uint32_t count, struct turn t) {
    uint32_t i = 0;
    for (uint32_t c = 1; c < count; i = c, c = 2 * c + 1) {
        c += c + 1 < count && before(heap[c + 1], heap[c]);
        if (before(t, heap[c]))
            break;
        heap[i] = heap[c];
    }
    heap[i] = t;
}

struct item *later(struct world *w, uint64_t ns, enum item_type type, enum side side) {
    static struct item nowhere;
    if (!w->free_count && w->used_count < ITEMS)
        w->free[w->free_count++] = (uint16_t)w->used_count++;
    if (!w->free_count) {
        broken(w, "the queue of events is full");
        return &nowhere;
    }
    uint16_t n = w->free[--w->free_count];
    struct item *i = &w->items[n];
    i->type = (uint8_t)type;
    i->side = (uint8_t)side;
    i->epoch = side == SRC ? w->src.epoch : w->dst.epoch;
    sift_up(w->heap, w->heap_count++, (struct turn){w->now + ns, w->seq++, n});
    return i;
}

struct item *take(struct world *w) {
    if (!w->heap_count)
        return NULL;
    struct turn first = w->heap[0];
    w->now = first.at;
    w->heap_count--;
    sift_down(w->heap, w->heap_count, w->heap[w->heap_count]);
    return &w->items[first.item];
}

void give_back(struct world *w, const struct item *i) {
    w->free[w->free_count++] = (uint16_t)(i - w->items);
}

/* ---- words ---- */

void broken(struct world *w, const char *format, ...) {
    va_list args;
    if (w->broken)
        return;
    w->broken = true;
    va_start(args, format);
    (void)vsnprintf(w->result->why, sizeof w->result->why, format, args);
    va_end(args);
    trace(w, "BROKEN: %s", w->result->why);
}

void tell(struct world *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%12.6f ms  ", (double)w->now / 1e6);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

const char *sim_fault_name(unsigned i) {
    static const char *const names[SIM_FAULTS] = {"cut",     "loss",   "crash",  "freeze",
                                                  "journal", "locks",  "cancel", "double",
                                                  "load",    "memory", "hasty"};
    return i < SIM_FAULTS ? names[i] : "?";
}

const char *sim_plant_name(enum sim_plant plant) {
    static const char *const names[SIM_PLANTS] = {"none", "resume",  "grant",
                                                  "page", "journal", "locks"};
    return (unsigned)plant < SIM_PLANTS ? names[plant] : "?";
}

/* ---- the scene ---- */

static void init_device(struct world *w, uint32_t d) {
    struct device *v = &w->device[d];
    v->mapping = w->config.native && chance(w, 25);
    v->initial = v->left = chance(w, 70) ? spread(w, 10, 18) : 0;
    v->generation = !v->mapping && chance(w, 80) ? 1 : 0;
    if (!v->generation)
        v->initial = v->left = 0;
    v->dirty = v->mapping ? 0 : spread(w, 8, 14);
    v->rate = v->mapping ? 0 : spread(w, 4, 18);
    v->stop = spread(w, 6, 14);
    v->load_ns = chance(w, 20) ? spread(w, 20, 28) : spread(w, 10, 20);
    v->map_ns = spread(w, 20, 30);
    if (v->generation && chance(w, 30))
        later(w, spread(w, 16, 29), IT_REINIT, SRC)->device = d;
}

static void init_config(struct world *w, struct src_config *c) {
    *c = (struct src_config){
        .native = w->config.native,
        .resume = chance(w, 70),
        .return_path = chance(w, 90),
        .postcopy = chance(w, 40),
        .pause_before_switchover = chance(w, 15),
        .switchover_ack = chance(w, 70),
        .legacy_ack = !w->config.native && chance(w, 40),
        .auto_converge = chance(w, 50),
        .max_bandwidth = chance(w, 20) ? spread(w, 18, 24) : 0,
        .switchover_bandwidth = chance(w, 20) ? w->net.bandwidth : 0,
        .downtime_ns = chance(w, 50) ? UINT64_C(300) * MS : spread(w, 24, 29),
        .ready_ns = UINT64_C(5000) * MS,
        .settle_ns = UINT64_C(5000) * MS,
        .limit_ns = UINT64_C(4000) * MS,
        .scheduler = w->config.scheduler,
        .quantum = chance(w, 50) ? 64 * 1024 : 16 * 1024,
        .device_count = w->device_count,
    };
    c->return_path |= c->postcopy || c->switchover_ack;
    c->after_setup[0] = true;
    for (uint32_t d = 1; d < w->device_count; d++)
        c->initial_data[d] = w->device[d].generation > 0;
}

static void init_scene(struct world *w) {
    const struct sim_scene *s = &w->config.scene;
    w->pages = s->set ? s->pages : (uint32_t)spread(w, 4, 8);
    w->net.bandwidth = s->set ? s->bandwidth : spread(w, 18, 26);
    w->net.latency = s->set ? 100 * 1000 : spread(w, 13, 25);
    w->device_count = 1 + (s->set ? s->devices : (uint32_t)rnd(w, DEVICES));
    w->src.writes = s->set ? s->writes : (chance(w, 20) ? 0 : spread(w, 2, 14));
    w->src.hot = s->set ? s->hot : 1 + (uint32_t)rnd(w, w->pages);
    for (uint32_t d = 1; d < w->device_count; d++)
        init_device(w, d);
    for (uint32_t d = 1; d < w->device_count && s->set; d++)
        w->device[d] = (struct device){.initial = s->initial,
                                       .left = s->initial,
                                       .generation = s->initial > 0,
                                       .rate = s->dirty,
                                       .stop = 1024,
                                       .load_ns = MS};
    init_config(w, &w->src.config);
    if (!s->set)
        return;
    struct src_config *c = &w->src.config;
    c->postcopy = c->pause_before_switchover = c->auto_converge = c->legacy_ack = false;
    c->switchover_ack = c->return_path = true;
    c->max_bandwidth = c->switchover_bandwidth = 0;
    c->downtime_ns = UINT64_C(300) * MS;
    c->limit_ns = s->limit_ns;
    c->quantum = s->quantum;
}

/* Faults come until calm; what is then not settled settles, or the operator decides. */
static void init_faults(struct world *w) {
    unsigned f = w->config.faults;
    uint64_t when = spread(w, 22, 31);
    for (unsigned n = f & SIM_FAULT_CUT && chance(w, 20) ? 1 + (unsigned)rnd(w, 3) : 0; n; n--)
        (void)later(w, spread(w, 20, 31), IT_CUT, SRC);
    if (f & SIM_FAULT_CRASH && chance(w, 5))
        (void)later(w, when, IT_CRASH, chance(w, 50) ? SRC : DST);
    if (f & SIM_FAULT_CRASH && chance(w, 3))
        (void)later(w, spread(w, 22, 31), IT_CRASH, chance(w, 50) ? SRC : DST);
    if (f & SIM_FAULT_FREEZE && chance(w, 15))
        later(w, spread(w, 22, 31), IT_FREEZE, chance(w, 50) ? SRC : DST)->value =
            spread(w, 20, 33);
    if (f & SIM_FAULT_CANCEL && chance(w, 5))
        source_say(w, spread(w, 16, 31), SRC_EV_CANCEL, 0, 0, 0);
    w->dst.loaded_bad = f & SIM_FAULT_LOAD && chance(w, 5);
    w->calm = UINT64_C(5000) * MS;
    (void)later(w, UINT64_C(60000) * MS, IT_OPERATOR, SRC);
}

void world_init(struct world *w, const struct sim_config *config) {
    struct sim_result *result = w->result;
    struct sim_coverage *coverage = w->coverage;
    uint64_t seed = config->seed;
    memset(w, 0, offsetof(struct world, heap));
    w->result = result;
    w->coverage = coverage;
    w->config = *config;
    w->random[0] = split(&seed);
    w->random[1] = split(&seed);
    w->config.faults &= (unsigned)rnd(w, 1 << SIM_FAULTS) | SIM_FAULT_HASTY; /* some of them */
    init_scene(w);
    w->ack = w->src.config.switchover_ack;
    w->legacy = w->src.config.legacy_ack;
    if (config->plant == SIM_PLANT_GRANT)
        w->src.config.switchover_ack = false;
    w->src.alive = w->src.runs = w->src.locks = w->dst.alive = true;
    w->src.epoch = w->dst.epoch = 1;
    for (uint32_t p = 0; p < w->pages; p++)
        w->src.memory.gen[p] = 1;
    struct vms_guest_block block = {.name = "ram", .length = w->pages * PAGE, .page_size = PAGE};
    w->src.ram = src_ram_init(w->ram_memory, &block, 1, PAGE);
    (void)src_engine_init(&w->src.engine, &w->src.config);
    dst_native_init(&w->dst.native);
    dst_engine_init(&w->dst.qevm);
    init_faults(w);
}
