/* SPDX-License-Identifier: MIT */
#include "native/native_test_util.h"
#include <criterion/criterion.h>
#include <vmstream/qevm.h>

/* QEVM records through native frames: [NAT-60] to [NAT-65], and so [MOD-13]. */

enum {
    PAGE = 4096,
    RECORDS = 64,
};

/* ---- random records that QEMU's wire can express ---- */

struct source {
    uint32_t seed;
    uint8_t pool[8192];
};

static uint32_t below(struct source *s, uint32_t n) {
    return next_random(&s->seed) % n;
}

static uint64_t any64(struct source *s) {
    uint64_t v = (uint64_t)next_random(&s->seed) << 32 | next_random(&s->seed);
    return v >> below(s, 64);
}

static struct vms_slice text(struct source *s, uint32_t max) {
    return vms_slice(s->pool + below(s, 1000), below(s, max + 1));
}

static void make_packet(struct source *s, struct vms_record *rec) {
    static uint8_t raw[RECORDS][320], offsets[RECORDS][1024];
    static unsigned turn;
    struct vms_rec_multifd_packet *p = &rec->u.packet;
    uint8_t *r = raw[turn % RECORDS], *o = offsets[turn % RECORDS];
    turn++;
    memset(r, 0, 320);
    memset(o, 0, 1024);
    for (uint32_t i = below(s, 129); i; i--)
        o[8 * i - 3] = (uint8_t)below(s, 256);
    p->flags = below(s, 2);
    p->normal_pages = below(s, 4);
    p->zero_pages = below(s, 4);
    p->pages_alloc = 128;
    p->next_packet_size = (uint32_t)any64(s);
    p->packet_num = any64(s);
    p->block = text(s, 20);
    memcpy(r + 64, p->block.ptr, p->block.len);
    if (below(s, 3) == 0)
        r[36 + below(s, 284)] ^= 1; /* residue that is not canonical */
    p->raw = vms_slice(r, below(s, 4) ? 320 : 0);
    p->offsets = vms_slice(o, 1024);
    rec->bulk_len = (uint64_t)p->normal_pages * PAGE;
}

static void make_configuration(struct source *s, struct vms_rec_configuration *c) {
    c->machine = text(s, 255);
    c->subsection_count = below(s, 4);
    for (unsigned i = 0; i < c->subsection_count; i++) {
        c->subsections[i].kind = (enum vms_config_kind)i;
        c->subsections[i].version = below(s, 3);
        c->subsections[i].body = i == VMS_CONFIG_PAGE_BITS ? vms_slice("\0\0\0\x0c", 4)
                                 : i == VMS_CONFIG_UUID    ? vms_slice(s->pool, 16)
                                                           : vms_slice(s->pool, 4 + below(s, 300));
    }
}

static void make_page(struct source *s, struct vms_record *rec) {
    struct vms_rec_ram_page *p = &rec->u.page;
    bool index = below(s, 2);
    p->block_index = index ? below(s, 1000) : UINT32_MAX;
    p->block = index ? vms_slice(NULL, 0) : text(s, 255);
    p->continued = index || below(s, 2);
    p->fill = (uint8_t)(rec->type == VMS_R_RAM_ZERO ? below(s, 3) : 0);
    p->offset = any64(s) & ~(uint64_t)(PAGE - 1);
    rec->bulk_len = rec->type == VMS_R_RAM_PAGE         ? PAGE
                    : rec->type == VMS_R_RAM_XBZRLE     ? below(s, PAGE)
                    : rec->type == VMS_R_RAM_COMPRESSED ? 1 + below(s, PAGE)
                                                        : 0;
}

