/* SPDX-License-Identifier: MIT */
/*
 * How fast the transcoder is, beside a copy of the same octets: QEVM -> native without and with
 * copying page data, sealed in each way, and native -> QEVM. Medians of interleaved runs, GiB/s of
 * guest memory.
 *
 *     transcode-bench [MiB [RUNS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <vmstream/openssl.h>
#include <vmstream/transcode.h>

enum {
    PAGE = 4096,
    PIECE = 1 << 20, /* bytes of input at once, as the pump has them */
    RUNS_MAX = 99,
};

enum way {
    WAY_MEMCPY,
    WAY_DECODE,
    WAY_GATHER,
    WAY_COPY,
    WAY_NONE,
    WAY_GMAC,
    WAY_GCM,
    WAY_CHACHA20,
    WAY_BACK,
    WAYS,
};

static const char *const NAMES[WAYS] = {
    "memcpy",           "QEVM decoder alone", "to frames, gathered", "to frames, copied",
    "to native, none",  "to native, gmac",    "to native, gcm",      "to native, chacha20",
    "from native, none"};

static uint8_t *stream, *native, *target;
static size_t stream_len, native_len, target_len;
static uint8_t key[32] = {1, 2, 3};
static const struct vms_crypto_ops *crypto;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- a stream: one block, a quarter zero pages ---- */

static void put(struct vms_qevm_encoder *e, struct vms_record r, const uint8_t *bulk) {
    size_t len;
    struct vms_room room = {stream + stream_len, 1 << 17};
    if (vms_qevm_encode(e, &r, room, &len) != VMS_OK)
        abort();
    stream_len += len;
    if (vms_qevm_encode_bulk(e, r.bulk_len) != VMS_OK)
        abort();
    if (r.bulk_len)
        memcpy(stream + stream_len, bulk, (size_t)r.bulk_len);
    stream_len += (size_t)r.bulk_len;
}

static void put_page(struct vms_qevm_encoder *e, uint64_t i) {
    static uint8_t page[PAGE];
    struct vms_record r = {
        .type = i % 4 ? VMS_R_RAM_PAGE : VMS_R_RAM_ZERO,
        .bulk_len = i % 4 ? PAGE : 0,
        .u.page = {.block = vms_str("pc.ram"), .continued = i > 0, .offset = i * PAGE}};
    memset(page, (int)i, 64);
    put(e, r, page);
}

static void make_stream(uint64_t bytes) {
    struct vms_qevm_encoder e;
    struct vms_dialect dialect = {0};
    stream = malloc(bytes + bytes / 64 + (1 << 18));
    vms_qevm_encoder_init(&e, 0, &dialect);
    put(&e, (struct vms_record){.type = VMS_R_HEADER, .u.version = 3}, NULL);
    put(&e, (struct vms_record){.type = VMS_R_CONFIGURATION, .u.config.machine = vms_str("pc")},
        NULL);
    put(&e,
        (struct vms_record){
            .type = VMS_R_SECTION_START,
            .u.section = {.id = 2, .version = 4, .kind = VMS_SECTION_RAM, .idstr = vms_str("ram")}},
        NULL);
    put(&e, (struct vms_record){.type = VMS_R_RAM_MEM_SIZE, .u.ram_total = bytes}, NULL);
    put(&e,
        (struct vms_record){.type = VMS_R_RAM_BLOCK,
                            .u.block = {.name = vms_str("pc.ram"), .used_length = bytes}},
        NULL);
    for (uint64_t i = 0; i < bytes / PAGE; i++)
        put_page(&e, i);
    put(&e, (struct vms_record){.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS}, NULL);
    put(&e, (struct vms_record){.type = VMS_R_SECTION_FOOTER, .u.section.id = 2}, NULL);
    put(&e, (struct vms_record){.type = VMS_R_EOF}, NULL);
}

/* ---- there ---- */

struct there {
    struct vms_to_native *t;
    struct vms_sealer sealer;
    struct vms_native_encoder encoder;
    bool encode, keep, copy;
};

static uint8_t out[5 << 20];

