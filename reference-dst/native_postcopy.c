/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"
#include <stdlib.h>

/* Pages that come behind the guest: userfaultfd asks, PAGE_REQUEST carries it, PAGES answers. */

/* [MIG-22] By the fault's thread: it waits for nothing but the connection. */
static void request(void *ctx, size_t block, uint64_t offset, uint64_t length) {
    struct dst_native_session *s = ctx;
    struct vms_native_run run = {offset >> DN_PAGE_BITS, (uint32_t)(length >> DN_PAGE_BITS), false};
    struct vms_native_out out = {.frame.header.type = VMS_NATIVE_PAGE_REQUEST};
    struct vms_error ignored;
    out.frame.u.pages = (struct vms_native_pages){.block = {.index = (uint32_t)block},
                                                  .page_bits = DN_PAGE_BITS,
                                                  .run_count = 1,
                                                  .runs = &run};
    atomic_fetch_add(&s->requests, 1);
    (void)vms_native_link_send(s->link, 0, &out, &ignored); /* a cut keeps it for the resumption */
}

static void fault_served(void *ctx, uint64_t ns) {
    struct dst_native_session *s = ctx;
    if (s->config.served)
        s->config.served(s->config.ctx, ns);
}

static void fault_failed(void *ctx, const struct vms_error *err) {
    dn_fail(ctx, err);
}

static struct vms_guest_block *maps(const struct dst_native_session *s) {
    struct vms_guest_block *list = calloc(s->block_count, sizeof *list);
    for (size_t i = 0; list && i < s->block_count; i++)
        list[i] = s->blocks[i].map;
    return list;
}

enum vms_code dn_listen(struct dst_native_session *s, struct vms_error *err) {
    struct vms_guest_block *list = maps(s);
    struct dst_postcopy_config config = {.blocks = list,
                                         .block_count = s->block_count,
                                         .page_size = DN_PAGE,
                                         .request = request,
                                         .failed = fault_failed,
                                         .served = fault_served,
                                         .ctx = s};
    if (!list)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    s->postcopy = dst_postcopy_new(&config, err);
    s->maps = list;
    if (!s->postcopy)
        return err->code;
    for (size_t i = 0; i < s->block_count; i++) {
        uint64_t *bits = calloc((size_t)(s->blocks[i].pages + 63) / 64, sizeof *bits);
        if (!bits)
            return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        for (size_t k = 0; k < (size_t)(s->blocks[i].pages + 63) / 64; k++)
            bits[k] = atomic_load(&s->blocks[i].arrived[k]);
        dst_postcopy_arrived(s->postcopy, i, bits);
        free(bits);
    }
    if (dst_postcopy_listen(s->postcopy, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->placing, true);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return VMS_OK;
}

/* A frame behind the mark may come before memory listens. */
static bool wait_for_listening(struct dst_native_session *s) {
    if (atomic_load(&s->placing))
        return true;
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->placing) && !s->stopping)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return atomic_load(&s->placing);
}

/* [MIG-24] Compared before the guest can see it. */
static enum vms_code place_one(struct dst_native_session *s, struct dn_block *b, uint64_t page,
                               struct vms_slice content, struct vms_error *err) {
    static const uint8_t zeros[DN_PAGE];
    struct vms_slice seen = content.len ? content : vms_slice(zeros, sizeof zeros);
    if (!dn_hash_fits(b, page, seen))
        return vms_error_set(err, VMS_E_PACK_DIGEST, "page %llu", (unsigned long long)page);
    return dst_postcopy_place(s->postcopy, (size_t)(b - s->blocks), page << DN_PAGE_BITS, content,
                              err);
}

enum vms_code dn_place(struct dn_channel *c, const struct vms_native_pages *p,
                       struct vms_slice content, struct vms_error *err) {
    struct dst_native_session *s = c->session;
    struct dn_block *b = &s->blocks[p->block.index];
    const uint8_t *at = content.ptr;
    if (!wait_for_listening(s))
        return vms_error_set(err, VMS_E_MIG_FRAME, "pages behind the mark");
    for (uint32_t i = 0; i < p->run_count; i++)
        for (uint32_t k = 0; k < p->runs[i].count; k++) {
            bool zero = p->runs[i].zero;
            struct vms_slice page = zero ? vms_slice(NULL, 0) : vms_slice(at, DN_PAGE);
            if (place_one(s, b, p->runs[i].first + k, page, err) != VMS_OK)
                return err->code;
            at += zero ? 0 : DN_PAGE;
        }
    if (dst_postcopy_missing(s->postcopy) == 0 && !atomic_exchange(&s->pages_in, true))
        dn_post(s, DST_NEV_PAGES_IN, 0, 0);
    return VMS_OK;
}
