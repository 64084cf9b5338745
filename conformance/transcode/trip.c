/* SPDX-License-Identifier: MIT */
#include "conformance/transcode/trip.h"

#include <stdlib.h>

/* ---- native output ---- */

bool trip_add_frame(struct trip *trip, struct vms_sealer *sealer, struct vms_native_frame *frame,
                    const struct vms_slice *bulk, size_t count) {
    static uint8_t out[1 << 18];
    struct vms_native_encoder encoder;
    struct vms_native_gather gather;
    size_t len;
    vms_native_encoder_init(&encoder, sealer, 0, &trip->config.limits);
    if (vms_native_encode(&encoder, frame, bulk, count, (struct vms_room){out, sizeof out}, &gather,
                          &len) != VMS_OK) {
        trip->error = encoder.error;
        return false;
    }
    text_add(&trip->native, gather.head.ptr, gather.head.len);
    for (size_t i = 0; i < gather.bulk_count; i++)
        text_add(&trip->native, gather.bulk[i].ptr, gather.bulk[i].len);
    text_add(&trip->native, gather.tail.ptr, gather.tail.len);
    if (frame->header.type < 64)
        trip->frames[frame->header.type]++;
    return true;
}

void trip_begin_native(struct trip *trip, struct vms_sealer *sealer) {
    static const uint32_t suite = VMS_SUITE_NONE;
    struct vms_native_frame hello = {.header.type = VMS_NATIVE_HELLO};
    struct vms_error err;
    hello.u.hello = (struct vms_native_hello){.version = 1,
                                              .version_min = 1,
                                              .form = VMS_FORM_FILE,
                                              .suite_count = 1,
                                              .suites = &suite,
                                              .body_bytes = 65536,
                                              .bulk_bytes = 4 << 20,
                                              .channels = 1};
    vms_sealer_init(sealer, NULL, VMS_SOURCE_TO_DESTINATION, 0, &trip->config.limits);
    text_add(&trip->native, vms_native_label, VMS_NATIVE_LABEL);
    if (vms_sealer_hello_plain(sealer, &err) != VMS_OK ||
        !trip_add_frame(trip, sealer, &hello, NULL, 0) ||
        vms_sealer_rekey(sealer, VMS_SUITE_NONE, NULL, 1, 0, &err) != VMS_OK)
        abort();
}

/* ---- there ---- */

struct there {
    struct trip *trip;
    struct vms_qevm_decoder *d;
    struct vms_to_native *t;
    struct vms_sealer sealer;
    struct vms_slice rest;
    uint64_t told; /* octets of records and their bulk */
    struct vms_qevm_encoder count;
    bool failed, over;
};

static bool zeros(struct vms_slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i])
            return false;
    return true;
}

/* The native wire leaves out residue that is canonical (NAT-65): so does the trace. */
static void drop_canonical(struct vms_record *r) {
    struct vms_rec_multifd_packet *p = &r->u.packet;
    if (r->type == VMS_R_MULTIFD_HELLO && zeros(r->u.hello.reserved))
        r->u.hello.reserved.len = 0;
    if (r->type == VMS_R_MULTIFD_DEVICE_STATE)
        r->u.device.raw_idstr.len = 0;
    if (r->type == VMS_R_SECTION_PART || r->type == VMS_R_SECTION_END ||
        r->type == VMS_R_SECTION_FOOTER) /* [TRC-21] */
        r->u.section = (struct vms_rec_section){.id = r->u.section.id, .kind = r->u.section.kind};
    if (r->type != VMS_R_MULTIFD_PACKET)
        return;
    p->raw.len = 0;
    while (p->offsets.len >= 8 && zeros(vms_slice_tail(p->offsets, p->offsets.len - 8)))
        p->offsets.len -= 8;
}

static bool has_block(enum vms_record_type type) {
    return (type >= VMS_R_RAM_PAGE && type <= VMS_R_RAM_COMPRESSED) ||
           (type >= VMS_R_MAPPED_BITMAP && type <= VMS_R_MAPPED_PAGES);
}

static void trace(struct trip *trip, struct text *text, const struct vms_record *record) {
    struct vms_record r = *record;
    if (has_block(r.type))
        r.u.page.block_index = 0; /* how the frame names a block is no matter of the record */
    drop_canonical(&r);
    trip->types[r.type] = true;
    trace_record(text, &r);
}

/* Sends what is due; true: make the call again. */
static bool again(struct there *w, enum vms_transcode answer, struct vms_native_out *out) {
    if (answer == VMS_TRANSCODE_ERROR) {
        w->trip->error = *vms_to_native_error(w->t);
        w->failed = true;
    }
    if (answer != VMS_TRANSCODE_FRAME)
        return false;
    w->failed |= !trip_add_frame(w->trip, &w->sealer, &out->frame, out->bulk, out->bulk_count);
    return !w->failed;
}

