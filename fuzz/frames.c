/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <vmstream/native.h>

/*
 * What a program gives to the native encoder: frames of every type with any fields, and any bulk.
 * It is refused with a reason, or written in exactly the octets that were told, and a decoder gives
 * it back: the same type, and a body that encodes to the same octets [NAT-30] [MOD-3] [MOD-6].
 * Pages as records go into a frame and come out of it again [NAT-55].
 * Input: of each frame 1 octet type, 2 flags and bulk, 12 of fields.
 */
enum {
    ROOM = 1 << 16,
    LISTS = 8,
};

static uint8_t text[300], stream[ROOM], back[ROOM];

static struct vms_slice some(uint32_t n) {
    return vms_slice(text, n % sizeof text);
}

static struct lists {
    uint32_t suites[LISTS], named[LISTS];
    struct vms_native_device devices[LISTS];
    struct vms_native_position positions[LISTS];
    struct vms_native_sent sent[LISTS];
    struct vms_native_run runs[LISTS];
} lists;

static void fill_lists(const uint32_t f[3]) {
    for (uint32_t i = 0; i < LISTS; i++) {
        uint32_t step = f[0] >> 30 ? i : 0;
        lists.suites[i] = f[1] >> i & 7;
        lists.named[i] = (f[2] >> 3 & 3) + step;
        lists.devices[i] = (struct vms_native_device){f[0] + step, f[1] & 3, some(f[2] + i)};
        lists.positions[i] = (struct vms_native_position){(uint16_t)(f[0] + step), f[1]};
        lists.sent[i] = (struct vms_native_sent){(uint16_t)(f[0] + step), f[1], f[2] & 3};
        lists.runs[i] = (struct vms_native_run){(uint64_t)f[0] << (f[1] & 31),
                                                (f[2] >> i & 7) + (f[1] & 4096 ? UINT32_MAX : 0),
                                                f[2] >> i & 1};
    }
}

static struct vms_native_who a_who(const uint32_t f[3]) {
    return (struct vms_native_who){
        .role = f[0] & 3, .secret = f[1] & 3, .identity = some(f[2] & 255)};
}

static struct vms_native_hello a_hello(const uint32_t f[3]) {
    return (struct vms_native_hello){.who = a_who(f),
                                     .version = f[0] >> 2 & 3,
                                     .version_min = f[0] >> 4 & 3,
                                     .form = f[0] >> 6 & 3,
                                     .suite_count = f[1] >> 4 & 7,
                                     .suites = lists.suites,
                                     .features = f[2],
                                     .features_needed = f[1],
                                     .body_bytes = f[0],
                                     .bulk_bytes = f[1],
                                     .channels = f[2] & 1023,
                                     .replay_bytes = f[1],
                                     .keepalive_ms = f[2],
                                     .machine = some(f[0] >> 8),
                                     .device_count = f[1] >> 8 & 7,
                                     .devices = lists.devices,
                                     .software = some(f[1] >> 16),
                                     .dialect = some(f[2] >> 16)};
}

static struct vms_native_pages a_list_of_pages(const uint32_t f[3]) {
    struct vms_native_pages p = {.page_bits = (uint8_t)(f[0] >> 8 & 31),
                                 .run_count = f[1] >> 16 & 7,
                                 .runs = lists.runs,
                                 .named_count = f[2] >> 16 & 7,
                                 .named = lists.named};
    p.block.index = f[0] & 1 ? VMS_NATIVE_NO_INDEX : f[0] >> 16;
    p.block.name = some(f[0] & 1 ? f[2] : 0);
    return p;
}

