/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* HEADER and CONFIGURATION: clauses HDR, CFG. */

enum {
    STREAM_VERSION = 3,
};

struct subsection_rule {
    const char *name;
    enum vms_config_kind kind;
};

/* [CFG-3] */
static const struct subsection_rule SUBSECTIONS[] = {
    {"configuration/target-page-bits", VMS_CONFIG_PAGE_BITS},
    {"configuration/capabilities", VMS_CONFIG_CAPABILITIES},
    {"configuration/uuid", VMS_CONFIG_UUID},
};

enum vms_code vms_parse_header(struct vms_qevm_decoder *d, struct vms_reader *r,
                               struct vms_record *rec) {
    uint32_t magic = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (magic != VMS_QEVM_MAGIC)
        return vms_qevm_fail(d, VMS_E_BAD_MAGIC, 0, "0x%08x", magic);
    uint32_t version = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (version != STREAM_VERSION)
        return vms_qevm_fail(d, version == 2 ? VMS_E_OBSOLETE_VERSION : VMS_E_BAD_VERSION, 4, "%u",
                             version);
    rec->type = VMS_R_HEADER;
    rec->u.version = version;
    d->state = vms_on(d->dialect.configuration, true) ? VMS_ST_CONFIGURATION : VMS_ST_TOP;
    return VMS_OK;
}

/* [CFG-6] u32 count, then the names. */
static enum vms_code read_capabilities(struct vms_qevm_decoder *d, struct vms_reader *r) {
    size_t at = r->pos;
    uint32_t count = vms_read_u32(r);
    if (!vms_reader_short(r) && count > d->config.limits.capabilities)
        return vms_qevm_fail(d, VMS_E_LIMIT, at, "capabilities: %u", count);
    for (uint32_t i = 0; i < count; i++) {
        at = r->pos;
        struct vms_slice name = vms_read_str8(r);
        if (vms_reader_short(r))
            return VMS_OK;
        if (!name.len || !vms_printable(name))
            return vms_qevm_fail(d, VMS_E_CONFIG_CAPABILITY, at, NULL);
    }
    return VMS_OK;
}

static enum vms_code read_page_bits(struct vms_qevm_decoder *d, struct vms_reader *r) {
    size_t at = r->pos;
    uint32_t bits = vms_read_u32(r);
    if (!vms_reader_short(r) && (bits < 10 || bits > 16))
        return vms_qevm_fail(d, VMS_E_CONFIG_PAGE_BITS, at, "%u", bits);
    return VMS_OK;
}

static enum vms_code read_subsection_body(struct vms_qevm_decoder *d, struct vms_reader *r,
                                          struct vms_config_subsection *sub) {
    size_t from = r->pos;
    enum vms_code code = VMS_OK;
    if (sub->kind == VMS_CONFIG_PAGE_BITS)
        code = read_page_bits(d, r);
    else if (sub->kind == VMS_CONFIG_CAPABILITIES)
        code = read_capabilities(d, r);
    else
        (void)vms_read_bytes(r, 16);
    sub->body = vms_slice(r->ptr + from, r->pos - from);
    return code;
}

static const struct subsection_rule *find_subsection(struct vms_slice name) {
    for (size_t i = 0; i < sizeof SUBSECTIONS / sizeof *SUBSECTIONS; i++)
        if (vms_slice_eq(name, vms_str(SUBSECTIONS[i].name)))
            return &SUBSECTIONS[i];
    return NULL;
}

static bool has_subsection(const struct vms_rec_configuration *c, enum vms_config_kind kind) {
    for (unsigned i = 0; i < c->subsection_count; i++)
        if (c->subsections[i].kind == kind)
            return true;
    return false;
}

static enum vms_code read_subsection(struct vms_qevm_decoder *d, struct vms_reader *r,
                                     struct vms_rec_configuration *c) {
    size_t at = r->pos;
    (void)vms_read_u8(r);
    struct vms_slice name = vms_read_str8(r);
    if (vms_reader_short(r))
        return VMS_OK;
    const struct subsection_rule *rule = find_subsection(name);
    if (!rule || has_subsection(c, rule->kind))
        return vms_qevm_fail(d, VMS_E_CONFIG_SUBSECTION, at, "%.*s", (int)name.len,
                             (const char *)name.ptr);
    struct vms_config_subsection *sub = &c->subsections[c->subsection_count];
    sub->kind = rule->kind;
    at = r->pos;
    sub->version = vms_read_u32(r);
    if (!vms_reader_short(r) && sub->version != 1)
        return vms_qevm_fail(d, VMS_E_CONFIG_SUBSECTION_VERSION, at, "%s version %u", rule->name,
                             sub->version);
    enum vms_code code = read_subsection_body(d, r, sub);
    c->subsection_count++;
    return code;
}

