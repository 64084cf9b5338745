/* SPDX-License-Identifier: MIT */
#include "internal.h"

/*
 * Packing and sending overlap, so a byte takes the longer of its time in the CPU and, by its ratio,
 * on the link. The level with the least is the best, with a quarter of the CPU's time on top: it
 * has other things to do (PACK-18). Levels are known from use only,
 * so those near the current one are tried out now and then, a few frames in a row.
 */
enum {
    PERIOD = 64,       /* frames from one trial to the next; */
    EARLY_PERIOD = 12, /* shorter at first, when nothing is known */
    EARLY_TURNS = 4,
    TRIAL = 4,    /* frames of a trial */
    PATIENCE = 8, /* frames for which another level must look better */
    RATIO_MAX = 1 << 16,
};

static const int LEVELS[VMS_CHOOSER_LEVELS] = {VMS_LEVEL_NONE, -3, 1, 3, 6, 9};

/* The index of the level in LEVELS that is nearest, counted in effort: none comes before -3. */
static unsigned index_of(int level) {
    unsigned best = 0;
    if (level == VMS_LEVEL_NONE)
        return 0;
    for (unsigned i = 1; i < VMS_CHOOSER_LEVELS; i++)
        if (LEVELS[i] <= level || i == 1)
            best = i;
    return best;
}

static unsigned clamp(unsigned i, unsigned low, unsigned high) {
    return i < low ? low : i > high ? high : i;
}

void vms_chooser_init(struct vms_level_chooser *c, int lowest, int highest) {
    *c = (struct vms_level_chooser){.lowest = index_of(lowest), .highest = index_of(highest)};
    if (c->highest < c->lowest)
        c->highest = c->lowest;
    c->current = clamp(index_of(1), c->lowest, c->highest);
    c->better = c->current;
}

/* A running mean, in which a new value counts a quarter. */
static uint64_t mean(uint64_t old, uint64_t value, bool first) {
    return first ? value : (3 * old + value) / 4;
}

/* x * scale / per, for x of a size that measurements have; larger ones are cut. */
static uint64_t rate(uint64_t x, uint64_t scale, uint64_t per) {
    const uint64_t most = UINT64_C(1) << 40;
    return (x < most ? x : most) * scale / per;
}

void vms_chooser_packed(struct vms_level_chooser *c, int level, uint64_t bytes_in,
                        uint64_t bytes_out, uint64_t ns) {
    struct vms_level_stats *s = &c->stats[index_of(level)];
    if (!bytes_in)
        return;
    s->cpu = mean(s->cpu, rate(ns, 1000, bytes_in), !s->measured);
    uint64_t ratio = rate(bytes_out, 1024, bytes_in);
    s->ratio = mean(s->ratio, ratio < RATIO_MAX ? ratio : RATIO_MAX, !s->measured);
    s->measured = true;
}

void vms_chooser_sent(struct vms_level_chooser *c, uint64_t bytes, uint64_t ns) {
    if (bytes)
        c->link = mean(c->link, rate(ns, 1000, bytes), c->link == 0);
}

static uint64_t cost(const struct vms_level_chooser *c, unsigned i) {
    const struct vms_level_stats *s = &c->stats[i];
    uint64_t link = rate(c->link, s->ratio, 1024);
    return (s->cpu > link ? s->cpu : link) + s->cpu / 4;
}

/* Another level must be better by an eighth, and for a while. */
static void reconsider(struct vms_level_chooser *c) {
    unsigned best = c->current;
    for (unsigned i = c->lowest; i <= c->highest; i++)
        if (c->stats[i].measured && cost(c, i) < cost(c, best))
            best = i;
    bool better = cost(c, best) < cost(c, c->current) - cost(c, c->current) / 8;
    c->streak = better && best == c->better ? c->streak + 1 : 0;
    c->better = best;
    if (c->streak < PATIENCE)
        return;
    c->current = best;
    c->streak = 0;
}

/* The level whose turn it is: one or two steps up or down, the other way where there is none. */
static unsigned neighbour(const struct vms_level_chooser *c) {
    unsigned far = c->turn / 2 % 2 + 1;
    bool can_rise = c->current + far <= c->highest, can_fall = c->current >= c->lowest + far;
    bool rise = c->turn % 2 == 0 ? can_rise : !can_fall;
    return clamp(rise ? c->current + far : c->current - (can_fall ? far : 0), c->lowest,
                 c->highest);
}

int vms_chooser_next(struct vms_level_chooser *c) {
    unsigned period = c->turn < EARLY_TURNS ? EARLY_PERIOD : PERIOD;
    bool trial = c->frames >= period - TRIAL;
    if (!trial && c->link && c->stats[c->current].measured)
        reconsider(c);
    unsigned chosen = trial ? neighbour(c) : c->current;
    if (++c->frames >= period) {
        c->frames = 0;
        c->turn++;
    }
    return LEVELS[chosen];
}
