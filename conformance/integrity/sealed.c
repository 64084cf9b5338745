/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/sealed.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmstream/pack_zstd.h>

enum {
    BATCH = VMS_BATCH_BYTES_MIN,
    LEVEL_MAX = 6,
};

struct vms_limits sealed_limits(void) {
    struct vms_limits limits = vms_limits_default();
    limits.native_bulk_bytes = BATCH; /* tens of thousands of readers are made */
    return limits;
}

struct vms_psk sealed_psk(const char *keys, const char *name) {
    struct vms_limits limits = vms_limits_default();
    struct vms_psk psk;
    struct vms_error err;
    if (vms_psk_parse(vms_str(keys), vms_str(name), 0, &limits, &psk, &err) != VMS_OK)
        abort();
    return psk;
}

/* ---- headers ---- */

static uint64_t get(const uint8_t *p, int n) {
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static void put(uint8_t *p, int n, uint64_t v) {
    for (int i = n - 1; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

struct vms_native_header sealed_header(const uint8_t *p) {
    return (struct vms_native_header){.type = (uint32_t)get(p + 4, 4),
                                      .flags = (uint16_t)get(p + 8, 2),
                                      .channel = (uint16_t)get(p + 10, 2),
                                      .epoch = (uint32_t)get(p + 12, 4),
                                      .sequence = get(p + 16, 8),
                                      .body_len = (uint32_t)get(p + 24, 4),
                                      .bulk_len = (uint32_t)get(p + 28, 4)};
}

void sealed_put_header(uint8_t *p, const struct vms_native_header *h) {
    put(p + 4, 4, h->type);
    put(p + 8, 2, h->flags);
    put(p + 10, 2, h->channel);
    put(p + 12, 4, h->epoch);
    put(p + 16, 8, h->sequence);
    put(p + 24, 4, h->body_len);
    put(p + 28, 4, h->bulk_len);
}

static void find_frames(struct sealed *s) {
    const uint8_t *bytes = (const uint8_t *)s->file.ptr;
    size_t tag = vms_suite_tag_bytes(s->suite);
    for (size_t at = VMS_NATIVE_LABEL; at < s->file.len;) {
        struct vms_native_header h = sealed_header(bytes + at);
        size_t len = VMS_NATIVE_HEADER + h.body_len + h.bulk_len + tag;
        s->frames = realloc(s->frames, (s->count + 1) * sizeof *s->frames);
        if (!s->frames)
            abort();
        s->frames[s->count++] = (struct sealed_frame){at, len, h};
        at += len;
    }
}

/* ---- writing ---- */

struct feeder {
    const struct sealed_channel *channel;
    struct vms_native_writer *writer;
    uint16_t number;
    struct vms_slice rest;
    struct vms_qevm_decoder *decoder;
    struct vms_to_native *t;
    void *zstd_mem, *packer_mem;
};

static bool again(struct feeder *f, enum vms_transcode answer, struct vms_native_out *out) {
    struct vms_error err;
    if (answer == VMS_TRANSCODE_ERROR)
        abort();
    if (answer != VMS_TRANSCODE_FRAME)
        return false;
    if (vms_native_writer_frame(f->writer, f->number, out, &err) != VMS_OK)
        abort();
    return true;
}

static void step(struct feeder *f, enum vms_step s, struct vms_event *ev) {
    struct vms_native_out out;
    if (s == VMS_STEP_ERROR)
        abort();
    vms_to_native_page_size(f->t, vms_qevm_page_size(f->decoder));
    if (s == VMS_STEP_RECORD)
        while (again(f, vms_to_native_record(f->t, &ev->record, &out), &out))
            continue;
    if (s == VMS_STEP_BULK)
        while (again(f, vms_to_native_bulk(f->t, &ev->bulk, &out), &out))
            continue;
}

static void feed(struct feeder *f, size_t n) {
    struct vms_slice piece = vms_slice_head(f->rest, n);
    struct vms_native_out out;
    struct vms_event ev;
    enum vms_step s = VMS_STEP_RECORD;
    f->rest = vms_slice_tail(f->rest, piece.len);
    for (; s != VMS_STEP_NEED && s != VMS_STEP_END; step(f, s, &ev))
        s = vms_qevm_decode(f->decoder, &piece, &ev);
    if (f->rest.len == 0 && s == VMS_STEP_NEED)
        for (s = VMS_STEP_RECORD; s != VMS_STEP_END; step(f, s, &ev))
            s = vms_qevm_finish(f->decoder, &ev);
    while (again(f, vms_to_native_flush(f->t, &out), &out))
        continue;
    while (f->rest.len == 0 && again(f, vms_to_native_end(f->t, &out), &out))
        continue;
}

static struct vms_packer *make_packer(struct feeder *f) {
    struct vms_zstd_config zstd = {.level_max = LEVEL_MAX, .unpacked_max = BATCH};
    f->zstd_mem = malloc(vms_zstd_size(&zstd));
    struct vms_zstd *zip = vms_zstd_init(f->zstd_mem, vms_zstd_size(&zstd), &zstd);
    struct vms_pack_config pack = {
        .zip = vms_zstd_ops(zip), .page_size = 4096, .unpacked_max = BATCH};
    f->packer_mem = malloc(vms_packer_size(&pack));
    return vms_packer_init(f->packer_mem, vms_packer_size(&pack), &pack);
}

static struct feeder open_feeder(const struct sealed_plan *plan, size_t i,
                                 struct vms_native_writer *writer) {
    struct feeder f = {.channel = &plan->channels[i], .writer = writer};
    struct vms_to_native_config c = vms_to_native_config_default();
    struct vms_error err;
    size_t len = vms_qevm_decoder_size(&f.channel->config);
    f.rest = f.channel->octets;
    f.decoder = vms_qevm_decoder_init(malloc(len), len, &f.channel->config);
    c.batch_bytes = BATCH;
    c.limits = sealed_limits();
    c.packer = plan->level ? make_packer(&f) : NULL;
    c.level = plan->level;
    len = vms_to_native_size(&c);
    f.t = vms_to_native_init(malloc(len), len, &c);
    if (!f.decoder || !f.t || (plan->level && !c.packer) ||
        vms_native_writer_open(writer, f.channel->kind, &f.number, &err) != VMS_OK)
        abort();
    if (f.channel->main_channel)
        vms_qevm_adopt(f.decoder, f.channel->main_channel);
    return f;
}

static void free_feeder(struct feeder *f) {
    free(f->decoder);
    free(f->t);
    free(f->packer_mem);
    free(f->zstd_mem);
}

/* The channels in turns. */
static void write_channels(const struct sealed_plan *plan, struct vms_native_writer *w) {
    struct feeder feeders[4];
    for (size_t i = 0; i < plan->count; i++)
        feeders[i] = open_feeder(plan, i, w);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < plan->count; i++)
            if (feeders[i].rest.len) {
                feed(&feeders[i], plan->piece);
                more = true;
            }
    }
    for (size_t i = 0; i < plan->count; i++)
        free_feeder(&feeders[i]);
}

static void take_file(struct sealed *s, int fd) {
    off_t size = lseek(fd, 0, SEEK_END);
    s->file.ptr = malloc((size_t)size);
    s->file.len = s->file.cap = (size_t)size;
    if (!s->file.ptr || pread(fd, s->file.ptr, (size_t)size, 0) != size)
        abort();
    (void)close(fd);
}

struct sealed sealed_make(const struct sealed_plan *plan) {
    struct sealed s = {.suite = plan->suite};
    struct vms_native_writer_config config = {.fd = memfd_create("sealed", MFD_CLOEXEC),
                                              .suite = plan->suite,
                                              .psk = plan->psk,
                                              .limits = sealed_limits(),
                                              .machine = vms_str("pc"),
                                              .dialect = vms_str("page-bits=12"),
                                              .packed = plan->level != 0};
    struct vms_error err;
    struct vms_native_writer *w = vms_native_writer_new(&config, &err);
    if (!w || plan->count > 4)
        abort();
    write_channels(plan, w);
    if (vms_native_writer_end(w, &err) != VMS_OK)
        abort();
    vms_native_writer_free(w);
    take_file(&s, config.fd);
    find_frames(&s);
    s.digests = calloc(s.count, sizeof *s.digests);
    return s;
}

void sealed_free(struct sealed *s) {
    text_free(&s->file);
    free(s->frames);
    free(s->digests);
}