static bool lists_capability(struct vms_slice body, const char *name) {
    struct vms_reader r = vms_reader(body);
    uint32_t count = vms_read_u32(&r);
    for (uint32_t i = 0; i < count; i++)
        if (vms_slice_eq(vms_read_str8(&r), vms_str(name)))
            return true;
    return false;
}

static void learn_capability(enum vms_tristate *t, struct vms_slice body, const char *name) {
    if (*t == VMS_AUTO)
        *t = body.ptr && lists_capability(body, name) ? VMS_ON : VMS_OFF;
}

/* [DLC-5] What the record announces becomes part of the dialect. */
static void learn(struct vms_qevm_decoder *d, const struct vms_rec_configuration *c) {
    struct vms_slice capabilities = {NULL, 0};
    for (unsigned i = 0; i < c->subsection_count; i++) {
        const struct vms_config_subsection *sub = &c->subsections[i];
        if (sub->kind == VMS_CONFIG_CAPABILITIES)
            capabilities = sub->body;
        if (sub->kind == VMS_CONFIG_PAGE_BITS)
            d->dialect.page_bits = sub->body.ptr[3];
    }
    learn_capability(&d->dialect.ignore_shared, capabilities, "x-ignore-shared");
    learn_capability(&d->dialect.mapped_ram, capabilities, "mapped-ram");
    vms_dialect_learn_machine(&d->dialect, c->machine);
    if (d->dialect.page_bits)
        d->page_size = 1u << d->dialect.page_bits;
}

/* More subsections follow as long as the next byte says so: there is no count. */
static bool another_subsection(struct vms_reader *r) {
    return vms_reader_want(r, 1) && r->ptr[r->pos] == VMS_TYPE_SUBSECTION;
}

enum vms_code vms_parse_configuration(struct vms_qevm_decoder *d, struct vms_reader *r,
                                      struct vms_record *rec) {
    struct vms_rec_configuration *c = &rec->u.config;
    uint8_t type = vms_read_u8(r);
    if (!vms_reader_short(r) && type != VMS_TYPE_CONFIGURATION)
        return vms_qevm_fail(d, VMS_E_CONFIG_MISSING, 0, "record type 0x%02x", type);
    uint32_t len = vms_read_u32(r);
    if (!vms_reader_short(r) && len > d->config.limits.machine_name_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, 1, "machine_name_bytes: %u", len);
    c->machine = vms_read_bytes(r, len);
    if (!vms_reader_short(r) && (!len || !vms_printable(c->machine)))
        return vms_qevm_fail(d, VMS_E_CONFIG_NAME, 5, NULL);
    while (another_subsection(r)) {
        enum vms_code code = read_subsection(d, r, c);
        if (code != VMS_OK)
            return code;
    }
    if (vms_reader_short(r))
        return VMS_OK;
    rec->type = VMS_R_CONFIGURATION;
    learn(d, c);
    d->state = VMS_ST_TOP;
    return VMS_OK;
}

void vms_emit_header(struct vms_writer *w, const struct vms_record *rec,
                     const struct vms_qevm_encoder *e) {
    (void)e;
    vms_write_u32(w, VMS_QEVM_MAGIC);
    vms_write_u32(w, rec->u.version);
}

void vms_emit_configuration(struct vms_writer *w, const struct vms_record *rec,
                            const struct vms_qevm_encoder *e) {
    const struct vms_rec_configuration *c = &rec->u.config;
    (void)e;
    vms_write_u8(w, VMS_TYPE_CONFIGURATION);
    vms_write_u32(w, (uint32_t)c->machine.len);
    vms_write_bytes(w, c->machine);
    for (unsigned i = 0; i < c->subsection_count && i < VMS_CONFIG_SUBSECTIONS; i++) {
        vms_write_u8(w, VMS_TYPE_SUBSECTION);
        vms_write_str8(w, vms_str(SUBSECTIONS[c->subsections[i].kind].name));
        vms_write_u32(w, c->subsections[i].version);
        vms_write_bytes(w, c->subsections[i].body);
    }
}
