/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* Section headers, footers, EOF and VMDESC: clauses SEC, END. */

static const enum vms_record_type SECTION_RECORD[] = {
    [VMS_TYPE_SECTION_START] = VMS_R_SECTION_START,
    [VMS_TYPE_SECTION_PART] = VMS_R_SECTION_PART,
    [VMS_TYPE_SECTION_END] = VMS_R_SECTION_END,
    [VMS_TYPE_SECTION_FULL] = VMS_R_SECTION_FULL,
};

bool vms_printable(struct vms_slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
            return false;
    return true;
}

struct vms_slice vms_section_idstr(const struct vms_qevm_section *s) {
    return vms_slice(s->idstr, s->idstr_len);
}

static bool ends_with(struct vms_slice s, const char *suffix) {
    size_t n = strlen(suffix);
    return s.len >= n && memcmp(s.ptr + s.len - n, suffix, n) == 0;
}

/* [SEC-11] What a section carries is told by its id string. */
static enum vms_section_kind kind_of(struct vms_slice idstr) {
    if (vms_slice_eq(idstr, vms_str("ram")))
        return VMS_SECTION_RAM;
    if (vms_slice_eq(idstr, vms_str("dirty-bitmap")))
        return VMS_SECTION_DIRTY_BITMAP;
    bool vfio = vms_slice_eq(idstr, vms_str("vfio")) || ends_with(idstr, "/vfio");
    return vfio ? VMS_SECTION_VFIO : VMS_SECTION_DEVICE;
}

/* ---- table of sections ---- */

static struct vms_qevm_section *find_section(struct vms_qevm_decoder *d, uint32_t id) {
    if (d->section_hit < d->section_count && d->sections[d->section_hit].id == id)
        return &d->sections[d->section_hit];
    for (uint32_t i = 0; i < d->section_count; i++)
        if (d->sections[i].id == id) {
            d->section_hit = i;
            return &d->sections[i];
        }
    return NULL;
}

static bool is_section(const struct vms_qevm_section *have, const struct vms_rec_section *s) {
    return have->instance == s->instance && vms_slice_eq(vms_section_idstr(have), s->idstr);
}

/* [SEC-5], [SEC-14] One id for each (idstr, instance), one START and one FULL. */
static bool may_bind(const struct vms_qevm_decoder *d, const struct vms_rec_section *s, bool full) {
    for (uint32_t i = 0; i < d->section_count; i++) {
        const struct vms_qevm_section *have = &d->sections[i];
        if ((have->id == s->id) != is_section(have, s))
            return false;
        if (have->id == s->id && (full ? have->full : have->started))
            return false;
    }
    return true;
}

/* Enters s into the table; its id string is then the table's, and lasts. */
static enum vms_code add_section(struct vms_qevm_decoder *d, struct vms_rec_section *s) {
    struct vms_qevm_section *found = find_section(d, s->id);
    if (!found) {
        if (d->section_count >= d->config.limits.sections)
            return vms_qevm_fail(d, VMS_E_LIMIT, 0, "sections: %u", d->section_count + 1);
        found = &d->sections[d->section_count];
        memset(found, 0, sizeof *found);
        d->section_hit = d->section_count++;
    }
    found->id = s->id;
    found->instance = s->instance;
    found->version = s->version;
    found->kind = s->kind;
    if (!found->idstr_len)
        memcpy(found->idstr, s->idstr.ptr, s->idstr.len);
    found->idstr_len = (uint8_t)s->idstr.len;
    s->idstr = vms_section_idstr(found);
    d->section_index = d->section_hit;
    return VMS_OK;
}

static enum vms_code bind_section(struct vms_qevm_decoder *d, struct vms_rec_section *s) {
    bool full = d->section_type == VMS_TYPE_SECTION_FULL;
    if (!may_bind(d, s, full))
        return vms_qevm_fail(d, VMS_E_SECTION_ID_REUSED, 1, "id %u", s->id);
    enum vms_code code = add_section(d, s);
    if (code != VMS_OK)
        return code;
    struct vms_qevm_section *bound = &d->sections[d->section_index];
    bound->full |= full;
    bound->started |= !full;
    return VMS_OK;
}

/* ---- START, FULL ---- */

/* [SEC-6] The versions that every QEMU sends. */
static bool version_known(const struct vms_rec_section *s) {
    switch (s->kind) {
    case VMS_SECTION_RAM: return s->version == 4;
    case VMS_SECTION_DIRTY_BITMAP: return s->version == 1;
    default: return true;
    }
}

