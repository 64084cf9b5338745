/* SPDX-License-Identifier: MIT */
#include "mutate.h"

#include <string.h>
#include <vmstream/native.h>

/* The input while it is being changed. */
struct work {
    const struct fuzz_shape *shape;
    uint8_t *buf;
    size_t size, max;
    uint64_t random;
    struct vms_slice donor, other;
    struct fuzz_span spans[FUZZ_SPANS];
    size_t count;
};

static uint64_t any(struct work *w) {
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(struct work *w, size_t n) {
    return n ? (size_t)(any(w) % n) : 0;
}

/* ---- moving octets ---- */

static void remove_at(struct work *w, size_t at, size_t n) {
    memmove(w->buf + at, w->buf + at + n, w->size - at - n);
    w->size -= n;
}

/* bytes must not lie behind `at` in the input itself. */
static bool insert_at(struct work *w, size_t at, struct vms_slice bytes) {
    if (!bytes.len || bytes.len > w->max - w->size)
        return false;
    memmove(w->buf + at + bytes.len, w->buf + at, w->size - at);
    memcpy(w->buf + at, bytes.ptr, bytes.len);
    w->size += bytes.len;
    return true;
}

static void reverse(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n / 2; i++) {
        uint8_t t = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = t;
    }
}

/* [a, b) and [b, c) change places. */
static void rotate(uint8_t *buf, size_t a, size_t b, size_t c) {
    reverse(buf + a, b - a);
    reverse(buf + b, c - b);
    reverse(buf + a, c - a);
}

static void resplit(struct work *w) {
    w->count = fuzz_split(w->shape, vms_slice(w->buf, w->size), w->spans);
}

static const struct fuzz_span *pick(struct work *w) {
    return w->count ? &w->spans[below(w, w->count)] : NULL;
}

/* Where a record may come in: before one, or at the end. */
static size_t pick_place(struct work *w) {
    size_t i = below(w, w->count + 1);
    return i < w->count ? w->spans[i].at : w->size;
}

/* ---- records ---- */

static bool op_drop(struct work *w) {
    const struct fuzz_span *p = pick(w);
    if (!p || p->len >= w->size)
        return false;
    remove_at(w, p->at, p->len);
    return true;
}

/* From a copy at the end of the room: the input moves under it. */
static bool op_double(struct work *w) {
    const struct fuzz_span *p = pick(w);
    size_t times = 1 + (any(w) % 8 ? 0 : below(w, 16));
    if (!p || p->len > w->max - w->size)
        return false;
    size_t at = any(w) & 1 ? p->at + p->len : pick_place(w);
    for (size_t i = 0; i < times && p->len <= w->max - w->size; i++) {
        size_t from = p->at;
        memmove(w->buf + at + p->len, w->buf + at, w->size - at);
        w->size += p->len;
        memmove(w->buf + at, w->buf + (from >= at ? from + p->len : from), p->len);
    }
    return true;
}

static bool op_swap(struct work *w) {
    size_t i = below(w, w->count), j = below(w, w->count);
    if (i == j)
        return false;
    const struct fuzz_span *a = &w->spans[i < j ? i : j], *b = &w->spans[i < j ? j : i];
    size_t end = b->at + b->len, middle = a->at + a->len;
    rotate(w->buf, a->at, b->at, end);                    /* b's rest: [b][a ... between] */
    rotate(w->buf, a->at + b->len, middle + b->len, end); /* [b][between][a] */
    return true;
}

static bool op_reorder(struct work *w) {
    if (w->count < 3)
        return false;
    size_t i = below(w, w->count), n = 1 + below(w, 4);
    size_t from = w->spans[i].at;
    size_t end = i + n < w->count ? w->spans[i + n].at : w->size;
    size_t to = pick_place(w);
    if (to >= from && to <= end)
        return false;
    if (to < from)
        rotate(w->buf, to, from, end);
    else
        rotate(w->buf, from, end, to);
    return true;
}

static bool op_splice(struct work *w) {
    struct fuzz_span spans[FUZZ_SPANS];
    size_t n = fuzz_split(w->shape, w->donor, spans), i = below(w, n);
    if (!n)
        return false;
    size_t last = i + below(w, n - i < 6 ? n - i : 6);
    struct vms_slice bytes =
        vms_slice(w->donor.ptr + spans[i].at, spans[last].at + spans[last].len - spans[i].at);
    if (any(w) % 4 == 0 && w->count) { /* and the donor goes on from there */
        size_t at = pick(w)->at;
        bytes = vms_slice_tail(w->donor, spans[i].at);
        bytes = vms_slice_head(bytes, w->max - at);
        memcpy(w->buf + at, bytes.ptr, bytes.len);
        w->size = at + bytes.len;
        return bytes.len > 0;
    }
    return insert_at(w, pick_place(w), bytes);
}

