/* SPDX-License-Identifier: MIT */
#include "transcode/to_native.h"

enum {
    LONG_MAPPED = 16 * 1024, /* bytes of a mapped-ram region from which holes are looked for */
};

/* ---- construction ---- */

struct vms_to_native_config vms_to_native_config_default(void) {
    return (struct vms_to_native_config){.limits = vms_limits_default()};
}

static size_t aligned(size_t n) {
    return (n + 15) & ~(size_t)15;
}

static uint32_t batch_bytes(const struct vms_to_native_config *c) {
    return c->batch_bytes ? c->batch_bytes : VMS_BATCH_BYTES;
}

static size_t arena_bytes(const struct vms_to_native_config *c) {
    return aligned((size_t)c->limits.native_body_bytes);
}

static size_t lists_bytes(const struct vms_to_native_config *c) {
    return aligned((size_t)c->limits.native_records * sizeof(struct vms_record)) +
           aligned((size_t)c->limits.native_runs * sizeof(struct vms_native_run)) +
           aligned((size_t)c->limits.native_items * sizeof(uint32_t));
}

/* Lists longer than any peer's are not made, whatever limits are set (LIM-3). */
static bool config_ok(const struct vms_to_native_config *c) {
    const struct vms_limits *l = &c->limits;
    return batch_bytes(c) >= VMS_BATCH_BYTES_MIN && batch_bytes(c) <= l->native_bulk_bytes &&
           l->native_body_bytes <= UINT32_MAX && l->native_records <= UINT16_MAX &&
           l->native_records > 0 && l->native_runs <= UINT16_MAX && l->native_runs > 0 &&
           l->native_items <= UINT16_MAX && l->native_items > 0 && l->native_frame_pages > 0;
}

size_t vms_to_native_size(const struct vms_to_native_config *c) {
    return config_ok(c) ? aligned(sizeof(struct vms_to_native)) + lists_bytes(c) + arena_bytes(c) +
                              aligned(batch_bytes(c))
                        : 0;
}

static void *take(uint8_t **at, size_t n) {
    void *mem = *at;
    *at += aligned(n);
    return mem;
}

static void lay_out(struct vms_to_native *t, uint8_t *at) {
    const struct vms_limits *l = &t->config.limits;
    size_t items = (size_t)l->native_items, runs = (size_t)l->native_runs;
    t->records = take(&at, (size_t)l->native_records * sizeof *t->records);
    t->runs = take(&at, runs * sizeof *t->runs);
    t->named = take(&at, items * sizeof *t->named);
    t->arena_cap = arena_bytes(&t->config);
    t->arena = take(&at, t->arena_cap);
    t->gather.buffer = at;
    t->gather.cap = t->config.batch_bytes;
    vms_native_collect_init(&t->pages, t->runs, (uint32_t)runs, t->named, (uint32_t)items,
                            t->config.batch_bytes);
}

struct vms_to_native *vms_to_native_init(void *mem, size_t mem_len,
                                         const struct vms_to_native_config *config) {
    struct vms_to_native *t = mem;
    size_t size = vms_to_native_size(config);
    if (!mem || !size || mem_len < size)
        return NULL;
    memset(t, 0, sizeof *t);
    t->config = *config;
    t->config.batch_bytes = batch_bytes(config);
    if (!t->config.page_ops)
        t->config.page_ops = vms_page_ops();
    t->page_bits = 12;
    lay_out(t, (uint8_t *)mem + aligned(sizeof *t));
    vms_records_reset(t);
    return t;
}

/* ---- small calls ---- */

void vms_to_native_page_size(struct vms_to_native *t, uint32_t bytes) {
    t->page_bits = (uint8_t)__builtin_ctz(bytes ? bytes : 4096);
}

void vms_to_native_level(struct vms_to_native *t, int level) {
    t->config.level = level;
}

size_t vms_to_native_waiting(const struct vms_to_native *t) {
    return t->gather.len - (t->given ? t->given_len : 0);
}

const struct vms_error *vms_to_native_error(const struct vms_to_native *t) {
    return &t->error;
}

void vms_to_native_settle(struct vms_to_native *t) {
    vms_drop_given(t);
    vms_gather_settle(&t->gather);
}