static void keep(const struct vms_native_gather *g) {
    memcpy(native + native_len, g->head.ptr, g->head.len);
    native_len += g->head.len;
    for (size_t i = 0; i < g->bulk_count; i++) {
        memcpy(native + native_len, g->bulk[i].ptr, g->bulk[i].len);
        native_len += g->bulk[i].len;
    }
    memcpy(native + native_len, g->tail.ptr, g->tail.len);
    native_len += g->tail.len;
}

static bool again(struct there *w, enum vms_transcode answer, struct vms_native_out *o) {
    struct vms_native_gather g;
    size_t len;
    if (answer == VMS_TRANSCODE_ERROR)
        abort();
    if (answer != VMS_TRANSCODE_FRAME)
        return false;
    if (w->encode && vms_native_encode(&w->encoder, &o->frame, o->bulk, o->bulk_count,
                                       (struct vms_room){out, sizeof out}, &g, &len) != VMS_OK)
        abort();
    if (w->keep)
        keep(&g);
    return true;
}

static void step(struct there *w, enum vms_step s, struct vms_event *ev) {
    struct vms_native_out o;
    if (!w->t)
        return;
    if (s == VMS_STEP_RECORD)
        while (again(w, vms_to_native_record(w->t, &ev->record, &o), &o))
            continue;
    else if (s == VMS_STEP_BULK)
        while (again(w, vms_to_native_bulk(w->t, &ev->bulk, &o), &o))
            continue;
    if (w->copy)
        vms_to_native_settle(w->t);
}

static void run_there(struct there *w) {
    struct vms_qevm_config config = vms_qevm_config_default();
    size_t size = vms_qevm_decoder_size(&config);
    void *mem = malloc(size);
    struct vms_qevm_decoder *d = vms_qevm_decoder_init(mem, size, &config);
    struct vms_slice rest = vms_slice(stream, stream_len);
    struct vms_native_out o;
    while (rest.len) {
        struct vms_slice piece = vms_slice_head(rest, PIECE);
        struct vms_event ev;
        enum vms_step s;
        while ((s = vms_qevm_decode(d, &piece, &ev)) == VMS_STEP_RECORD || s == VMS_STEP_BULK)
            step(w, s, &ev);
        rest = vms_slice_tail(rest, PIECE);
        if (w->t)
            vms_to_native_settle(w->t); /* a pump would reuse its buffer now */
    }
    while (w->t && again(w, vms_to_native_end(w->t, &o), &o))
        continue;
    free(mem);
}

static void start_sealer(struct there *w, enum vms_suite suite) {
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    uint8_t random[32], master[32] = {7};
    vms_sealer_init(&w->sealer, crypto, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    vms_native_encoder_init(&w->encoder, &w->sealer, 0, &limits);
    static const uint32_t suites[] = {VMS_SUITE_NONE};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_HELLO};
    struct vms_native_gather g;
    size_t len;
    f.u.hello = (struct vms_native_hello){.version = 1,
                                          .version_min = 1,
                                          .form = VMS_FORM_FILE,
                                          .suite_count = 1,
                                          .suites = suites,
                                          .body_bytes = 65536,
                                          .bulk_bytes = 4 << 20,
                                          .channels = 1};
    f.u.hello.who.secret = suite ? VMS_SECRET_PSK : VMS_SECRET_NONE;
    enum vms_code code = suite ? vms_sealer_hello(&w->sealer, vms_slice(key, 32), random, &err)
                               : vms_sealer_hello_plain(&w->sealer, &err);
    if (code != VMS_OK || vms_native_encode(&w->encoder, &f, NULL, 0,
                                            (struct vms_room){out, sizeof out}, &g, &len) != VMS_OK)
        abort();
    if (w->keep) {
        memcpy(native, vms_native_label, VMS_NATIVE_LABEL);
        native_len = VMS_NATIVE_LABEL;
        keep(&g);
    }
    if (vms_sealer_rekey(&w->sealer, suite, suite ? master : NULL, 1, 0, &err) != VMS_OK)
        abort();
}

