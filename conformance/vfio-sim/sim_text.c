/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text that describes a device: a line a setting, words by blanks, '#' begins a comment. */
enum {
    WORDS = 12,
    LINE = 300,
};

struct line {
    char text[LINE];
    char *word[WORDS + 1]; /* NULL after the last */
    size_t count;
    const char *why; /* what is wrong with it */
};

static void split(struct line *l) {
    char *rest = NULL;
    l->count = 0;
    l->text[strcspn(l->text, "#")] = 0;
    for (char *w = strtok_r(l->text, " \t\r", &rest); w && l->count < WORDS;
         w = strtok_r(NULL, " \t\r", &rest))
        l->word[l->count++] = w;
    for (size_t i = l->count; i <= WORDS; i++)
        l->word[i] = NULL;
}

/* ---- values ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {{"", 1},         {"K", 1u << 10},   {"M", 1u << 20},
                                         {"G", 1u << 30}, {"T", 1ull << 40}, {NULL, 0}};
static const struct unit time_units[] = {{"ns", 1},         {"us", 1000}, {"ms", 1000000},
                                         {"s", 1000000000}, {"", 1},      {NULL, 0}};

static bool number(const char *word, const struct unit *units, uint64_t *out) {
    char *end;
    if (!word || word[0] < '0' || word[0] > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(word, &end, 0);
    for (; units->name; units++)
        if (strcmp(units->name, end) == 0)
            break;
    if (errno || !units->name || (n && n > UINT64_MAX / units->factor))
        return false;
    *out = n * units->factor;
    return true;
}

static bool want(struct line *l, bool good, const char *why) {
    if (!good && !l->why)
        l->why = why;
    return good;
}

static bool size_of(struct line *l, const char *word, uint64_t *out) {
    return want(l, number(word, size_units, out), "a number of bytes is wanted: 4096, 64K, 1M");
}

static bool time_of(struct line *l, const char *word, uint64_t *out) {
    return want(l, number(word, time_units, out), "a duration is wanted: 10us, 5ms, 1s");
}

static bool is(const char *word, const char *what) {
    return word && strcmp(word, what) == 0;
}

static bool switch_of(struct line *l, const char *word, bool *out) {
    *out = is(word, "on");
    return want(l, is(word, "on") || is(word, "off"), "on or off is wanted");
}

/* ---- settings with words of their own ---- */

static bool copy_word(struct line *l, char *out, size_t size) {
    bool fits = l->count == 2 && strlen(l->word[1]) < size && !strpbrk(l->word[1], "\"\\");
    if (fits)
        memcpy(out, l->word[1], strlen(l->word[1]) + 1);
    return want(l, fits, "one short word is wanted");
}

static void set_name(struct line *l, struct vfs_description *d) {
    (void)copy_word(l, d->name, sizeof d->name);
}

static void set_log(struct line *l, struct vfs_description *d) {
    (void)copy_word(l, d->log, sizeof d->log);
}

static void set_without(struct line *l, struct vfs_description *d) {
    d->reinit_to_dirty = is(l->word[1], "dirty");
    (void)want(l, is(l->word[1], "dirty") || is(l->word[1], "stop"), "dirty or stop is wanted");
}

static void set_load_cost(struct line *l, struct vfs_description *d) {
    static const char *const classes[] = {"initial", "dirty", "stop"};
    bool found = false;
    uint64_t cost = 0;
    if (!time_of(l, l->word[2], &cost))
        return;
    for (size_t i = 0; i < 3; i++)
        if (is(l->word[1], classes[i]) || is(l->word[1], "all")) {
            d->load_cost[i] = cost;
            found = true;
        }
    (void)want(l, found, "initial, dirty, stop or all is wanted");
}

static void set_state_cost(struct line *l, struct vfs_description *d) {
    enum vfs_state state = l->word[1] ? vfs_state_parse(l->word[1]) : VFS_STATES;
    if (want(l, state != VFS_STATES, "a state is wanted: stop-copy, …"))
        (void)time_of(l, l->word[2], &d->state_cost[state]);
}

/* dma RATE IOVA PAGES */
static void set_dma(struct line *l, struct vfs_description *d) {
    if (size_of(l, l->word[1], &d->dma_rate) && size_of(l, l->word[2], &d->dma_first) &&
        size_of(l, l->word[3], &d->dma_pages))
        (void)want(l, d->dma_first % 4096 == 0 && d->dma_pages < 1u << 30, "no such pages");
}

/* pci VENDOR PRODUCT [256|4096] */
static void set_pci(struct line *l, struct vfs_description *d) {
    uint64_t vendor, product, size = 256;
    if (!size_of(l, l->word[1], &vendor) || !size_of(l, l->word[2], &product) ||
        (l->word[3] && !size_of(l, l->word[3], &size)))
        return;
    if (!want(l, vendor < 65536 && product < 65536 && (size == 256 || size == 4096),
              "numbers of 16 bits, and 256 or 4096, are wanted"))
        return;
    d->vendor = (uint16_t)vendor;
    d->product = (uint16_t)product;
    d->config_size = (uint16_t)size;
}

