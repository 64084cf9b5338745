/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_TEST_WIRE_H
#define REFERENCE_SRC_TEST_WIRE_H

#include "reference-src/test_peer.h"

#include <vmstream/vmdesc.h>

/* A wire of QEVM for tests: what it writes, read by the library's decoder; what it tells. */

enum {
    NAMES = 4096,
};

struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum src_event_kind events[64];
    size_t count;
    uint64_t requests, request_offset;
    size_t received;
    struct vms_error why;
    char uri[128];
};

static inline void on_event(void *ctx, const struct src_event *event, const struct vms_error *why) {
    struct heard *h = ctx;
    pthread_mutex_lock(&h->lock);
    h->events[h->count++ % 64] = event->kind;
    if (why)
        h->why = *why;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}
static inline void on_request(void *ctx, uint32_t block, uint64_t offset, uint64_t length) {
    struct heard *h = ctx;
    (void)block, (void)length;
    h->requests++;
    h->request_offset = offset;
}
static inline void on_received(void *ctx, uint32_t block, const uint8_t *bytes, size_t len) {
    struct heard *h = ctx;
    (void)block, (void)bytes;
    h->received += len;
}
static inline void on_note(void *ctx, const char *text) {
    (void)ctx, (void)text;
}
static inline const char *on_uri(void *ctx) {
    return ((struct heard *)ctx)->uri;
}
static inline void on_session(void *ctx, const uint8_t *id) {
    (void)ctx, (void)id;
}

static inline bool wait_for(struct heard *h, enum src_event_kind kind) {
    pthread_mutex_lock(&h->lock);
    while (!h->count)
        pthread_cond_wait(&h->changed, &h->lock);
    bool is = h->events[0] == kind;
    memmove(h->events, h->events + 1, sizeof h->events - sizeof *h->events);
    h->count--;
    pthread_mutex_unlock(&h->lock);
    return is;
}

struct bench {
    struct test_peer peer;
    struct test_guest guest;
    struct src_options options;
    struct heard heard;
    struct src_wire wire;
    struct vms_error err;
};

