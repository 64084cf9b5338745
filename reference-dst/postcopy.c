/* SPDX-License-Identifier: MIT */
#include "host/uffd.h"
#include "reference-dst/session.h"

#include <stdlib.h>

/* Pages behind the guest: between the session and devices/ram_postcopy.h. */

/* ---- setting it up ---- */

static uint64_t be64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

/* Postcopy of dirty bitmaps alone has no payload (CMD-2). */
enum vms_code dst_postcopy_advise(struct dst_session *s, struct vms_slice payload,
                                  struct vms_error *err) {
    if (payload.len == 0)
        return VMS_OK;
    if (!vms_uffd_features())
        return vms_error_set(err, VMS_E_IO, "this machine has no userfaultfd for postcopy");
    s->page_sizes = be64(payload.ptr);
    vms_ram_image_defer_files(s->image); /* userfaultfd serves no files */
    return VMS_OK;
}

/* [RAM-31] */
static uint64_t host_page(const struct dst_session *s, const struct vms_ram_block *b) {
    uint64_t smallest = s->page_sizes & (~s->page_sizes + 1);
    return b->page_size ? b->page_size : smallest;
}

/* [CMD-12] */
enum vms_code dst_postcopy_check(struct dst_session *s, struct vms_error *err) {
    for (size_t i = 0; s->page_sizes && s->guest && i < vms_ram_image_count(s->image); i++) {
        const struct vms_ram_block *b = vms_ram_image_block(s->image, i);
        if (host_page(s, b) != b->map_page)
            return vms_error_set(
                err, VMS_E_RAM_BLOCK_SIZE, "%s has pages of %llu bytes here, of %llu there",
                b->name, (unsigned long long)b->map_page, (unsigned long long)host_page(s, b));
    }
    return VMS_OK;
}

/* ---- LISTEN ---- */

/* [RP-9] A failure is a cut, which the main channel finds out as well; resume asks again. */
static void on_request(void *ctx, size_t block, uint64_t offset, uint64_t length) {
    struct dst_session *s = ctx;
    struct vms_error err = {0};
    (void)dst_reply_request(s, s->memory[block].name, offset, (uint32_t)length, &err);
}

static void on_failed(void *ctx, const struct vms_error *err) {
    (void)dst_session_fail(ctx, err);
}