static void a_body(struct vms_native_frame *frame, const uint32_t f[3]) {
    static struct vms_record record;
    struct vms_native_block block = {f[0] & 1 ? VMS_NATIVE_NO_INDEX : f[0],
                                     some(f[0] & 1 ? f[1] : 0)};
    switch (frame->header.type) {
    case VMS_NATIVE_HELLO: frame->u.hello = a_hello(f); break;
    case VMS_NATIVE_ATTACH:
        frame->u.attach = (struct vms_native_attach){a_who(f), f[1] >> 8 & 7, f[2] >> 8};
        break;
    case VMS_NATIVE_RESUME:
    case VMS_NATIVE_RESUMED:
        frame->u.resume =
            (struct vms_native_resume){a_who(f), f[1] >> 8, f[2] >> 8 & 7, lists.positions};
        break;
    case VMS_NATIVE_REKEY: frame->u.epoch = f[0]; break;
    case VMS_NATIVE_ACK: frame->u.ack = (struct vms_native_ack){f[2] & 7, lists.positions}; break;
    case VMS_NATIVE_END:
        frame->u.end = (struct vms_native_end){f[2] >> 4 & 7, lists.sent, {0}};
        break;
    case VMS_NATIVE_ABORT:
        frame->u.abort = (struct vms_native_abort){.has_who = f[0] & 4,
                                                   .who = a_who(f),
                                                   .code = some(f[0] >> 8),
                                                   .clause = some(f[1] >> 8),
                                                   .has_device = f[0] & 8,
                                                   .device = f[2],
                                                   .message = some(f[2] >> 8)};
        break;
    case VMS_NATIVE_READY: frame->u.ready = (struct vms_native_ready){f[0], f[1] & 3, f[2]}; break;
    case VMS_NATIVE_REQUEST:
    case VMS_NATIVE_GRANT: frame->u.switchover = (struct vms_native_switchover){f[0], f[1]}; break;
    case VMS_NATIVE_RECORDS:
        record = (struct vms_record){.type = (enum vms_record_type)(f[0] % VMS_RECORD_TYPE_COUNT),
                                     .bulk_len = f[1] & 4095};
        frame->u.records = (struct vms_native_records){f[2] & 1, &record};
        break;
    case VMS_NATIVE_PAGES:
    case VMS_NATIVE_PAGE_REQUEST:
    case VMS_NATIVE_DISCARD: frame->u.pages = a_list_of_pages(f); break;
    case VMS_NATIVE_BULK: frame->u.bulk = (struct vms_native_bulk){f[0], f[1] & 1}; break;
    case VMS_NATIVE_DEVICE:
        frame->u.device = (struct vms_native_device_state){f[0], f[1] & 7, f[2], f[1] & 8};
        break;
    case VMS_NATIVE_OPAQUE: frame->u.opaque = (struct vms_native_opaque){f[0], f[1] & 1}; break;
    case VMS_NATIVE_DIGEST:
    case VMS_NATIVE_BITMAP:
        frame->u.range = (struct vms_native_range){block, (uint8_t)(f[2] >> 8 & 31), f[1],
                                                   f[2] & 255, f[2] >> 16 & 3};
        break;
    default: frame->u.value = f[0]; break;
    }
}

/* ---- there and back ---- */

