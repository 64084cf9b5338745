/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

#include <stdarg.h>
#include <stdio.h>

static vms_parse *const PARSERS[VMS_ST_COUNT] = {
    [VMS_ST_HEADER] = vms_parse_header,
    [VMS_ST_CONFIGURATION] = vms_parse_configuration,
    [VMS_ST_TOP] = vms_parse_top,
    [VMS_ST_RAM] = vms_parse_ram,
    [VMS_ST_RAM_LIST] = vms_parse_ram_list,
    [VMS_ST_MAPPED_BITMAP] = vms_parse_mapped_bitmap,
    [VMS_ST_MAPPED_PADDING] = vms_parse_mapped_padding,
    [VMS_ST_MAPPED_PAGES] = vms_parse_mapped_pages,
    [VMS_ST_VFIO] = vms_parse_vfio,
    [VMS_ST_VFIO_FULL] = vms_parse_vfio_full,
    [VMS_ST_DIRTY_BITMAP] = vms_parse_dirty_bitmap,
    [VMS_ST_FOOTER] = vms_parse_footer,
    [VMS_ST_AFTER_EOF] = vms_parse_after_eof,
    [VMS_ST_PACKAGE_END] = vms_parse_package_end,
    [VMS_ST_DEVICE_TAIL] = vms_parse_device_tail,
    [VMS_ST_MULTIFD_HELLO] = vms_parse_multifd_hello,
    [VMS_ST_MULTIFD_PACKET] = vms_parse_multifd_packet,
    [VMS_ST_PREEMPT] = vms_parse_preempt,
    [VMS_ST_RETURN_PATH] = vms_parse_return_path,
    [VMS_ST_RETURN_PATH_BITMAP_END] = vms_parse_return_path_bitmap_end,
};