#define DO(b, call, ...)                                                                           \
    cr_assert_eq((b)->wire.ops->call((b)->wire.ctx, ##__VA_ARGS__, &(b)->err), VMS_OK,             \
                 #call ": %s", (b)->err.message)

/* From options and guest as they are now; a second time, too. */
static inline void make_wire(struct bench *b) {
    struct src_wire_owner owner = {on_event, on_request, on_received, on_note,
                                   on_uri,   on_session, &b->heard};
    if (b->wire.ops)
        b->wire.ops->free(b->wire.ctx);
    cr_assert_eq(src_wire_qevm(&b->options, &b->guest.guest, &owner, &b->wire, &b->err), VMS_OK,
                 "%s", b->err.message);
}

static inline void open_wire(struct bench *b, const char *dialect, unsigned channels,
                             uint64_t pages) {
    memset(b, 0, sizeof *b);
    test_peer_start(&b->peer);
    test_guest_make(&b->guest, pages);
    test_options(&b->options, b->peer.uri);
    b->options.channels = channels;
    cr_assert_eq(vms_dialect_parse(vms_str(dialect), &b->options.dialect, &b->err), VMS_OK);
    (void)snprintf(b->heard.uri, sizeof b->heard.uri, "%s", b->peer.uri);
    pthread_mutex_init(&b->heard.lock, NULL);
    pthread_cond_init(&b->heard.changed, NULL);
    make_wire(b);
}

static inline void close_wire(struct bench *b) {
    b->wire.ops->free(b->wire.ctx);
    test_peer_stop(&b->peer);
    test_guest_free(&b->guest);
}

/* All pages of all blocks, in batches as the cursor makes them. */
static inline void send_all(struct bench *b) {
    for (uint32_t block = 0; block < 2; block++)
        for (uint64_t p = 0; p < b->guest.blocks[block].length / TEST_PAGE;) {
            struct src_batch batch = {.block = block, .page_size = TEST_PAGE};
            uint64_t end = b->guest.blocks[block].length / TEST_PAGE;
            while (p < end && batch.count < SRC_BATCH_PAGES && (!batch.count || p % 256))
                batch.pages[batch.count++] = p++;
            DO(b, pages, &batch);
        }
}

/* ---- reading ---- */

struct reading {
    char names[NAMES * 8]; /* of records, one a line; of commands their own */
    uint8_t *image[2];
    unsigned pages, zeros, packets, syncs, headers;
    bool named;       /* a page record has named its block since the last switch */
    unsigned unnamed; /* first page records that did not */
    uint64_t length[2];
};

static inline void add_name(struct reading *r, const struct vms_record *rec) {
    const char *name = vms_record_name(rec->type);
    size_t n = strlen(r->names);
    bool page = rec->type == VMS_R_RAM_PAGE || rec->type == VMS_R_RAM_ZERO;
    if (rec->type == VMS_R_COMMAND)
        name = vms_command_name(rec->u.command.command);
    if (page)
        name = "page";
    if (rec->type == VMS_R_SECTION_FOOTER ||
        (page && n >= 5 && strcmp(r->names + n - 5, "page ") == 0))
        return;
    (void)snprintf(r->names + n, sizeof r->names - n, "%s%s ", rec->packaged ? "." : "", name);
}

static inline unsigned block_of(struct vms_slice name) {
    return vms_slice_eq(name, vms_str("pc.ram")) ? 0 : 1;
}

static inline uint64_t be64(const uint8_t *at) {
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | at[i];
    return v;
}

static inline uint8_t *place(struct reading *r, const struct vms_record *rec, uint64_t at) {
    if (rec->type == VMS_R_RAM_PAGE)
        return r->image[block_of(rec->u.page.block)] + rec->u.page.offset + at;
    const struct vms_rec_multifd_packet *p = &rec->u.packet;
    return r->image[block_of(p->block)] + be64(p->offsets.ptr + at / TEST_PAGE * 8) +
           at % TEST_PAGE;
}

/* [RAM-26] The first page record of a channel, and the first behind the switch to postcopy. */
static inline void check_named(struct reading *r, const struct vms_record *rec) {
    if (rec->type == VMS_R_PACKAGE_END)
        r->named = false;
    if (rec->type != VMS_R_RAM_PAGE && rec->type != VMS_R_RAM_ZERO)
        return;
    r->unnamed += !r->named && rec->u.page.continued;
    r->named = true;
}

static inline void count(struct reading *r, const struct vms_record *rec) {
    check_named(r, rec);
    r->headers += rec->type == VMS_R_HEADER;
    r->pages += rec->type == VMS_R_RAM_PAGE;
    r->zeros += rec->type == VMS_R_RAM_ZERO;
    if (rec->type == VMS_R_RAM_ZERO)
        memset(r->image[block_of(rec->u.page.block)] + rec->u.page.offset, 0, TEST_PAGE);
    if (rec->type != VMS_R_MULTIFD_PACKET)
        return;
    const struct vms_rec_multifd_packet *p = &rec->u.packet;
    r->packets++;
    r->syncs += p->flags & VMS_MULTIFD_SYNC;
    r->pages += p->normal_pages;
    r->zeros += p->zero_pages;
    for (uint32_t i = 0; i < p->zero_pages; i++)
        memset(r->image[block_of(p->block)] + be64(p->offsets.ptr + 8 * (p->normal_pages + i)), 0,
               TEST_PAGE);
}

static inline void decode(struct bench *b, size_t channel, enum vms_qevm_kind kind,
                          struct reading *r) {
    struct vms_qevm_config config = vms_qevm_config_default();
    struct test_channel *c = test_wait(&b->peer, channel, SIZE_MAX);
    struct vms_slice input = vms_slice(c->bytes, c->len);
    struct vms_event e;
    config.kind = kind;
    config.dialect = b->options.dialect;
    struct vms_vmdesc *vmdesc = vms_vmdesc_new();
    config.vmdesc = vms_vmdesc_ops(vmdesc);
    size_t size = vms_qevm_decoder_size(&config);
    void *mem = malloc(size);
    struct vms_qevm_decoder *d = vms_qevm_decoder_init(mem, size, &config);
    for (enum vms_step step = VMS_STEP_RECORD; step != VMS_STEP_END;) {
        step = vms_qevm_decode(d, &input, &e);
        if (step == VMS_STEP_NEED)
            step = vms_qevm_finish(d, &e);
        cr_assert_neq(step, VMS_STEP_ERROR, "%s at %llu", e.error->message,
                      (unsigned long long)e.error->offset);
        if (step == VMS_STEP_RECORD) { /* the description fits: only a package's are guessed */
            cr_expect(!e.record.guessed || e.record.packaged);
            add_name(r, &e.record);
            count(r, &e.record);
        }
        bool data = e.record.type == VMS_R_RAM_PAGE || e.record.type == VMS_R_MULTIFD_PACKET;
        if (step != VMS_STEP_BULK || !data)
            continue;
        for (size_t i = 0; i < e.bulk.len; i++)
            *place(r, &e.record, e.bulk_offset + i) = e.bulk.ptr[i];
    }
    free(mem);
    vms_vmdesc_free(vmdesc);
}

static inline void new_reading(struct bench *b, struct reading *r) {
    memset(r, 0, sizeof *r);
    for (unsigned i = 0; i < 2; i++) {
        r->image[i] = malloc(b->guest.blocks[i].length);
        memset(r->image[i], 0xee, b->guest.blocks[i].length);
    }
}

static inline void expect_memory(struct bench *b, struct reading *r) {
    for (unsigned i = 0; i < 2; i++) {
        cr_expect(memcmp(r->image[i], b->guest.blocks[i].memory, b->guest.blocks[i].length) == 0,
                  "block %u", i);
        free(r->image[i]);
    }
}

static inline void send_precopy(struct bench *b) {
    DO(b, connect);
    DO(b, setup, &b->guest.guest, false);
    send_all(b);
    DO(b, sync);
    DO(b, ram_end);
    DO(b, devices, vms_slice("abc", 3), false);
    DO(b, flush);
}

#endif