static void make_block(struct source *s, struct vms_rec_ram_block *b) {
    b->name = text(s, 255);
    b->used_length = any64(s);
    b->has_page_size = below(s, 2);
    b->page_size = b->has_page_size ? any64(s) : 0;
    b->has_gpa = below(s, 2);
    b->gpa = b->has_gpa ? any64(s) : 0;
    b->has_mapped = below(s, 2);
    if (!b->has_mapped)
        return;
    b->mapped_version = 1;
    b->mapped_page_size = PAGE;
    b->mapped_bitmap_offset = any64(s);
    b->mapped_pages_offset = any64(s);
}

static void make_device(struct source *s, struct vms_rec_multifd_device *d) {
    static uint8_t raw[RECORDS][256];
    static unsigned turn;
    uint8_t *r = raw[turn++ % RECORDS];
    memset(r, 0, 256);
    d->idstr = text(s, 255);
    memcpy(r, d->idstr.ptr, d->idstr.len);
    if (below(s, 2))
        r[255] = 9;
    d->raw_idstr = vms_slice(r, 256);
    d->instance = below(s, 9);
    d->index = (uint32_t)any64(s);
    d->flags = below(s, 2);
    d->raw_flags = 64;
}

static void make_rest(struct source *s, struct vms_record *rec) {
    static const uint8_t reserved[2][39] = {{0}, {0, 0, 5}};
    switch (rec->type) {
    case VMS_R_HEADER: rec->u.version = 3; return;
    case VMS_R_COMMAND:
        rec->u.command.command = (uint16_t)below(s, 14);
        rec->u.command.payload = text(s, 4000);
        return;
    case VMS_R_RAM_MEM_SIZE: rec->u.ram_total = any64(s) & ~(uint64_t)(PAGE - 1); return;
    case VMS_R_RAM_EOS: rec->u.ram_word = VMS_RAM_EOS; return;
    case VMS_R_RAM_HOOK: rec->u.ram_word = VMS_RAM_HOOK | PAGE * (uint64_t)below(s, 9); return;
    case VMS_R_RAM_MULTIFD_FLUSH: rec->u.ram_word = VMS_RAM_MULTIFD_FLUSH; return;
    case VMS_R_DIRTY_BITMAP:
        rec->u.bitmap = (struct vms_rec_dirty_bitmap){
            0x50, text(s, 255), text(s, 255), (uint32_t)any64(s), 3, any64(s), below(s, 99)};
        return;
    case VMS_R_MULTIFD_HELLO:
        rec->u.hello.channel_id = (uint8_t)below(s, 255);
        rec->u.hello.uuid[3] = 7;
        rec->u.hello.reserved = vms_slice(reserved[below(s, 2)], 39);
        return;
    case VMS_R_RP_REQ_PAGES:
    case VMS_R_RP_REQ_PAGES_ID:
        rec->u.request = (struct vms_rec_rp_pages){text(s, 255), any64(s), (uint32_t)any64(s)};
        return;
    case VMS_R_RP_RECV_BITMAP:
        rec->u.rp_block = text(s, 255);
        rec->bulk_len = below(s, 99);
        return;
    case VMS_R_RP_SHUT:
    case VMS_R_RP_PONG:
    case VMS_R_RP_RESUME_ACK: rec->u.value = (uint32_t)any64(s); return;
    case VMS_R_VFIO_DATA_STATE:
    case VMS_R_VFIO_CONFIG_STATE:
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_VMDESCRIPTION: rec->bulk_len = below(s, 3000); return;
    default: return;
    }
}

static void make(struct source *s, struct vms_record *rec) {
    memset(rec, 0, sizeof *rec);
    rec->type = (enum vms_record_type)(1 + below(s, VMS_RECORD_TYPE_COUNT - 1));
    rec->packaged = below(s, 8) == 0;
    rec->guessed = below(s, 8) == 0;
    switch (rec->type) {
    case VMS_R_CONFIGURATION: make_configuration(s, &rec->u.config); return;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL:
    case VMS_R_SECTION_FOOTER:
        rec->u.section = (struct vms_rec_section){(uint32_t)any64(s), below(s, 9), below(s, 9),
                                                  (enum vms_section_kind)below(s, 4), text(s, 255)};
        return;
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES: make_page(s, rec); return;
    case VMS_R_RAM_BLOCK: make_block(s, &rec->u.block); return;
    case VMS_R_MULTIFD_PACKET: make_packet(s, rec); return;
    case VMS_R_MULTIFD_DEVICE_STATE: make_device(s, &rec->u.device); return;
    default: make_rest(s, rec);
    }
}

