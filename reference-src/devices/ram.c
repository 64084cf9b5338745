/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/ram.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    CHUNK_PAGES = 16,      /* postcopy: pages after which requests are looked at */
    PIECE_PAGES = 64,      /* of a requested huge page, where nothing else has to wait for it */
    REQUESTS_MAX = 4096,   /* unserved */
    RANGES_AT_ONCE = 1200, /* of a block's discards */
};

struct request {
    struct src_ram_request pages;
    uint64_t at_ns;
};

struct src_ram_device {
    const struct vms_guest *guest;
    struct vms_dirty *dirty;
    const struct src_wire *wire; /* from setup() on */
    struct src_ram *ram;
    uint64_t *words; /* of the largest block, host pages; all 0 between uses */
    uint64_t total;
    uint64_t given;   /* bytes of pages given to the wire */
    uint64_t counted; /* told as sent */
    bool tracking;

    pthread_mutex_t lock; /* ram, and: */
    pthread_cond_t changed;
    struct request *requests; /* a ring */
    size_t first, count;
    bool forgetting;
    bool halted;  /* who sends is to end */
    bool serving; /* a requested page is being given to the wire */
    uint64_t served;
    bool flying;              /* a requested host page is half sent, */
    uint64_t flying_since_ns; /* since it was asked for */
};

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the tracker ---- */

/* [SRC-7] [HOST-14] The tracker is asked before the pages that it names are read. */
static enum vms_code collect_block(struct src_ram_device *d, uint32_t block,
                                   struct vms_error *err) {
    const struct vms_guest_block *b = &d->guest->blocks[block];
    enum vms_code code = d->dirty->ops->collect(d->dirty->ctx, block, 0, b->length / b->page_size,
                                                d->words, NULL, err);
    pthread_mutex_lock(&d->lock);
    src_ram_merge(d->ram, block, d->words);
    pthread_mutex_unlock(&d->lock);
    return code;
}

static enum vms_code collect(struct src_ram_device *d, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (uint32_t i = 0; i < d->guest->block_count && code == VMS_OK; i++)
        code = collect_block(d, i, err);
    return code;
}

/* ---- precopy ---- */

static enum vms_code ram_setup(void *ctx, struct src_wire *wire, struct vms_error *err) {
    struct src_ram_device *d = ctx;
    d->wire = wire; /* the block list is its setup() */
    enum vms_code code = d->dirty->ops->start(d->dirty->ctx, err);
    d->tracking = code == VMS_OK;
    return code;
}

/*
 * [ENG-29] What stands in queues has to come through before the destination is ready; then START,
 * READY, COMMIT and RUNNING are two round trips.
 */
static void under_way(const struct src_ram_device *d, struct src_pending *out) {
    struct src_wire_stats s;
    uint64_t left = 0;
    d->wire->ops->stats(d->wire->ctx, &s);
    for (size_t i = 0; i < s.channel_count; i++)
        left += (s.channels[i].pages + s.channels[i].zeros) * d->ram->page_size;
    out->queued = s.unacked + (d->given > left ? d->given - left : 0);
    out->fixed_ns = 2 * s.rtt_ns;
}

static enum vms_code ram_pending(void *ctx, bool exact, struct src_pending *out,
                                 struct vms_error *err) {
    struct src_ram_device *d = ctx;
    enum vms_code code = exact ? collect(d, err) : VMS_OK;
    uint64_t bytes = d->ram->dirty * d->ram->page_size;
    *out = (struct src_pending){.precopy = bytes, .postcopy = bytes, .exact = exact};
    if (d->wire)
        under_way(d, out);
    return code;
}

/* [SRC-8] One step of the cursor. *given: bytes of guest memory. */
static enum vms_code step(struct src_ram_device *d, struct src_wire *wire, uint64_t *given,
                          bool *more, struct vms_error *err) {
    struct src_batch batch;
    pthread_mutex_lock(&d->lock);
    enum src_ram_step step = src_ram_next(d->ram, SRC_BATCH_PAGES, &batch);
    *more = d->ram->dirty > 0;
    pthread_mutex_unlock(&d->lock);
    switch (step) {
    case SRC_RAM_PASS_OVER: return wire->ops->sync(wire->ctx, err);
    case SRC_RAM_BATCH:
        *given += (uint64_t)batch.count * batch.page_size;
        d->given += (uint64_t)batch.count * batch.page_size;
        return wire->ops->pages(wire->ctx, &batch, err);
    case SRC_RAM_CLEAN: break;
    }
    return VMS_OK;
}

