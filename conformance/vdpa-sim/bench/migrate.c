/* SPDX-License-Identifier: MIT */
#include "conformance/vdpa-sim/bench/migrate.h"

#include "conformance/vdpa-sim/sim.h"
#include "host/vdpa_record.h"
#include "reference-dst/devices/vdpa.h"
#include "reference-src/devices/vdpa.h"
#include "reference-src/vm/card.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/** One end: sparse memory, a guest without virtual CPUs, its card. */
struct end {
    struct vms_guest_block block;
    struct vms_guest guest;
    struct vms_vm_cards *cards;
    int fd;
    char spec[32];
};

struct bench {
    struct bench_case what;
    struct end src, dst;
    struct src_vdpa *from;
    struct dst_vdpa *to;
    struct src_device device;
    struct src_wire wire;
    struct vms_vdpa_state state;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool granted, failed;
    struct vms_error why;
    uint64_t early, last;
};

static uint64_t now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- ends ---- */

static enum vms_code nothing(void *ctx, struct vms_error *err) {
    (void)ctx, (void)err;
    return VMS_OK;
}
static const struct vms_guest_ops no_cpus = {.stop = nothing, .run = nothing};

static enum vms_code open_end(struct end *e, const struct bench_case *what, const char *text,
                              struct vms_error *err) {
    char path[] = "/tmp/vdpa-bench-XXXXXX";
    e->block = (struct vms_guest_block){
        .name = "ram", .length = what->gib << 30, .page_size = 4096, .shared = true, .fd = -1};
    e->block.memory = mmap(NULL, e->block.length, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (e->block.memory == MAP_FAILED)
        return vms_error_set(err, VMS_E_NO_MEMORY, "%llu GiB", (unsigned long long)what->gib);
    e->guest = (struct vms_guest){.ops = &no_cpus, .blocks = &e->block, .block_count = 1};
    int file = mkstemp(path);
    if (file < 0 || dprintf(file, VDS_MAGIC "\nname bench\npairs %u\n%s%s\n", what->pairs, text,
                            what->single ? "backend -batch\n" : "") < 0)
        return vms_error_set(err, VMS_E_IO, "%s", path);
    (void)close(file);
    e->fd = open(path, O_RDWR | O_CLOEXEC); /* the simulation looks at what is opened */
    (void)unlink(path);
    (void)snprintf(e->spec, sizeof e->spec, "fd:%d", e->fd);
    return vms_vm_cards_new(&e->guest, 1, &e->cards, err);
}

static void close_end(struct end *e) {
    vms_vm_cards_free(e->cards);
    if (e->block.memory && e->block.memory != MAP_FAILED)
        (void)munmap(e->block.memory, e->block.length);
}

/* ---- the wire ---- */

static enum vms_code pass(void *ctx, uint32_t device, enum src_data_kind kind,
                          struct vms_slice bytes, bool last, struct vms_error *err) {
    struct bench *b = ctx;
    (void)device;
    if (kind == SRC_DATA_SETUP)
        return dst_vdpa_profile(b->to, 0, bytes.ptr, bytes.len, err);
    *(last ? &b->last : &b->early) += bytes.len;
    return dst_vdpa_state(b->to, 0, bytes.ptr, bytes.len, last, err);
}
static const struct src_wire_ops wire_ops = {.data = pass};

static void on_needs(void *ctx, size_t index, uint64_t generation) {
    (void)ctx, (void)index, (void)generation;
}
static void on_ready(void *ctx, size_t index, uint64_t generation) {
    struct bench *b = ctx;
    (void)index, (void)generation;
    (void)pthread_mutex_lock(&b->lock);
    b->granted = true;
    (void)pthread_cond_broadcast(&b->changed);
    (void)pthread_mutex_unlock(&b->lock);
}
static void on_failed(void *ctx, size_t index, const struct vms_error *why) {
    struct bench *b = ctx;
    b->failed = true;
    b->why = *why;
    on_ready(ctx, index, 0);
}
static void on_progress(void *ctx, size_t index, const struct vms_vdpa_progress *p) {
    (void)ctx, (void)index, (void)p;
}

/* ---- drivers ---- */

static enum vms_code src_control(void *ctx, size_t index, uint8_t class_, uint8_t command,
                                 const void *data, size_t len, bool *ok, struct vms_error *err) {
    return src_vdpa_control(ctx, index, class_, command, data, len, ok, err);
}
static const struct vms_vdpa_state *src_state(void *ctx, size_t index) {
    return src_vdpa_told(ctx, index);
}
static enum vms_code dst_control(void *ctx, size_t index, uint8_t class_, uint8_t command,
                                 const void *data, size_t len, bool *ok, struct vms_error *err) {
    return vms_vdpa_card_control(dst_vdpa_card(ctx, index), class_, command, data, len, ok, err);
}
static const struct vms_vdpa_state *dst_state(void *ctx, size_t index) {
    return vms_vdpa_card_state(dst_vdpa_card(ctx, index));
}

static enum vms_code set_vlans(struct bench *b, unsigned first, unsigned count,
                               struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (unsigned i = first; i < first + count && code == VMS_OK; i++)
        code = vms_vm_card_vlan(b->src.cards, 0, (uint16_t)i, err);
    return code;
}

/* ---- a migration ---- */

static enum vms_code open_both(struct bench *b, struct vms_error *err) {
    const struct dst_vdpa_owner owner = {on_needs, on_ready, on_failed, on_progress, b};
    const struct dst_vdpa_options options = {.late = b->what.late};
    const char *src[] = {b->src.spec}, *dst[] = {b->dst.spec};
    enum vms_code code = open_end(&b->src, &b->what, "", err);
    if (code == VMS_OK)
        code = open_end(&b->dst, &b->what, b->what.device, err);
    if (code == VMS_OK)
        code = src_vdpa_new(vms_vm_cards_guest(b->src.cards), src, 1, 1, &b->from, err);
    if (code == VMS_OK)
        code = dst_vdpa_new(dst, 1, &options, &owner, &b->to, err);
    if (code != VMS_OK)
        return code;
    src_vdpa_late_state(b->from, b->what.late_state);
    dst_vdpa_events(b->to, 0, vms_vm_card_events(b->dst.cards, 0));
    vms_vm_card_probe(b->src.cards, 0, src_vdpa_about(b->from, 0), 0, &b->state);
    return src_vdpa_start(b->from, 0, &b->state, vms_vm_card_events(b->src.cards, 0), err);
}

static enum vms_code wait_for_grant(struct bench *b, struct vms_error *err) {
    (void)pthread_mutex_lock(&b->lock);
    while (!b->granted)
        (void)pthread_cond_wait(&b->changed, &b->lock);
    (void)pthread_mutex_unlock(&b->lock);
    if (b->failed)
        *err = b->why;
    return b->failed ? b->why.code : VMS_OK;
}

/* What is known goes, and is taken up: the switchover is not in a hurry. */
static enum vms_code precopy(struct bench *b, struct vms_error *err) {
    const struct timespec t = {.tv_nsec = 1000000};
    uint64_t sent, records = 0;
    bool more;
    enum vms_code code = VMS_OK;
    for (unsigned i = 0; i < 2 && code == VMS_OK; i++) {
        code = b->device.ops->save(b->device.ctx, &b->wire, 1 << 20, &sent, &more, err);
        records += sent > 0;
        while (code == VMS_OK && !b->failed && !b->what.late &&
               dst_vdpa_figures(b->to, 0).prepared < records)
            (void)nanosleep(&t, NULL);
        if (code == VMS_OK && i == 0)
            code = set_vlans(b, 2000, b->what.changes, err);
    }
    return code;
}

/* The card's block is all that is written. */
static void copy_card(const struct bench *b) {
    const struct vms_guest *from = vms_vm_cards_guest(b->src.cards);
    const struct vms_guest *to = vms_vm_cards_guest(b->dst.cards);
    memcpy(to->blocks[1].memory, from->blocks[1].memory, from->blocks[1].length);
}

static enum vms_code switch_over(struct bench *b, struct vms_error *err) {
    const struct vms_guest *g = src_vdpa_guest(b->from), *d = vms_vm_cards_guest(b->dst.cards);
    enum vms_code code = g->ops->stop(g->ctx, err);
    if (code == VMS_OK) {
        copy_card(b);
        code = b->device.ops->final(b->device.ctx, &b->wire, false, err);
    }
    if (code == VMS_OK)
        code = dst_vdpa_verify(b->to, err);
    if (code == VMS_OK)
        code = dst_vdpa_run(b->to, err);
    return code == VMS_OK ? d->ops->run(d->ctx, err) : code;
}

static enum vms_code measure(struct bench *b, struct bench_result *out, struct vms_error *err) {
    const struct vms_guest *g = src_vdpa_guest(b->from), *d = vms_vm_cards_guest(b->dst.cards);
    const struct vms_vm_plug src = {src_control, src_state, b->from};
    const struct vms_vm_plug dst = {dst_control, dst_state, b->to};
    vms_vm_cards_plug(b->src.cards, &src);
    vms_vm_cards_plug(b->dst.cards, &dst);
    enum vms_code code = set_vlans(b, 0, b->what.vlans, err);
    if (code == VMS_OK)
        code = g->ops->run(g->ctx, err);
    uint64_t began = now();
    if (code == VMS_OK)
        code = dst_vdpa_layout(b->to, d, err);
    b->device = src_vdpa_device(b->from, 0);
    if (code == VMS_OK)
        code = b->device.ops->setup(b->device.ctx, &b->wire, err);
    if (code == VMS_OK)
        code = wait_for_grant(b, err);
    out->ready_ns = now() - began;
    if (code == VMS_OK)
        code = precopy(b, err);
    uint64_t stopped = now();
    if (code == VMS_OK)
        code = switch_over(b, err);
    out->downtime_ns = now() - stopped;
    return code;
}

static enum vms_code prove(struct bench *b, struct bench_result *out, struct vms_error *err) {
    const struct timespec t = {.tv_nsec = 20000000};
    const struct vms_guest *d = vms_vm_cards_guest(b->dst.cards);
    struct vds_query q = {.maps = NULL};
    (void)nanosleep(&t, NULL); /* its driver goes on */
    enum vms_code code = d->ops->stop(d->ctx, err);
    if (code == VMS_OK)
        code = vms_vm_cards_check(b->dst.cards, err);
    struct dst_vdpa_figures f = dst_vdpa_figures(b->to, 0);
    if (ioctl(b->dst.fd, VDS_QUERY, &q) == 0)
        out->batches = q.figures.batches;
    out->map_ns = f.maps.busy_ns;
    out->maps = f.maps.maps;
    out->early_bytes = b->early;
    out->last_bytes = b->last;
    return code;
}

enum vms_code bench_migrate(const struct bench_case *what, struct bench_result *out,
                            struct vms_error *err) {
    struct bench *b = calloc(1, sizeof *b);
    if (!b)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    memset(out, 0, sizeof *out);
    b->what = *what;
    b->wire = (struct src_wire){&wire_ops, b};
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_cond_init(&b->changed, NULL);
    enum vms_code code = open_both(b, err);
    if (code == VMS_OK)
        code = measure(b, out, err);
    if (code == VMS_OK)
        code = prove(b, out, err);
    if (b->device.ops)
        b->device.ops->cleanup(b->device.ctx);
    src_vdpa_free(b->from);
    dst_vdpa_free(b->to);
    close_end(&b->src);
    close_end(&b->dst);
    free(b);
    return code;
}
