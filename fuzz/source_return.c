/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

/* The reader's sink is private to its file, and has to be met as it is. */
#include "reference-src/wire_qevm_reply.c"

/*
 * The return path at the source: what a hostile destination says, through the pump and the sink of
 * reference-src, without its thread:
 *   - requests that are passed on lie within a block of ours, in whole host pages [RP-8]
 *   - a bitmap is passed on only when it was asked for, once, with the right size [RP-4] [RP-13]
 *   - RESUME_ACK is told only when it was asked for; one end is told, CUT or ABORT, unless SHUT
 * came
 *   - any two cuts of the same octets tell the same
 * Options: 1 octet of what was asked for, 2 of cuts.
 */
enum {
    BLOCKS = 3,
};

static const struct vms_guest_block blocks[BLOCKS] = {
    {.name = "pc.ram", .length = 1 << 20, .page_size = 4096},
    {.name = "huge", .length = 4 << 20, .page_size = 2 << 20},
    {.name = "/rom@etc/acpi/tables", .length = 0x20000, .page_size = 4096},
};

static struct told {
    uint64_t hash;
    bool asked[BLOCKS], resume_asked;
    unsigned ends;
    bool shut;
} told;

/* wire_qevm.c's, which opens sockets. */
struct vms_slice qevm_block_name(const struct qevm *q, uint32_t block) {
    return vms_str(q->guest->blocks[block].name);
}

static void on_event(void *ctx, const struct src_event *e, const struct vms_error *why) {
    (void)ctx;
    told.hash = fuzz_hash(told.hash, &e->kind, sizeof e->kind);
    told.hash = fuzz_hash(told.hash, &e->value, sizeof e->value);
    if (why)
        fuzz_saw(why->code);
    ORACLE(e->kind != SRC_EV_RESUME_ACK || told.resume_asked, "RESUME_ACK unasked");
    told.resume_asked &= e->kind != SRC_EV_RESUME_ACK;
    told.shut |= e->kind == SRC_EV_SHUT;
    told.ends += e->kind == SRC_EV_CUT || e->kind == SRC_EV_ABORT;
}

static void on_page_request(void *ctx, uint32_t block, uint64_t offset, uint64_t length) {
    (void)ctx;
    ORACLE(block < BLOCKS, "block %u", block);
    const struct vms_guest_block *b = &blocks[block];
    ORACLE(offset < b->length && length <= b->length - offset, "0x%llx + 0x%llx of %s",
           (unsigned long long)offset, (unsigned long long)length, b->name);
    ORACLE(offset % b->page_size == 0 && length % b->page_size == 0, "half a page of %s", b->name);
    told.hash = fuzz_hash(told.hash, &offset, sizeof offset);
    told.hash = fuzz_hash(told.hash, &length, sizeof length);
}

static void on_received(void *ctx, uint32_t block, const uint8_t *bytes, size_t len) {
    (void)ctx;
    ORACLE(block < BLOCKS && told.asked[block], "a bitmap unasked, of %u", block);
    ORACLE(len == (blocks[block].length / 4096 + 63) / 64 * 8, "%zu octets", len);
    told.asked[block] = false;
    told.hash = fuzz_hash(told.hash, bytes, len);
}

/* ---- the octets as a source ---- */

struct octets {
    struct vms_slice rest;
    struct fuzz_cuts cuts;
};

static enum vms_source_status octets_read(void *ctx, const struct vms_room *rooms, size_t count,
                                          size_t *got, struct vms_error *err) {
    struct octets *o = ctx;
    (void)count, (void)err;
    size_t n = fuzz_cut(&o->cuts, o->rest.len);
    *got = n < rooms[0].len ? n : rooms[0].len;
    if (!*got)
        return VMS_SOURCE_END;
    memcpy(rooms[0].ptr, o->rest.ptr, *got);
    o->rest = vms_slice_tail(o->rest, *got);
    return VMS_SOURCE_DATA;
}

static enum vms_source_status octets_skip(void *ctx, uint64_t n, uint64_t *got,
                                          struct vms_error *err) {
    (void)ctx, (void)n, (void)err;
    *got = 0;
    return VMS_SOURCE_DATA;
}

static bool octets_quiet(void *ctx, int ms) {
    (void)ctx, (void)ms;
    return false;
}

static uint64_t run(struct vms_slice in, uint32_t asked, uint32_t seed) {
    static const struct vms_source_ops ops = {octets_read, octets_skip, octets_quiet};
    static const struct vms_guest guest = {.blocks = blocks, .block_count = BLOCKS};
    static struct qevm q;
    bool bitmaps[BLOCKS];
    struct octets octets = {in, {seed}};
    struct reading r = {.q = &q};
    struct vms_error err = {0};
    struct vms_pump_config config = {.qevm = vms_qevm_config_default(),
                                     .source = {&ops, &octets, UINT64_MAX},
                                     .sink = {&SINK, &r},
                                     .buffer_bytes = VMS_PUMP_BUFFER_MIN};
    config.qevm.kind = VMS_QEVM_RETURN_PATH;
    memset(&told, 0, sizeof told);
    told.hash = FUZZ_HASH_BEGIN;
    q.guest = &guest;
    q.page_size = 4096;
    q.postcopy = asked & 16;
    q.requested = q.pong = false;
    q.resume_asked = told.resume_asked = asked & 8;
    q.bitmaps_missing = 0;
    q.bitmap_asked = bitmaps;
    for (unsigned b = 0; b < BLOCKS; b++) {
        bitmaps[b] = told.asked[b] = asked >> b & 1;
        q.bitmaps_missing += bitmaps[b];
    }
    q.owner = (struct src_wire_owner){
        .event = on_event, .request = on_page_request, .received = on_received};
    struct vms_pump *pump = vms_pump_new(&config, &err);
    if (!pump)
        abort();
    enum vms_pump_status status = vms_pump_run(pump, &err);
    ended(&r, status, &err);
    ORACLE(told.ends == 1 || (told.ends == 0 && told.shut), "%u ends", told.ends);
    vms_pump_free(pump);
    free(r.bitmap);
    return told.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size);
    uint32_t asked = fuzz_option(&in, 1), seed = fuzz_option(&in, 2);
    uint64_t whole = run(in, asked, 0);
    ORACLE(whole == run(in, asked, seed | 0x10000), "two cuts tell different things");
    return 0;
}
