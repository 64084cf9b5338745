/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/*
 * Device sections: clauses TAIL. A FULL section does not tell its length. The description that does
 * comes last, so from the first FULL section on everything is held until a description is found
 * that fits exactly; the held bytes are then parsed again ("replayed") with every length known.
 * Without one, sections are cut at their footers and what follows is marked as guessed.
 */

enum {
    FOOTER_LEN = 5,
    VMDESC_HEAD = 5, /* type byte and u32 length */
    RUN_LEN = 5,
    PING_LEN = 9,
    ANCHOR_PINGS = 2,
};

static bool footers(const struct vms_qevm_decoder *d) {
    return vms_on(d->dialect.footers, true);
}

static struct vms_slice tail_from(const struct vms_tail *t, size_t at) {
    return vms_slice_tail(vms_slice(t->ptr, t->len), at);
}

/* ---- layouts known without a description ---- */

static bool has_suffix(struct vms_slice s, const char *suffix) {
    size_t n = strlen(suffix);
    return s.len >= n && memcmp(s.ptr + s.len - n, suffix, n) == 0;
}

/*
 * [TAIL-8] virtio-mem's early section comes before RAM, where nothing can be held. It tells its own
 * length: addr, region size, block size (u64), node (u32), size (u64), then one bit a block in u64.
 */
static bool known_layout(struct vms_reader *r, const struct vms_rec_section *s, uint64_t *length) {
    if (!has_suffix(s->idstr, "/virtio-mem-device-early"))
        return false;
    struct vms_reader ahead = *r;
    (void)vms_read_u64(&ahead);
    uint64_t region = vms_read_u64(&ahead);
    uint64_t block = vms_read_u64(&ahead);
    r->need = ahead.need;
    if (vms_reader_short(r))
        return true;
    if (!block || region / block > UINT32_MAX)
        return false;
    *length = 36 + (region / block + 63) / 64 * 8;
    return true;
}

/* ---- lengths by description ---- */

/* Reads a FULL section's header at the reader. False when it is none. */
static bool read_full_header(struct vms_reader *r, uint32_t *id, struct vms_slice *idstr,
                             uint32_t *instance) {
    uint8_t type = vms_read_u8(r);
    *id = vms_read_u32(r);
    *idstr = vms_read_str8(r);
    *instance = vms_read_u32(r);
    (void)vms_read_u32(r);
    return !vms_reader_short(r) && type == VMS_TYPE_SECTION_FULL && idstr->len;
}

static bool read_footer(struct vms_reader *r, uint32_t id) {
    uint8_t type = vms_read_u8(r);
    uint32_t got = vms_read_u32(r);
    return !vms_reader_short(r) && type == VMS_TYPE_SECTION_FOOTER && got == id;
}

static bool walk_section(const struct vms_qevm_decoder *d, struct vms_reader *r) {
    const struct vms_vmdesc_ops *ops = &d->config.vmdesc;
    uint32_t id, instance;
    struct vms_slice idstr;
    uint64_t length;
    if (!read_full_header(r, &id, &idstr, &instance) ||
        !ops->next_length(ops->ctx, idstr, instance, &length) || length > r->len - r->pos)
        return false;
    (void)vms_read_bytes(r, (size_t)length);
    return !footers(d) || read_footer(r, id);
}

/* [TAIL-1] The candidate's description must walk the held sections and end at its EOF byte. */
static bool candidate_fits(struct vms_qevm_decoder *d, const struct vms_tail_candidate *c) {
    const struct vms_vmdesc_ops *ops = &d->config.vmdesc;
    if (d->tail.tries++ >= d->config.limits.vmdesc_candidates)
        return false;
    if (!ops->load(ops->ctx, vms_slice(d->tail.ptr + c->json, c->len)))
        return false;
    struct vms_reader r = vms_reader(vms_slice(d->tail.ptr, c->eof));
    ops->rewind(ops->ctx);
    while (r.pos < r.len)
        if (!walk_section(d, &r))
            return false;
    ops->rewind(ops->ctx);
    return true;
}

/* ---- finding descriptions in the held bytes ---- */

/* A VMDESC head at `at`: EOF byte before it, an opening brace after it. */
static bool looks_like_vmdesc(const struct vms_qevm_decoder *d, size_t at,
                              struct vms_tail_candidate *c) {
    const struct vms_tail *t = &d->tail;
    struct vms_reader r = vms_reader(tail_from(t, at));
    (void)vms_read_u8(&r);
    uint32_t len = vms_read_u32(&r);
    if (!at || t->ptr[at - 1] != VMS_TYPE_EOF || vms_read_u8(&r) != '{')
        return false;
    if (footers(d) &&
        (at < FOOTER_LEN + 1 || t->ptr[at - 1 - FOOTER_LEN] != VMS_TYPE_SECTION_FOOTER))
        return false;
    *c = (struct vms_tail_candidate){at - 1, at + VMDESC_HEAD, len};
    return len <= d->config.limits.vmdesc_bytes;
}