/*
 * What counts for the limit of bandwidth: octets of all channels, and what was given to the wire
 * and still waits in its queues, at full size until it shows how little it takes.
 */
static uint64_t charged(const struct src_ram_device *d, struct src_wire *wire) {
    struct src_wire_stats s;
    uint64_t bytes = 0, left = 0;
    wire->ops->stats(wire->ctx, &s);
    for (size_t i = 0; i < s.channel_count; i++) {
        bytes += s.channels[i].bytes;
        left += (s.channels[i].pages + s.channels[i].zeros) * d->ram->page_size;
    }
    return bytes + (d->given > left ? d->given - left : 0);
}

static enum vms_code ram_save(void *ctx, struct src_wire *wire, uint64_t budget, uint64_t *sent,
                              bool *more, struct vms_error *err) {
    struct src_ram_device *d = ctx;
    uint64_t given = 0;
    enum vms_code code = VMS_OK;
    do
        code = step(d, wire, &given, more, err);
    while (code == VMS_OK && *more && given < budget);
    uint64_t now = charged(d, wire);
    *sent = now > d->counted ? now - d->counted : 0;
    d->counted += *sent;
    return code;
}

/* [SRC-4] In postcopy the pages stay here until they are asked for, or their turn comes. */
static enum vms_code ram_final(void *ctx, struct src_wire *wire, bool postcopy,
                               struct vms_error *err) {
    struct src_ram_device *d = ctx;
    uint64_t given = 0;
    bool more = true;
    enum vms_code code = collect(d, err);
    if (postcopy)
        return code;
    while (code == VMS_OK && more)
        code = step(d, wire, &given, &more, err);
    return code == VMS_OK ? wire->ops->ram_end(wire->ctx, err) : code;
}

static void ram_granted(void *ctx, uint64_t generation) {
    (void)ctx, (void)generation; /* it asks for nothing */
}

/* The tracker goes on over the stop. */
static void ram_resumed(void *ctx) {
    (void)ctx;
}

static void ram_cleanup(void *ctx) {
    struct src_ram_device *d = ctx;
    if (d->tracking)
        d->dirty->ops->stop(d->dirty->ctx);
    d->tracking = false;
}

static const struct src_device_ops OPS = {ram_setup,   ram_pending, ram_save,   ram_final,
                                          ram_granted, ram_resumed, ram_cleanup};

/* ---- postcopy ---- */

static enum vms_code discard_block(struct src_ram_device *d, struct src_wire *wire, uint32_t block,
                                   struct vms_error *err) {
    uint64_t from = 0, ranges[2 * RANGES_AT_ONCE];
    enum vms_code code = VMS_OK;
    for (size_t n;
         code == VMS_OK && (n = src_ram_ranges(d->ram, block, &from, ranges, RANGES_AT_ONCE)) > 0;)
        code = wire->ops->discard(wire->ctx, block, ranges, n, err);
    return code;
}

enum vms_code src_ram_discard(struct src_device *device, struct src_wire *wire,
                              struct vms_error *err) {
    struct src_ram_device *d = device->ctx;
    enum vms_code code = VMS_OK;
    pthread_mutex_lock(&d->lock);
    src_ram_begin_postcopy(d->ram);
    pthread_mutex_unlock(&d->lock);
    for (uint32_t i = 0; i < d->guest->block_count && code == VMS_OK; i++)
        code = discard_block(d, wire, i, err);
    return code == VMS_OK ? wire->ops->listen(wire->ctx, err) : code;
}

/* Lock held. *more: an older request was passed over, its pages are on their way or sent. */
static enum src_ram_pick pick_urgent(struct src_ram_device *d, bool preempt,
                                     struct src_batch *batch, bool *more) {
    struct request *r = d->count ? &d->requests[d->first] : NULL;
    bool served;
    enum src_ram_pick picked = src_ram_pick_urgent(
        d->ram, r ? &r->pages : NULL, preempt, preempt ? PIECE_PAGES : CHUNK_PAGES, batch, &served);
    if (picked == SRC_RAM_URGENT && r && !d->flying)
        d->flying_since_ns = r->at_ns;
    d->flying = d->ram->urgent.active;
    *more = r && served && picked == SRC_RAM_NOTHING;
    if (r && served) {
        d->first = (d->first + 1) % REQUESTS_MAX;
        d->count--;
        pthread_cond_broadcast(&d->changed);
    }
    return picked;
}

