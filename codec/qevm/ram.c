/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* RAM page records, on the main channel and on the preempt channel: clauses RAM, XBZ, PRE. */

enum {
    XBZRLE_MARK = 0x01,
};

typedef enum vms_code parse_body(struct vms_qevm_decoder *d, struct vms_reader *r,
                                 struct vms_record *rec, uint64_t word);

/* What may be where: on the main channel in precopy, and in postcopy or on the preempt channel. */
struct ram_rule {
    enum vms_record_type type;
    parse_body *parse;
    bool names_block;
    bool in_postcopy;
};

static parse_body parse_zero, parse_page, parse_xbzrle, parse_compressed, parse_eos, parse_list,
    parse_mark;

/* The number of a flag's bit. */
#define BIT(flag) ((unsigned)__builtin_ctz(flag))

enum {
    FLAG_BITS = BIT(VMS_RAM_MULTIFD_FLUSH) + 1,
};

/* [RAM-1] Exactly one of these flags; CONTINUE is a modifier of those that name a block. */
static const struct ram_rule RULES[FLAG_BITS] = {
    [BIT(VMS_RAM_ZERO)] = {VMS_R_RAM_ZERO, parse_zero, true, true},
    [BIT(VMS_RAM_PAGE)] = {VMS_R_RAM_PAGE, parse_page, true, true},
    [BIT(VMS_RAM_XBZRLE)] = {VMS_R_RAM_XBZRLE, parse_xbzrle, true, false},
    [BIT(VMS_RAM_COMPRESS_PAGE)] = {VMS_R_RAM_COMPRESSED, parse_compressed, true, true},
    [BIT(VMS_RAM_MEM_SIZE)] = {VMS_R_RAM_MEM_SIZE, parse_list, false, false},
    [BIT(VMS_RAM_EOS)] = {VMS_R_RAM_EOS, parse_eos, false, true},
    [BIT(VMS_RAM_HOOK)] = {VMS_R_RAM_HOOK, parse_mark, false, false},
    [BIT(VMS_RAM_MULTIFD_FLUSH)] = {VMS_R_RAM_MULTIFD_FLUSH, parse_mark, false, false},
};

/* [RAM-2] The QEMU versions that send a flag. */
static const struct {
    vms_qemu_version first, last;
} SENT[FLAG_BITS] = {
#define VMS_RAM_FLAG(name, value, first, last) [BIT(value)] = {first, last},
#include <vmstream/registry/qevm_ram.def>
#undef VMS_RAM_FLAG
};

static const struct ram_rule *rule_of(unsigned flag) {
    bool one = flag && (flag & (flag - 1)) == 0 && BIT(flag) < FLAG_BITS;
    return one && RULES[BIT(flag)].parse ? &RULES[BIT(flag)] : NULL;
}

static bool in_postcopy(const struct vms_qevm_decoder *d) {
    return d->postcopy >= VMS_POSTCOPY_LISTENING || d->config.kind == VMS_QEVM_PREEMPT;
}

/* [RAM-31] What the list says, else the smallest size that ADVISE has announced. */
static uint64_t host_page_size(const struct vms_qevm_decoder *d, const struct vms_qevm_block *b) {
    return b->page_size ? b->page_size : d->advised_sizes & (~d->advised_sizes + 1);
}

/* [RAM-14] All target pages of a host page come one after the other on one channel. */
static enum vms_code check_host_page(struct vms_qevm_decoder *d,
                                     const struct vms_rec_ram_page *page) {
    if (!in_postcopy(d) || page->block_index == VMS_NO_BLOCK)
        return VMS_OK;
    uint64_t size = host_page_size(d, &d->blocks[page->block_index]);
    if (size <= d->page_size)
        return d->host_left ? vms_qevm_fail(d, VMS_E_RAM_HOST_PAGE, 0, NULL) : VMS_OK;
    uint64_t host = page->offset / size;
    if (!d->host_left) {
        d->host_block = page->block_index;
        d->host_page = host;
        d->host_left = size / d->page_size;
    } else if (d->host_block != page->block_index || d->host_page != host) {
        return vms_qevm_fail(d, VMS_E_RAM_HOST_PAGE, 0, "0x%llx while 0x%llx is unfinished",
                             (unsigned long long)(host * size),
                             (unsigned long long)(d->host_page * size));
    }
    d->host_left--;
    return VMS_OK;
}

