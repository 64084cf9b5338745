/* SPDX-License-Identifier: MIT */
#include "host/zero_page.h"
#include "reference-dst/native_internal.h"

/*
 * [HND-8] [PACK-23] [PACK-24] Memory is compared with the hashes that the source made of what it
 * sent. The hashes come before their pages (MIG-12), so each page is compared as soon as it is in
 * its place, while the processor has it at hand, and next to nothing is left to do when the guest
 * stands still. Only the thread of its channel writes to a page (MIG-10): memory is read without
 * the lock.
 */
enum {
    AT_ONCE = 64, /* pages, between two turns with the lock */
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

/* What a guest has not touched is not hashed octet for octet. */
static uint64_t hash_of(const struct dst_native_session *s, const uint8_t *page) {
    return vms_page_is_zero(page, DN_PAGE) ? s->zero_hash : vms_page_hash(vms_slice(page, DN_PAGE));
}

void dn_compare(const struct dst_native_session *s, struct dn_block *b, uint64_t first,
                uint64_t count) {
    uint64_t hashes[AT_ONCE], end = first + count;
    for (uint64_t n = 0; b->digest && first < end; first += n) {
        n = end - first < AT_ONCE ? end - first : AT_ONCE;
        for (uint64_t i = 0; i < n; i++)
            hashes[i] = hash_of(s, b->map.memory + (first + i) * DN_PAGE);
        pthread_mutex_lock(&b->lock);
        for (uint64_t i = 0; i < n; i++)
            (void)vms_digest_compare(b->digest, first + i, hashes[i]);
        pthread_mutex_unlock(&b->lock);
    }
}

bool dn_hash_fits(struct dn_block *b, uint64_t page, struct vms_slice content) {
    if (!b->digest)
        return true;
    pthread_mutex_lock(&b->lock);
    bool fits = vms_digest_check(b->digest, page, content);
    pthread_mutex_unlock(&b->lock);
    return fits;
}

/* Nothing writes to it any more. */
static void compare_pending(struct dn_block *b) {
    uint64_t first, count;
    pthread_mutex_lock(&b->lock);
    for (uint64_t from = 0; vms_digest_next(b->digest, from, &first, &count); from = first + count)
        for (uint64_t i = first; i < first + count; i++)
            (void)vms_digest_check(b->digest, i, vms_slice(b->map.memory + i * DN_PAGE, DN_PAGE));
    pthread_mutex_unlock(&b->lock);
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
        compare_pending(&s->blocks[i]);
        left += pending(&s->blocks[i]);
    }
    return left;
}
