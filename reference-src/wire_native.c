/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_native_internal.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- pages ---- */

/*
 * [MIG-25] [MIG-28] An inquiry has no data channels: its destination lost the session, and with it
 * the guest that these pages are of.
 */
static enum vms_code check_channels(struct wire_native *w, struct vms_error *err) {
    if (wn_check(w, err) != VMS_OK || w->channel_count)
        return err->code;
    w->hopeless = true;
    return vms_error_set(err, VMS_E_PEER_CLOSED,
                         "the destination has lost the session: pages that "
                         "are left here cannot follow the guest");
}

static enum vms_code pages(void *ctx, const struct src_batch *batch, struct vms_error *err) {
    struct wire_native *w = ctx;
    *err = (struct vms_error){0};
    if (check_channels(w, err) != VMS_OK)
        return err->code;
    return wn_channel_put_batch(wn_channel_of(w, batch->block, batch->pages[0] << WN_PAGE_BITS),
                                batch, err);
}

/* [MIG-23] On the preempt channel by the caller's own thread: nothing is queued before it. */
static enum vms_code urgent(void *ctx, const struct src_batch *batch, struct vms_error *err) {
    struct wire_native *w = ctx;
    *err = (struct vms_error){0};
    if (check_channels(w, err) != VMS_OK)
        return err->code;
    struct wn_channel *c = w->preempt.wire
                               ? &w->preempt
                               : wn_channel_of(w, batch->block, batch->pages[0] << WN_PAGE_BITS);
    pthread_mutex_lock(&c->sending);
    enum vms_code code = wn_send_batch(c, batch, err);
    pthread_mutex_unlock(&c->sending);
    return code;
}

/* Pages of one group never overtake each other: a pass needs no barrier (MIG-10). */
static enum vms_code sync_passes(void *ctx, struct vms_error *err) {
    struct wire_native *w = ctx;
    (void)err;
    atomic_fetch_add(&w->generation, 1);
    return VMS_OK;
}

/* The part of a range in the group that it begins in. */
static uint64_t group_part(uint64_t first, uint64_t count) {
    uint64_t per_group = (UINT64_C(2) << 20) >> WN_PAGE_BITS;
    uint64_t room = per_group - first % per_group;
    return count < room ? count : room;
}

static enum vms_code discard_on(struct wire_native *w, struct wn_channel *c, uint32_t block,
                                const uint64_t *ranges, size_t count, struct vms_error *err) {
    struct wn_job job = {.kind = WN_DISCARD, .block = block};
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < count && code == VMS_OK; i++)
        for (uint64_t at = ranges[2 * i], left = ranges[2 * i + 1], n; left && code == VMS_OK;
             at += n, left -= n) {
            n = group_part(at, left);
            if (wn_channel_of(w, block, at << WN_PAGE_BITS) != c)
                continue;
            job.ranges[job.range_count++] = (struct vms_native_run){at, (uint32_t)n, false};
            if (job.range_count == WN_RANGES) {
                code = wn_channel_put(c, &job, err);
                job.range_count = 0;
            }
        }
    return code == VMS_OK && job.range_count ? wn_channel_put(c, &job, err) : code;
}

static enum vms_code discard(void *ctx, uint32_t block, const uint64_t *ranges, size_t count,
                             struct vms_error *err) {
    struct wire_native *w = ctx;
    enum vms_code code = wn_check(w, err);
    for (unsigned i = 0; i < w->channel_count && code == VMS_OK; i++)
        code = discard_on(w, &w->channels[i], block, ranges, count, err);
    return code;
}

/* START is listen enough, END is RAM's. */
static enum vms_code nothing(void *ctx, struct vms_error *err) {
    return wn_check(ctx, err);
}

/* ---- the end ---- */

static void abort_native(void *ctx, const struct vms_error *why) {
    struct wire_native *w = ctx;
    pthread_mutex_lock(&w->mutex);
    w->closing = true;
    pthread_mutex_unlock(&w->mutex);
    if (w->link)
        vms_native_link_abort(w->link, why);
}

static enum vms_code close_native(void *ctx, struct vms_error *err) {
    struct wire_native *w = ctx;
    (void)err;
    pthread_mutex_lock(&w->mutex);
    w->closing = true;
    pthread_mutex_unlock(&w->mutex);
    if (w->link)
        vms_native_link_close(w->link);
    return VMS_OK;
}

static void one_stat(struct wire_native *w, struct wn_channel *c, struct src_wire_stats *out) {
    struct src_channel_stats *s = &out->channels[out->channel_count++];
    *s = (struct src_channel_stats){.bytes = vms_native_link_channel_bytes(w->link, c->number),
                                    .pages = atomic_load(&c->pages),
                                    .zeros = atomic_load(&c->zeros)};
    if (c->number == WN_PREEMPT)
        (void)strcpy(s->name, "preempt");
    else
        (void)snprintf(s->name, sizeof s->name, "data %u", c->number);
}