/* The part that all page records share: offset, block, and the checks of both. */
static enum vms_code parse_place(struct vms_qevm_decoder *d, struct vms_reader *r,
                                 struct vms_record *rec, uint64_t word) {
    struct vms_rec_ram_page *page = &rec->u.page;
    page->offset = word & ~(uint64_t)(d->page_size - 1);
    if (!d->list_seen && d->config.kind == VMS_QEVM_MAIN)
        return vms_qevm_fail(d, VMS_E_RAM_NO_BLOCK_LIST, 0, NULL);
    if (vms_on(d->dialect.mapped_ram, false))
        return vms_qevm_fail(d, VMS_E_MAPPED_RECORD, 0, NULL);
    enum vms_code code = vms_block_resolve(d, r, word & VMS_RAM_CONTINUE, 0, page);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    return vms_block_check_page(d, 0, page);
}

static enum vms_code parse_zero(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_record *rec, uint64_t word) {
    (void)word;
    size_t at = r->pos;
    rec->u.page.fill = vms_read_u8(r);
    if (vms_reader_short(r))
        return VMS_OK;
    /* [RAM-6] Up to 8.1 a receiver filled the page with the byte; no source ever sent another. */
    if (rec->u.page.fill)
        return vms_qevm_fail(d, VMS_E_RAM_ZERO_FILL, at, "0x%02x", rec->u.page.fill);
    return check_host_page(d, &rec->u.page);
}

static enum vms_code parse_page(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_record *rec, uint64_t word) {
    (void)r, (void)word;
    rec->bulk_len = d->page_size;
    return check_host_page(d, &rec->u.page);
}