/* ---- there and back ---- */

static size_t qevm(const struct vms_record *rec, uint8_t *out, size_t room) {
    struct vms_qevm_encoder e;
    struct vms_dialect dialect = {0};
    size_t len;
    vms_qevm_encoder_init(&e, 0, &dialect);
    cr_assert_eq(vms_qevm_encode(&e, rec, (struct vms_room){out, room}, &len), VMS_OK, "%s: %s",
                 vms_record_name(rec->type), e.error.message);
    return len;
}

/* What QEMU's wire does not tell but the model does. */
static void check_model(const struct vms_record *a, const struct vms_record *b) {
    cr_assert_eq(a->type, b->type);
    cr_assert_eq(a->bulk_len, b->bulk_len);
    cr_assert_eq(a->packaged, b->packaged);
    cr_assert_eq(a->guessed, b->guessed);
    if (a->type >= VMS_R_SECTION_START && a->type <= VMS_R_SECTION_FOOTER) { /* [NAT-63] */
        cr_assert_eq(a->u.section.kind, b->u.section.kind);
        cr_assert(vms_slice_eq(a->u.section.idstr, b->u.section.idstr));
        cr_assert_eq(a->u.section.instance, b->u.section.instance);
        cr_assert_eq(a->u.section.version, b->u.section.version);
    }
    if (a->type == VMS_R_RAM_PAGE) {
        cr_assert_eq(a->u.page.block_index, b->u.page.block_index);
        cr_assert(vms_slice_eq(a->u.page.block, b->u.page.block));
    }
    if (a->type == VMS_R_RAM_BLOCK) { /* [NAT-64] */
        cr_assert_eq(a->u.block.has_gpa, b->u.block.has_gpa);
        cr_assert_eq(a->u.block.gpa, b->u.block.gpa);
        cr_assert_eq(a->u.block.mapped_pages_offset, b->u.block.mapped_pages_offset);
    }
}

struct expected {
    const struct vms_record *records;
    unsigned seen;
};

static void compare(void *ctx, enum vms_native_step step, const struct vms_native_event *ev) {
    static uint8_t a[70000], b[70000];
    struct expected *x = ctx;
    if (step != VMS_NATIVE_STEP_FRAME || ev->frame->header.type != VMS_NATIVE_RECORDS)
        return;
    for (uint32_t i = 0; i < ev->frame->u.records.count; i++) {
        const struct vms_record *have = &ev->frame->u.records.records[i];
        const struct vms_record *want = &x->records[x->seen++];
        check_model(want, have);
        size_t len = qevm(want, a, sizeof a);
        cr_assert_eq(qevm(have, b, sizeof b), len, "%s", vms_record_name(want->type));
        cr_assert(memcmp(a, b, len) == 0, "%s", vms_record_name(want->type));
    }
}

static void there_and_back(struct source *s) {
    struct vms_record records[RECORDS];
    static uint8_t bulk[RECORDS * 4 * PAGE];
    struct vms_native_frame f = {.header.type = VMS_NATIVE_RECORDS};
    struct sender out;
    struct reader in;
    struct vms_error err;
    uint32_t count = 1 + below(s, 20);
    size_t size = 0, bulk_len = 0;
    for (uint32_t i = 0; i < count; i++) {
        make(s, &records[i]);
        size += vms_native_record_size(&records[i]);
        bulk_len += records[i].bulk_len;
    }
    if (size > 60000)
        return;
    f.u.records.records = records;
    f.u.records.count = count;
    sender_open(&out, 0);
    send_hello(&out);
    cr_assert_eq(send_frame(&out, &f, vms_slice(bulk, bulk_len)), VMS_OK, "%s",
                 out.encoder.error.message);
    /* Sizes of records add up to the body: map, key, array, records. */
    cr_assert_leq(f.header.body_len - size, 5);
    cr_assert_eq(send_end(&out), VMS_OK);
    reader_open(&in);
    struct expected x = {records, 0};
    cr_assert_eq(
        feed(&in, vms_slice(out.ptr, out.len), (struct cut){0, s->seed | 1}, compare, &x, &err),
        VMS_NATIVE_STEP_END, "%s", err.message);
    cr_assert_eq(x.seen, count);
    reader_close(&in);
    sender_close(&out);
}