/* The true description is the last thing of a stream, so the oldest candidate gives way. */
static void add_candidate(struct vms_tail *t, struct vms_tail_candidate c) {
    if (t->pending_count == VMS_TAIL_PENDING) {
        memmove(t->pending, t->pending + 1, (VMS_TAIL_PENDING - 1) * sizeof c);
        t->pending_count--;
    }
    t->pending[t->pending_count++] = c;
}

/* Candidates that more bytes have followed are not the end of the stream. */
static void drop_passed(struct vms_tail *t) {
    unsigned kept = 0;
    for (unsigned i = 0; i < t->pending_count; i++)
        if (t->pending[i].json + t->pending[i].len >= t->len)
            t->pending[kept++] = t->pending[i];
    t->pending_count = kept;
}

/* Looks through what was held since the last time. */
static void scan(struct vms_qevm_decoder *d) {
    struct vms_tail *t = &d->tail;
    while (t->scanned + VMDESC_HEAD < t->len) {
        size_t span = t->len - VMDESC_HEAD - t->scanned;
        const uint8_t *hit = memchr(t->ptr + t->scanned, VMS_TYPE_VMDESCRIPTION, span);
        struct vms_tail_candidate c;
        if (!hit) {
            t->scanned += span;
            break;
        }
        t->scanned = (size_t)(hit - t->ptr) + 1;
        if (looks_like_vmdesc(d, (size_t)(hit - t->ptr), &c))
            add_candidate(t, c);
    }
    drop_passed(t);
}

/*
 * [TAIL-1] Only a description that ends where the held bytes end counts: so it does not matter how
 * the input was cut, and what a guest has put into device data is followed by the true end.
 */
bool vms_qevm_tail_fits(struct vms_qevm_decoder *d) {
    struct vms_tail *t = &d->tail;
    if (d->state != VMS_ST_HOLD || t->target || !d->config.vmdesc.load || d->error.code)
        return false;
    if (t->looked == t->len)
        return t->fits;
    scan(d);
    t->looked = t->len;
    t->fits = false;
    for (unsigned i = 0; i < t->pending_count && !t->fits; i++)
        t->fits =
            t->pending[i].json + t->pending[i].len == t->len && candidate_fits(d, &t->pending[i]);
    return t->fits;
}

static void replay(struct vms_qevm_decoder *d, enum vms_cut cut) {
    d->cut = cut;
    d->tail.replay = 0;
    d->tail.replaying = d->tail.len != 0;
    d->state = VMS_ST_TOP;
}

/* ---- packages: their end is known ---- */

static bool command_at(const struct vms_tail *t, size_t at, uint16_t command, uint16_t len) {
    struct vms_reader r = vms_reader(tail_from(t, at));
    return vms_read_u8(&r) == VMS_TYPE_COMMAND && vms_read_u16(&r) == command &&
           vms_read_u16(&r) == len && !vms_reader_short(&r);
}

/* [TAIL-5] PING, PING, POSTCOPY_RUN end a package: found from its end, no device can forge them. */
static size_t find_anchor(const struct vms_tail *t) {
    if (t->len < RUN_LEN || !command_at(t, t->len - RUN_LEN, VMS_CMD_POSTCOPY_RUN, 0))
        return 0;
    size_t at = t->len - RUN_LEN;
    for (int i = 0; i < ANCHOR_PINGS && at >= PING_LEN; i++) {
        if (!command_at(t, at - PING_LEN, VMS_CMD_PING, 4))
            break;
        at -= PING_LEN;
    }
    return at;
}

void vms_tail_passed_anchor(struct vms_qevm_decoder *d) {
    if (d->packaged && d->tail.anchor && d->tail.replay >= d->tail.anchor)
        d->guessed = false;
}

/* ---- guessing ---- */

/* What may follow a footer: a package's anchor, the held end, EOF, a section or a command. */
static bool plausible_next(const struct vms_tail *t, size_t at) {
    if (at == t->len || (t->anchor && at == t->anchor))
        return true;
    uint32_t id, instance;
    struct vms_slice idstr;
    struct vms_reader r = vms_reader(tail_from(t, at));
    if (t->ptr[at] == VMS_TYPE_SECTION_FULL)
        return read_full_header(&r, &id, &idstr, &instance) && vms_printable(idstr);
    if (t->ptr[at] == VMS_TYPE_EOF)
        return at + 1 == t->len || t->ptr[at + 1] == VMS_TYPE_VMDESCRIPTION;
    return t->ptr[at] == VMS_TYPE_COMMAND && !t->anchor && at + 2 < t->len && t->ptr[at + 1] == 0 &&
           vms_command_name(t->ptr[at + 2]);
}

