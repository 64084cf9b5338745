/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* VFIO sections: clauses VFIO. Iterable ones are tags up to the one that ends them. */

enum place {
    IN_START = 1 << VMS_TYPE_SECTION_START,
    IN_PART = 1 << VMS_TYPE_SECTION_PART,
    IN_END = 1 << VMS_TYPE_SECTION_END,
    IN_FULL = 1 << VMS_TYPE_SECTION_FULL,
};

struct tag_rule {
    uint64_t tag;
    enum vms_record_type type;
    vms_qemu_version since;
};

/* END_OF_STATE is the first. */
static const struct tag_rule TAGS[] = {
#define VMS_VFIO_TAG(name, value, since) {UINT64_C(value), VMS_R_VFIO_##name, since},
#include <vmstream/registry/qevm_vfio.def>
#undef VMS_VFIO_TAG
};

/* [VFIO-2] The kinds of section that a tag may be in. */
static unsigned places(enum vms_record_type type) {
    switch (type) {
    case VMS_R_VFIO_SETUP_STATE: return IN_START;
    case VMS_R_VFIO_DATA_STATE: return IN_PART | IN_END;
    case VMS_R_VFIO_INIT_DATA_SENT: return IN_PART;
    case VMS_R_VFIO_CONFIG_STATE:
    case VMS_R_VFIO_CONFIG_LOAD_READY: return IN_FULL;
    default: return IN_START | IN_PART | IN_END | IN_FULL;
    }
}

/* [VFIO-5] Three tags end a section; nothing else does. */
static bool ends_section(enum vms_record_type type) {
    return type == VMS_R_VFIO_END_OF_STATE || type == VMS_R_VFIO_INIT_DATA_SENT ||
           type == VMS_R_VFIO_CONFIG_LOAD_READY;
}

static const struct tag_rule *rule_of(uint64_t tag) {
    for (size_t i = 0; i < sizeof TAGS / sizeof *TAGS; i++)
        if (TAGS[i].tag == tag)
            return &TAGS[i];
    return NULL;
}

static enum vms_code read_tag(struct vms_qevm_decoder *d, struct vms_reader *r,
                              enum vms_record_type *type) {
    uint64_t tag = vms_read_u64(r);
    *type = VMS_RECORD_NONE;
    if (vms_reader_short(r))
        return VMS_OK;
    const struct tag_rule *rule = rule_of(tag);
    if (!rule)
        return vms_qevm_fail(d, VMS_E_VFIO_TAG, 0, "0x%llx", (unsigned long long)tag);
    if (!(places(rule->type) & 1u << d->section_type) ||
        !vms_dialect_has(&d->dialect, rule->since, 0))
        return vms_qevm_fail(d, VMS_E_VFIO_TAG_PLACE, 0, "%s", vms_record_name(rule->type));
    /* SETUP_STATE and CONFIG_STATE are followed by END_OF_STATE at once. */
    if (d->vfio_setup && rule->type != VMS_R_VFIO_END_OF_STATE)
        return vms_qevm_fail(d, VMS_E_VFIO_TAG_PLACE, 0, "%s after SETUP_STATE",
                             vms_record_name(rule->type));
    *type = rule->type;
    return VMS_OK;
}

enum vms_code vms_parse_vfio(struct vms_qevm_decoder *d, struct vms_reader *r,
                             struct vms_record *rec) {
    enum vms_record_type type;
    enum vms_code code = read_tag(d, r, &type);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    if (type == VMS_R_VFIO_DATA_STATE) {
        rec->bulk_len = vms_read_u64(r);
        if (vms_reader_short(r))
            return VMS_OK;
        if (!rec->bulk_len)
            return vms_qevm_fail(d, VMS_E_VFIO_DATA_SIZE, 8, NULL);
        if (rec->bulk_len > d->config.limits.vfio_data_bytes)
            return vms_qevm_fail(d, VMS_E_LIMIT, 8, "vfio_data_bytes: %llu",
                                 (unsigned long long)rec->bulk_len);
    }
    rec->type = type;
    d->vfio_setup = type == VMS_R_VFIO_SETUP_STATE;
    if (ends_section(type))
        vms_section_done(d);
    return VMS_OK;
}

/* A FULL section's length is known: [CONFIG_STATE, its state] END_OF_STATE, or one lone tag. */
enum vms_code vms_parse_vfio_full(struct vms_qevm_decoder *d, struct vms_reader *r,
                                  struct vms_record *rec) {
    enum {
        TAG = 8
    };
    enum vms_record_type type;
    if (d->section_left < TAG)
        return vms_qevm_fail(d, VMS_E_VFIO_CONFIG_END, 0, "%llu bytes are left",
                             (unsigned long long)d->section_left);
    /* [VFIO-4] */
    if (d->vfio_config && vms_reader_want(r, TAG) && vms_be64(r->ptr + r->pos) != TAGS[0].tag)
        return vms_qevm_fail(d, VMS_E_VFIO_CONFIG_END, 0, NULL);
    enum vms_code code = read_tag(d, r, &type);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    bool config = type == VMS_R_VFIO_CONFIG_STATE;
    if (config ? d->section_left < 2 * TAG : d->section_left != TAG)
        return vms_qevm_fail(d, VMS_E_VFIO_CONFIG_END, 0, NULL);
    rec->type = type;
    rec->bulk_len = config ? d->section_left - 2 * TAG : 0;
    d->section_left -= TAG + rec->bulk_len;
    d->vfio_config = config;
    if (!config)
        vms_section_done(d);
    return VMS_OK;
}

void vms_emit_vfio(struct vms_writer *w, const struct vms_record *rec,
                   const struct vms_qevm_encoder *e) {
    (void)e;
    for (size_t i = 0; i < sizeof TAGS / sizeof *TAGS; i++)
        if (TAGS[i].type == rec->type)
            vms_write_u64(w, TAGS[i].tag);
    if (rec->type == VMS_R_VFIO_DATA_STATE)
        vms_write_u64(w, rec->bulk_len);
}