static void look(struct wire_native *w, struct src_wire_stats *out) {
    (void)strcpy(out->channels[0].name, "main");
    out->channels[0].bytes = vms_native_link_channel_bytes(w->link, 0);
    out->channel_count = 1;
    for (unsigned i = 0; i < w->channel_count; i++)
        one_stat(w, &w->channels[i], out);
    if (w->preempt.wire)
        one_stat(w, &w->preempt, out);
    struct vms_native_link_stats link = vms_native_link_stats(w->link);
    out->bytes_in = link.bytes_in;
    out->unacked = link.kept;
    out->rtt_ns = link.rtt_us > 0 ? (uint64_t)link.rtt_us * 1000 : 0;
}

static void stats(void *ctx, struct src_wire_stats *out) {
    struct wire_native *w = ctx;
    *out = (struct src_wire_stats){.channel_count = 0};
    pthread_mutex_lock(&w->looking);
    if (w->shown)
        look(w, out);
    pthread_mutex_unlock(&w->looking);
}

static void free_native(void *ctx) {
    struct wire_native *w = ctx;
    pthread_mutex_lock(&w->mutex);
    w->closing = true;
    pthread_mutex_unlock(&w->mutex);
    wn_drop_link(w);
    vms_tls_creds_free(w->tls);
    if (w->psk)
        vms_wipe(w->psk, w->psk_len);
    free(w->psk);
    free(w->offsets);
    pthread_mutex_destroy(&w->mutex);
    pthread_mutex_destroy(&w->looking);
    free(w);
}

/* ---- construction ---- */

static const struct src_wire_ops OPS = {
    .connect = wn_connect,
    .setup = wn_setup,
    .pages = pages,
    .urgent = urgent,
    .sync = sync_passes,
    .flush = wn_flush,
    .data = wn_data,
    .lanes = wn_lanes,
    .ram_end = nothing,
    .discard = discard,
    .listen = nothing,
    .devices = wn_devices,
    .switchover = wn_switchover,
    .start = wn_start,
    .commit = wn_commit,
    .end = wn_end,
    .reconnect = wn_reconnect,
    .ask_bitmaps = wn_ask_bitmaps,
    .resume = wn_resume,
    .abort = abort_native,
    .close = close_native,
    .stats = stats,
    .free = free_native,
};

static enum vms_code read_psk(struct wire_native *w, struct vms_error *err) {
    size_t room = (size_t)w->options.limits.psk_file_bytes + 1;
    int fd = open(w->options.psk, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    w->psk = malloc(room);
    while (fd >= 0 && w->psk && w->psk_len < room &&
           (n = read(fd, w->psk + w->psk_len, room - w->psk_len)) > 0)
        w->psk_len += (size_t)n;
    if (fd >= 0)
        (void)close(fd);
    if (fd < 0 || n < 0 || !w->psk_len)
        return vms_error_set(err, VMS_E_SEAL_PSK_FILE, "%.120s cannot be read", w->options.psk);
    return VMS_OK;
}

static enum vms_code read_secrets(struct wire_native *w, struct vms_error *err) {
    bool tls = w->options.connect && strncmp(w->options.connect, "tls:", 4) == 0;
    struct vms_tls_config config = {.dir = w->options.tls_creds,
                                    .identity = w->options.identity,
                                    .host_name = w->options.tls_hostname};
    if (tls && !config.dir)
        config.psk = w->options.psk;
    if (tls && vms_tls_creds_load(&config, VMS_TLS_CLIENT, &w->tls, err) != VMS_OK)
        return err->code;
    w->channel_options = vms_channel_options_default();
    w->channel_options.tls = w->tls;
    if (w->options.psk && !config.psk)
        return read_psk(w, err);
    return VMS_OK;
}

enum vms_code src_wire_native(const struct src_options *options, const struct vms_guest *guest,
                              const struct src_wire_owner *owner, struct src_wire *out,
                              struct vms_error *err) {
    struct wire_native *w = calloc(1, sizeof *w);
    if (!w)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    w->options = *options;
    w->guest = guest;
    w->told = *owner;
    w->owner = &w->told;
    w->level = options->pack_level;
    w->adaptive = options->pack && options->pack_level == VMS_LEVEL_NONE;
    atomic_store(&w->generation, 1);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_mutex_init(&w->looking, NULL);
    w->offsets = calloc(SRC_DEVICES_MAX * 4, sizeof *w->offsets);
    *out = (struct src_wire){&OPS, w};
    if (!w->offsets)
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (w->offsets && read_secrets(w, err) == VMS_OK)
        return VMS_OK;
    free_native(w);
    *out = (struct src_wire){.ops = NULL};
    return err->code;
}

void src_wire_native_inquire(struct src_wire *wire, const uint8_t session[16]) {
    struct wire_native *w = wire->ctx;
    w->inquiry = w->started = true;
    memcpy(w->session, session, sizeof w->session);
}

const uint8_t *src_wire_native_session(const struct src_wire *wire) {
    return ((const struct wire_native *)wire->ctx)->session;
}

const char *src_wire_native_suite(const struct src_wire *wire) {
    const struct wire_native *w = wire->ctx;
    return w->link ? vms_suite_name(vms_native_link_agreement(w->link)->suite) : "";
}

bool src_wire_native_packs(const struct src_wire *wire) {
    return ((const struct wire_native *)wire->ctx)->packs;
}