/* [TAIL-4] The first footer of this section that something plausible follows. */
static bool guess_length(const struct vms_qevm_decoder *d, struct vms_reader *r, uint32_t id,
                         uint64_t *length) {
    const struct vms_tail *t = &d->tail;
    size_t from = t->replay + r->pos;
    for (size_t at = from; at + FOOTER_LEN <= t->len; at++) {
        const uint8_t *hit = memchr(t->ptr + at, VMS_TYPE_SECTION_FOOTER, t->len - at);
        if (!hit)
            return false;
        at = (size_t)(hit - t->ptr);
        struct vms_reader f = vms_reader(tail_from(t, at));
        if (read_footer(&f, id) && plausible_next(t, at + FOOTER_LEN)) {
            *length = at - from;
            return true;
        }
    }
    return false;
}

void vms_tail_cut(struct vms_qevm_decoder *d) {
    replay(d, vms_qevm_tail_fits(d) ? VMS_CUT_VMDESC : VMS_CUT_GUESS);
}

bool vms_tail_describes(struct vms_qevm_decoder *d, struct vms_reader *r, uint32_t len) {
    const struct vms_vmdesc_ops *ops = &d->config.vmdesc;
    if (!ops->load || !d->tail.replaying || d->cut != VMS_CUT_GUESS || len > r->len - r->pos)
        return true;
    return ops->load(ops->ctx, vms_slice(r->ptr + r->pos, len));
}

/* ---- entry points ---- */

static enum vms_code start_hold(struct vms_qevm_decoder *d) {
    struct vms_tail *t = &d->tail;
    if (d->config.tail_mode == VMS_TAIL_OPAQUE) {
        d->state = VMS_ST_DEVICE_TAIL;
        return VMS_OK;
    }
    if (d->packaged && d->package_left > t->cap)
        return vms_qevm_fail(d, VMS_E_LIMIT, 0, "device_tail_bytes: a package of %llu",
                             (unsigned long long)d->package_left);
    t->len = t->scanned = t->looked = t->replay = t->anchor = 0;
    t->fits = false;
    t->pending_count = 0;
    t->target = d->packaged ? (size_t)d->package_left : 0;
    d->state = VMS_ST_HOLD;
    return VMS_OK;
}

enum vms_code vms_tail_length(struct vms_qevm_decoder *d, struct vms_reader *r,
                              const struct vms_rec_section *s, uint64_t *length) {
    const struct vms_vmdesc_ops *ops = &d->config.vmdesc;
    switch (d->cut) {
    case VMS_CUT_LIVE: return known_layout(r, s, length) ? VMS_OK : start_hold(d);
    case VMS_CUT_VMDESC:
        if (ops->next_length && ops->next_length(ops->ctx, s->idstr, s->instance, length))
            return VMS_OK;
        return vms_qevm_fail(d, VMS_E_TAIL_WALK, 0, "%.*s is not described", (int)s->idstr.len,
                             (const char *)s->idstr.ptr);
    case VMS_CUT_GUESS:
    default: break;
    }
    if (!footers(d))
        return vms_qevm_fail(d, VMS_E_TAIL_UNCUT, 0, "no description and no footers");
    if (!guess_length(d, r, s->id, length))
        return vms_qevm_fail(d, d->packaged ? VMS_E_TAIL_UNCUT : VMS_E_TRUNCATED,
                             d->packaged ? 0 : d->tail.len - d->tail.replay, "no footer of %.*s",
                             (int)s->idstr.len, (const char *)s->idstr.ptr);
    d->guessed = true;
    return VMS_OK;
}

static bool append(struct vms_qevm_decoder *d, struct vms_slice *from) {
    struct vms_tail *t = &d->tail;
    size_t room = (t->target ? t->target : t->cap) - t->len;
    struct vms_slice part = vms_slice_head(*from, room);
    if (part.len)
        memcpy(t->ptr + t->len, part.ptr, part.len);
    t->len += part.len;
    *from = vms_slice_tail(*from, part.len);
    return from->len == 0;
}

bool vms_tail_take(struct vms_qevm_decoder *d, struct vms_slice *input) {
    struct vms_tail *t = &d->tail;
    struct vms_slice left = vms_slice(d->stage + d->stage_begin, d->stage_end - d->stage_begin);
    bool all = append(d, &left);
    d->stage_begin = d->stage_end - left.len;
    all = all && append(d, input);
    if (t->target) {
        if (t->len < t->target)
            return false;
        t->anchor = find_anchor(t);
        replay(d, VMS_CUT_GUESS);
        return true;
    }
    if (!all)
        (void)vms_qevm_fail(d, VMS_E_LIMIT, t->len, "device_tail_bytes: no VM description yet");
    return false;
}

enum vms_code vms_parse_device_tail(struct vms_qevm_decoder *d, struct vms_reader *r,
                                    struct vms_record *rec) {
    (void)r;
    rec->type = VMS_R_DEVICE_TAIL;
    rec->bulk_len = d->packaged ? d->package_left : VMS_BULK_UNKNOWN;
    if (!d->packaged)
        return VMS_OK;
    d->state = VMS_ST_PACKAGE_END;
    return VMS_OK;
}