/* Every call begins here: false when there is an error already. */
static bool begin(struct vms_to_native *t) {
    if (t->error.code)
        return false;
    vms_drop_given(t);
    return true;
}

/* ---- records ---- */

/* [TRC-2] [TRC-3] The kind of frame that a record goes into. */
static enum vms_batch batch_for(const struct vms_to_native *t, const struct vms_record *r) {
    if (r->type == VMS_R_DEVICE_TAIL && !r->packaged && !r->guessed)
        return VMS_BATCH_OPAQUE;
    bool with_others = t->batch == VMS_BATCH_RECORDS && t->mixed;
    bool page = r->type == VMS_R_RAM_PAGE || r->type == VMS_R_RAM_ZERO;
    return page && !with_others && vms_pages_fit(t, r) ? VMS_BATCH_PAGES : VMS_BATCH_RECORDS;
}

/* Bulk that fits into a frame whole is not torn between two. */
static bool better_in_next(const struct vms_to_native *t, const struct vms_record *r) {
    return t->gather.len > 0 && r->bulk_len > vms_batch_room(t) &&
           r->bulk_len <= t->config.batch_bytes;
}

static bool add(struct vms_to_native *t, enum vms_batch kind, const struct vms_record *r) {
    if (kind == VMS_BATCH_PAGES)
        return vms_pages_add(t, r);
    if (kind == VMS_BATCH_RECORDS)
        return !better_in_next(t, r) && vms_records_add(t, r);
    t->opaque = true;
    t->opaque_at = r->offset;
    return true;
}

static enum vms_transcode too_long(struct vms_to_native *t, const struct vms_record *r) {
    bool inexpressible = vms_native_record_size(r) == SIZE_MAX;
    return vms_to_native_fail(t, inexpressible ? VMS_E_MISUSE : VMS_E_LIMIT,
                              inexpressible ? "a record that no frame can carry"
                                            : "native_body_bytes: a record longer than a frame");
}

static void taken(struct vms_to_native *t, enum vms_batch kind, const struct vms_record *r) {
    bool mapped = r->type == VMS_R_MAPPED_PADDING || r->type == VMS_R_MAPPED_PAGES;
    t->batch = kind;
    t->number++;
    t->owed = r->bulk_len;
    t->bulk_at = 0;
    t->alone = mapped && r->bulk_len >= LONG_MAPPED;
    t->blocks += r->type == VMS_R_RAM_BLOCK;
}

static enum vms_transcode close_unknown(struct vms_to_native *t, struct vms_native_out *out) {
    t->owed = 0;
    t->last = true;
    return vms_emit_batch(t, out);
}

enum vms_transcode vms_to_native_record(struct vms_to_native *t, const struct vms_record *record,
                                        struct vms_native_out *out) {
    if (!begin(t))
        return VMS_TRANSCODE_ERROR;
    if (t->opaque || t->owed)
        return vms_to_native_fail(t, VMS_E_MISUSE,
                                  t->opaque ? "a record after octets that are none"
                                            : "the last record's bulk is not complete");
    enum vms_batch kind = batch_for(t, record);
    if (t->batch != VMS_BATCH_NONE && t->batch != kind)
        return vms_emit_batch(t, out);
    if (!add(t, kind, record))
        return t->batch == VMS_BATCH_NONE ? too_long(t, record) : vms_emit_batch(t, out);
    taken(t, kind, record);
    return VMS_TRANSCODE_TAKEN;
}

/* ---- bulk ---- */

static void take_piece(struct vms_to_native *t, struct vms_slice *piece, size_t n) {
    struct vms_slice head = vms_slice_head(*piece, n);
    vms_gather_add(&t->gather, head);
    *piece = vms_slice_tail(*piece, head.len);
    t->bulk_at += head.len;
    if (t->owed != VMS_BULK_UNKNOWN)
        t->owed -= head.len;
}

/* There is room for the whole page: the collection saw to that. */
static enum vms_transcode page_bulk(struct vms_to_native *t, struct vms_slice *piece,
                                    struct vms_native_out *out) {
    take_piece(t, piece, piece->len);
    t->pending = t->owed != 0;
    bool full = vms_batch_room(t) < t->page.bulk_len;
    return !t->pending && full ? vms_emit_batch(t, out) : VMS_TRANSCODE_TAKEN;
}

