/* SPDX-License-Identifier: MIT */
#include "qevm.h"

#include <string.h>
#include <vmstream/vmdesc.h>

struct vms_limits fuzz_limits(void) {
    struct vms_limits limits = vms_limits_default();
    limits.sections = 24;
    limits.ram_blocks = 8;
    limits.device_tail_bytes = 4096;
    limits.vmdesc_bytes = 2048;
    limits.vfio_data_bytes = 1 << 16;
    limits.device_state_bytes = 1 << 16;
    limits.received_bitmap_bytes = 1 << 16;
    return limits;
}

struct vms_dialect fuzz_dialect(uint8_t option) {
    static const vms_qemu_version versions[] = {0, 0x0702, 0x0800, 0x0900, 0x0a00, 0x0b01};
    struct vms_dialect d = {.qemu = versions[(option & 7) % 6]};
    d.machine = option & 8 ? 0x0203 : 0; /* no configuration, no footers */
    d.page_bits = option & 16 ? 14 : 0;
    d.postcopy = option & 32 ? VMS_ON : VMS_AUTO;
    d.multifd_flush = option & 64 ? VMS_ON : VMS_AUTO;
    d.ignore_shared = option & 128 ? VMS_ON : VMS_AUTO;
    return d;
}

struct result {
    uint64_t hash; /* of records and bulk */
    uint64_t taken;
    enum vms_step end;
    struct vms_error error;
};

struct run {
    struct vms_qevm_decoder *decoder;
    struct vms_qevm_encoder encoder;
    struct vms_slice input; /* all of it */
    uint64_t encoded;       /* octets made again so far, equal to the front of input */
    struct result *result;
};

static uint8_t out[1 << 17];

/* What is encoded again must be what stands in the input (QEVM both ways). */
static void same_octets(struct run *r, const uint8_t *bytes, size_t n) {
    ORACLE(r->encoded + n <= r->input.len, "encoded %llu octets of %zu",
           (unsigned long long)(r->encoded + n), r->input.len);
    ORACLE(memcmp(r->input.ptr + r->encoded, bytes, n) == 0, "differs within [%llu, +%zu)",
           (unsigned long long)r->encoded, n);
    r->encoded += n;
}

static void on_record(struct run *r, const struct vms_record *record) {
    size_t len = 0, exact = 0;
    r->result->hash = fuzz_hash(r->result->hash, &record->type, sizeof record->type);
    r->result->hash = fuzz_hash(r->result->hash, &record->offset, sizeof record->offset);
    r->result->hash = fuzz_hash(r->result->hash, &record->bulk_len, sizeof record->bulk_len);
    enum vms_code none = vms_qevm_encode(&r->encoder, record, (struct vms_room){out, 0}, &exact);
    if (none == VMS_OK) { /* it has no octets of its own */
        ORACLE(exact == 0, "%zu octets into an empty room", exact);
        return;
    }
    ORACLE(none == VMS_E_SPACE, "%s: %s", vms_record_name(record->type), r->encoder.error.message);
    enum vms_code code = vms_qevm_encode(&r->encoder, record, (struct vms_room){out, exact}, &len);
    ORACLE(code == VMS_OK && len == exact, "%s: %zu, then %zu", vms_record_name(record->type),
           exact, len);
    same_octets(r, out, len);
}

static void on_bulk(struct run *r, const struct vms_event *event) {
    r->result->hash = fuzz_hash(r->result->hash, event->bulk.ptr, event->bulk.len);
    ORACLE(vms_qevm_encode_bulk(&r->encoder, event->bulk.len) == VMS_OK, "bulk");
    same_octets(r, event->bulk.ptr, event->bulk.len);
}

/* True when the run is over. */
static bool step(struct run *r, enum vms_step what, const struct vms_event *event) {
    switch (what) {
    case VMS_STEP_RECORD: on_record(r, &event->record); return false;
    case VMS_STEP_BULK: on_bulk(r, event); return false;
    case VMS_STEP_NEED: ORACLE(event->need > 0, "need"); return false;
    case VMS_STEP_ERROR: r->result->error = *event->error; break;
    case VMS_STEP_END:
    default: break;
    }
    r->result->end = what;
    return true;
}

static bool feed(struct run *r, struct vms_slice piece) {
    struct vms_event event;
    for (;;) {
        enum vms_step what = vms_qevm_decode(r->decoder, &piece, &event);
        if (what == VMS_STEP_END && piece.len)
            continue; /* what follows an end has to be refused */
        if (step(r, what, &event))
            return true;
        if (what == VMS_STEP_NEED)
            return false;
    }
}