/* ---- across wires ---- */

static void put(uint8_t *p, unsigned width, uint64_t value) {
    for (unsigned i = width; i-- > 0; value >>= 8)
        p[i] = (uint8_t)value;
}

static uint64_t get(const uint8_t *p, unsigned width) {
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | p[i];
    return value;
}

/* An OPAQUE frame around octets of QEVM; its tag is the harness's to mend. */
static bool wrap(struct work *w, struct vms_slice octets) {
    uint8_t head[VMS_NATIVE_HEADER + 4] = {'V', 'M', 'S', 'F'}, tag[4] = {0};
    size_t at = pick_place(w);
    put(head + 4, 4, VMS_NATIVE_OPAQUE);
    put(head + 24, 4, 4);
    put(head + 28, 4, octets.len);
    memcpy(head + VMS_NATIVE_HEADER, (uint8_t[]){0xa1, 0x18, 0x29, 0}, 4); /* {OFFSET: 0} */
    if (octets.len + sizeof head + sizeof tag > w->max - w->size)
        return false;
    return insert_at(w, at, vms_slice(head, sizeof head)) &&
           insert_at(w, at + sizeof head, octets) &&
           insert_at(w, at + sizeof head + octets.len, vms_slice(tag, sizeof tag));
}

static bool op_transplant(struct work *w) {
    static const struct fuzz_shape guess = {.wire = FUZZ_WIRE_GUESS};
    struct fuzz_span spans[FUZZ_SPANS];
    size_t n = fuzz_split(&guess, w->other, spans);
    if (!n)
        return false;
    const struct fuzz_span *p = &spans[below(w, n)];
    struct vms_slice bytes = vms_slice(w->other.ptr + p->at, p->len);
    if (w->count && w->spans[0].native && any(w) & 1)
        return wrap(w, bytes);
    if (p->native && p->len > VMS_NATIVE_HEADER && any(w) & 1)
        bytes = vms_slice_tail(bytes, VMS_NATIVE_HEADER);
    return insert_at(w, pick_place(w), bytes);
}

/* ---- fields ---- */

static uint64_t other_amount(struct work *w, uint64_t v, unsigned width) {
    uint64_t all = width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1;
    switch (any(w) % 8) {
    case 0: return v + 1;
    case 1: return v - 1;
    case 2: return v * 2;
    case 3: return v / 2;
    case 4: return 0;
    case 5: return all;
    case 6: return all >> 1;
    default: return any(w) & (any(w) & 1 ? 0xff : all);
    }
}

/* The same field of another record. */
static uint64_t other_id(struct work *w, uint64_t v, const struct fuzz_field *f) {
    struct fuzz_field fields[FUZZ_FIELDS];
    const struct fuzz_span *p = pick(w);
    size_t n = fuzz_fields(p, FUZZ_OP_ID, fields);
    for (size_t i = 0; i < n; i++)
        if (fields[i].width == f->width && any(w) % 4)
            return get(w->buf + p->at + fields[i].at, fields[i].width);
    return any(w) & 1 ? v + 1 : any(w) & 3;
}

static uint64_t other_value(struct work *w, uint64_t v, const struct fuzz_field *f) {
    switch (f->kind) {
    case FUZZ_OP_FLAGS: return v ^ UINT64_C(1) << below(w, f->width * 8u);
    case FUZZ_OP_ID: return other_id(w, v, f);
    case FUZZ_OP_VALUE:
        return any(w) % 4 ? other_amount(w, v, f->width)
                          : v ^ UINT64_C(1) << below(w, 8u * f->width);
    default: return other_amount(w, v, f->width);
    }
}

/* In the first record from a random one on that has such a field. */
static bool op_field(struct work *w, enum fuzz_op kind) {
    struct fuzz_field fields[FUZZ_FIELDS];
    size_t from = below(w, w->count);
    for (size_t i = 0; i < w->count; i++) {
        const struct fuzz_span *p = &w->spans[(from + i) % w->count];
        size_t n = fuzz_fields(p, kind, fields);
        if (!n)
            continue;
        const struct fuzz_field *f = &fields[below(w, n)];
        uint8_t *at = w->buf + p->at + f->at;
        put(at, f->width, other_value(w, get(at, f->width), f));
        return true;
    }
    return false;
}