Test(native_records, random_ones, .timeout = 120) {
    struct source s = {.seed = 42};
    for (size_t i = 0; i < sizeof s.pool; i++)
        s.pool[i] = (uint8_t)('!' + i % 90);
    for (int i = 0; i < 3000; i++)
        there_and_back(&s);
}

/* [NAT-65] Canonical residue costs nothing. */
Test(native_records, canonical_residue_is_left_out) {
    static uint8_t raw[320], offsets[1024];
    struct vms_record rec = {.type = VMS_R_MULTIFD_PACKET};
    rec.u.packet.pages_alloc = 128;
    rec.u.packet.block = vms_slice("pc.ram", 6);
    memcpy(raw + 64, "pc.ram", 6);
    offsets[15] = 1;
    rec.u.packet.raw = vms_slice(raw, sizeof raw);
    rec.u.packet.offsets = vms_slice(offsets, sizeof offsets);
    size_t canonical = vms_native_record_size(&rec);
    cr_assert_lt(canonical, 64);
    raw[40] = 1;
    cr_assert_gt(vms_native_record_size(&rec), canonical + 320);
}

/* [NAT-12] Every record that a QEVM decoder can give has room in one body. */
Test(native_records, longest) {
    static uint8_t payload[65536];
    struct vms_limits limits = vms_limits_default();
    struct vms_record rec = {.type = VMS_R_COMMAND};
    rec.u.command.payload = vms_slice(payload, 65535);
    cr_assert_leq(vms_native_record_size(&rec) + 16, limits.native_body_bytes);
    rec.u.command.payload.len = 65536;
    cr_assert_eq(vms_native_record_size(&rec), SIZE_MAX);
    rec = (struct vms_record){.type = VMS_R_CONFIGURATION};
    rec.u.config.subsection_count = 1;
    rec.u.config.subsections[0].kind = VMS_CONFIG_CAPABILITIES;
    rec.u.config.subsections[0].body = vms_slice(payload, 4 + 64 * 256);
    cr_assert_leq(vms_native_record_size(&rec) + 16, limits.native_body_bytes);
    rec.type = VMS_RECORD_TYPE_COUNT;
    cr_assert_eq(vms_native_record_size(&rec), SIZE_MAX);
}

/* ---- pages: [NAT-54], [NAT-55], [NAT-56] ---- */

enum {
    PAGES = 3000
};

static void make_pages(struct source *s, struct vms_record *records) {
    for (int i = 0; i < PAGES; i++) {
        struct vms_record *rec = &records[i];
        memset(rec, 0, sizeof *rec);
        bool zero = below(s, 3) == 0, go_on = i && below(s, 4);
        rec->type = zero ? VMS_R_RAM_ZERO : VMS_R_RAM_PAGE;
        rec->bulk_len = zero ? 0 : PAGE;
        rec->u.page.block_index =
            i && below(s, 50) ? records[i - 1].u.page.block_index : below(s, 5);
        rec->u.page.continued = below(s, 100) != 0;
        rec->u.page.offset =
            go_on ? records[i - 1].u.page.offset + PAGE : (uint64_t)below(s, 1 << 30) * PAGE;
    }
}