static enum vms_transcode record_bulk(struct vms_to_native *t, struct vms_slice *piece,
                                      struct vms_native_out *out) {
    if (!t->alone)
        take_piece(t, piece, vms_batch_room(t));
    t->alone = false;
    return piece->len || vms_batch_room(t) == 0 ? vms_emit_batch(t, out) : VMS_TRANSCODE_TAKEN;
}

static enum vms_transcode more_bulk(struct vms_to_native *t, struct vms_slice *piece,
                                    struct vms_native_out *out) {
    bool all = vms_bulk_add(t, piece);
    return !all || vms_batch_room(t) == 0 ? vms_emit_batch(t, out) : VMS_TRANSCODE_TAKEN;
}

enum vms_transcode vms_to_native_bulk(struct vms_to_native *t, struct vms_slice *piece,
                                      struct vms_native_out *out) {
    if (!begin(t))
        return VMS_TRANSCODE_ERROR;
    if (piece->len > t->owed)
        return vms_to_native_fail(t, VMS_E_MISUSE, "more bulk than the record announced");
    if (piece->len == 0)
        return VMS_TRANSCODE_TAKEN;
    switch (t->batch) {
    case VMS_BATCH_PAGES: return page_bulk(t, piece, out);
    case VMS_BATCH_RECORDS: return record_bulk(t, piece, out);
    default: return more_bulk(t, piece, out);
    }
}

enum vms_transcode vms_to_native_opaque(struct vms_to_native *t, uint64_t offset,
                                        struct vms_slice *piece, struct vms_native_out *out) {
    if (!begin(t))
        return VMS_TRANSCODE_ERROR;
    if (t->owed && !t->opaque)
        return vms_to_native_fail(t, VMS_E_MISUSE, "the last record's bulk is not complete");
    if (t->batch != VMS_BATCH_NONE && t->batch != VMS_BATCH_OPAQUE)
        return vms_emit_batch(t, out);
    if (t->batch == VMS_BATCH_NONE)
        taken(t, VMS_BATCH_OPAQUE,
              &(struct vms_record){.type = VMS_R_DEVICE_TAIL, .bulk_len = VMS_BULK_UNKNOWN});
    if (!t->opaque)
        t->opaque_at = offset;
    t->opaque = true;
    return more_bulk(t, piece, out);
}

/* ---- flush and end ---- */

/* Whether the batch has something that may go now. */
static bool sendable(const struct vms_to_native *t) {
    switch (t->batch) {
    case VMS_BATCH_NONE: return false;
    case VMS_BATCH_RECORDS: return true;
    case VMS_BATCH_PAGES: return t->pages.number > (t->pending ? 1 : 0);
    default: return t->gather.len > 0 || t->zeros > 0;
    }
}

enum vms_transcode vms_to_native_flush(struct vms_to_native *t, struct vms_native_out *out) {
    if (!begin(t))
        return VMS_TRANSCODE_ERROR;
    return sendable(t) ? vms_emit_batch(t, out) : VMS_TRANSCODE_TAKEN;
}

/* [TRC-9] A page that the channel broke off in goes as a record whose bulk stays short. */
static enum vms_transcode end_in_page(struct vms_to_native *t, struct vms_native_out *out) {
    struct vms_record page = t->page;
    if (t->pages.number > 1)
        return vms_emit_batch(t, out);
    vms_pages_hold_back(t);
    t->pending = false;
    t->batch = VMS_BATCH_RECORDS;
    return vms_records_add(t, &page) ? vms_emit_batch(t, out) : too_long(t, &page);
}

enum vms_transcode vms_to_native_end(struct vms_to_native *t, struct vms_native_out *out) {
    if (!begin(t))
        return VMS_TRANSCODE_ERROR;
    if (t->over)
        return VMS_TRANSCODE_TAKEN;
    if (t->pending)
        return end_in_page(t, out);
    if (t->owed == VMS_BULK_UNKNOWN && t->batch != VMS_BATCH_RECORDS)
        return close_unknown(t, out);
    return sendable(t) ? vms_emit_batch(t, out) : VMS_TRANSCODE_TAKEN;
}