static enum vms_code read_section_header(struct vms_qevm_decoder *d, struct vms_reader *r,
                                         struct vms_rec_section *s) {
    s->id = vms_read_u32(r);
    size_t at = r->pos;
    s->idstr = vms_read_str8(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (!s->idstr.len)
        return vms_qevm_fail(d, VMS_E_EMPTY_IDSTR, at, NULL);
    if (!vms_printable(s->idstr))
        return vms_qevm_fail(d, VMS_E_BAD_IDSTR, at, NULL);
    s->instance = vms_read_u32(r);
    at = r->pos;
    s->version = vms_read_u32(r);
    s->kind = kind_of(s->idstr);
    if (!vms_reader_short(r) && !version_known(s))
        return vms_qevm_fail(d, VMS_E_SECTION_VERSION, at, "%s version %u",
                             vms_section_kind_name(s->kind), s->version);
    return VMS_OK;
}

/* A device section's payload is the bulk of its SECTION_FULL and needs no state. */
static const enum vms_qevm_state PAYLOAD_STATE[] = {
    [VMS_SECTION_RAM] = VMS_ST_RAM,
    [VMS_SECTION_VFIO] = VMS_ST_VFIO,
    [VMS_SECTION_DIRTY_BITMAP] = VMS_ST_DIRTY_BITMAP,
};

/* A device section, whose length the wire does not tell: TAIL. */
static enum vms_code open_device(struct vms_qevm_decoder *d, struct vms_reader *r,
                                 struct vms_record *rec) {
    struct vms_rec_section *s = &rec->u.section;
    uint64_t length = 0;
    enum vms_code code = vms_tail_length(d, r, s, &length);
    if (code != VMS_OK || vms_reader_short(r) || d->state == VMS_ST_HOLD ||
        d->state == VMS_ST_DEVICE_TAIL)
        return code;
    code = bind_section(d, s);
    if (code != VMS_OK)
        return code;
    rec->type = VMS_R_SECTION_FULL;
    d->section_left = length;
    if (s->kind == VMS_SECTION_VFIO) {
        d->state = VMS_ST_VFIO_FULL;
        d->vfio_config = false;
        return VMS_OK;
    }
    rec->bulk_len = length;
    vms_section_done(d);
    return VMS_OK;
}

static enum vms_code open_section(struct vms_qevm_decoder *d, struct vms_reader *r,
                                  struct vms_record *rec, uint8_t type) {
    struct vms_rec_section *s = &rec->u.section;
    enum vms_code code = read_section_header(d, r, s);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    d->section_type = type;
    bool full = type == VMS_TYPE_SECTION_FULL;
    if (full && (s->kind == VMS_SECTION_DEVICE || s->kind == VMS_SECTION_VFIO))
        return open_device(d, r, rec);
    if (s->kind == VMS_SECTION_DEVICE)
        return vms_qevm_fail(d, VMS_E_UNSUPPORTED_SECTION, 5, "%.*s", (int)s->idstr.len,
                             (const char *)s->idstr.ptr);
    code = bind_section(d, s);
    if (code != VMS_OK)
        return code;
    rec->type = SECTION_RECORD[type];
    d->vfio_setup = false;
    d->state = PAYLOAD_STATE[s->kind];
    return VMS_OK;
}

/* ---- PART, END ---- */

/* [REC-2] A recovery channel read on its own does not know the ids: only RAM goes on there. */
static enum vms_code assume_ram(struct vms_qevm_decoder *d, uint32_t id) {
    struct vms_rec_section ram = {id, 0, 4, VMS_SECTION_RAM, vms_str("ram")};
    return add_section(d, &ram);
}

static enum vms_code go_on_section(struct vms_qevm_decoder *d, struct vms_reader *r,
                                   struct vms_record *rec, uint8_t type) {
    uint32_t id = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    struct vms_qevm_section *s = find_section(d, id);
    if (!s && d->config.kind == VMS_QEVM_RECOVERY && !d->adopted) {
        if (assume_ram(d, id) != VMS_OK)
            return d->error.code;
        s = find_section(d, id);
    }
    if (!s)
        return vms_qevm_fail(d, VMS_E_UNKNOWN_SECTION, 1, "id %u", id);
    if (s->ended)
        return vms_qevm_fail(d, VMS_E_SECTION_AFTER_END, 1, "id %u", id);
    if (s->kind == VMS_SECTION_DEVICE)
        return vms_qevm_fail(d, VMS_E_UNSUPPORTED_SECTION, 1, "id %u is a device section", id);
    s->ended = type == VMS_TYPE_SECTION_END;
    rec->type = SECTION_RECORD[type];
    rec->u.section =
        (struct vms_rec_section){id, s->instance, s->version, s->kind, vms_section_idstr(s)};
    d->section_index = (uint32_t)(s - d->sections);
    d->section_type = type;
    d->vfio_setup = false;
    d->state = PAYLOAD_STATE[s->kind];
    return VMS_OK;
}

/* ---- what ends ---- */

static enum vms_code read_eof(struct vms_qevm_decoder *d, struct vms_record *rec) {
    rec->type = VMS_R_EOF;
    if (d->packaged) {
        d->state = VMS_ST_PACKAGE_END;
    } else if (d->postcopy >= VMS_POSTCOPY_LISTENING || d->dialect.vmdesc == VMS_OFF) {
        d->state = VMS_ST_END;
    } else {
        d->state = VMS_ST_AFTER_EOF;
    }
    return VMS_OK;
}

enum vms_code vms_parse_top(struct vms_qevm_decoder *d, struct vms_reader *r,
                            struct vms_record *rec) {
    uint8_t type = vms_read_u8(r);
    if (vms_reader_short(r))
        return VMS_OK;
    vms_tail_passed_anchor(d);
    switch (type) {
    case VMS_TYPE_EOF: return read_eof(d, rec);
    case VMS_TYPE_SECTION_START:
    case VMS_TYPE_SECTION_FULL: return open_section(d, r, rec, type);
    case VMS_TYPE_SECTION_PART:
    case VMS_TYPE_SECTION_END: return go_on_section(d, r, rec, type);
    case VMS_TYPE_COMMAND: return vms_parse_command(d, r, rec);
    default: return vms_qevm_fail(d, VMS_E_BAD_RECORD_TYPE, 0, "0x%02x", type);
    }
}

void vms_section_done(struct vms_qevm_decoder *d) {
    d->state = vms_on(d->dialect.footers, true) ? VMS_ST_FOOTER : VMS_ST_TOP;
}

/* [TAIL-2] A footer that is missing then tells that the length given beforehand is wrong. */
static bool cut_as_told(const struct vms_qevm_decoder *d) {
    return d->cut == VMS_CUT_VMDESC && d->section_type == VMS_TYPE_SECTION_FULL;
}

enum vms_code vms_parse_footer(struct vms_qevm_decoder *d, struct vms_reader *r,
                               struct vms_record *rec) {
    uint8_t type = vms_read_u8(r);
    if (!vms_reader_short(r) && type != VMS_TYPE_SECTION_FOOTER)
        return vms_qevm_fail(d, cut_as_told(d) ? VMS_E_TAIL_WALK : VMS_E_FOOTER_MISSING, 0,
                             "0x%02x instead", type);
    uint32_t id = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    const struct vms_qevm_section *s = &d->sections[d->section_index];
    if (id != s->id)
        return vms_qevm_fail(d, VMS_E_FOOTER_MISMATCH, 1, "id %u, section %u", id, s->id);
    rec->type = VMS_R_SECTION_FOOTER;
    rec->u.section =
        (struct vms_rec_section){id, s->instance, s->version, s->kind, vms_section_idstr(s)};
    d->state = VMS_ST_TOP;
    return VMS_OK;
}

enum vms_code vms_parse_after_eof(struct vms_qevm_decoder *d, struct vms_reader *r,
                                  struct vms_record *rec) {
    uint8_t type = vms_read_u8(r);
    if (!vms_reader_short(r) && type != VMS_TYPE_VMDESCRIPTION)
        return vms_qevm_fail(d, VMS_E_BAD_VMDESC_TYPE, 0, "0x%02x", type);
    uint32_t len = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (len > d->config.limits.vmdesc_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, 1, "vmdesc_bytes: %u", len);
    if (!vms_tail_describes(d, r, len))
        return vms_qevm_fail(d, VMS_E_BAD_VMDESC, r->pos, NULL);
    rec->type = VMS_R_VMDESCRIPTION;
    rec->bulk_len = len;
    d->state = VMS_ST_END;
    return VMS_OK;
}

/* ---- encoding ---- */

void vms_emit_section(struct vms_writer *w, const struct vms_record *rec,
                      const struct vms_qevm_encoder *e) {
    static const uint8_t bytes[VMS_RECORD_TYPE_COUNT] = {
        [VMS_R_SECTION_START] = VMS_TYPE_SECTION_START,
        [VMS_R_SECTION_PART] = VMS_TYPE_SECTION_PART,
        [VMS_R_SECTION_END] = VMS_TYPE_SECTION_END,
        [VMS_R_SECTION_FULL] = VMS_TYPE_SECTION_FULL,
    };
    const struct vms_rec_section *s = &rec->u.section;
    (void)e;
    vms_write_u8(w, bytes[rec->type]);
    vms_write_u32(w, s->id);
    if (rec->type == VMS_R_SECTION_PART || rec->type == VMS_R_SECTION_END)
        return;
    vms_write_str8(w, s->idstr);
    vms_write_u32(w, s->instance);
    vms_write_u32(w, s->version);
}

void vms_emit_footer(struct vms_writer *w, const struct vms_record *rec,
                     const struct vms_qevm_encoder *e) {
    (void)e;
    vms_write_u8(w, VMS_TYPE_SECTION_FOOTER);
    vms_write_u32(w, rec->u.section.id);
}

void vms_emit_eof(struct vms_writer *w, const struct vms_record *rec,
                  const struct vms_qevm_encoder *e) {
    (void)rec, (void)e;
    vms_write_u8(w, VMS_TYPE_EOF);
}

void vms_emit_vmdescription(struct vms_writer *w, const struct vms_record *rec,
                            const struct vms_qevm_encoder *e) {
    (void)e;
    vms_write_u8(w, VMS_TYPE_VMDESCRIPTION);
    vms_write_u32(w, (uint32_t)rec->bulk_len);
}
