/* SPDX-License-Identifier: MIT */
#include "sim_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text that describes a device: a line a setting, words by blanks, '#' begins a comment. */
enum {
    WORDS = 10,
    LINE = 300,
};

#define BIT(n) (UINT64_C(1) << (n))

static const struct named {
    const char *name;
    uint64_t value;
} features[] =
    {
        {"mtu", BIT(3)},       {"mac", BIT(5)},        {"status", BIT(16)},
        {"ctrl-vq", BIT(17)},  {"ctrl-rx", BIT(18)},   {"ctrl-vlan", BIT(19)},
        {"mq", BIT(22)},       {"ctrl-mac", BIT(23)},  {"any-layout", BIT(27)},
        {"indirect", BIT(28)}, {"version-1", BIT(32)}, {"access-platform", BIT(33)},
        {"packed", BIT(34)},
},
  backend[] =
      {
          {"msg-v2", BIT(VMS_VDPA_MSG_V2)},
          {"batch", BIT(VMS_VDPA_BATCH)},
          {"asid", BIT(VMS_VDPA_ASID)},
          {"suspend", BIT(VMS_VDPA_SUSPEND)},
          {"resume", BIT(VMS_VDPA_RESUME)},
          {"enable-after-driver-ok", BIT(VMS_VDPA_ENABLE_AFTER_DRIVER_OK)},
          {"persist", BIT(VMS_VDPA_IOTLB_PERSIST)},
},
  errors[] =
      {
          {"eio", EIO},       {"enospc", ENOSPC}, {"einval", EINVAL}, {"ebusy", EBUSY},
          {"enomem", ENOMEM}, {"efault", EFAULT}, {"enodev", ENODEV}, {"eopnotsupp", EOPNOTSUPP},
},
  units[] = {
      {"", 1},   {"K", 1 << 10}, {"M", 1 << 20},  {"G", 1 << 30},    {"T", BIT(40)},
      {"ns", 1}, {"us", 1000},   {"ms", 1000000}, {"s", 1000000000},
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct line {
    char text[LINE];
    char *word[WORDS + 1];
    size_t count;
    const char *why;
};

static const struct named *find(const struct named *table, size_t count, const char *word) {
    for (size_t i = 0; i < count && word; i++)
        if (strcmp(table[i].name, word) == 0)
            return &table[i];
    return NULL;
}

static bool want(struct line *l, bool good, const char *why) {
    if (!good && !l->why)
        l->why = why;
    return good;
}

/** Bytes (4096, 64K), a duration (10us) or just a number. */
static bool number(struct line *l, const char *word, uint64_t *out) {
    char *end = NULL;
    bool good = word && word[0] >= '0' && word[0] <= '9';
    unsigned long long n = good ? strtoull(word, &end, 0) : 0;
    const struct named *unit = good ? find(units, COUNT(units), end) : NULL;
    if (!want(l, unit && (!n || n <= UINT64_MAX / unit->value),
              "a number is wanted: 4096, 1M, 5us"))
        return false;
    *out = n * unit->value;
    return true;
}

static void set_word(struct line *l, char *out, size_t size) {
    if (want(l, l->count == 2 && strlen(l->word[1]) < size && !strpbrk(l->word[1], "\"\\"),
             "one short word is wanted"))
        (void)snprintf(out, size, "%s", l->word[1]);
}

/* features [+|-]NAME…, backend [+|-]NAME… */
static void set_bits(struct line *l, uint64_t *bits, const struct named *table, size_t count) {
    for (size_t i = 1; i < l->count; i++) {
        const char *w = l->word[i];
        const struct named *bit = find(table, count, w + (*w == '-' || *w == '+'));
        if (!want(l, bit != NULL, "no such feature"))
            return;
        *bits = *w == '-' ? *bits & ~bit->value : *bits | bit->value;
    }
}

/* fault CALL ERROR [after N] [times N] */
static void set_fault(struct line *l, struct vds_description *d) {
    struct vds_fault f = {.times = 1};
    const struct named *error = find(errors, COUNT(errors), l->word[2]);
    size_t at = 3;
    while (f.call < vds_call_count && l->word[1] && strcmp(vds_calls[f.call].name, l->word[1]) != 0)
        f.call++;
    if (!want(l, l->word[1] && f.call < vds_call_count, "a call is wanted: MAP, SET_STATUS, …") ||
        !want(l, error != NULL, "an error is wanted: eio, efault, …") ||
        !want(l, d->fault_count < VDS_FAULTS_MAX, "too many"))
        return;
    f.error = (int)error->value;
    for (; l->word[at] && l->word[at + 1]; at += 2) {
        bool after = strcmp(l->word[at], "after") == 0;
        if (!want(l, after || strcmp(l->word[at], "times") == 0, "after N or times N is wanted") ||
            !number(l, l->word[at + 1], after ? &f.after : &f.times))
            return;
    }
    d->faults[d->fault_count++] = f;
}

static void set_mac(struct line *l, struct vds_description *d) {
    unsigned m[6];
    if (!want(l,
              l->word[1] && sscanf(l->word[1], "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3],
                                   &m[4], &m[5]) == 6,
              "an address is wanted: 52:54:00:12:34:56"))
        return;
    for (size_t i = 0; i < 6; i++)
        d->mac[i] = (uint8_t)m[i];
}

#define AT(field) offsetof(struct vds_description, field)
static const struct setting {
    const char *word;
    bool is_switch;
    size_t offset;
} settings[] = {
    {"pairs", false, AT(pairs)},
    {"control", true, AT(control)},
    {"ring-size", false, AT(ring_size)},
    {"groups", false, AT(groups)},
    {"spaces", false, AT(spaces)},
    {"iova-first", false, AT(iova_first)},
    {"iova-last", false, AT(iova_last)},
    {"page-cost", false, AT(page_cost)},
    {"call-cost", false, AT(call_cost)},
    {"max-maps", false, AT(max_maps)},
    {"pin", true, AT(pin)},
    {"forgets", true, AT(forgets)},
    {"trace", true, AT(trace)},
    {"echo", true, AT(echo)},
};

static void set_plain(struct line *l, struct vds_description *d) {
    const struct setting *s = settings, *end = settings + COUNT(settings);
    while (s < end && strcmp(s->word, l->word[0]) != 0)
        s++;
    if (!want(l, s < end, "no such setting") || !want(l, l->count == 2, "one value is wanted"))
        return;
    char *at = (char *)d + s->offset;
    bool on = strcmp(l->word[1], "on") == 0;
    if (!s->is_switch)
        (void)number(l, l->word[1], (uint64_t *)(void *)at);
    else if (want(l, on || strcmp(l->word[1], "off") == 0, "on or off is wanted"))
        *(bool *)at = on;
}

static void set(struct line *l, struct vds_description *d) {
    const char *w = l->word[0];
    if (strcmp(w, "name") == 0)
        set_word(l, d->name, sizeof d->name);
    else if (strcmp(w, "log") == 0)
        set_word(l, d->log, sizeof d->log);
    else if (strcmp(w, "features") == 0)
        set_bits(l, &d->features, features, COUNT(features));
    else if (strcmp(w, "backend") == 0)
        set_bits(l, &d->backend, backend, COUNT(backend));
    else if (strcmp(w, "mac") == 0)
        set_mac(l, d);
    else if (strcmp(w, "fault") == 0)
        set_fault(l, d);
    else
        set_plain(l, d);
}

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

static const char *check(struct vds_description *d) {
    if (d->pairs < 1 || 2 * d->pairs + 1 > VDS_QUEUES_MAX)
        return "pairs: 1 to 32";
    if (d->ring_size < 2 || d->ring_size > VDS_RING_MAX || (d->ring_size & (d->ring_size - 1)))
        return "ring-size: a power of two from 2 to 1024";
    if (d->groups < 1 || d->groups > 2 || d->spaces < 1 || d->spaces > VDS_SPACES_MAX)
        return "groups: 1 or 2; spaces: 1 to 8";
    if (!d->control)
        d->features &= ~(BIT(17) | BIT(18) | BIT(19) | BIT(22) | BIT(23));
    return d->iova_first < d->iova_last ? NULL : "iova-first is less than iova-last";
}

int vds_parse(const char *text, size_t len, struct vds_description *out, char *error, size_t size) {
    const char *end = text + len;
    *out = (struct vds_description){
        .name = "vdpa-sim",
        .pairs = 1,
        .control = true,
        .ring_size = 256,
        .groups = 2,
        .spaces = 2,
        .iova_last = UINT64_MAX,
        .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56},
    };
    for (size_t i = 0; i < COUNT(features); i++) /* but packed rings, and what is not useful here */
        if (features[i].value != BIT(34) && features[i].value != BIT(28))
            out->features |= features[i].value;
    for (size_t i = 0; i < COUNT(backend); i++)
        out->backend |= backend[i].value;
    for (unsigned n = 1; text < end; n++) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        struct line l = {.why = NULL};
        size_t length = (size_t)((eol ? eol : end) - text);
        bool fits = length < sizeof l.text;
        memcpy(l.text, text, fits ? length : 0);
        if (n == 1)
            (void)want(&l, strcmp(l.text, VDS_MAGIC) == 0, "the first line is: " VDS_MAGIC);
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
    const char *why = len ? check(out) : "the text is empty";
    if (why)
        (void)snprintf(error, size, "%s", why);
    return why ? -1 : 0;
}