static void decode(struct run *r, uint32_t seed) {
    struct fuzz_cuts cuts = {seed};
    struct vms_slice rest = r->input;
    struct vms_event event;
    bool over = false;
    r->result->end = VMS_STEP_NEED;
    while (!over && rest.len) {
        struct vms_slice piece = vms_slice_head(rest, fuzz_cut(&cuts, rest.len));
        rest = vms_slice_tail(rest, piece.len);
        over = feed(r, piece);
        if (over && r->result->end == VMS_STEP_END && rest.len)
            over = false;
    }
    while (!over)
        over = step(r, vms_qevm_finish(r->decoder, &event), &event);
    fuzz_saw(r->result->error.code);
    r->result->taken = vms_qevm_offset(r->decoder);
    struct vms_slice nothing = {NULL, 0};
    ORACLE(vms_qevm_decode(r->decoder, &nothing, &event) == r->result->end, "the end stays");
    if (r->result->end == VMS_STEP_END)
        ORACLE(r->encoded == r->input.len, "encoded %llu octets of %zu",
               (unsigned long long)r->encoded, r->input.len);
}

/* A main channel with a block list and a section, for the channels beside it. */
static const struct vms_qevm_decoder *main_channel(void) {
    static const uint8_t octets[] = {
        'Q', 'E', 'V', 'M', 0, 0,   0,   3,   7,   0,   0,   0,    4,    'n', 'o', 'n', 'e', 1,
        0,   0,   0,   2,   3, 'r', 'a', 'm', 0,   0,   0,   0,    0,    0,   0,   4,   0,   0,
        0,   0,   0,   1,   0, 4,   6,   'p', 'c', '.', 'r', 'a',  'm',  0,   0,   0,   0,   0,
        1,   0,   0,   0,   0, 0,   0,   0,   0,   0,   0,   0x10, 0x7e, 0,   0,   0,   2};
    static struct vms_qevm_decoder *decoder;
    struct vms_qevm_config config = vms_qevm_config_default();
    struct vms_slice input = vms_slice(octets, sizeof octets);
    struct vms_event event;
    config.limits = fuzz_limits();
    if (decoder)
        return decoder;
    decoder = vms_qevm_decoder_init(fuzz_memory(vms_qevm_decoder_size(&config)),
                                    vms_qevm_decoder_size(&config), &config);
    while (vms_qevm_decode(decoder, &input, &event) == VMS_STEP_RECORD)
        continue;
    return decoder;
}

int fuzz_qevm(enum vms_qevm_kind kind, bool mapped, const uint8_t *data, size_t size) {
    static struct vms_vmdesc *vmdesc;
    static void *memory;
    static size_t memory_len;
    struct vms_slice input = vms_slice(data, size);
    struct vms_qevm_config config = vms_qevm_config_default();
    struct result results[2] = {{.hash = FUZZ_HASH_BEGIN}, {.hash = FUZZ_HASH_BEGIN}};

    config.kind = kind;
    config.limits = fuzz_limits();
    config.dialect = fuzz_dialect((uint8_t)fuzz_option(&input, 1));
    config.dialect.mapped_ram = mapped ? VMS_ON : VMS_AUTO;
    uint32_t tail = fuzz_option(&input, 1);
    config.tail_mode = tail & 1 ? VMS_TAIL_OPAQUE : VMS_TAIL_HOLD;
    uint32_t seed = fuzz_option(&input, 2);
    if (!memory) {
        struct vms_qevm_config largest = config;
        largest.tail_mode = VMS_TAIL_HOLD;
        memory_len = vms_qevm_decoder_size(&largest);
        memory = fuzz_memory(memory_len);
        vmdesc = vms_vmdesc_new();
        main_channel();
    }
    if (tail & 2 && vmdesc)
        config.vmdesc = vms_vmdesc_ops(vmdesc);
    for (int i = 0; i < 2; i++) {
        struct run r = {.input = input, .result = &results[i]};
        r.decoder = vms_qevm_decoder_init(memory, memory_len, &config);
        if (tail & 4 && kind != VMS_QEVM_MAIN)
            vms_qevm_adopt(r.decoder, main_channel());
        vms_qevm_encoder_init(&r.encoder, 0, vms_qevm_dialect(r.decoder));
        decode(&r, i ? seed | 0x10000 : 0);
    }
    if (config.vmdesc.load) /* nothing is left for the next exec to clear */
        config.vmdesc.load(config.vmdesc.ctx, vms_slice(NULL, 0));
    ORACLE(results[0].end == results[1].end, "ends");
    ORACLE(results[0].error.code == results[1].error.code &&
               results[0].error.offset == results[1].error.offset,
           "%s at %llu, %s at %llu", vms_code_name(results[0].error.code),
           (unsigned long long)results[0].error.offset, vms_code_name(results[1].error.code),
           (unsigned long long)results[1].error.offset);
    ORACLE(results[0].hash == results[1].hash, "records differ between two cuts");
    return 0;
}
