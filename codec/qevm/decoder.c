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

static const enum vms_qevm_state FIRST_STATE[] = {
    [VMS_QEVM_MAIN] = VMS_ST_HEADER,
    [VMS_QEVM_RECOVERY] = VMS_ST_TOP,
    [VMS_QEVM_MULTIFD] = VMS_ST_MULTIFD_HELLO,
    [VMS_QEVM_PREEMPT] = VMS_ST_PREEMPT,
    [VMS_QEVM_RETURN_PATH] = VMS_ST_RETURN_PATH,
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

struct vms_qevm_config vms_qevm_config_default(void) {
    return (struct vms_qevm_config){.kind = VMS_QEVM_MAIN, .limits = vms_limits_default()};
}

/* ---- memory: one block, laid out once (MOD-10) ---- */

static size_t aligned(uint64_t n) {
    return (size_t)((n + 15) & ~(uint64_t)15);
}

static bool has_sections(const struct vms_qevm_config *c) {
    return c->kind == VMS_QEVM_MAIN || c->kind == VMS_QEVM_RECOVERY;
}

static size_t tail_bytes(const struct vms_qevm_config *c) {
    return has_sections(c) && c->tail_mode == VMS_TAIL_HOLD ? aligned(c->limits.device_tail_bytes)
                                                            : 0;
}

static size_t section_bytes(const struct vms_qevm_config *c) {
    return has_sections(c) ? aligned(c->limits.sections * sizeof(struct vms_qevm_section)) : 0;
}

static size_t block_bytes(const struct vms_qevm_config *c) {
    return c->kind == VMS_QEVM_RETURN_PATH
               ? 0
               : aligned(c->limits.ram_blocks * sizeof(struct vms_qevm_block));
}

size_t vms_qevm_decoder_size(const struct vms_qevm_config *c) {
    return aligned(sizeof(struct vms_qevm_decoder)) + VMS_STAGE_BYTES + section_bytes(c) +
           block_bytes(c) + tail_bytes(c);
}

struct vms_qevm_decoder *vms_qevm_decoder_init(void *mem, size_t mem_len,
                                               const struct vms_qevm_config *config) {
    if (!mem || mem_len < vms_qevm_decoder_size(config))
        return NULL;
    struct vms_qevm_decoder *d = mem;
    uint8_t *at = (uint8_t *)mem + aligned(sizeof *d);
    memset(d, 0, sizeof *d);
    d->config = *config;
    d->dialect = config->dialect;
    d->page_size = 1u << (d->dialect.page_bits ? d->dialect.page_bits : 12);
    d->state = FIRST_STATE[config->kind];
    d->last_block = VMS_NO_BLOCK;
    d->cut = config->vmdesc_preloaded ? VMS_CUT_VMDESC : VMS_CUT_LIVE;
    if (config->kind == VMS_QEVM_RECOVERY)
        d->postcopy = VMS_POSTCOPY_RUNNING;
    d->stage = at;
    at += VMS_STAGE_BYTES;
    d->sections = (void *)at;
    at += section_bytes(config);
    d->blocks = (void *)at;
    at += block_bytes(config);
    d->tail.ptr = at;
    d->tail.cap = tail_bytes(config) ? (size_t)config->limits.device_tail_bytes : 0;
    return d;
}

void vms_qevm_adopt(struct vms_qevm_decoder *d, const struct vms_qevm_decoder *main_channel) {
    const struct vms_qevm_decoder *m = main_channel;
    d->dialect = m->dialect;
    d->page_size = m->page_size;
    if (d->config.kind == VMS_QEVM_RETURN_PATH)
        return;
    d->adopted = true;
    d->list_seen = m->list_seen;
    d->block_count = m->block_count <= d->config.limits.ram_blocks
                         ? m->block_count
                         : (uint32_t)d->config.limits.ram_blocks;
    memcpy(d->blocks, m->blocks, d->block_count * sizeof *d->blocks);
    if (!has_sections(&d->config))
        return;
    d->advised_sizes = m->advised_sizes;
    d->section_count = m->section_count <= d->config.limits.sections
                           ? m->section_count
                           : (uint32_t)d->config.limits.sections;
    memcpy(d->sections, m->sections, d->section_count * sizeof *d->sections);
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

static size_t staged(const struct vms_qevm_decoder *d) {
    return d->stage_end - d->stage_begin;
}

static struct vms_slice limited(const struct vms_qevm_decoder *d, struct vms_slice window) {
    if (d->packaged && window.len > d->package_left)
        window.len = (size_t)d->package_left;
    return window;
}

/* The held tail while it is replayed, else what was staged, else the caller's input. */
static struct vms_slice window_of(const struct vms_qevm_decoder *d, struct vms_slice input) {
    if (d->tail.replaying)
        return limited(d, vms_slice(d->tail.ptr + d->tail.replay, d->tail.len - d->tail.replay));
    if (staged(d))
        return limited(d, vms_slice(d->stage + d->stage_begin, staged(d)));
    return limited(d, input);
}

/* Counts n bytes of the channel as decoded, wherever they lie. */
static void pass(struct vms_qevm_decoder *d, uint64_t n) {
    d->offset += n;
    if (d->packaged)
        d->package_left -= n;
}

/* Takes n bytes off the window. They stay readable until the next call: only positions move. */
static void commit(struct vms_qevm_decoder *d, struct vms_slice *input, size_t n) {
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

/* The window ended before the record did: ask for more, or say that there is no more. */
static enum vms_code widen(struct vms_qevm_decoder *d, struct vms_slice window, size_t need) {
    if (d->packaged && window.len == d->package_left)
        return vms_qevm_fail(d, VMS_E_PACKAGE_SHORT, window.len, NULL);
    if (d->tail.replaying)
        return vms_qevm_fail(d, VMS_E_TRUNCATED, window.len, NULL);
    if (need > VMS_STAGE_BYTES)
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
    memset(rec, 0, sizeof *rec);
    rec->channel = d->config.channel;
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
    rec->guessed = d->guessed;
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
    if (!window_of(d, input).len)
        return VMS_STEP_END;
    (void)vms_qevm_fail(d, VMS_E_TRAILING_BYTES, 0, NULL);
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
    if (d->state == VMS_ST_HOLD && !d->tail.replaying && !d->error.code)
        vms_tail_cut_by_guess(d);
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
    return failed(d, ev);
}

uint64_t vms_qevm_offset(const struct vms_qevm_decoder *d) {
    uint64_t held = d->state == VMS_ST_HOLD ? d->tail.len - d->tail.replay : 0;
    return d->offset + staged(d) + held;
}

const struct vms_dialect *vms_qevm_dialect(const struct vms_qevm_decoder *d) {
    return &d->dialect;
}

uint32_t vms_qevm_page_size(const struct vms_qevm_decoder *d) {
    return d->page_size;
}