static void there(enum way way, bool keep_it) {
    struct there w = {.copy = way == WAY_COPY, .encode = way >= WAY_NONE, .keep = keep_it};
    struct vms_to_native_config config = vms_to_native_config_default();
    size_t size = vms_to_native_size(&config);
    void *mem = malloc(size);
    if (way != WAY_DECODE)
        w.t = vms_to_native_init(mem, size, &config);
    if (w.encode)
        start_sealer(&w, (enum vms_suite)(way - WAY_NONE));
    run_there(&w);
    vms_sealer_free(&w.sealer);
    free(mem);
}

/* ---- back ---- */

static void give(struct vms_from_native *t, const struct vms_intake_event *in) {
    struct vms_from_native_event ev;
    enum vms_step s;
    if (vms_from_native_frame(t, in->native.frame, in->bulk) != VMS_OK)
        abort();
    while ((s = vms_from_native_next(t, &ev)) == VMS_STEP_RECORD || s == VMS_STEP_BULK)
        target_len += ev.head.len + ev.bulk.len;
    if (s != VMS_STEP_NEED)
        abort();
}

static void back(void) {
    static struct vms_native_plain_channel channels[1];
    struct vms_native_plain_keys keys = {channels, 1, VMS_SOURCE_TO_DESTINATION,
                                         vms_limits_default()};
    struct vms_intake_config config = {.native = vms_native_config_default()};
    struct vms_from_native_config from = vms_from_native_config_default();
    struct vms_intake_event ev;
    memset(channels, 0, sizeof channels);
    config.native.any_channel = config.native.end_optional = true;
    config.native.keys = vms_native_plain_keys(&keys);
    size_t in_size = vms_intake_size(&config), from_size = vms_from_native_size(&from);
    void *in_mem = malloc(in_size), *from_mem = malloc(from_size);
    struct vms_intake *in = vms_intake_init(in_mem, in_size, &config);
    struct vms_from_native *t = vms_from_native_init(from_mem, from_size, &from);
    target_len = 0;
    for (size_t at = 0; at < native_len; at += PIECE) {
        struct vms_room piece = {native + at, native_len - at < PIECE ? native_len - at : PIECE};
        enum vms_native_step s;
        while ((s = vms_intake_next(in, &piece, &ev)) == VMS_NATIVE_STEP_FRAME)
            if (ev.native.frame->header.type != VMS_NATIVE_HELLO)
                give(t, &ev);
        if (s == VMS_NATIVE_STEP_ERROR)
            abort();
    }
    if (target_len != stream_len)
        abort();
    free(in_mem);
    free(from_mem);
}

/* ---- figures ---- */

static double time_of(enum way way) {
    double start = now();
    if (way == WAY_MEMCPY)
        memcpy(target, stream, stream_len);
    else if (way == WAY_BACK)
        back();
    else
        there(way, false);
    return now() - start;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    static double times[WAYS][RUNS_MAX];
    uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 0) : 256) << 20;
    int runs = argc > 2 ? atoi(argv[2]) : 9;
    struct vms_openssl *openssl = vms_openssl_new();
    if (!openssl || runs < 1 || runs > RUNS_MAX)
        return 3;
    crypto = vms_openssl_ops(openssl);
    make_stream(bytes);
    native = malloc(stream_len + (1 << 20));
    target = malloc(stream_len);
    there(WAY_NONE, true);
    printf("%llu MiB of guest memory, a quarter zero: QEVM %zu bytes, native %zu (%.4f)\n",
           (unsigned long long)(bytes >> 20), stream_len, native_len,
           (double)native_len / (double)stream_len);
    for (int i = 0; i < runs; i++)
        for (int way = 0; way < WAYS; way++)
            times[way][i] = time_of((enum way)way);
    for (int way = 0; way < WAYS; way++) {
        qsort(times[way], (size_t)runs, sizeof(double), by_value);
        double gib = (double)bytes / (1 << 30);
        printf("%-22s %7.2f GiB/s  (%.2f to %.2f)\n", NAMES[way], gib / times[way][runs / 2],
               gib / times[way][runs - 1], gib / times[way][0]);
    }
    vms_openssl_free(openssl);
    free(stream);
    free(native);
    free(target);
    return 0;
}
