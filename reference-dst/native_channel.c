/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"
#include "reference-dst/native_internal.h"
#include <stdlib.h>

/* Data channels: a thread each, from ATTACH to the end of the session. */

enum {
    WAITING = 64 << 10, /* bytes in a socket that a requested page may stand behind */
};

static enum vms_code make_unpacker(struct dn_channel *c, struct vms_error *err) {
    uint32_t most = (uint32_t)c->session->config.limits.native_bulk_bytes;
    struct vms_zstd_config zstd = {.unpacked_max = most};
    struct vms_unpack_config config = {.page_size = DN_PAGE, .unpacked_max = most};
    c->zstd_mem = malloc(vms_zstd_size(&zstd));
    c->scratch = malloc(most);
    c->unproven_runs = malloc(DN_RUNS * sizeof *c->unproven_runs);
    if (!c->zstd_mem || !c->scratch || !c->unproven_runs)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    config.zip = vms_zstd_ops(vms_zstd_init(c->zstd_mem, vms_zstd_size(&zstd), &zstd));
    c->unpacker_mem = malloc(vms_unpacker_size(&config));
    c->unpacker = c->unpacker_mem
                      ? vms_unpacker_init(c->unpacker_mem, vms_unpacker_size(&config), &config)
                      : NULL;
    return c->unpacker ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
}

/* [MIG-4] Setup comes on another connection: nothing is carried out before it. */
static bool wait_for_setup(struct dst_native_session *s) {
    pthread_mutex_lock(&s->lock);
    while (!s->set_up && !s->stopping && !s->link_over)
        pthread_cond_wait(&s->changed, &s->lock);
    bool ready = s->set_up;
    pthread_mutex_unlock(&s->lock);
    return ready;
}

/* [MIG-21] */
static enum vms_code on_records(struct dn_channel *c, const struct vms_native_records *r,
                                struct vms_error *err) {
    if (r->count != 1 || r->records[0].type != VMS_R_RAM_EOS || c->marked)
        return vms_error_set(err, VMS_E_MIG_FRAME, "RECORDS on a data channel");
    c->marked = true;
    vms_native_link_keep_short(c->session->link, c->number, WAITING);
    vms_thread_background();
    return VMS_OK;
}

/* [MIG-7] */
static enum vms_code carry_out(struct dn_channel *c, const struct vms_native_link_event *ev,
                               struct vms_error *err) {
    if (dn_proven(c, ev, err) != VMS_OK)
        return err->code;
    switch (ev->frame->header.type) {
    case VMS_NATIVE_PAGES: return dn_pages(c, ev, err);
    case VMS_NATIVE_DIGEST: return dn_digest(c->session, ev, err);
    case VMS_NATIVE_DISCARD: return dn_discard(c, &ev->frame->u.pages, err);
    case VMS_NATIVE_RECORDS: return on_records(c, &ev->frame->u.records, err);
    case VMS_NATIVE_DEVICE:
        if (c->session->features & VMS_FEATURE_DEVICE_CHANNELS) /* [MIG-6] */
            return dn_device_data(c->session, c->number, ev, err);
        break;
    default: break;
    }
    return vms_error_set(err, VMS_E_MIG_FRAME, "%s on a data channel",
                         vms_native_type_name(ev->frame->header.type));
}

static void note_applied(struct dn_channel *c, const struct vms_native_header *h) {
    struct dst_native_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    c->applied = h->sequence + 1;
    c->bytes += VMS_NATIVE_HEADER + h->body_len + h->bulk_len;
    if (s->ended || h->type == VMS_NATIVE_RECORDS) /* END, START may have waited for it */
        pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void note_over(struct dn_channel *c, bool over) {
    pthread_mutex_lock(&c->session->lock);
    c->over = over;
    pthread_cond_broadcast(&c->session->changed);
    pthread_mutex_unlock(&c->session->lock);
}

static void *channel_main(void *arg) {
    struct dn_channel *c = arg;
    struct dst_native_session *s = c->session;
    struct vms_native_link_event ev;
    struct vms_error err = {.clause = ""};
    if (make_unpacker(c, &err) != VMS_OK) {
        dn_fail(s, &err);
        return NULL;
    }
    if (c->number == DN_PREEMPT)
        vms_thread_urgent();
    enum vms_code code;
    while ((code = vms_native_link_receive(s->link, c->number, &ev, &err)) == VMS_OK && ev.frame) {
        err = (struct vms_error){.channel = c->number, .clause = ""};
        if (!wait_for_setup(s))
            return NULL;
        if (carry_out(c, &ev, &err) != VMS_OK) {
            dn_fail(s, &err);
            return NULL;
        }
        note_applied(c, &ev.frame->header);
    }
    note_over(c, code == VMS_OK);
    return NULL; /* why the session is over the main channel's receiver tells */
}

bool dst_native_channel(struct dst_native_session *s, unsigned index, uint16_t *number,
                        uint64_t *bytes) {
    bool found = false;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < DN_CHANNELS && !found; i++)
        if (s->channels[i].used && index-- == 0) {
            *number = s->channels[i].number;
            *bytes = s->channels[i].bytes;
            found = true;
        }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void dn_attached(void *ctx, uint16_t channel, uint32_t kind) {
    struct dst_native_session *s = ctx;
    struct vms_error err = {.clause = ""};
    (void)kind;
    if (channel >= DN_CHANNELS || (channel > DN_DATA_MAX && channel != DN_PREEMPT)) {
        (void)vms_error_set(&err, VMS_E_NATIVE_CHANNEL, "channel %u", channel);
        dn_fail(s, &err);
        return;
    }
    struct dn_channel *c = &s->channels[channel];
    pthread_mutex_lock(&s->lock);
    if (s->channels_over) { /* the link, which takes connections until it is freed, is dropped */
        pthread_mutex_unlock(&s->lock);
        return;
    }
    *c = (struct dn_channel){.session = s, .number = channel, .used = true};
    c->marked = channel == DN_PREEMPT; /* nothing of precopy travels there */
    c->runs = pthread_create(&c->thread, NULL, channel_main, c) == 0;
    bool runs = c->runs;
    pthread_mutex_unlock(&s->lock);
    if (!runs) {
        (void)vms_error_set(&err, VMS_E_NO_MEMORY, "threads");
        dn_fail(s, &err);
    }
}

/* The link has failed, or is closed. */
void dn_channels_join(struct dst_native_session *s) {
    pthread_mutex_lock(&s->lock);
    s->channels_over = true;
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < DN_CHANNELS; i++) {
        struct dn_channel *c = &s->channels[i];
        if (c->runs)
            (void)pthread_join(c->thread, NULL);
        free(c->zstd_mem);
        free(c->unpacker_mem);
        free(c->scratch);
        free(c->unproven_runs);
        c->runs = false;
        c->zstd_mem = c->unpacker_mem = c->scratch = NULL;
        c->unproven_runs = NULL;
    }
}

static bool end_applied(const struct dst_native_session *s) {
    for (uint32_t i = 0; i < s->sent_count; i++) {
        uint16_t channel = s->sent[i].channel;
        if (channel != 0 &&
            (channel >= DN_CHANNELS || s->channels[channel].applied < s->sent[i].next ||
             !s->channels[channel].over))
            return false;
    }
    return s->ended;
}

bool dn_all_applied(const struct dst_native_session *s, bool postcopy) {
    if (!postcopy)
        return end_applied(s);
    for (uint32_t i = 1; i <= s->data_channels; i++)
        if (!s->channels[i].marked)
            return false;
    return true;
}