static bool op_bulk(struct work *w) {
    const struct fuzz_span *p = pick(w);
    if (!p || p->head >= p->len)
        return false;
    size_t from = below(w, p->len - p->head), n = 1 + below(w, p->len - p->head - from);
    uint8_t *at = w->buf + p->at + p->head + from;
    unsigned how = (unsigned)(any(w) % 3);
    for (size_t i = 0; i < n; i++)
        at[i] = how == 0 ? 0 : how == 1 ? (uint8_t)n : (uint8_t)any(w);
    return true;
}

/* ---- octets ---- */

static bool op_options(struct work *w) {
    if (!w->shape->options || w->size < w->shape->options)
        return false;
    uint8_t *at = w->buf + below(w, w->shape->options);
    *at = (uint8_t)(any(w) & 1 ? any(w) : *at ^ 1u << below(w, 8));
    return true;
}

static bool op_cut(struct work *w) {
    if (w->size < 2)
        return false;
    const struct fuzz_span *p = pick(w);
    size_t to = p && any(w) & 1 ? p->at : w->size - 1 - below(w, w->size / 4);
    if (to >= w->size || to == 0)
        return false;
    w->size = to;
    return true;
}

static bool op_havoc(struct work *w) {
    size_t at = below(w, w->size), n = 1 + below(w, 8);
    uint8_t bytes[8];
    static const unsigned widths[] = {1, 2, 4, 8};
    unsigned width = widths[below(w, 4)];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)any(w);
    switch (any(w) % 5) {
    case 0: return insert_at(w, at, vms_slice(bytes, n));
    case 1:
        if (n >= w->size - at)
            return false;
        remove_at(w, at, n);
        return true;
    case 2: w->buf[at] = (uint8_t)(w->buf[at] ^ 1u << below(w, 8)); return true;
    case 3: w->buf[at] = bytes[0]; return true;
    default:
        if (width > w->size - at)
            return false;
        put(w->buf + at, width, other_amount(w, get(w->buf + at, width), width));
        return true;
    }
}

/* ---- choice ---- */

static bool carry_out(struct work *w, enum fuzz_op op) {
    static bool (*const ops[FUZZ_OPS])(struct work *) = {
        [FUZZ_OP_DROP] = op_drop,     [FUZZ_OP_DOUBLE] = op_double,
        [FUZZ_OP_SWAP] = op_swap,     [FUZZ_OP_REORDER] = op_reorder,
        [FUZZ_OP_SPLICE] = op_splice, [FUZZ_OP_TRANSPLANT] = op_transplant,
        [FUZZ_OP_BULK] = op_bulk,     [FUZZ_OP_OPTIONS] = op_options,
        [FUZZ_OP_CUT] = op_cut,       [FUZZ_OP_HAVOC] = op_havoc,
    };
    return ops[op] ? ops[op](w) : op_field(w, op);
}

static enum fuzz_op choose(struct work *w) {
    if (any(w) % 4 == 0 || !w->count)
        return FUZZ_OP_HAVOC;
    return (enum fuzz_op)below(w, FUZZ_OPS);
}

size_t fuzz_mutate(const struct fuzz_shape *shape, uint8_t *buf, size_t size, size_t max,
                   uint64_t seed, struct vms_slice donor, struct vms_slice other,
                   unsigned *applied) {
    struct work w = {.shape = shape,
                     .buf = buf,
                     .size = size,
                     .max = max,
                     .random = seed,
                     .donor = donor,
                     .other = other};
    if (!max)
        return 0;
    if (size > max)
        w.size = max;
    if (!w.size)
        buf[w.size++] = (uint8_t)any(&w);
    unsigned wanted = 1 + (unsigned)below(&w, 4);
    for (unsigned done = 0, tries = 0; done < wanted && tries < 16; tries++) {
        resplit(&w);
        enum fuzz_op op = choose(&w);
        if (!carry_out(&w, op))
            continue;
        done++;
        if (applied)
            applied[op]++;
    }
    return w.size;
}

size_t mutate(uint8_t *buf, size_t size, size_t max, uint64_t seed) {
    static const struct fuzz_shape guess = {.wire = FUZZ_WIRE_GUESS};
    struct vms_slice nothing = {NULL, 0};
    return fuzz_mutate(&guess, buf, size, max, seed, nothing, nothing, NULL);
}

const char *fuzz_op_name(enum fuzz_op op) {
    static const char *const names[FUZZ_OPS] = {
        "drop",  "double", "swap",  "reorder", "splice",  "transplant", "length", "count",
        "flags", "id",     "value", "bulk",    "options", "cut",        "havoc"};
    return (unsigned)op < FUZZ_OPS ? names[op] : "?";
}