/* Lock held. Requests whose pages are on their way, or sent, are passed over. */
static enum src_ram_pick pick(struct src_ram_device *d, bool preempt, struct src_batch *batch) {
    bool more = true;
    while (more)
        if (pick_urgent(d, preempt, batch, &more) == SRC_RAM_URGENT)
            return SRC_RAM_URGENT;
    return SRC_RAM_NOTHING;
}

/* What was picked; of a request's last piece, how long it has waited. */
static enum vms_code send_urgent(struct src_ram_device *d, struct src_wire *wire, bool preempt,
                                 const struct src_batch *batch, struct src_ram_sent *sent,
                                 struct vms_error *err) {
    bool last = !d->flying; /* of this thread's own flight */
    uint64_t since = d->flying_since_ns;
    d->served += last;
    d->serving = true;
    pthread_mutex_unlock(&d->lock);
    enum vms_code code = preempt ? wire->ops->urgent(wire->ctx, batch, err)
                                 : wire->ops->pages(wire->ctx, batch, err);
    *sent = (struct src_ram_sent){.more = true,
                                  .urgent = true,
                                  .bytes = (uint64_t)batch->count * batch->page_size,
                                  .waited_ns = last ? now_ns() - since : 0};
    pthread_mutex_lock(&d->lock);
    d->serving = false;
    pthread_cond_broadcast(&d->changed);
    return code;
}

/* Somebody waits for another page than the one that is half pushed. */
static bool is_awaited(const struct src_ram_device *d) {
    const struct src_ram_flight *pushed = &d->ram->background;
    return (d->count > 0 || d->flying || d->serving) && !(pushed->active && pushed->wanted);
}

/* Lock held. The next pages that nobody waits for. */
static enum vms_code send_main(struct src_ram_device *d, struct src_wire *wire,
                               struct src_ram_sent *sent, struct vms_error *err) {
    struct src_batch batch;
    *sent = (struct src_ram_sent){.more = src_ram_pick_main(d->ram, CHUNK_PAGES, &batch) ==
                                          SRC_RAM_MAIN};
    if (!d->ram->dirty)
        pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    enum vms_code code = VMS_OK;
    if (sent->more) {
        sent->bytes = (uint64_t)batch.count * batch.page_size;
        code = wire->ops->pages(wire->ctx, &batch, err);
    }
    pthread_mutex_lock(&d->lock);
    return code;
}

enum vms_code src_ram_send_next(struct src_device *device, struct src_wire *wire,
                                struct src_ram_sent *sent, struct vms_error *err) {
    struct src_ram_device *d = device->ctx;
    struct src_batch batch;
    pthread_mutex_lock(&d->lock);
    enum vms_code code = pick(d, false, &batch) == SRC_RAM_URGENT
                             ? send_urgent(d, wire, false, &batch, sent, err)
                             : send_main(d, wire, sent, err);
    pthread_mutex_unlock(&d->lock);
    return code;
}

enum vms_code src_ram_send_requested(struct src_device *device, struct src_wire *wire,
                                     struct src_ram_sent *sent, struct vms_error *err) {
    struct src_ram_device *d = device->ctx;
    struct src_batch batch;
    enum vms_code code = VMS_OK;
    bool found = false;
    *sent = (struct src_ram_sent){.more = false};
    pthread_mutex_lock(&d->lock);
    while (!found && !d->halted && (d->ram->dirty || d->flying)) {
        found = pick(d, true, &batch) == SRC_RAM_URGENT;
        if (!found && !d->halted && d->ram->dirty)
            pthread_cond_wait(&d->changed, &d->lock);
    }
    if (found)
        code = send_urgent(d, wire, true, &batch, sent, err);
    pthread_mutex_unlock(&d->lock);
    return code;
}

