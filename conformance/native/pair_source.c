/* SPDX-License-Identifier: MIT */
#include "conformance/native/pair_internal.h"

#include <stdlib.h>
#include <unistd.h>

/* The script: passes over memory, cuts, the hand-over. */

enum vms_code pair_send(struct pair *p, uint32_t b, uint64_t first, uint64_t end) {
    struct src_batch batch = {.block = b, .page_size = PAIR_PAGE};
    for (uint64_t i = first; i < end; i++)
        if (atomic_exchange(&p->dirty[b][i], 0))
            batch.pages[batch.count++] = i;
    if (!batch.count)
        return VMS_OK;
    return p->wire.ops->pages(p->wire.ctx, &batch, &p->source_error);
}

static enum vms_code pass(struct pair *p) {
    enum vms_code code = VMS_OK;
    for (uint32_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length / PAIR_PAGE && code == VMS_OK; i += 256)
            code = pair_send(p, b, i, i + 256);
    if (code == VMS_OK)
        code = p->wire.ops->sync(p->wire.ctx, &p->source_error);
    return code;
}

static enum vms_code precopy(struct pair *p) {
    double begin = pair_seconds();
    enum vms_code code = VMS_OK;
    const struct wire_native *w = p->wire.ctx;
    p->silence_ms = vms_native_link_agreement(w->link)->keepalive_ms;
    if (p->misbehave) {
        p->misbehave(p, ((struct wire_native *)p->wire.ctx)->link);
        (void)pair_wait(p, SRC_EV_ABORT);
        return vms_error_set(&p->source_error, VMS_E_SESSION_ABORTED, "%.200s", p->why.message);
    }
    for (unsigned i = 0; i < p->passes && code == VMS_OK; i++) {
        code = pass(p);
        if (i == 0 && code == VMS_OK)
            code = p->wire.ops->flush(p->wire.ctx, &p->source_error);
        if (i == 0)
            p->seconds = pair_seconds() - begin;
    }
    return code;
}

void pair_cut(struct pair *p, unsigned channel) {
    struct wire_native *w = p->wire.ctx;
    struct vms_native_link *l = w->link;
    struct vms_error ignored;
    pthread_mutex_lock(&l->mutex);
    struct link_conn *c = l->channels[channel].conn;
    if (c && !l->closing && !l->over && link_is_up(l)) {
        (void)vms_channel_shutdown(c->io, VMS_SHUT_BOTH, &ignored);
        p->cuts_made++;
        while (l->channels[channel].conn == c)
            pthread_cond_wait(&l->changed, &l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
}

static void *saboteur(void *arg) {
    struct pair *p = arg;
    unsigned seed = 99;
    while (atomic_load(&p->writing) && p->cuts_made < p->cuts) {
        (void)usleep(20000 + (useconds_t)rand_r(&seed) % 30000);
        pair_cut(p, (unsigned)rand_r(&seed) % 3);
    }
    return NULL;
}

static enum vms_code fail(struct pair *p, enum vms_code code, const char *what) {
    return vms_error_set(&p->source_error, code, "%s: %s", what, p->why.message);
}

/* As the engine in doubt: tries until the destination takes the inquiry. */
static enum vms_code ask(struct pair *p) {
    const struct src_wire_ops *o = p->wire.ops;
    enum vms_code code = VMS_E_TIMEOUT;
    for (int i = 0; i < 200 && code != VMS_OK; i++) {
        code = o->reconnect(p->wire.ctx, &p->source_error);
        if (code != VMS_OK)
            (void)usleep(50000);
    }
    return code == VMS_OK ? o->commit(p->wire.ctx, 1, p->postcopy, &p->source_error) : code;
}

static enum vms_code hand_over(struct pair *p) {
    const struct src_wire_ops *o = p->wire.ops;
    void *w = p->wire.ctx;
    struct vms_error *err = &p->source_error;
    const uint8_t *state;
    size_t len;
    atomic_store(&p->source.running, 0);
    if (p->postcopy && pair_discard(p) != VMS_OK)
        return err->code;
    if (p->postcopy)
        pair_expect(p);
    if (!p->postcopy && pass(p) != VMS_OK)
        return err->code;
    (void)p->source.guest.ops->save(&p->source, &state, &len, err);
    if (o->ram_end(w, err) != VMS_OK ||
        o->devices(w, vms_slice(state, len), p->postcopy, err) != VMS_OK ||
        o->start(w, 1, p->postcopy, err) != VMS_OK)
        return err->code;
    if (p->cut_at_ready)
        pair_cut(p, 0);
    if (!pair_wait(p, SRC_EV_READY))
        return fail(p, VMS_E_TIMEOUT, "no READY");
    if (p->last[SRC_EV_READY].value == 2)
        return fail(p, VMS_E_HANDOVER_DIGEST, "READY");
    if (p->cut_at_commit)
        pair_cut(p, 0);
    if (o->commit(w, 1, p->postcopy, err) != VMS_OK && !p->asks)
        return err->code;
    if (p->cut_at_commit && !p->asks)
        pair_cut(p, 0);
    if (p->asks && ask(p) != VMS_OK)
        return err->code;
    if (!pair_wait(p, SRC_EV_RUNNING))
        return fail(p, VMS_E_TIMEOUT, "no RUNNING");
    return p->postcopy ? pair_push(p) : VMS_OK;
}

enum vms_code pair_source(struct pair *p) {
    const struct src_wire_ops *o;
    struct vms_error *err = &p->source_error;
    pthread_t w, s;
    if (src_wire_native(&p->options, &p->source.guest, &p->owner, &p->wire, err) != VMS_OK)
        return err->code;
    o = p->wire.ops;
    if (o->connect(p->wire.ctx, err) != VMS_OK ||
        o->setup(p->wire.ctx, &p->source.guest, p->postcopy, err) != VMS_OK)
        return err->code;
    atomic_store(&p->writing, true);
    atomic_store(&p->source.running, 1);
    (void)pthread_create(&w, NULL, pair_guest_write, p);
    if (p->cuts)
        (void)pthread_create(&s, NULL, saboteur, p);
    enum vms_code code = precopy(p);
    atomic_store(&p->writing, false);
    (void)pthread_join(w, NULL);
    if (p->cuts)
        (void)pthread_join(s, NULL);
    if (code == VMS_OK)
        code = hand_over(p);
    o->stats(p->wire.ctx, &p->stats);
    p->bytes_sent = vms_native_link_stats(((struct wire_native *)p->wire.ctx)->link).bytes_out;
    if (code == VMS_OK)
        code = o->close(p->wire.ctx, err);
    else
        o->abort(p->wire.ctx, err);
    return code;
}
