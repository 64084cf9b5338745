/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

#include "host/zero_page.h"
#include <stdlib.h>

/* Multifd (chapter MFD): workers take batches from one bounded queue, each with its own channel. */

enum {
    PACKET_BYTES = 512 << 10,
    PACKET_PAGES_MAX = PACKET_BYTES / 1024,
    QUEUE_PER_WORKER = 4,
};

static uint32_t packet_pages(const struct qevm *q) {
    return PACKET_BYTES / q->page_size;
}

static size_t queue_size(const struct qevm *q) {
    return (size_t)q->worker_count * QUEUE_PER_WORKER;
}

/* ---- packets ---- */

struct packet {
    uint32_t normal, zero;
    uint64_t pages[PACKET_PAGES_MAX]; /* normal from the front, zero from the back */
    uint8_t offsets[8 * PACKET_PAGES_MAX];
    struct iovec bulk[PACKET_PAGES_MAX];
};

static void put_offset(uint8_t *at, uint64_t offset) {
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(offset >> (56 - 8 * i));
}

/* Sorts the batch's pages from *next on into a packet, as many as it takes. */
static void fill(struct qevm *q, struct packet *p, const struct src_batch *batch, uint32_t *next) {
    const uint8_t *memory = q->guest->blocks[batch->block].memory;
    uint32_t room = packet_pages(q);
    p->normal = p->zero = 0;
    for (; *next < batch->count && p->normal + p->zero < room; ++*next) {
        const uint8_t *page = memory + batch->pages[*next] * q->page_size;
        if (q->habits.packet_zeros && vms_page_is_zero(page, q->page_size)) {
            p->pages[room - ++p->zero] = batch->pages[*next];
            continue;
        }
        p->bulk[p->normal] = (struct iovec){(void *)(uintptr_t)page, q->page_size};
        p->pages[p->normal++] = batch->pages[*next];
    }
    for (uint32_t i = 0; i < p->normal; i++)
        put_offset(p->offsets + 8 * i, p->pages[i] * q->page_size);
    for (uint32_t i = 0; i < p->zero; i++)
        put_offset(p->offsets + 8 * (p->normal + i), p->pages[room - 1 - i] * q->page_size);
}

static enum vms_code send_packet(struct qevm *q, struct qevm_out *out, uint32_t block,
                                 const struct packet *p, struct vms_error *err) {
    uint64_t len = (uint64_t)p->normal * q->page_size;
    struct vms_record r = {
        .type = VMS_R_MULTIFD_PACKET,
        .bulk_len = len,
        .u.packet = {.pages_alloc = packet_pages(q),
                     .normal_pages = p->normal,
                     .next_packet_size = (uint32_t)len,
                     .packet_num = atomic_fetch_add(&q->packets, 1),
                     .zero_pages = p->zero,
                     .block = qevm_block_name(q, block),
                     .offsets = vms_slice(p->offsets, 8 * (p->normal + p->zero))}};
    enum vms_code code = qevm_out_putv(out, &r, p->bulk, (int)p->normal, err);
    if (code == VMS_OK)
        code = qevm_out_flush(out, err);
    atomic_fetch_add(&out->pages, p->normal); /* they have left (ENG-18) */
    atomic_fetch_add(&out->zeros, p->zero);
    return code;
}

static enum vms_code send_batch(struct qevm *q, struct qevm_out *out, const struct src_batch *batch,
                                struct packet *p, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (uint32_t next = 0; next < batch->count && code == VMS_OK;) {
        fill(q, p, batch, &next);
        code = send_packet(q, out, batch->block, p, err);
    }
    return code;
}

static enum vms_code send_sync(struct qevm *q, struct qevm_out *out, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_MULTIFD_PACKET,
                           .u.packet = {.flags = VMS_MULTIFD_SYNC,
                                        .pages_alloc = q->habits.packet_zeros ? 0 : packet_pages(q),
                                        .packet_num = atomic_fetch_add(&q->packets, 1)}};
    enum vms_code code = qevm_out_put(out, &r, vms_slice(NULL, 0), err);
    return code == VMS_OK ? qevm_out_flush(out, err) : code;
}

/* ---- workers ---- */

/** Pages, or the state of a device. */
struct job {
    struct src_batch batch;
    struct qevm_state *state; /* NULL: pages */
};

/* Lock held. False: the end. */
static bool next_job(struct qevm *q, struct job *job) {
    while (!q->queued && !q->states && !q->ending && !q->aborted)
        pthread_cond_wait(&q->changed, &q->lock);
    if (q->ending || q->aborted || q->failure.code)
        return false;
    job->state = qevm_state_take(q);
    if (!job->state) {
        job->batch = q->queue[q->first];
        q->first = (q->first + 1) % queue_size(q);
        q->queued--;
    }
    q->busy++;
    return true;
}