/* reinit MOMENT [VALUE] BYTES [discard] [sticky] [times N] */
static void set_reinit(struct line *l, struct vfs_description *d) {
    static const char *const moments[] = {"time", "read", "query", "drain", "p2p", "last"};
    struct vfs_reinit r = {.times = 1};
    uint64_t times = 1;
    size_t at = 2, m = 0;
    while (m < VFS_MOMENTS && !is(l->word[1], moments[m]))
        m++;
    if (!want(l, m < VFS_MOMENTS, "a moment is wanted: time, read, query, drain, p2p or last") ||
        !want(l, d->reinit_count < VFS_REINITS_MAX, "too many"))
        return;
    r.moment = (enum vfs_moment)m;
    if (r.moment == VFS_AT_TIME   ? !time_of(l, l->word[at++], &r.value)
        : r.moment < VFS_AT_DRAIN ? !size_of(l, l->word[at++], &r.value)
                                  : false)
        return;
    if (!size_of(l, l->word[at++], &r.bytes))
        return;
    for (; l->word[at]; at++) {
        if (is(l->word[at], "discard"))
            r.discard = true;
        else if (is(l->word[at], "sticky"))
            r.sticky = true;
        else if (!is(l->word[at], "times") || !size_of(l, l->word[++at], &times))
            break;
    }
    r.times = (uint32_t)times;
    if (want(l, !l->word[at] && times < 1000000, "discard, sticky or times N is wanted") &&
        want(l, r.bytes == 0 || r.bytes >= VFS_HEADER, "a part of the stream has 48 bytes or more"))
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
static void set_fault(struct line *l, struct vfs_description *d) {
    static const char *const ops[] = {"set", "read", "write", "info", "size", "report", "reset"};
    struct vfs_fault f = {.state = VFS_STATES};
    uint64_t times = 1;
    size_t op = 0, k = 0, at = 4;
    while (op < VFS_OPS && !is(l->word[1], ops[op]))
        op++;
    while (k < sizeof kinds / sizeof kinds[0] && !is(l->word[3], kinds[k].word))
        k++;
    if (!want(l, op < VFS_OPS, "set, read, write, info, size, report or reset is wanted") ||
        !want(l, l->count >= 4 && k < sizeof kinds / sizeof kinds[0], "no such fault") ||
        !want(l, d->fault_count < VFS_FAULTS_MAX, "too many"))
        return;
    f.op = (enum vfs_op)op;
    f.kind = kinds[k].kind;
    f.error = kinds[k].error;
    if (!is(l->word[2], "any"))
        f.state = vfs_state_parse(l->word[2]);
    if (!want(l, is(l->word[2], "any") || f.state != VFS_STATES, "a state or any is wanted"))
        return;
    while (is(l->word[at], "after") || is(l->word[at], "times")) {
        if (!size_of(l, l->word[at + 1], is(l->word[at], "after") ? &f.after : &times))
            return;
        at += 2;
    }
    f.times = (uint32_t)times;
    if (want(l, !l->word[at] && times < 1000000, "after BYTES or times N is wanted"))
        d->faults[d->fault_count++] = f;
}

/* ---- the table ---- */

enum kind {
    SWITCH,
    SIZE,
    OWN,
};

#define AT(field) offsetof(struct vfs_description, field)
static const struct setting {
    const char *word;
    enum kind kind;
    size_t offset;
    void (*own)(struct line *l, struct vfs_description *d);
} settings[] = {
    {"name", OWN, 0, set_name},
    {"log", OWN, 0, set_log},
    {"seed", SIZE, AT(seed), NULL},
    {"p2p", SWITCH, AT(p2p), NULL},
    {"precopy", SWITCH, AT(precopy), NULL},
    {"precopy-v2", SWITCH, AT(reinit), NULL},
    {"data-size", SWITCH, AT(data_size), NULL},
    {"dma-log", SWITCH, AT(dma_log), NULL},
    {"trace", SWITCH, AT(trace), NULL},
    {"initial", SIZE, AT(initial), NULL},
    {"dirty", SIZE, AT(dirty), NULL},
    {"dirty-rate", SIZE, AT(dirty_rate), NULL},
    {"dirty-max", SIZE, AT(dirty_max), NULL},
    {"stop", SIZE, AT(stop), NULL},
    {"read-rate", SIZE, AT(read_rate), NULL},
    {"without-reinit", OWN, 0, set_without},
    {"load-cost", OWN, 0, set_load_cost},
    {"state-cost", OWN, 0, set_state_cost},
    {"dma", OWN, 0, set_dma},
    {"pci", OWN, 0, set_pci},
    {"reinit", OWN, 0, set_reinit},
    {"fault", OWN, 0, set_fault},
};

static void set(struct line *l, struct vfs_description *d) {
    const struct setting *s = settings, *end = settings + sizeof settings / sizeof settings[0];
    while (s < end && strcmp(s->word, l->word[0]) != 0)
        s++;
    if (!want(l, s < end, "no such setting"))
        return;
    if (s->kind == OWN)
        s->own(l, d);
    else if (!want(l, l->count == 2, "one value is wanted"))
        return;
    else if (s->kind == SWITCH)
        (void)switch_of(l, l->word[1], (bool *)((char *)d + s->offset));
    else
        (void)size_of(l, l->word[1], (uint64_t *)(void *)((char *)d + s->offset));
}

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
    const char *end = text + len;
    *out = defaults;
    for (unsigned n = 1; text < end; n++) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        struct line l = {.why = NULL};
        size_t length = (size_t)((eol ? eol : end) - text);
        bool fits = length < sizeof l.text;
        memcpy(l.text, text, fits ? length : 0);
        if (n == 1)
            (void)want(&l, strcmp(l.text, VFS_MAGIC) == 0, "the first line is: " VFS_MAGIC);
        split(&l);
        (void)want(&l, fits, "the line is too long");
        if (n > 1 && l.count && !l.why)
            set(&l, out);
        if (l.why) {
            (void)snprintf(error, size, "line %u: %s", n, l.why);
            return -1;
        }
        text = eol ? eol + 1 : end;
    }
    const char *why = len ? check_sizes(out) : "the text is empty";
    if (why)
        (void)snprintf(error, size, "%s", why);
    return why ? -1 : 0;
}