static int check_walk(const struct vms_native_pages *pages, const struct vms_record *want) {
    struct vms_native_walk walk = {0};
    struct vms_record rec;
    int n = 0;
    for (; vms_native_pages_next(pages, &walk, &rec); n++) {
        cr_assert_eq(rec.type, want[n].type);
        cr_assert_eq(rec.bulk_len, want[n].bulk_len);
        cr_assert_eq(rec.u.page.block_index, want[n].u.page.block_index);
        cr_assert_eq(rec.u.page.continued, want[n].u.page.continued);
        cr_assert_eq(rec.u.page.offset, want[n].u.page.offset);
    }
    return n;
}

Test(native_records, pages_there_and_back) {
    static struct vms_record records[PAGES];
    struct vms_native_run runs[40];
    uint32_t named[6];
    struct source s = {.seed = 7};
    for (int round = 0; round < 50; round++) {
        struct vms_native_collect c;
        int at = 0;
        make_pages(&s, records);
        vms_native_collect_init(&c, runs, 40, named, 6, 64 * PAGE);
        for (int i = 0; i < PAGES; i++) {
            cr_assert(vms_native_collectable(&records[i], 12));
            if (vms_native_collect_add(&c, &records[i], 12))
                continue;
            cr_assert_gt(c.number, 0);
            at += check_walk(&c.pages, records + at);
            cr_assert_eq(at, i);
            vms_native_collect_reset(&c);
            cr_assert(vms_native_collect_add(&c, &records[i], 12));
        }
        at += check_walk(&c.pages, records + at);
        cr_assert_eq(at, PAGES);
    }
}

/* [NAT-55] What a PAGES frame cannot say. */
Test(native_records, not_collectable) {
    struct vms_record page = {.type = VMS_R_RAM_PAGE, .bulk_len = PAGE}, other;
    cr_assert(vms_native_collectable(&page, 12));
    cr_assert_not(vms_native_collectable(&page, 13));
    other = page, other.packaged = true;
    cr_assert_not(vms_native_collectable(&other, 12));
    other = page, other.guessed = true;
    cr_assert_not(vms_native_collectable(&other, 12));
    other = page, other.u.page.block_index = UINT32_MAX;
    cr_assert_not(vms_native_collectable(&other, 12));
    other = page, other.type = VMS_R_RAM_XBZRLE;
    cr_assert_not(vms_native_collectable(&other, 12));
    other = (struct vms_record){.type = VMS_R_RAM_ZERO};
    cr_assert(vms_native_collectable(&other, 12));
    other.u.page.fill = 1;
    cr_assert_not(vms_native_collectable(&other, 12));
}

/* Pages of 4 KiB, scattered one by one over 4 TiB: under 1 % beside them. */
Test(native_records, overhead) {
    static uint8_t data[256 * PAGE];
    static struct vms_native_run runs[256];
    struct sender s;
    struct vms_native_collect c;
    struct source rng = {.seed = 3};
    sender_open(&s, 0);
    send_hello(&s);
    size_t before = s.len;
    vms_native_collect_init(&c, runs, 256, NULL, 0, sizeof data);
    for (int i = 0; i < 256; i++) {
        struct vms_record rec = {.type = VMS_R_RAM_PAGE, .bulk_len = PAGE};
        rec.u.page.continued = true;
        rec.u.page.offset = (uint64_t)below(&rng, 1 << 30) * PAGE;
        cr_assert(vms_native_collect_add(&c, &rec, 12));
    }
    struct vms_native_frame f = {.header.type = VMS_NATIVE_PAGES, .u.pages = c.pages};
    cr_assert_eq(send_frame(&s, &f, vms_slice(data, sizeof data)), VMS_OK);
    size_t extra = s.len - before - sizeof data;
    cr_log_info("%zu bytes for 256 scattered pages, %.3f %%", extra,
                100.0 * (double)extra / (double)sizeof data);
    cr_assert_lt(extra * 100, sizeof data);
    sender_close(&s);
}