/* [MIG-23] [PRE-5] Nothing is pushed while somebody waits, but for what he waits for. */
enum vms_code src_ram_send_others(struct src_device *device, struct src_wire *wire,
                                  struct src_ram_sent *sent, struct vms_error *err) {
    struct src_ram_device *d = device->ctx;
    enum vms_code code = VMS_OK;
    *sent = (struct src_ram_sent){.more = false};
    pthread_mutex_lock(&d->lock);
    while (!d->halted && is_awaited(d) && d->ram->dirty)
        pthread_cond_wait(&d->changed, &d->lock);
    if (!d->halted)
        code = send_main(d, wire, sent, err);
    pthread_mutex_unlock(&d->lock);
    return code;
}

void src_ram_halt(struct src_device *device, bool halted) {
    struct src_ram_device *d = device->ctx;
    pthread_mutex_lock(&d->lock);
    d->halted = halted;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

void src_ram_request(struct src_device *device, uint32_t block, uint64_t offset, uint64_t length) {
    struct src_ram_device *d = device->ctx;
    uint32_t page = d->ram->page_size;
    pthread_mutex_lock(&d->lock);
    while (d->count == REQUESTS_MAX && !d->forgetting)
        pthread_cond_wait(&d->changed, &d->lock);
    if (!d->forgetting)
        d->requests[(d->first + d->count++) % REQUESTS_MAX] =
            (struct request){{block, offset / page, length / page}, now_ns()};
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

bool src_ram_can_wait(struct src_device *device) {
    struct src_ram_device *d = device->ctx;
    pthread_mutex_lock(&d->lock);
    bool can = !d->halted && d->ram->dirty > 0 && d->count == 0;
    pthread_mutex_unlock(&d->lock);
    return can;
}

void src_ram_forget(struct src_device *device, bool forgetting) {
    struct src_ram_device *d = device->ctx;
    pthread_mutex_lock(&d->lock);
    d->forgetting = forgetting;
    d->count = 0;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

bool src_ram_take_received(struct src_device *device, uint32_t block, const uint8_t *bytes,
                           size_t len) {
    struct src_ram_device *d = device->ctx;
    pthread_mutex_lock(&d->lock);
    bool ok = src_ram_received(d->ram, block, bytes, len);
    pthread_mutex_unlock(&d->lock);
    return ok;
}

void src_ram_go_on(struct src_device *device) {
    struct src_ram_device *d = device->ctx;
    pthread_mutex_lock(&d->lock);
    src_ram_resume(d->ram);
    d->flying = false;
    pthread_mutex_unlock(&d->lock);
}

void src_ram_figures(struct src_device *device, struct src_ram_figures *out) {
    struct src_ram_device *d = device->ctx;
    pthread_mutex_lock(&d->lock);
    *out = (struct src_ram_figures){d->ram->passes, d->ram->dirty * d->ram->page_size, d->total,
                                    d->served};
    pthread_mutex_unlock(&d->lock);
}

/* ---- life ---- */

static uint64_t *scratch(const struct vms_guest *guest) {
    uint64_t most = 1;
    for (size_t i = 0; i < guest->block_count; i++) {
        uint64_t pages = guest->blocks[i].length / guest->blocks[i].page_size;
        most = pages > most ? pages : most;
    }
    return calloc((size_t)(most + 63) / 64, sizeof(uint64_t));
}

enum vms_code src_ram_device_new(const struct vms_guest *guest, struct vms_dirty *dirty,
                                 uint32_t page_size, struct src_device *out,
                                 struct vms_error *err) {
    struct src_ram_device *d = calloc(1, sizeof *d);
    if (!d)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    *out = (struct src_device){&OPS, d, {.idstr = "ram"}};
    d->guest = guest;
    d->dirty = dirty;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    void *mem = malloc(src_ram_size(guest->blocks, guest->block_count, page_size));
    d->words = scratch(guest);
    d->requests = calloc(REQUESTS_MAX, sizeof *d->requests);
    if (!mem || !d->words || !d->requests) {
        free(mem);
        src_ram_device_free(out);
        return vms_error_set(err, VMS_E_NO_MEMORY, "dirty bitmaps");
    }
    d->ram = src_ram_init(mem, guest->blocks, guest->block_count, page_size);
    d->total = d->ram->dirty * page_size;
    return VMS_OK;
}

void src_ram_device_free(struct src_device *device) {
    struct src_ram_device *d = device->ctx;
    if (!d)
        return;
    ram_cleanup(d);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d->requests);
    free(d->words);
    free(d->ram);
    free(d);
    *device = (struct src_device){.ops = NULL}; /* [MOD-9] nobody asks what is half made */
}