static enum vms_code parse_xbzrle(struct vms_qevm_decoder *d, struct vms_reader *r,
                                  struct vms_record *rec, uint64_t word) {
    (void)word;
    size_t at = r->pos;
    uint8_t mark = vms_read_u8(r);
    uint16_t len = vms_read_u16(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (mark != XBZRLE_MARK || len > d->page_size)
        return vms_qevm_fail(d, VMS_E_XBZRLE_HEADER, at, "mark %u, %u bytes", mark, len);
    rec->bulk_len = len;
    return VMS_OK;
}

/* [RAM-17] zlib never makes a page longer than this. */
static uint32_t compress_bound(uint32_t n) {
    return n + (n >> 12) + (n >> 14) + (n >> 25) + 13;
}

static enum vms_code parse_compressed(struct vms_qevm_decoder *d, struct vms_reader *r,
                                      struct vms_record *rec, uint64_t word) {
    (void)word;
    size_t at = r->pos;
    uint32_t len = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (!len || len > compress_bound(d->page_size))
        return vms_qevm_fail(d, VMS_E_RAM_COMPRESSED_LENGTH, at, "%u", len);
    rec->bulk_len = len;
    return check_host_page(d, &rec->u.page);
}

static enum vms_code parse_eos(struct vms_qevm_decoder *d, struct vms_reader *r,
                               struct vms_record *rec, uint64_t word) {
    (void)r;
    if (word != VMS_RAM_EOS)
        return vms_qevm_fail(d, VMS_E_RAM_EOS_WORD, 0, "0x%llx", (unsigned long long)word);
    rec->u.ram_word = word;
    if (d->config.kind == VMS_QEVM_PREEMPT)
        d->state = VMS_ST_END;
    else
        vms_section_done(d);
    return VMS_OK;
}

static enum vms_code parse_mark(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_record *rec, uint64_t word) {
    (void)r;
    if (vms_on(d->dialect.mapped_ram, false))
        return vms_qevm_fail(d, VMS_E_MAPPED_RECORD, 0, NULL);
    rec->u.ram_word = word;
    return VMS_OK;
}

/* [RAM-7], [RAM-12] MEM_SIZE: the total; the blocks follow as records of their own. */
static enum vms_code parse_list(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_record *rec, uint64_t word) {
    (void)r;
    uint64_t total = word & ~(uint64_t)(d->page_size - 1);
    if (d->list_seen)
        return vms_qevm_fail(d, VMS_E_RAM_LIST_TWICE, 0, NULL);
    if (total > d->config.limits.ram_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, 0, "ram_bytes: 0x%llx", (unsigned long long)total);
    rec->u.ram_total = total;
    d->list_seen = true;
    d->list_left = total;
    if (total)
        d->state = VMS_ST_RAM_LIST;
    return VMS_OK;
}

static enum vms_code check_flags(struct vms_qevm_decoder *d, unsigned flags,
                                 const struct ram_rule *rule) {
    unsigned flag = flags & ~(unsigned)VMS_RAM_CONTINUE;
    if (flag == VMS_RAM_FULL)
        return vms_qevm_fail(d, VMS_E_RAM_FLAG_DIALECT, 0, "0x%x", flags);
    if (!rule || ((flags & VMS_RAM_CONTINUE) && !rule->names_block && flag != VMS_RAM_EOS))
        return vms_qevm_fail(d, VMS_E_RAM_FLAGS, 0, "0x%x", flags);
    if (!vms_dialect_has(&d->dialect, SENT[BIT(flag)].first, SENT[BIT(flag)].last))
        return vms_qevm_fail(d, VMS_E_RAM_FLAG_DIALECT, 0, "0x%x", flags);
    if (d->config.kind == VMS_QEVM_PREEMPT && !rule->in_postcopy)
        return vms_qevm_fail(d, VMS_E_PREEMPT_RECORD, 0, "0x%x", flags);
    if (in_postcopy(d) && !rule->in_postcopy)
        return vms_qevm_fail(d, VMS_E_RAM_POSTCOPY_RECORD, 0, "0x%x", flags);
    return VMS_OK;
}

enum vms_code vms_parse_ram(struct vms_qevm_decoder *d, struct vms_reader *r,
                            struct vms_record *rec) {
    uint64_t word = vms_read_u64(r);
    if (vms_reader_short(r))
        return VMS_OK;
    unsigned flags = (unsigned)(word & (d->page_size - 1));
    const struct ram_rule *rule = rule_of(flags & ~(unsigned)VMS_RAM_CONTINUE);
    enum vms_code code = check_flags(d, flags, rule);
    if (code == VMS_OK && rule->names_block)
        code = parse_place(d, r, rec, word);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    rec->type = rule->type;
    return rule->parse(d, r, rec, word);
}

enum vms_code vms_parse_preempt(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_record *rec) {
    return vms_parse_ram(d, r, rec);
}

/* ---- encoding ---- */

void vms_emit_ram_page(struct vms_writer *w, const struct vms_record *rec,
                       const struct vms_qevm_encoder *e) {
    static const uint16_t flags[VMS_RECORD_TYPE_COUNT] = {
        [VMS_R_RAM_PAGE] = VMS_RAM_PAGE,
        [VMS_R_RAM_ZERO] = VMS_RAM_ZERO,
        [VMS_R_RAM_XBZRLE] = VMS_RAM_XBZRLE,
        [VMS_R_RAM_COMPRESSED] = VMS_RAM_COMPRESS_PAGE,
    };
    const struct vms_rec_ram_page *page = &rec->u.page;
    (void)e;
    vms_write_u64(w, page->offset | flags[rec->type] | (page->continued ? VMS_RAM_CONTINUE : 0u));
    if (!page->continued)
        vms_write_str8(w, page->block);
    if (rec->type == VMS_R_RAM_ZERO)
        vms_write_u8(w, page->fill);
    if (rec->type == VMS_R_RAM_XBZRLE) {
        vms_write_u8(w, XBZRLE_MARK);
        vms_write_u16(w, (uint16_t)rec->bulk_len);
    }
    if (rec->type == VMS_R_RAM_COMPRESSED)
        vms_write_u32(w, (uint32_t)rec->bulk_len);
}

void vms_emit_ram_word(struct vms_writer *w, const struct vms_record *rec,
                       const struct vms_qevm_encoder *e) {
    (void)e;
    vms_write_u64(w, rec->u.ram_word);
}