static void put_record(struct there *w, const struct vms_record *record) {
    static uint8_t head[1 << 18];
    struct vms_native_out out;
    size_t len;
    trace(w->trip, &w->trip->trace_there, record);
    vms_to_native_page_size(w->t, vms_qevm_page_size(w->d));
    while (again(w, vms_to_native_record(w->t, record, &out), &out))
        continue;
    w->count.dialect = *vms_qevm_dialect(w->d);
    if (vms_qevm_encode(&w->count, record, (struct vms_room){head, sizeof head}, &len) != VMS_OK)
        abort();
}

static void put_bulk(struct there *w, struct vms_slice piece) {
    struct vms_native_out out;
    if (vms_qevm_encode_bulk(&w->count, piece.len) != VMS_OK)
        abort();
    while (again(w, vms_to_native_bulk(w->t, &piece, &out), &out))
        continue;
}

static void flush(struct there *w) {
    struct vms_native_out out;
    while (again(w, vms_to_native_flush(w->t, &out), &out))
        continue;
}

/* Octets that no record was made of: the channel broke off in them. */
static void put_rest(struct there *w, struct vms_slice octets) {
    struct vms_native_out out;
    struct vms_slice rest = vms_slice_tail(octets, (size_t)w->count.offset);
    bool owed = w->count.bulk_left && w->count.bulk_left != VMS_BULK_UNKNOWN;
    while (rest.len > 0 && !owed &&
           again(w, vms_to_native_opaque(w->t, w->count.offset, &rest, &out), &out))
        continue;
}

static void step(struct there *w, enum vms_step s, const struct vms_event *ev) {
    switch (s) {
    case VMS_STEP_RECORD: put_record(w, &ev->record); break;
    case VMS_STEP_BULK: put_bulk(w, ev->bulk); break;
    case VMS_STEP_END: w->over = true; break;
    case VMS_STEP_ERROR:
        w->over = true;
        w->failed = ev->error->code != VMS_E_TRUNCATED;
        w->trip->error = *ev->error;
        break;
    default: break;
    }
}

static size_t cut_length(struct cut *cut, size_t left) {
    size_t n = left;
    if (cut->kind == CUT_FIXED)
        n = cut->n;
    else if (cut->kind == CUT_RANDOM)
        n = 1 + random_next(&cut->seed) % cut->n;
    return n < left ? n : left;
}

static uint8_t *copy_of(const uint8_t *ptr, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    return n ? memcpy(copy, ptr, n) : copy;
}

/* One piece of input, which is gone afterwards. */
static void feed(struct there *w) {
    size_t n = cut_length(&w->trip->there, w->rest.len);
    uint8_t *copy = copy_of(w->rest.ptr, n);
    struct vms_slice piece = vms_slice(copy, n);
    enum vms_step s = VMS_STEP_RECORD;
    w->rest = vms_slice_tail(w->rest, n);
    while (!w->failed && !w->over && s != VMS_STEP_NEED) {
        struct vms_event ev;
        s = vms_qevm_decode(w->d, &piece, &ev);
        if (s == VMS_STEP_END && w->rest.len)
            break;
        step(w, s, &ev);
    }
    if (w->trip->flush)
        flush(w);
    vms_to_native_settle(w->t);
    memset(copy, 0xdb, n);
    free(copy);
}

static void finish(struct there *w, struct vms_slice octets) {
    struct vms_native_out out;
    while (!w->failed && !w->over) {
        struct vms_event ev;
        enum vms_step s = vms_qevm_finish(w->d, &ev);
        step(w, s, &ev);
    }
    if (!w->failed)
        put_rest(w, octets);
    while (!w->failed && again(w, vms_to_native_end(w->t, &out), &out))
        continue;
}

static struct vms_to_native *make_to_native(const struct trip *trip) {
    struct vms_to_native_config c = vms_to_native_config_default();
    c.batch_bytes = trip->batch_bytes;
    c.packer = trip->packer;
    c.level = trip->level;
    size_t len = vms_to_native_size(&c);
    return vms_to_native_init(malloc(len), len, &c);
}

bool trip_there(struct trip *trip, struct vms_slice octets) {
    struct there w = {.trip = trip, .rest = octets};
    size_t len = vms_qevm_decoder_size(&trip->config);
    if (trip->config.vmdesc.rewind)
        trip->config.vmdesc.rewind(trip->config.vmdesc.ctx);
    w.d = vms_qevm_decoder_init(malloc(len), len, &trip->config);
    w.t = make_to_native(trip);
    if (!w.d || !w.t)
        abort();
    if (trip->main_channel)
        vms_qevm_adopt(w.d, trip->main_channel);
    vms_qevm_encoder_init(&w.count, 0, vms_qevm_dialect(w.d));
    trip_begin_native(trip, &w.sealer);
    while (!w.failed && !w.over && w.rest.len)
        feed(&w);
    finish(&w, octets);
    free(w.d);
    free(w.t);
    return !w.failed;
}

