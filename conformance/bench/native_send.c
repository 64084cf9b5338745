/* SPDX-License-Identifier: MIT */
#include "conformance/bench/native_bench.h"
#include "host/native_file.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <vmstream/pack_zstd.h>

enum {
    BATCH = 512 * 1024, /* bulk of a frame */
    RUNS = 400,
    LEVEL_MAX = 9,
};

struct sender {
    struct vms_native_writer *writer;
    const struct vms_page_ops *ops;
    struct vms_packer *packer;
    struct vms_level_chooser chooser;
    int level; /* or LEVEL_ADAPTIVE */
    struct vms_native_run runs[RUNS];
    uint32_t run_count;
    struct vms_slice bulk[RUNS];
    size_t bulk_count, bulk_len;
    uint64_t ticket;
};

static double thread_cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct vms_packer *make_packer(void) {
    struct vms_zstd_config zstd = {.level_max = LEVEL_MAX, .unpacked_max = BATCH};
    size_t len = vms_zstd_size(&zstd);
    struct vms_zstd *zip = vms_zstd_init(malloc(len), len, &zstd);
    struct vms_pack_config config = {
        .zip = vms_zstd_ops(zip), .page_size = IMAGE_PAGE, .unpacked_max = BATCH};
    len = vms_packer_size(&config);
    return vms_packer_init(malloc(len), len, &config);
}

/* The level's cost is measured, as a source would. */
static void pack(struct sender *s, struct vms_packed *packed) {
    struct vms_error err;
    bool adaptive = s->level == LEVEL_ADAPTIVE;
    int level = adaptive ? vms_chooser_next(&s->chooser) : s->level;
    double start = thread_cpu();
    if (vms_packer_pack_bulk(s->packer, level, s->bulk, s->bulk_count, packed, &err) != VMS_OK)
        abort();
    if (adaptive)
        vms_chooser_packed(&s->chooser, level, s->bulk_len, packed->bulk.len,
                           (uint64_t)((thread_cpu() - start) * 1e9));
}

static void send_frame(struct sender *s) {
    struct vms_native_out out = {
        .frame = {.header.type = VMS_NATIVE_PAGES,
                  .u.pages = {.block = {.index = VMS_NATIVE_NO_INDEX, .name = vms_str("ram")},
                              .page_bits = 12,
                              .run_count = s->run_count,
                              .runs = s->runs}},
        .bulk = s->bulk,
        .bulk_count = s->bulk_count};
    struct vms_packed packed;
    struct vms_error err;
    if (s->run_count == 0)
        return;
    if (s->packer && s->bulk_len) {
        pack(s, &packed);
        if (packed.method != VMS_PACK_NONE) {
            out.frame.header.flags = (uint16_t)packed.method;
            out.frame.unpacked = packed.unpacked;
            out.frame.pack = packed.info;
            out.bulk = &packed.bulk;
            out.bulk_count = 1;
        }
    }
    uint64_t before = vms_native_writer_bytes(s->writer);
    double start = bench_now();
    if (vms_native_writer_frame(s->writer, 0, &out, &err) != VMS_OK)
        abort();
    if (s->level == LEVEL_ADAPTIVE)
        vms_chooser_sent(&s->chooser, vms_native_writer_bytes(s->writer) - before,
                         (uint64_t)((bench_now() - start) * 1e9));
    s->run_count = 0;
    s->bulk_count = s->bulk_len = 0;
}

/* A run of pages goes into as many frames as it needs. */
static void add_run(struct sender *s, const uint8_t *image, uint64_t page, size_t count,
                    bool zero) {
    while (count > 0) {
        size_t room = zero ? count : (BATCH - s->bulk_len) / IMAGE_PAGE;
        size_t n = count < room ? count : room;
        if (s->run_count == RUNS || n == 0) {
            send_frame(s);
            continue;
        }
        s->runs[s->run_count++] = (struct vms_native_run){page, (uint32_t)n, zero};
        if (!zero) {
            s->bulk[s->bulk_count++] = vms_slice(image + page * IMAGE_PAGE, n * IMAGE_PAGE);
            s->bulk_len += n * IMAGE_PAGE;
        }
        page += n;
        count -= n;
    }
}

static void send_pages(struct sender *s, const uint8_t *image, uint64_t bytes) {
    bool zero;
    for (uint64_t at = 0; at < bytes;) {
        struct vms_slice rest = vms_slice(image + at, bytes - at < BATCH ? bytes - at : BATCH);
        size_t n = vms_zero_run(s->ops, rest, IMAGE_PAGE, &zero);
        add_run(s, image, at / IMAGE_PAGE, n, zero);
        at += n * IMAGE_PAGE;
    }
    send_frame(s);
}

void send_native(struct transfer *t, const struct way *way, int fd, const uint8_t *image,
                 uint64_t bytes) {
    static struct sender s;
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    struct vms_psk psk;
    limits.native_bulk_bytes = BATCH;
    if (vms_psk_parse(vms_str(BENCH_KEYS), vms_str(""), 0, &limits, &psk, &err) != VMS_OK)
        abort();
    struct vms_native_writer_config config = {.fd = fd,
                                              .suite = way->suite,
                                              .psk = way->suite ? &psk : NULL,
                                              .limits = limits,
                                              .packed = way->level != 0};
    s.ops = vms_page_ops();
    s.level = way->level;
    s.packer = way->level ? make_packer() : NULL;
    vms_chooser_init(&s.chooser, VMS_LEVEL_NONE, 9);
    bench_meet(t);
    double cpu = bench_cpu();
    t->start = bench_now();
    s.writer = vms_native_writer_new(&config, &err);
    if (!s.writer)
        abort();
    send_pages(&s, image, bytes);
    if (vms_native_writer_end(s.writer, &err) != VMS_OK)
        abort();
    t->cpu[0] = bench_cpu() - cpu;
    t->wire = vms_native_writer_bytes(s.writer);
}

/* ---- floor ---- */

void send_bare(struct transfer *t, int fd, const uint8_t *image, uint64_t bytes) {
    bench_meet(t);
    double cpu = bench_cpu();
    t->start = bench_now();
    for (uint64_t at = IMAGE_STRIPE / 4; at < bytes; at += IMAGE_STRIPE)
        for (size_t done = 0, len = IMAGE_STRIPE / 4 * 3; done < len;) {
            union {
                const uint8_t *in;
                void *out;
            } from = {image + at + done};
            struct iovec iov = {from.out, len - done};
            ssize_t n = writev(fd, &iov, 1);
            if (n <= 0)
                abort();
            done += (size_t)n;
            t->wire += (uint64_t)n;
        }
    t->cpu[0] = bench_cpu() - cpu;
}
