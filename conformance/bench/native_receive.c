/* SPDX-License-Identifier: MIT */
#include "conformance/bench/native_bench.h"
#include "host/backend.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vmstream/native.h>
#include <vmstream/pack_zstd.h>

enum {
    BATCH = 512 * 1024,
    BUFFER = 4096, /* heads and tags; pages go past it */
    PIECES = 400,
};

struct receiver {
    int fd;
    uint8_t *memory;
    uint64_t bytes;
    struct vms_backend *backend;
    const struct vms_crypto_ops *crypto;
    struct vms_psk psk;
    struct vms_opener opener;
    struct vms_transcript transcript;
    struct vms_native_decoder *decoder;
    struct vms_unpacker *unpacker;
    uint8_t *packed; /* bulk of a packed frame */
    /* where the bulk of the frame goes */
    struct vms_room rooms[PIECES], whole;
    size_t count, at, done; /* piece, bytes of it */
    bool is_packed, over;
    uint8_t buffer[BUFFER];
    struct vms_room input;
};

/* ---- keys, as a reader of files has them ---- */

static struct vms_opener *find_opener(void *ctx, uint16_t channel) {
    struct receiver *r = ctx;
    return channel == 0 ? &r->opener : NULL;
}

static enum vms_code on_hello(void *ctx, const struct vms_native_frame *f,
                              struct vms_opener **opener, struct vms_error *err) {
    struct receiver *r = ctx;
    struct vms_limits limits = vms_limits_default();
    struct vms_slice secret = vms_slice(r->psk.key, r->psk.key_len);
    vms_opener_init(&r->opener, r->crypto, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    *opener = &r->opener;
    return r->psk.key_len ? vms_opener_hello(&r->opener, secret, f->u.hello.who.random, err)
                          : vms_opener_hello_plain(&r->opener, err);
}

static void take_hello(struct receiver *r, const struct vms_native_event *ev) {
    const struct vms_native_hello *hello = &ev->frame->u.hello;
    struct vms_seal_salt salt = {.destination_random = {0}};
    uint8_t master[VMS_MASTER_BYTES];
    struct vms_error err;
    struct vms_slice pieces[] = {vms_slice(ev->header, VMS_NATIVE_HEADER), ev->body, ev->tag};
    for (size_t i = 0; i < 3; i++)
        (void)vms_transcript_hello(&r->transcript, pieces[i], &err);
    memcpy(salt.source_random, hello->who.random, sizeof salt.source_random);
    (void)vms_transcript_value(&r->transcript, salt.hello_hash, &err);
    if (r->psk.key_len && vms_seal_master(r->crypto, vms_slice(r->psk.key, r->psk.key_len), &salt,
                                          master, &err) != VMS_OK)
        abort();
    if (vms_opener_rekey(&r->opener, (enum vms_suite)hello->suites[0],
                         r->psk.key_len ? master : NULL, 1, 0, &err) != VMS_OK)
        abort();
}

static void take_end(struct receiver *r, const struct vms_native_frame *f) {
    uint8_t have[VMS_SHA256_BYTES];
    struct vms_error err;
    if (vms_transcript_value(&r->transcript, have, &err) != VMS_OK ||
        memcmp(have, f->u.end.transcript, sizeof have) != 0)
        abort();
    r->over = true;
}

/* ---- where bulk goes ---- */

static void add_room(struct receiver *r, uint64_t at, uint64_t len) {
    if (r->count == PIECES || at > r->bytes || len > r->bytes - at)
        abort();
    r->rooms[r->count++] = (struct vms_room){r->memory + at, len};
}

/* Zero pages: the memory is fresh. */
static void on_head(struct receiver *r, const struct vms_native_frame *f) {
    const struct vms_native_pages *p = &f->u.pages;
    r->count = r->at = r->done = 0;
    if (f->header.type != VMS_NATIVE_PAGES)
        return;
    for (uint32_t i = 0; i < p->run_count; i++)
        if (!p->runs[i].zero)
            add_room(r, p->runs[i].first * IMAGE_PAGE, (uint64_t)p->runs[i].count * IMAGE_PAGE);
    r->is_packed = (f->header.flags & VMS_NATIVE_PACK_MASK) != 0;
    r->whole = (struct vms_room){r->packed, f->header.bulk_len};
}

static struct vms_room next_room(const struct receiver *r, size_t skip) {
    struct vms_room room = r->is_packed ? r->whole : r->rooms[r->at + skip];
    if (skip == 0) {
        room.ptr += r->done;
        room.len -= r->done;
    }
    return room;
}

static size_t room_count(const struct receiver *r) {
    return r->is_packed ? 1 : r->count - r->at;
}

static void advance(struct receiver *r, size_t n) {
    r->done += n;
    if (!r->is_packed && r->done == r->rooms[r->at].len) {
        r->at++;
        r->done = 0;
    }
}

static void on_bulk(struct receiver *r, struct vms_slice piece) {
    while (piece.len) {
        struct vms_room room = next_room(r, 0);
        size_t n = piece.len < room.len ? piece.len : room.len;
        memcpy(room.ptr, piece.ptr, n);
        advance(r, n);
        piece = vms_slice_tail(piece, n);
    }
}

/* ---- input ---- */

/* Pages right to where they belong, and then the beginning of what follows. */
static void fill(struct receiver *r) {
    struct iovec iov[PIECES + 1];
    int count = 0;
    uint64_t direct = vms_native_bulk_direct(r->decoder);
    for (size_t i = 0; direct > 0 && i < room_count(r); i++)
        iov[count++] = (struct iovec){next_room(r, i).ptr, next_room(r, i).len};
    iov[count++] = (struct iovec){r->buffer, BUFFER};
    ssize_t got = readv(r->fd, iov, count);
    if (got <= 0)
        abort();
    size_t left = (size_t)got;
    while (direct > 0 && left > 0) {
        struct vms_room room = next_room(r, 0);
        size_t n = left < room.len ? left : room.len;
        vms_native_bulk_taken(r->decoder, room.ptr, n);
        advance(r, n);
        left -= n;
        direct -= n;
    }
    r->input = (struct vms_room){r->buffer, left};
}

static void on_frame(struct receiver *r, const struct vms_native_event *ev) {
    const struct vms_native_frame *f = ev->frame;
    struct vms_pack_announced announced = {.method = f->header.flags & VMS_NATIVE_PACK_MASK,
                                           .bulk_len = f->header.bulk_len,
                                           .unpacked = f->unpacked,
                                           .info = f->pack,
                                           .pages = true};
    struct vms_generations generations = {0, 0};
    struct vms_error err;
    if (f->header.type == VMS_NATIVE_HELLO) {
        take_hello(r, ev);
        return;
    }
    if (f->header.type == VMS_NATIVE_END) {
        take_end(r, f);
        return;
    }
    if (vms_transcript_frame(&r->transcript, ev->header, ev->tag, &err) != VMS_OK)
        abort();
    if (announced.method != 0 &&
        vms_unpack(r->unpacker, &announced, vms_slice(r->packed, f->header.bulk_len), r->rooms,
                   r->count, &generations, &err) != VMS_OK)
        abort();
    r->is_packed = false;
}

static void receive_all(struct receiver *r) {
    struct vms_native_event ev;
    while (!r->over)
        switch (vms_native_decode(r->decoder, &r->input, &ev)) {
        case VMS_NATIVE_STEP_NEED: fill(r); break;
        case VMS_NATIVE_STEP_HEAD: on_head(r, ev.frame); break;
        case VMS_NATIVE_STEP_BULK: on_bulk(r, ev.bulk); break;
        case VMS_NATIVE_STEP_FRAME: on_frame(r, &ev); break;
        default: abort();
        }
}

static void make_unpacker(struct receiver *r) {
    struct vms_zstd_config zstd = {.level_max = 0, .unpacked_max = BATCH};
    size_t len = vms_zstd_size(&zstd);
    struct vms_zstd *zip = vms_zstd_init(malloc(len), len, &zstd);
    struct vms_unpack_config config = {
        .zip = vms_zstd_ops(zip), .page_size = IMAGE_PAGE, .unpacked_max = BATCH};
    len = vms_unpacker_size(&config);
    r->unpacker = vms_unpacker_init(malloc(len), len, &config);
    r->packed = malloc(BATCH);
    if (!r->unpacker || !r->packed)
        abort();
}

static void make_receiver(struct receiver *r, bool keyed) {
    struct vms_native_config config = vms_native_config_default();
    struct vms_error err;
    r->backend = vms_backend_new(NULL, &err);
    if (!r->backend)
        abort();
    r->crypto = vms_backend_ops(r->backend);
    if (keyed &&
        vms_psk_parse(vms_str(BENCH_KEYS), vms_str(""), 0, &config.limits, &r->psk, &err) != VMS_OK)
        abort();
    config.keys = (struct vms_native_keys){keyed, find_opener, on_hello, r};
    size_t len = vms_native_decoder_size(&config);
    r->decoder = vms_native_decoder_init(malloc(len), len, &config);
    if (!r->decoder || vms_transcript_init(&r->transcript, r->crypto, &err) != VMS_OK)
        abort();
    make_unpacker(r);
}

void receive_native(struct transfer *t, const struct way *way, int fd, uint8_t *memory,
                    uint64_t bytes) {
    static struct receiver r;
    r.fd = fd;
    r.memory = memory;
    r.bytes = bytes;
    make_receiver(&r, way->suite != VMS_SUITE_NONE);
    bench_meet(t);
    double cpu = bench_cpu();
    receive_all(&r);
    t->end = bench_now();
    t->cpu[1] = bench_cpu() - cpu;
}

/* ---- floor ---- */

void receive_bare(struct transfer *t, int fd, uint8_t *memory, uint64_t bytes) {
    bench_meet(t);
    double cpu = bench_cpu();
    for (uint64_t at = IMAGE_STRIPE / 4; at < bytes; at += IMAGE_STRIPE)
        for (size_t done = 0, len = IMAGE_STRIPE / 4 * 3; done < len;) {
            ssize_t n = read(fd, memory + at + done, len - done);
            if (n <= 0)
                abort();
            done += (size_t)n;
        }
    t->end = bench_now();
    t->cpu[1] = bench_cpu() - cpu;
}