static void work(struct qevm_worker *w, struct packet *p) {
    struct qevm *q = w->wire;
    struct job job;
    pthread_mutex_lock(&q->lock);
    while (next_job(q, &job)) {
        struct vms_error err = {0};
        pthread_cond_broadcast(&q->changed);
        pthread_mutex_unlock(&q->lock);
        enum vms_code code = job.state ? qevm_state_send(q, &w->out, job.state, &err)
                                       : send_batch(q, &w->out, &job.batch, p, &err);
        pthread_mutex_lock(&q->lock);
        q->busy--;
        if (code != VMS_OK && !q->failure.code)
            q->failure = err;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
}

static void *worker_thread(void *ctx) {
    struct qevm_worker *w = ctx;
    struct packet *p = malloc(sizeof *p);
    if (p) {
        work(w, p);
    } else {
        pthread_mutex_lock(&w->wire->lock);
        (void)vms_error_set(&w->wire->failure, VMS_E_NO_MEMORY, "a multifd channel");
        pthread_cond_broadcast(&w->wire->changed);
        pthread_mutex_unlock(&w->wire->lock);
    }
    free(p);
    return NULL;
}

static enum vms_code say_hello(struct qevm_worker *w, uint8_t id, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_MULTIFD_HELLO, .u.hello.channel_id = id};
    const struct src_recorded *recorded = w->wire->options.recorded;
    for (unsigned i = 0; recorded && i < recorded->config.subsection_count; i++)
        if (recorded->config.subsections[i].kind == VMS_CONFIG_UUID)
            memcpy(r.u.hello.uuid, recorded->config.subsections[i].body.ptr, 16);
    enum vms_code code = qevm_out_put(&w->out, &r, vms_slice(NULL, 0), err);
    return code == VMS_OK ? qevm_out_flush(&w->out, err) : code;
}

static enum vms_code start_worker(struct qevm *q, unsigned i, struct vms_error *err) {
    struct qevm_worker *w = &q->workers[i];
    struct vms_channel *io;
    w->wire = q;
    enum vms_code code = qevm_out_init(&w->out, 3 + i, &q->dialect, err);
    if (code == VMS_OK)
        code = qevm_open(q, &io, err);
    if (code != VMS_OK) {
        qevm_out_free(&w->out);
        return code;
    }
    qevm_attach(q, &w->out, io);
    code = say_hello(w, (uint8_t)i, err);
    if (code == VMS_OK && pthread_create(&w->thread, NULL, worker_thread, w) != 0)
        code = vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
    if (code != VMS_OK) {
        qevm_out_free(&w->out);
        return code;
    }
    pthread_mutex_lock(&q->lock);
    q->worker_count = i + 1;
    pthread_mutex_unlock(&q->lock);
    return VMS_OK;
}

enum vms_code qevm_multifd_start(struct qevm *q, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    q->queue = calloc((size_t)q->options.channels * QUEUE_PER_WORKER, sizeof *q->queue);
    if (!q->queue)
        return vms_error_set(err, VMS_E_NO_MEMORY, "multifd");
    for (unsigned i = 0; i < q->options.channels && code == VMS_OK; i++)
        code = start_worker(q, i, err);
    return code;
}

void qevm_multifd_stop(struct qevm *q) {
    pthread_mutex_lock(&q->lock);
    bool joined = q->ending;
    q->ending = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < q->worker_count && !joined; i++)
        pthread_join(q->workers[i].thread, NULL);
}

/* ---- what the caller waits for ---- */

enum vms_code qevm_multifd_trouble(struct qevm *q, struct vms_error *err) {
    if (q->failure.code) {
        *err = q->failure;
        return err->code;
    }
    return q->aborted ? vms_error_set(err, VMS_E_IO, "given up here") : VMS_OK;
}

enum vms_code qevm_multifd_give(struct qevm *q, const struct src_batch *batch,
                                struct vms_error *err) {
    pthread_mutex_lock(&q->lock);
    enum vms_code code = qevm_multifd_trouble(q, err);
    while (code == VMS_OK && q->queued == queue_size(q)) {
        pthread_cond_wait(&q->changed, &q->lock);
        code = qevm_multifd_trouble(q, err);
    }
    if (code == VMS_OK) {
        q->queue[(q->first + q->queued) % queue_size(q)] = *batch;
        q->queued++;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return code;
}

enum vms_code qevm_multifd_idle(struct qevm *q, struct vms_error *err) {
    pthread_mutex_lock(&q->lock);
    enum vms_code code = qevm_multifd_trouble(q, err);
    while (code == VMS_OK && (q->queued || q->states || q->busy)) {
        pthread_cond_wait(&q->changed, &q->lock);
        code = qevm_multifd_trouble(q, err);
    }
    pthread_mutex_unlock(&q->lock);
    return code;
}

/* [MFD-12] The workers are idle: nothing that was given before comes after the SYNC packets. */
enum vms_code qevm_multifd_sync(struct qevm *q, struct vms_error *err) {
    enum vms_code code = qevm_multifd_idle(q, err);
    for (unsigned i = 0; i < q->worker_count && code == VMS_OK; i++)
        code = send_sync(q, &q->workers[i].out, err);
    return code;
}