static size_t begin_stream(struct vms_sealer *sealer, struct vms_native_encoder *encoder) {
    static const uint32_t suite = VMS_SUITE_NONE;
    struct vms_native_frame hello = {.header.type = VMS_NATIVE_HELLO};
    struct vms_limits limits = vms_limits_default();
    struct vms_native_gather g;
    struct vms_error err;
    size_t len = 0;
    hello.u.hello = (struct vms_native_hello){.version = 1,
                                              .version_min = 1,
                                              .form = VMS_FORM_FILE,
                                              .suite_count = 1,
                                              .suites = &suite,
                                              .body_bytes = 65536,
                                              .bulk_bytes = 65536,
                                              .channels = 1};
    vms_sealer_init(sealer, NULL, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    vms_native_encoder_init(encoder, sealer, 0, &limits);
    memcpy(stream, vms_native_label, VMS_NATIVE_LABEL);
    struct vms_room room = {stream + VMS_NATIVE_LABEL, ROOM - VMS_NATIVE_LABEL};
    ORACLE(vms_sealer_hello_plain(sealer, &err) == VMS_OK &&
               vms_native_encode(encoder, &hello, NULL, 0, room, &g, &len) == VMS_OK &&
               vms_sealer_rekey(sealer, VMS_SUITE_NONE, NULL, 1, 0, &err) == VMS_OK,
           "a hello");
    return VMS_NATIVE_LABEL + g.head.len + g.tail.len;
}

static void *decoder_memory; /* made once */

static void make_memory(void) {
    struct vms_native_config config = vms_native_config_default();
    config.any_channel = config.end_optional = true;
    decoder_memory = fuzz_memory(vms_native_decoder_size(&config));
    memset(text, 'a', sizeof text);
}

static void decode(size_t len, uint32_t type) {
    static struct vms_native_plain_channel channels[1];
    struct vms_native_plain_keys keys = {channels, 1, VMS_SOURCE_TO_DESTINATION,
                                         vms_limits_default()};
    struct vms_native_config config = vms_native_config_default();
    struct vms_room input = {stream, len};
    struct vms_native_event ev;
    enum vms_native_step step;
    config.any_channel = config.end_optional = true;
    config.keys = vms_native_plain_keys(&keys);
    memset(channels, 0, sizeof channels);
    struct vms_native_decoder *d =
        vms_native_decoder_init(decoder_memory, vms_native_decoder_size(&config), &config);
    unsigned frames = 0;
    while ((step = vms_native_decode(d, &input, &ev)) != VMS_NATIVE_STEP_NEED) {
        ORACLE(step != VMS_NATIVE_STEP_ERROR, "what was written is refused: %s", ev.error->message);
        frames += step == VMS_NATIVE_STEP_FRAME;
        if (step != VMS_NATIVE_STEP_FRAME || frames < 2)
            continue;
        size_t n = 0;
        ORACLE(ev.frame->header.type == type, "another type");
        if (ev.frame->unknown)
            continue;
        ORACLE(vms_native_encode_body(ev.frame, (struct vms_room){back, ROOM}, &n) == VMS_OK &&
                   n == ev.body.len && memcmp(back, ev.body.ptr, n) == 0,
               "another body");
    }
    ORACLE(frames == 2, "%u frames", frames);
}

/* Pages one by one into a frame, and out of it. */
static void pages(const struct vms_native_frame *frame) {
    struct vms_native_run runs[LISTS];
    uint32_t named[64];
    struct vms_native_collect c;
    struct vms_native_walk walk = {0};
    struct vms_record r;
    vms_native_collect_init(&c, runs, LISTS, named, 64, 1 << 20);
    for (unsigned i = 0; i < 40 && vms_native_pages_next(&frame->u.pages, &walk, &r); i++)
        if (vms_native_collectable(&r, frame->u.pages.page_bits) &&
            !vms_native_collect_add(&c, &r, frame->u.pages.page_bits))
            break;
    ORACLE(c.pages.run_count <= LISTS && c.pages.named_count <= 64, "more than there is room for");
    vms_native_collect_reset(&c);
}

static void one(struct vms_slice *in) {
    struct vms_native_frame frame = {0};
    struct vms_native_encoder encoder;
    struct vms_native_gather g;
    struct vms_sealer sealer;
    uint32_t type = fuzz_option(in, 1), flags = fuzz_option(in, 1), bulk = fuzz_option(in, 1);
    uint32_t f[3] = {fuzz_option(in, 4), fuzz_option(in, 4), fuzz_option(in, 4)};
    size_t exact = 0, len = 0, at = begin_stream(&sealer, &encoder);
    struct vms_slice piece = some(bulk);
    fill_lists(f);
    frame.header.type = type < 64 ? type : VMS_NATIVE_IGNORABLE | type;
    frame.header.flags = (uint16_t)(flags & 31);
    frame.unpacked = flags & 32 ? f[0] : (uint32_t)piece.len;
    frame.pack = some(flags & 64 ? f[1] & 63 : 0);
    encoder.copy_bulk = flags & 128;
    a_body(&frame, f);
    (void)vms_native_type_name(frame.header.type);
    if (frame.header.type == VMS_NATIVE_PAGES && frame.u.pages.run_count <= LISTS &&
        frame.u.pages.page_bits >= 10 && frame.u.pages.page_bits <= 21)
        pages(&frame);
    struct vms_room none = {stream + at, 0};
    enum vms_code code = vms_native_encode(&encoder, &frame, &piece, 1, none, &g, &exact);
    fuzz_saw(code);
    ORACLE(code != VMS_OK, "written into no room");
    if (code != VMS_E_SPACE) {
        ORACLE(encoder.error.code == code, "%s", vms_code_name(code));
        return;
    }
    if (exact > ROOM - at - piece.len)
        return;
    struct vms_room room = {stream + at, exact};
    ORACLE(vms_native_encode(&encoder, &frame, &piece, 1, room, &g, &len) == VMS_OK && len == exact,
           "%zu, then %zu: %s", exact, len, encoder.error.message);
    uint8_t tag[4];
    memcpy(tag, g.tail.ptr, sizeof tag);
    at += g.head.len;
    for (size_t i = 0; i < g.bulk_count; at += g.bulk[i++].len)
        memcpy(stream + at, g.bulk[i].ptr, g.bulk[i].len);
    memcpy(stream + at, tag, sizeof tag);
    decode(at + sizeof tag, frame.header.type);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size < 60 ? size : 60);
    if (!decoder_memory)
        make_memory();
    while (in.len)
        one(&in);
    return 0;
}
