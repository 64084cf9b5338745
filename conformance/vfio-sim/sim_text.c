/* SPDX-License-Identifier: MIT */
#include "sim.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The text that describes a device. */

/* ---- settings with words of their own ---- */

static void set_name(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    (void)sim_word(l, d->name, sizeof d->name);
}

static void set_log(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    (void)sim_word(l, d->log, sizeof d->log);
}

static void set_without(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    d->reinit_to_dirty = sim_is(l->word[1], "dirty");
    (void)sim_want(l, sim_is(l->word[1], "dirty") || sim_is(l->word[1], "stop"),
                   "dirty or stop is wanted");
}

static void set_load_cost(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    static const char *const classes[] = {"initial", "dirty", "stop"};
    bool found = false;
    uint64_t cost = 0;
    if (!sim_time(l, l->word[2], &cost))
        return;
    for (size_t i = 0; i < 3; i++)
        if (sim_is(l->word[1], classes[i]) || sim_is(l->word[1], "all")) {
            d->load_cost[i] = cost;
            found = true;
        }
    (void)sim_want(l, found, "initial, dirty, stop or all is wanted");
}

static void set_state_cost(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    enum vfs_state state = l->word[1] ? vfs_state_parse(l->word[1]) : VFS_STATES;
    if (sim_want(l, state != VFS_STATES, "a state is wanted: stop-copy, …"))
        (void)sim_time(l, l->word[2], &d->state_cost[state]);
}

/* dma RATE IOVA PAGES */
static void set_dma(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    if (sim_size(l, l->word[1], &d->dma_rate) && sim_size(l, l->word[2], &d->dma_first) &&
        sim_size(l, l->word[3], &d->dma_pages))
        (void)sim_want(l, d->dma_first % 4096 == 0 && d->dma_pages < 1u << 30, "no such pages");
}

/* pci VENDOR PRODUCT [256|4096] */
static void set_pci(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    uint64_t vendor, product, size = 256;
    if (!sim_size(l, l->word[1], &vendor) || !sim_size(l, l->word[2], &product) ||
        (l->word[3] && !sim_size(l, l->word[3], &size)))
        return;
    if (!sim_want(l, vendor < 65536 && product < 65536 && (size == 256 || size == 4096),
                  "numbers of 16 bits, and 256 or 4096, are wanted"))
        return;
    d->vendor = (uint16_t)vendor;
    d->product = (uint16_t)product;
    d->config_size = (uint16_t)size;
}

/* reinit MOMENT [VALUE] BYTES [discard] [sticky] [times N] */
static void set_reinit(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    static const char *const moments[] = {"time", "read", "query", "drain", "p2p", "last"};
    struct vfs_reinit r = {.times = 1};
    uint64_t times = 1;
    size_t at = 2, m = 0;
    while (m < VFS_MOMENTS && !sim_is(l->word[1], moments[m]))
        m++;
    if (!sim_want(l, m < VFS_MOMENTS,
                  "a moment is wanted: time, read, query, drain, p2p or last") ||
        !sim_want(l, d->reinit_count < VFS_REINITS_MAX, "too many"))
        return;
    r.moment = (enum vfs_moment)m;
    if (r.moment == VFS_AT_TIME   ? !sim_time(l, l->word[at++], &r.value)
        : r.moment < VFS_AT_DRAIN ? !sim_size(l, l->word[at++], &r.value)
                                  : false)
        return;
    if (!sim_size(l, l->word[at++], &r.bytes))
        return;
    for (; l->word[at]; at++) {
        if (sim_is(l->word[at], "discard"))
            r.discard = true;
        else if (sim_is(l->word[at], "sticky"))
            r.sticky = true;
        else if (!sim_is(l->word[at], "times") || !sim_size(l, l->word[++at], &times))
            break;
    }
    r.times = (uint32_t)times;
    if (sim_want(l, !l->word[at] && times < 1000000, "discard, sticky or times N is wanted") &&
        sim_want(l, r.bytes == 0 || r.bytes >= VFS_HEADER,
                 "a part of the stream has 48 bytes or more"))
        d->reinits[d->reinit_count++] = r;
}

static const struct {
    const char *word;
    enum vfs_fault_kind kind;
    int error;
} kinds[] = {
    {"eio", VFS_FAIL, EIO},     {"enospc", VFS_FAIL, ENOSPC}, {"einval", VFS_FAIL, EINVAL},
    {"ebusy", VFS_FAIL, EBUSY}, {"enomem", VFS_FAIL, ENOMEM}, {"error", VFS_BREAK, EIO},
    {"stuck", VFS_STUCK, EIO},  {"short", VFS_SHORT, EIO},    {"long", VFS_LONG, EIO},
    {"flip", VFS_FLIP, EIO},
};