static enum vms_code on_place(void *ctx, const struct vms_ram_block *block, uint64_t offset,
                              struct vms_slice page, struct vms_error *err) {
    struct dst_session *s = ctx;
    enum vms_code code = dst_postcopy_place(s->postcopy, block->index, offset, page, err);
    if (code == VMS_OK && dst_postcopy_missing(s->postcopy) == 0) {
        pthread_mutex_lock(&s->lock);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    return code;
}

static void on_served(void *ctx, uint64_t ns) {
    struct dst_session *s = ctx;
    vms_timeline_observe(s->timeline, VMS_LATENCY_FAULT, ns);
}

static struct vms_guest_block as_memory(const struct vms_ram_block *b) {
    return (struct vms_guest_block){b->name,     b->memory, b->used_length,
                                    b->map_page, b->shared, b->fd};
}

static enum vms_code tell_arrived(struct dst_session *s, struct dst_postcopy *p, size_t block,
                                  struct vms_error *err) {
    uint64_t *bits = calloc(dst_postcopy_bitmap_bytes(p, block), 1);
    if (!bits)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a bitmap");
    vms_ram_image_arrived(s->image, block, bits);
    dst_postcopy_arrived(p, block, bits);
    free(bits);
    return VMS_OK;
}

static enum vms_code serve(struct dst_session *s, const uint64_t *pages, size_t count,
                           struct vms_error *err) {
    struct dst_postcopy_config c = {.blocks = s->memory,
                                    .block_count = count,
                                    .page_size =
                                        vms_qevm_page_size(vms_pump_decoder(s->first->pump)),
                                    .host_pages = pages,
                                    .request = on_request,
                                    .failed = on_failed,
                                    .served = on_served,
                                    .ctx = s};
    struct dst_postcopy *p = dst_postcopy_new(&c, err);
    enum vms_code code = p ? VMS_OK : err->code;
    for (size_t i = 0; i < count && code == VMS_OK; i++)
        code = tell_arrived(s, p, i, err);
    s->place = (struct vms_ram_place){on_place, s};
    s->postcopy = p; /* before the first fault: its thread asks through the session */
    return code == VMS_OK ? dst_postcopy_listen(p, err) : code;
}

/* The preempt channel waits for it. */
static void say_listening(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    s->listening = s->postcopied = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

enum vms_code dst_postcopy_start(struct dst_session *s, struct vms_error *err) {
    size_t count = vms_ram_image_count(s->image);
    uint64_t *pages = calloc(count + 1, sizeof *pages);
    s->memory = calloc(count + 1, sizeof *s->memory);
    enum vms_code code = pages && s->memory ? VMS_OK : VMS_E_NO_MEMORY;
    if (code != VMS_OK)
        (void)vms_error_set(err, code, "postcopy memory");
    for (size_t i = 0; i < count && code == VMS_OK; i++) {
        const struct vms_ram_block *b = vms_ram_image_block(s->image, i);
        s->memory[i] = as_memory(b);
        pages[i] = host_page(s, b);
    }
    if (code == VMS_OK)
        code = serve(s, pages, count, err);
    free(pages);
    if (code == VMS_OK)
        say_listening(s);
    return code;
}

/* ---- the end ---- */

/* Pages can still come: on the preempt channel, or on one that has said nothing yet. Lock held. */
static bool more_may_come(const struct dst_session *s) {
    for (size_t i = 0; i < s->channel_count; i++) {
        const struct dst_channel *c = s->channels[i];
        bool pages = !c->classified || (c == s->preempt && c->generation == s->generation);
        if (pages && !c->ended)
            return true;
    }
    return false;
}

/* [DST-24] All pages are in, and RUN is being carried out: it ends, well or badly. Lock held. */
static void until_run(struct dst_session *s) {
    while (!s->over && !s->ran && s->engine.state != DST_ARRIVED &&
           dst_postcopy_missing(s->postcopy) == 0)
        (void)dst_wait(s, VMS_NEVER);
}

enum vms_code dst_postcopy_fill(struct dst_session *s, struct vms_error *err) {
    vms_deadline deadline = vms_deadline_in(s->options->timeout_ms);
    bool in_time = true;
    dst_take_waiting(s);
    pthread_mutex_lock(&s->lock);
    while (!s->over && !s->broken && in_time &&
           (s->engine.state == DST_ARRIVED ||
            (dst_postcopy_missing(s->postcopy) > 0 && more_may_come(s))))
        in_time = dst_wait(s, deadline);
    until_run(s);
    bool arrived = s->engine.state == DST_ARRIVED;
    enum vms_code code = s->over ? s->error.code : VMS_OK;
    if (code != VMS_OK)
        *err = s->error;
    pthread_mutex_unlock(&s->lock);
    if (code != VMS_OK)
        return code;
    if (arrived)
        return vms_error_set(err, VMS_E_DST_INCOMPLETE, "the package did not let the guest run");
    return dst_postcopy_end(s->postcopy, err);
}

/* ---- somebody who touches memory where no guest does (--touch) ---- */

/* All host pages in an order that jumps about: a stride that has no divisor with their number. */
static uint64_t stride_for(uint64_t n, uint64_t want) {
    for (uint64_t k = want % n + 1;; k++) {
        uint64_t a = n, b = k;
        while (b) {
            uint64_t t = a % b;
            a = b;
            b = t;
        }
        if (a == 1)
            return k;
    }
}

static void touch_block(struct dst_session *s, const struct vms_guest_block *b, uint64_t seed) {
    const volatile uint8_t *memory = b->memory;
    uint64_t n = b->length / b->page_size, stride = stride_for(n, seed * 0x9e3779b9u);
    for (uint64_t i = 0, at = seed % n; i < n && !atomic_load(&s->stop_touching); i++) {
        (void)memory[at * b->page_size];
        at = (at + stride) % n;
    }
}

static void *touch_thread(void *arg) {
    struct dst_session *s = arg;
    uint64_t seed = (uint64_t)dst_now_ms() ^ (uint64_t)(uintptr_t)&seed >> 12;
    for (size_t i = 0; i < vms_ram_image_count(s->image); i++)
        touch_block(s, &s->memory[i], seed);
    return NULL;
}

void dst_touch_start(struct dst_session *s) {
    for (int i = 0; s->postcopy && i < s->options->touch && i < DST_TOUCHERS_MAX; i++)
        if (pthread_create(&s->touchers[s->toucher_count], NULL, touch_thread, s) == 0)
            s->toucher_count++;
}

void dst_postcopy_keep_stats(struct dst_session *s) {
    if (!s->postcopy)
        return;
    dst_postcopy_stats(s->postcopy, &s->stats.postcopy);
    s->stats.missing = dst_postcopy_missing(s->postcopy);
}

/* Who still waits for a page gets none any more: its memory is nobody's (dst_postcopy_free()). */
void dst_touch_join(struct dst_session *s) {
    atomic_store(&s->stop_touching, s->error.code != VMS_OK);
    if (s->error.code && s->toucher_count) {
        dst_postcopy_free(s->postcopy);
        s->postcopy = NULL;
    }
    while (s->toucher_count > 0)
        pthread_join(s->touchers[--s->toucher_count], NULL);
}
