/* SPDX-License-Identifier: MIT */
#include "native.h"
#include "qevm.h"
#include "zip.h"

#include <string.h>
#include <vmstream/transcode.h>
#include <vmstream/vmdesc.h>

/*
 * QEVM to native and back, on any channel: the octets that come back are those that went in, all of
 * them when the channel ended or broke off, else up to the error [MOD-13] [TRC-1] [TRC-9]. Frames
 * are encoded, decoded from any cuts, and packed when the input says so.
 * Options: 1 octet kind of channel, and bit 7: packed; 1 dialect; 1: tail, flushing, reading past
 * the intake, misuse; 2 cuts.
 */
enum {
    NATIVE_MAX = 1 << 18,
    UNPACKED_MAX = VMS_BATCH_BYTES_MIN,
};

struct trip {
    struct vms_slice input;
    struct vms_qevm_decoder *decoder;
    struct vms_to_native *to;
    struct vms_sealer sealer;
    struct vms_native_encoder encoder;
    struct vms_qevm_encoder count; /* where the next record begins in the input */
    struct vms_intake *intake;
    struct vms_from_native *from;
    uint64_t back; /* octets that came back so far */
    bool failed, whole, full, direct;
    size_t native_len;
};

static uint8_t native[NATIVE_MAX];

/* ---- there ---- */

static void add_frame(struct trip *t, struct vms_native_frame *frame, const struct vms_slice *bulk,
                      size_t count) {
    struct vms_native_gather g;
    struct vms_room room = {native + t->native_len, NATIVE_MAX - t->native_len};
    size_t len = 0;
    enum vms_code code = vms_native_encode(&t->encoder, frame, bulk, count, room, &g, &len);
    if (code == VMS_E_SPACE) {
        t->full = t->failed = true;
        return;
    }
    ORACLE(code == VMS_OK, "%s", t->encoder.error.message);
    uint8_t tag[VMS_TAG_BYTES];
    memcpy(tag, g.tail.ptr, g.tail.len);
    t->native_len += g.head.len;
    for (size_t i = 0; i < g.bulk_count; i++) {
        if (g.bulk[i].len + sizeof tag > NATIVE_MAX - t->native_len) {
            t->full = t->failed = true;
            return;
        }
        memcpy(native + t->native_len, g.bulk[i].ptr, g.bulk[i].len);
        t->native_len += g.bulk[i].len;
    }
    memcpy(native + t->native_len, tag, g.tail.len);
    t->native_len += g.tail.len;
}