const char *vms_qevm_kind_name(enum vms_qevm_kind kind) {
    static const char *const names[] = {"main", "recovery", "multifd", "preempt", "return-path"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

enum vms_qevm_kind vms_qevm_sniff(struct vms_slice first_bytes, enum vms_qevm_kind fallback) {
    struct vms_reader r = vms_reader(first_bytes);
    uint32_t magic = vms_read_u32(&r);
    if (magic == VMS_QEVM_MAGIC)
        return VMS_QEVM_MAIN;
    return magic == VMS_MULTIFD_MAGIC ? VMS_QEVM_MULTIFD : fallback;
}

/* ---- errors ---- */

enum vms_code vms_qevm_fail(struct vms_qevm_decoder *d, enum vms_code code, size_t at,
                            const char *fmt, ...) {
    char detail[160];
    d->error.channel = d->config.channel;
    d->error.offset = d->offset + at;
    d->error.record = d->number;
    if (!fmt)
        return vms_error_set(&d->error, code, NULL);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    return vms_error_set(&d->error, code, "%s", detail);
}

static enum vms_step failed(struct vms_qevm_decoder *d, struct vms_event *ev) {
    ev->error = &d->error;
    return VMS_STEP_ERROR;
}

/* ---- the window: where the parser reads ---- */

static inline size_t staged(const struct vms_qevm_decoder *d) {
    return d->stage_end - d->stage_begin;
}

static inline struct vms_slice limited(const struct vms_qevm_decoder *d, struct vms_slice window) {
    if (d->packaged && window.len > d->package_left)
        window.len = (size_t)d->package_left;
    return window;
}

/* The held tail while it is replayed, else what was staged, else the caller's input. */
static inline struct vms_slice window_of(const struct vms_qevm_decoder *d, struct vms_slice input) {
    if (d->tail.replaying)
        return limited(d, vms_slice(d->tail.ptr + d->tail.replay, d->tail.len - d->tail.replay));
    if (staged(d))
        return limited(d, vms_slice(d->stage + d->stage_begin, staged(d)));
    return limited(d, input);
}

/* Counts n bytes of the channel as decoded, wherever they lie. */
static inline void pass(struct vms_qevm_decoder *d, uint64_t n) {
    d->offset += n;
    if (d->packaged)
        d->package_left -= n;
}

/* Takes n bytes off the window. They stay readable until the next call: only positions move. */
static inline void commit(struct vms_qevm_decoder *d, struct vms_slice *input, size_t n) {
    if (d->tail.replaying)
        d->tail.replay += n;
    else if (staged(d))
        d->stage_begin += n;
    else
        *input = vms_slice_tail(*input, n);
    pass(d, n);
}

/* Moves input into the stage until `need` bytes are in it. */
static void stage_more(struct vms_qevm_decoder *d, struct vms_slice *input) {
    size_t have = staged(d);
    if (d->stage_begin)
        memmove(d->stage, d->stage + d->stage_begin, have);
    struct vms_slice more = vms_slice_head(*input, d->need - have);
    if (more.len)
        memcpy(d->stage + have, more.ptr, more.len);
    d->stage_begin = 0;
    d->stage_end = have + more.len;
    *input = vms_slice_tail(*input, more.len);
}

static bool waiting(const struct vms_qevm_decoder *d) {
    return d->need > staged(d);
}

/*
 * Records with bulk, and with slices that the decoder keeps nowhere else, are read from the stage:
 * so the slices hold as long as the bulk lasts, whatever becomes of the caller's input.
 */
static bool outlives_input(const struct vms_qevm_decoder *d) {
    return d->state == VMS_ST_MULTIFD_PACKET || d->state == VMS_ST_DIRTY_BITMAP ||
           d->state == VMS_ST_RETURN_PATH;
}

/* The window ended before the record did: ask for more, or say that there is no more. */
static enum vms_code widen(struct vms_qevm_decoder *d, struct vms_slice window, size_t need) {
    if (d->packaged && need > d->package_left)
        return vms_qevm_fail(d, VMS_E_PACKAGE_SHORT, (size_t)d->package_left, NULL);
    if (d->tail.replaying)
        return vms_qevm_fail(d, VMS_E_TRUNCATED, window.len, NULL);
    if (need > d->stage_size)
        return vms_qevm_fail(d, VMS_E_INTERNAL, 0, "a record of %zu bytes", need);
    d->need = need;
    return VMS_OK;
}

/* ---- bulk ---- */

static enum vms_step give_bulk(struct vms_qevm_decoder *d, struct vms_slice *input,
                               struct vms_event *ev) {
    struct vms_slice piece = window_of(d, *input);
    if (piece.len > d->bulk_left)
        piece.len = (size_t)d->bulk_left;
    if (!piece.len) {
        bool endless = d->bulk_left == VMS_BULK_UNKNOWN || d->bulk_left > SIZE_MAX;
        ev->need = endless ? 1 : (size_t)d->bulk_left;
        return VMS_STEP_NEED;
    }
    ev->record = d->record;
    ev->bulk = piece;
    ev->bulk_offset = d->bulk_given;
    d->bulk_given += piece.len;
    if (d->bulk_left != VMS_BULK_UNKNOWN)
        d->bulk_left -= piece.len;
    commit(d, input, piece.len);
    return VMS_STEP_BULK;
}

uint64_t vms_qevm_bulk_direct(const struct vms_qevm_decoder *d) {
    bool inside = d->tail.replaying || staged(d);
    return d->error.code || inside || d->bulk_left == VMS_BULK_UNKNOWN ? 0 : d->bulk_left;
}

void vms_qevm_bulk_taken(struct vms_qevm_decoder *d, uint64_t n) {
    if (n > vms_qevm_bulk_direct(d)) {
        (void)vms_qevm_fail(d, VMS_E_MISUSE, 0, "more bulk taken than there is");
        return;
    }
    d->bulk_left -= n;
    d->bulk_given += n;
    pass(d, n);
}

/* ---- records ---- */

static void begin_record(struct vms_qevm_decoder *d, struct vms_record *rec) {
    *rec = d->blank;
    rec->offset = d->offset;
    rec->number = d->number;
    rec->packaged = d->packaged;
}

/* The bytes behind a PACKAGED command, not the command's own, are the package. */
static void enter_package(struct vms_qevm_decoder *d) {
    if (!d->package_enter)
        return;
    d->packaged = true;
    d->package_left = d->package_enter;
    d->package_enter = 0;
}

/* Parses one record if its bytes are there. *made tells whether one was. */
static enum vms_code parse_record(struct vms_qevm_decoder *d, struct vms_slice *input,
                                  struct vms_record *rec, bool *made) {
    struct vms_slice window = window_of(d, *input);
    struct vms_reader r = vms_reader(window);
    *made = false;
    begin_record(d, rec);
    enum vms_code code = PARSERS[d->state](d, &r, rec);
    if (code != VMS_OK)
        return code;
    if (vms_reader_short(&r))
        return widen(d, window, r.need);
    d->need = 0;
    if (rec->type == VMS_RECORD_NONE)
        return VMS_OK; /* only the state changed */
    if (d->packaged && rec->bulk_len > d->package_left - r.pos)
        return vms_qevm_fail(d, VMS_E_PACKAGE_SHORT, (size_t)d->package_left, NULL);
    rec->guessed = d->guessed;
    d->last_type = rec->type;
    if (rec->bulk_len)
        d->record = *rec;
    d->bulk_left = rec->bulk_len;
    d->bulk_given = 0;
    d->number++;
    commit(d, input, r.pos);
    enter_package(d);
    *made = true;
    return VMS_OK;
}

static enum vms_step at_end(struct vms_qevm_decoder *d, struct vms_slice input,
                            struct vms_event *ev) {
    struct vms_slice rest = window_of(d, input);
    if (!rest.len)
        return VMS_STEP_END;
    /* [END-4] */
    bool vmdesc = vms_has_sections(&d->config) && d->postcopy >= VMS_POSTCOPY_LISTENING &&
                  d->last_type == VMS_R_EOF && *rest.ptr == VMS_TYPE_VMDESCRIPTION;
    (void)vms_qevm_fail(d, vmdesc ? VMS_E_VMDESC_AFTER_POSTCOPY : VMS_E_TRAILING_BYTES, 0, NULL);
    return failed(d, ev);
}

static enum vms_step need(struct vms_event *ev, size_t n) {
    ev->need = n;
    return VMS_STEP_NEED;
}

enum vms_step vms_qevm_decode(struct vms_qevm_decoder *d, struct vms_slice *input,
                              struct vms_event *ev) {
    for (bool made = false; !made;) {
        if (d->error.code)
            return failed(d, ev);
        if (d->tail.replaying && d->tail.replay == d->tail.len)
            d->tail.replaying = false;
        if (d->bulk_left)
            return give_bulk(d, input, ev);
        if (d->state == VMS_ST_END)
            return at_end(d, *input, ev);
        if (d->state == VMS_ST_HOLD && !vms_tail_take(d, input))
            return d->error.code ? failed(d, ev) : need(ev, 1);
        if (!d->need && outlives_input(d) && !d->tail.replaying)
            d->need = 1;
        if (waiting(d))
            stage_more(d, input);
        if (waiting(d))
            return need(ev, d->need - staged(d));
        if (parse_record(d, input, &ev->record, &made) != VMS_OK)
            return failed(d, ev);
    }
    return VMS_STEP_RECORD;
}

/* States in which a channel may end without more ado (END-5). */
static bool may_end(const struct vms_qevm_decoder *d) {
    if (staged(d) || (d->bulk_left && d->bulk_left != VMS_BULK_UNKNOWN))
        return false;
    switch (d->state) {
    case VMS_ST_AFTER_EOF: return d->dialect.vmdesc != VMS_ON;
    case VMS_ST_PREEMPT:
    case VMS_ST_MULTIFD_PACKET:
    case VMS_ST_RETURN_PATH:
    case VMS_ST_DEVICE_TAIL:
    case VMS_ST_END: return true;
    default: return false;
    }
}

enum vms_step vms_qevm_finish(struct vms_qevm_decoder *d, struct vms_event *ev) {
    struct vms_slice nothing = {NULL, 0};
    if (d->state == VMS_ST_HOLD && !d->error.code) {
        if (d->tail.target)
            (void)vms_qevm_fail(d, VMS_E_TRUNCATED, d->tail.len, "in a package");
        else
            vms_tail_cut(d);
    }
    enum vms_step step = vms_qevm_decode(d, &nothing, ev);
    if (step != VMS_STEP_NEED)
        return step;
    if (may_end(d)) {
        d->bulk_left = 0;
        d->state = VMS_ST_END;
        return VMS_STEP_END;
    }
    (void)vms_qevm_fail(d, VMS_E_TRUNCATED, staged(d), "in %s",
                        d->bulk_left ? vms_record_name(d->record.type) : "a record's head");
    if (d->bulk_left)
        d->error.record = d->record.number;
    return failed(d, ev);
}

uint64_t vms_qevm_offset(const struct vms_qevm_decoder *d) {
    bool holds = d->state == VMS_ST_HOLD || d->tail.replaying;
    uint64_t held = holds ? d->tail.len - d->tail.replay : 0;
    return d->offset + staged(d) + held;
}

const struct vms_dialect *vms_qevm_dialect(const struct vms_qevm_decoder *d) {
    return &d->dialect;
}

uint32_t vms_qevm_page_size(const struct vms_qevm_decoder *d) {
    return d->page_size;
}