/* ---- back ---- */

struct back {
    struct trip *trip;
    struct vms_intake *intake;
    struct vms_from_native *t;
    struct vms_native_plain_channel channels[1];
    struct vms_native_plain_keys keys;
    struct vms_slice rest;
    bool failed;
};

static void fail(struct back *b, const struct vms_error *err) {
    b->trip->error = *err;
    b->failed = true;
}

static void add_zeros(struct trip *trip, uint64_t n) {
    static const uint8_t zeros[4096];
    trip->zeros += n;
    for (; n > 0; n -= n < sizeof zeros ? n : sizeof zeros)
        text_add(&trip->qevm, zeros, n < sizeof zeros ? (size_t)n : sizeof zeros);
}

/* All that a frame gives. */
static void on_frame(struct back *b, const struct vms_intake_event *in) {
    struct trip *trip = b->trip;
    struct vms_from_native_event ev;
    enum vms_step s = VMS_STEP_RECORD;
    if (!vms_from_native_takes(in->native.frame->header.type))
        return;
    if (vms_from_native_frame(b->t, in->native.frame, in->bulk) != VMS_OK)
        abort();
    while ((s = vms_from_native_next(b->t, &ev)) == VMS_STEP_RECORD || s == VMS_STEP_BULK) {
        if (s == VMS_STEP_RECORD)
            trace(trip, &trip->trace_back, &ev.record);
        text_add(&trip->qevm, ev.head.ptr, ev.head.len);
        text_add(&trip->qevm, ev.bulk.ptr, ev.bulk.len);
        add_zeros(trip, ev.zeros);
    }
    if (s == VMS_STEP_ERROR)
        fail(b, ev.error);
}

static void take_direct(struct back *b) {
    struct vms_room room = vms_intake_room(b->intake);
    size_t n = room.len < b->rest.len ? room.len : b->rest.len;
    if (n == 0)
        return;
    memcpy(room.ptr, b->rest.ptr, n);
    vms_intake_filled(b->intake, n);
    b->rest = vms_slice_tail(b->rest, n);
}

static void feed_back(struct back *b) {
    size_t n = cut_length(&b->trip->back, b->rest.len);
    uint8_t *copy = copy_of(b->rest.ptr, n);
    struct vms_room input = {copy, n};
    enum vms_native_step s = VMS_NATIVE_STEP_FRAME;
    b->rest = vms_slice_tail(b->rest, n);
    while (!b->failed && s == VMS_NATIVE_STEP_FRAME) {
        struct vms_intake_event ev;
        s = vms_intake_next(b->intake, &input, &ev);
        if (s == VMS_NATIVE_STEP_FRAME)
            on_frame(b, &ev);
        else if (s == VMS_NATIVE_STEP_ERROR)
            fail(b, ev.native.error);
    }
    if (b->trip->back.direct && !b->failed)
        take_direct(b);
    free(copy);
}

static struct vms_intake *make_intake(struct back *b) {
    struct vms_intake_config c = {.native = vms_native_config_default(), .zip = b->trip->zip};
    b->keys = (struct vms_native_plain_keys){b->channels, 1, VMS_SOURCE_TO_DESTINATION,
                                             vms_limits_default()};
    c.native.any_channel = true;
    c.native.end_optional = true;
    c.native.keys = vms_native_plain_keys(&b->keys);
    size_t len = vms_intake_size(&c);
    return vms_intake_init(malloc(len), len, &c);
}

static struct vms_from_native *make_from_native(const struct trip *trip) {
    struct vms_from_native_config c = vms_from_native_config_default();
    c.kind = trip->config.kind;
    c.channel = trip->config.channel;
    c.dialect = trip->config.dialect;
    c.limits = trip->config.limits;
    size_t len = vms_from_native_size(&c);
    return vms_from_native_init(malloc(len), len, &c);
}

static void finish_back(struct back *b) {
    struct vms_intake_event in;
    struct vms_from_native_event ev;
    if (vms_intake_finish(b->intake, &in) == VMS_NATIVE_STEP_ERROR)
        fail(b, in.native.error);
    else if (vms_from_native_finish(b->t, &ev) == VMS_STEP_ERROR)
        fail(b, ev.error);
}

bool trip_back(struct trip *trip) {
    struct back b = {.trip = trip, .rest = vms_slice(trip->native.ptr, trip->native.len)};
    b.intake = make_intake(&b);
    b.t = make_from_native(trip);
    if (!b.intake || !b.t)
        abort();
    while (!b.failed && b.rest.len)
        feed_back(&b);
    if (!b.failed)
        finish_back(&b);
    free(b.intake);
    free(b.t);
    return !b.failed;
}

void trip_free(struct trip *trip) {
    text_free(&trip->native);
    text_free(&trip->qevm);
    text_free(&trip->trace_there);
    text_free(&trip->trace_back);
}