static void begin_native(struct trip *t) {
    static const uint32_t suite = VMS_SUITE_NONE;
    static struct vms_limits limits;
    struct vms_native_frame hello = {.header.type = VMS_NATIVE_HELLO};
    struct vms_error err;
    limits = vms_limits_default();
    hello.u.hello = (struct vms_native_hello){.version = 1,
                                              .version_min = 1,
                                              .form = VMS_FORM_FILE,
                                              .suite_count = 1,
                                              .suites = &suite,
                                              .body_bytes = 65536,
                                              .bulk_bytes = 4 << 20,
                                              .channels = 1};
    vms_sealer_init(&t->sealer, NULL, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    vms_native_encoder_init(&t->encoder, &t->sealer, 0, &limits);
    memcpy(native, vms_native_label, VMS_NATIVE_LABEL);
    t->native_len = VMS_NATIVE_LABEL;
    ORACLE(vms_sealer_hello_plain(&t->sealer, &err) == VMS_OK, "%s", err.message);
    add_frame(t, &hello, NULL, 0);
    ORACLE(vms_sealer_rekey(&t->sealer, VMS_SUITE_NONE, NULL, 1, 0, &err) == VMS_OK, "%s",
           err.message);
}

/* Sends what is due; true: make the call again. */
static bool again(struct trip *t, enum vms_transcode answer, struct vms_native_out *out) {
    if (answer == VMS_TRANSCODE_ERROR) {
        fuzz_saw(vms_to_native_error(t->to)->code);
        t->failed = true;
    }
    if (answer != VMS_TRANSCODE_FRAME)
        return false;
    add_frame(t, &out->frame, out->bulk, out->bulk_count);
    return !t->failed;
}

static void put_record(struct trip *t, const struct vms_record *record) {
    static uint8_t head[1 << 17];
    struct vms_native_out out;
    size_t len;
    vms_to_native_page_size(t->to, vms_qevm_page_size(t->decoder));
    while (again(t, vms_to_native_record(t->to, record, &out), &out))
        continue;
    t->count.dialect = *vms_qevm_dialect(t->decoder);
    ORACLE(vms_qevm_encode(&t->count, record, (struct vms_room){head, sizeof head}, &len) == VMS_OK,
           "%s", t->count.error.message);
}

static void put_bulk(struct trip *t, struct vms_slice piece) {
    struct vms_native_out out;
    ORACLE(vms_qevm_encode_bulk(&t->count, piece.len) == VMS_OK, "bulk");
    while (again(t, vms_to_native_bulk(t->to, &piece, &out), &out))
        continue;
}

static void put_rest(struct trip *t) {
    struct vms_native_out out;
    struct vms_slice rest = vms_slice_tail(t->input, (size_t)t->count.offset);
    bool owed = t->count.bulk_left && t->count.bulk_left != VMS_BULK_UNKNOWN;
    while (rest.len > 0 && !owed &&
           again(t, vms_to_native_opaque(t->to, t->count.offset, &rest, &out), &out))
        continue;
}

/* True when the channel is over. */
static bool step(struct trip *t, enum vms_step s, const struct vms_event *ev) {
    switch (s) {
    case VMS_STEP_RECORD: put_record(t, &ev->record); return t->failed;
    case VMS_STEP_BULK: put_bulk(t, ev->bulk); return t->failed;
    case VMS_STEP_NEED: return false;
    case VMS_STEP_ERROR: t->whole = ev->error->code == VMS_E_TRUNCATED; return true;
    case VMS_STEP_END:
    default: t->whole = true; return true;
    }
}

static bool feed(struct trip *t, struct vms_slice piece, bool last) {
    struct vms_event ev;
    for (;;) {
        enum vms_step s = vms_qevm_decode(t->decoder, &piece, &ev);
        if (s == VMS_STEP_END && piece.len)
            continue; /* what follows has to be refused */
        if (s == VMS_STEP_NEED || (s == VMS_STEP_END && !last))
            return false;
        if (step(t, s, &ev))
            return true;
    }
}

static void there(struct trip *t, uint32_t seed, bool flush) {
    struct fuzz_cuts cuts = {seed};
    struct vms_native_out out;
    struct vms_slice rest = t->input;
    struct vms_event ev;
    bool over = false;
    while (!over && rest.len) {
        struct vms_slice piece = vms_slice_head(rest, fuzz_cut(&cuts, rest.len));
        rest = vms_slice_tail(rest, piece.len);
        over = feed(t, piece, rest.len == 0);
        while (flush && !t->failed && again(t, vms_to_native_flush(t->to, &out), &out))
            continue;
        vms_to_native_settle(t->to);
    }
    while (!over)
        over = step(t, vms_qevm_finish(t->decoder, &ev), &ev);
    if (!t->failed && t->whole)
        put_rest(t);
    while (!t->failed && again(t, vms_to_native_end(t->to, &out), &out))
        continue;
}

/* ---- back ---- */

static uint8_t placed[1 << 17];
static size_t placed_len;

/* In two rooms, one behind the other. */
static size_t place(void *ctx, const struct vms_native_frame *frame, struct vms_room *rooms,
                    size_t max) {
    size_t n = frame->header.bulk_len, first = n / 3;
    (void)ctx;
    if (frame->header.flags & VMS_NATIVE_PACK_MASK || n > sizeof placed || !first || max < 2)
        return 0;
    placed_len = n;
    rooms[0] = (struct vms_room){placed, first};
    rooms[1] = (struct vms_room){placed + first, n - first};
    return 2;
}

static void same_octets(struct trip *t, struct vms_slice octets) {
    ORACLE(t->back + octets.len <= t->input.len, "%llu octets come back, of %zu",
           (unsigned long long)(t->back + octets.len), t->input.len);
    ORACLE(octets.len == 0 || memcmp(t->input.ptr + t->back, octets.ptr, octets.len) == 0,
           "differs within [%llu, +%zu)", (unsigned long long)t->back, octets.len);
    t->back += octets.len;
}

static void same_zeros(struct trip *t, uint64_t n) {
    static const uint8_t zeros[4096];
    for (; n; n -= n < sizeof zeros ? n : sizeof zeros)
        same_octets(t, vms_slice(zeros, n < sizeof zeros ? (size_t)n : sizeof zeros));
}

static void on_frame(struct trip *t, const struct vms_intake_event *in) {
    struct vms_from_native_event ev;
    enum vms_step s;
    if (!vms_from_native_takes(in->native.frame->header.type))
        return;
    struct vms_slice bulk = in->placed ? vms_slice(placed, placed_len) : in->bulk;
    ORACLE(vms_from_native_frame(t->from, in->native.frame, bulk) == VMS_OK, "frame");
    while ((s = vms_from_native_next(t->from, &ev)) == VMS_STEP_RECORD || s == VMS_STEP_BULK) {
        same_octets(t, ev.head);
        same_octets(t, ev.bulk);
        same_zeros(t, ev.zeros);
    }
    ORACLE(s == VMS_STEP_NEED, "%s", ev.error->message);
}

/* Bulk that goes from the wire where place() said, or into the intake's own room. */
static void read_direct(struct trip *t, struct vms_room *rest, uint32_t most) {
    struct vms_room rooms[4];
    size_t n = vms_intake_rooms(t->intake, most, rooms, 4), sum = 0;
    for (size_t i = 0; i < n && rest->len; i++) {
        size_t k = rooms[i].len < rest->len ? rooms[i].len : rest->len;
        memcpy(rooms[i].ptr, rest->ptr, k);
        rest->ptr += k;
        rest->len -= k;
        sum += k;
    }
    if (sum)
        vms_intake_filled(t->intake, sum);
}

static void back(struct trip *t, uint32_t seed) {
    struct fuzz_cuts cuts = {seed};
    struct vms_room rest = {native, t->native_len};
    struct vms_intake_event in;
    while (rest.len) {
        struct vms_room piece = {rest.ptr, fuzz_cut(&cuts, rest.len)};
        rest.ptr += piece.len;
        rest.len -= piece.len;
        enum vms_native_step s;
        while ((s = vms_intake_next(t->intake, &piece, &in)) == VMS_NATIVE_STEP_FRAME)
            on_frame(t, &in);
        ORACLE(s != VMS_NATIVE_STEP_ERROR, "%s", in.native.error->message);
        if (t->direct)
            read_direct(t, &rest, seed % 5000 + 1);
    }
    struct vms_from_native_event ev;
    ORACLE(vms_intake_finish(t->intake, &in) != VMS_NATIVE_STEP_FRAME, "a frame out of nothing");
    if (t->whole)
        (void)vms_from_native_finish(t->from, &ev);
    if (t->whole)
        ORACLE(t->back == t->input.len, "%llu octets of %zu came back", (unsigned long long)t->back,
               t->input.len);
}

/* ---- objects, made once ---- */

static struct memory {
    void *decoder, *to, *from, *intake, *packer;
    size_t decoder_len, to_len, from_len, intake_len, packer_len;
    struct vms_zip_ops zip;
    struct vms_vmdesc *vmdesc;
    struct vms_pack_config pack;
    bool made;
} memory;

static struct vms_intake_config intake_config(bool direct) {
    static struct vms_native_plain_channel channels[1];
    static struct vms_native_plain_keys keys;
    struct vms_intake_config c = {.native = vms_native_config_default(), .zip = memory.zip};
    c.native.limits.native_bulk_bytes = 1 << 17;
    memset(channels, 0, sizeof channels);
    keys = (struct vms_native_plain_keys){channels, 1, VMS_SOURCE_TO_DESTINATION, c.native.limits};
    c.place = direct ? place : NULL;
    c.native.any_channel = c.native.end_optional = true;
    c.native.keys = vms_native_plain_keys(&keys);
    return c;
}

static struct vms_to_native_config to_config(bool packed) {
    struct vms_to_native_config c = vms_to_native_config_default();
    c.batch_bytes = VMS_BATCH_BYTES_MIN;
    if (packed) {
        c.packer = vms_packer_init(memory.packer, memory.packer_len, &memory.pack);
        c.level = 1;
    }
    return c;
}

/* Room for a channel of any kind. */
static void make_channel(struct vms_qevm_config qevm, struct vms_from_native_config from) {
    for (unsigned k = 0; k <= VMS_QEVM_RETURN_PATH; k++) {
        qevm.kind = from.kind = (enum vms_qevm_kind)k;
        qevm.tail_mode = VMS_TAIL_HOLD;
        size_t a = vms_qevm_decoder_size(&qevm), b = vms_from_native_size(&from);
        memory.decoder_len = a > memory.decoder_len ? a : memory.decoder_len;
        memory.from_len = b > memory.from_len ? b : memory.from_len;
    }
    memory.decoder = fuzz_memory(memory.decoder_len);
    memory.from = fuzz_memory(memory.from_len);
}

static void make(const struct vms_qevm_config *qevm, const struct vms_from_native_config *from) {
    memory.made = true;
    memory.zip = fuzz_zip(1, UNPACKED_MAX * 2);
    memory.vmdesc = vms_vmdesc_new();
    memory.pack = (struct vms_pack_config){
        .zip = memory.zip, .page_size = 4096, .unpacked_max = UNPACKED_MAX};
    memory.packer = fuzz_memory(memory.packer_len = vms_packer_size(&memory.pack));
    struct vms_to_native_config to = to_config(true);
    struct vms_intake_config intake = intake_config(true);
    memory.to = fuzz_memory(memory.to_len = vms_to_native_size(&to));
    memory.intake = fuzz_memory(memory.intake_len = vms_intake_size(&intake));
    make_channel(*qevm, *from);
}

static void open_trip(struct trip *t, const struct vms_qevm_config *qevm, bool packed) {
    struct vms_from_native_config from = vms_from_native_config_default();
    from.kind = qevm->kind;
    from.dialect = qevm->dialect;
    from.limits = qevm->limits;
    if (!memory.made)
        make(qevm, &from);
    struct vms_to_native_config to = to_config(packed);
    struct vms_intake_config intake = intake_config(t->direct);
    t->decoder = vms_qevm_decoder_init(memory.decoder, memory.decoder_len, qevm);
    t->to = vms_to_native_init(memory.to, memory.to_len, &to);
    t->from = vms_from_native_init(memory.from, memory.from_len, &from);
    t->intake = vms_intake_init(memory.intake, memory.intake_len, &intake);
    ORACLE(t->decoder && t->to && t->from && t->intake, "memory");
    vms_qevm_encoder_init(&t->count, 0, vms_qevm_dialect(t->decoder));
}

/* What is out of order is an error for good, and not the end of the program. */
static void misuse(struct trip *t, uint32_t how) {
    static const uint8_t octets[16] = {1};
    struct vms_native_out out;
    struct vms_slice piece = vms_slice(octets, sizeof octets);
    struct vms_record record = {.type = how & 1 ? VMS_R_RAM_HOOK : VMS_R_EOF,
                                .bulk_len = how & 2 ? 4 : 0};
    enum vms_transcode answer = VMS_TRANSCODE_TAKEN;
    vms_to_native_level(t->to, (int)(how & 3));
    (void)vms_to_native_waiting(t->to);
    switch (how >> 2 & 3) {
    case 0: answer = vms_to_native_record(t->to, &record, &out); break;
    case 1: answer = vms_to_native_bulk(t->to, &piece, &out); break;
    case 2: answer = vms_to_native_opaque(t->to, how, &piece, &out); break;
    default: answer = vms_to_native_end(t->to, &out); break;
    }
    while (answer == VMS_TRANSCODE_FRAME)
        answer = vms_to_native_end(t->to, &out);
    if (answer == VMS_TRANSCODE_ERROR) {
        fuzz_saw(vms_to_native_error(t->to)->code);
        ORACLE(vms_to_native_record(t->to, &record, &out) == VMS_TRANSCODE_ERROR,
               "the error stays");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum vms_qevm_kind kinds[] = {VMS_QEVM_MAIN,        VMS_QEVM_MAIN,
                                               VMS_QEVM_RETURN_PATH, VMS_QEVM_MULTIFD,
                                               VMS_QEVM_PREEMPT,     VMS_QEVM_RECOVERY};
    struct trip t = {.input = vms_slice(data, size)};
    struct vms_qevm_config config = vms_qevm_config_default();
    uint32_t kind = fuzz_option(&t.input, 1);
    config.kind = kinds[(kind & 127) % 6];
    config.limits = fuzz_limits();
    config.dialect = fuzz_dialect((uint8_t)fuzz_option(&t.input, 1));
    config.dialect.mapped_ram = (kind & 127) % 6 == 1 ? VMS_ON : VMS_AUTO;
    uint32_t tail = fuzz_option(&t.input, 1), seed = fuzz_option(&t.input, 2);
    config.tail_mode = tail & 1 ? VMS_TAIL_OPAQUE : VMS_TAIL_HOLD;
    t.direct = tail & 8;
    open_trip(&t, &config, kind & 128);
    if (tail & 2) {
        config.vmdesc = vms_vmdesc_ops(memory.vmdesc);
        t.decoder = vms_qevm_decoder_init(memory.decoder, memory.decoder_len, &config);
    }
    begin_native(&t);
    there(&t, seed, tail & 4);
    if (!t.failed)
        back(&t, seed * 2654435761u);
    if (tail & 16)
        misuse(&t, tail >> 5 | seed << 3);
    if (tail & 2) /* nothing is left for the next exec to clear */
        config.vmdesc.load(config.vmdesc.ctx, vms_slice(NULL, 0));
    return 0;
}
