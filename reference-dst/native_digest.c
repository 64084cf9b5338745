/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"
#include <stdlib.h>

/*
 * [HND-8] [PACK-23] [PACK-24] Memory is compared with the hashes that the source made of what it
 * sent: behind the channels' backs while the guest runs at the source, so that only what came last
 * is left when it stands still.
 */
enum {
    AT_ONCE = 16, /* pages compared with the block locked */
};

enum vms_code dn_digest(struct dst_native_session *s, const struct vms_native_link_event *ev,
                        struct vms_error *err) {
    const struct vms_native_range *r = &ev->frame->u.range;
    struct dn_block *b = dn_block_of(s, &r->block, r->page_bits, err);
    if (!b)
        return err->code;
    if (!b->digest)
        return vms_error_set(err, VMS_E_MIG_FRAME, "DIGEST");
    if (r->hash)
        return VMS_OK; /* [NAT-59] a later version's */
    pthread_mutex_lock(&b->lock);
    enum vms_code code = vms_digest_import(b->digest, r->first, ev->bulk, err);
    pthread_mutex_unlock(&b->lock);
    return code;
}

void dn_touch(struct dst_native_session *s, struct dn_block *b, uint64_t first, uint64_t count) {
    if (!b->digest)
        return;
    pthread_mutex_lock(&b->lock);
    vms_digest_touch(b->digest, first, count);
    pthread_mutex_unlock(&b->lock);
    pthread_mutex_lock(&s->lock);
    if (!s->touched) {
        s->touched = true;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
}

bool dn_hash_fits(struct dn_block *b, uint64_t page, struct vms_slice content) {
    if (!b->digest)
        return true;
    pthread_mutex_lock(&b->lock);
    bool fits = vms_digest_check(b->digest, page, content);
    pthread_mutex_unlock(&b->lock);
    return fits;
}

/* The next pending pages at or after from, a few of them. False: none are left. */
static bool compare_some(struct dn_block *b, uint64_t *from) {
    uint64_t first, count;
    pthread_mutex_lock(&b->lock);
    bool any = vms_digest_next(b->digest, *from, &first, &count);
    count = any && count > AT_ONCE ? AT_ONCE : count;
    for (uint64_t i = 0; any && i < count; i++)
        (void)vms_digest_check(b->digest, first + i,
                               vms_slice(b->map.memory + (first + i) * DN_PAGE, DN_PAGE));
    pthread_mutex_unlock(&b->lock);
    *from = any ? first + count : *from;
    return any;
}

static bool must_stop(struct dst_native_session *s) {
    pthread_mutex_lock(&s->lock);
    bool stop = s->verifier_stop || s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static void pass_over(struct dst_native_session *s) {
    for (size_t i = 0; i < s->block_count; i++)
        for (uint64_t from = 0; compare_some(&s->blocks[i], &from);)
            if (must_stop(s))
                return;
}

void *dn_verifier(void *arg) {
    struct dst_native_session *s = arg;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!s->touched && !s->verifier_stop && !s->stopping)
            pthread_cond_wait(&s->changed, &s->lock);
        s->touched = false;
        bool stop = s->verifier_stop || s->stopping;
        pthread_mutex_unlock(&s->lock);
        if (stop)
            return NULL;
        pass_over(s);
    }
}

void dn_verifier_join(struct dst_native_session *s) {
    pthread_mutex_lock(&s->lock);
    s->verifier_stop = true;
    bool runs = s->verifier_runs;
    s->verifier_runs = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (runs)
        (void)pthread_join(s->verifier, NULL);
}

/* Pages that were discarded will come again, and are compared then (MIG-24). */
static uint64_t pending(const struct dn_block *b) {
    uint64_t first, count, left = 0;
    for (uint64_t from = 0; vms_digest_next(b->digest, from, &first, &count); from = first + count)
        for (uint64_t i = first; i < first + count; i++)
            left += atomic_load(&b->arrived[i / 64]) >> (i % 64) & 1;
    return left;
}

uint64_t dn_compare_rest(struct dst_native_session *s) {
    uint64_t left = 0;
    for (size_t i = 0; i < s->block_count; i++) {
        uint64_t from = 0;
        while (compare_some(&s->blocks[i], &from))
            ;
        left += pending(&s->blocks[i]);
    }
    return left;
}