/* fault OP STATE KIND [after BYTES] [times N] */
static void set_fault(struct sim_line *l, void *description) {
    struct vfs_description *d = description;
    static const char *const ops[] = {"set", "read", "write", "info", "size", "report", "reset"};
    struct vfs_fault f = {.state = VFS_STATES};
    uint64_t times = 1;
    size_t op = 0, k = 0, at = 4;
    while (op < VFS_OPS && !sim_is(l->word[1], ops[op]))
        op++;
    while (k < sizeof kinds / sizeof kinds[0] && !sim_is(l->word[3], kinds[k].word))
        k++;
    if (!sim_want(l, op < VFS_OPS, "set, read, write, info, size, report or reset is wanted") ||
        !sim_want(l, l->count >= 4 && k < sizeof kinds / sizeof kinds[0], "no such fault") ||
        !sim_want(l, d->fault_count < VFS_FAULTS_MAX, "too many"))
        return;
    f.op = (enum vfs_op)op;
    f.kind = kinds[k].kind;
    f.error = kinds[k].error;
    if (!sim_is(l->word[2], "any"))
        f.state = vfs_state_parse(l->word[2]);
    if (!sim_want(l, sim_is(l->word[2], "any") || f.state != VFS_STATES,
                  "a state or any is wanted"))
        return;
    while (sim_is(l->word[at], "after") || sim_is(l->word[at], "times")) {
        if (!sim_size(l, l->word[at + 1], sim_is(l->word[at], "after") ? &f.after : &times))
            return;
        at += 2;
    }
    f.times = (uint32_t)times;
    if (sim_want(l, !l->word[at] && times < 1000000, "after BYTES or times N is wanted"))
        d->faults[d->fault_count++] = f;
}

/* ---- the table ---- */

#define AT(field) offsetof(struct vfs_description, field)
static const struct sim_setting settings[] = {
    {"name", SIM_OWN, 0, set_name},
    {"log", SIM_OWN, 0, set_log},
    {"seed", SIM_SIZE, AT(seed), NULL},
    {"p2p", SIM_SWITCH, AT(p2p), NULL},
    {"precopy", SIM_SWITCH, AT(precopy), NULL},
    {"precopy-v2", SIM_SWITCH, AT(reinit), NULL},
    {"data-size", SIM_SWITCH, AT(data_size), NULL},
    {"dma-log", SIM_SWITCH, AT(dma_log), NULL},
    {"iommu-log", SIM_SWITCH, AT(iommu_log), NULL},
    {"trace", SIM_SWITCH, AT(trace), NULL},
    {"initial", SIM_SIZE, AT(initial), NULL},
    {"dirty", SIM_SIZE, AT(dirty), NULL},
    {"dirty-rate", SIM_SIZE, AT(dirty_rate), NULL},
    {"dirty-max", SIM_SIZE, AT(dirty_max), NULL},
    {"stop", SIM_SIZE, AT(stop), NULL},
    {"read-rate", SIM_SIZE, AT(read_rate), NULL},
    {"without-reinit", SIM_OWN, 0, set_without},
    {"load-cost", SIM_OWN, 0, set_load_cost},
    {"state-cost", SIM_OWN, 0, set_state_cost},
    {"dma", SIM_OWN, 0, set_dma},
    {"pci", SIM_OWN, 0, set_pci},
    {"reinit", SIM_OWN, 0, set_reinit},
    {"fault", SIM_OWN, 0, set_fault},
};

static const struct vfs_description defaults = {
    .name = "vfio-sim",
    .seed = 1,
    .p2p = true,
    .precopy = true,
    .reinit = true,
    .data_size = true,
    .dma_log = true,
    .initial = 1 << 20,
    .stop = 1 << 20,
    .vendor = 0x1af4, /* of no vendor's drivers: QEMU's, with a number that has no device */
    .product = 0x10ff,
    .config_size = 256,
};

static const char *check_sizes(const struct vfs_description *d) {
    if (d->initial && d->initial < VFS_HEADER)
        return "initial: 0, or 48 bytes or more";
    if (d->dirty && d->dirty < VFS_HEADER)
        return "dirty: 0, or 48 bytes or more";
    return d->stop < VFS_HEADER ? "stop: 48 bytes or more" : NULL;
}

int vfs_parse(const char *text, size_t len, struct vfs_description *out, char *error, size_t size) {
    *out = defaults;
    if (sim_parse(text, len, VFS_MAGIC, settings, sizeof settings / sizeof settings[0], out, error,
                  size) != 0)
        return -1;
    const char *why = check_sizes(out);
    if (why)
        (void)snprintf(error, size, "%s", why);
    return why ? -1 : 0;
}
