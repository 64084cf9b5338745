/* SPDX-License-Identifier: MIT */
#include "reference-src/test_peer.h"

#include <vmstream/vmdesc.h>

/* What the wire writes, read by the library's decoder and against bytes. */

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

static void on_event(void *ctx, const struct src_event *event, const struct vms_error *why) {
    struct heard *h = ctx;
    pthread_mutex_lock(&h->lock);
    h->events[h->count++ % 64] = event->kind;
    if (why)
        h->why = *why;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}
static void on_request(void *ctx, uint32_t block, uint64_t offset, uint64_t length) {
    struct heard *h = ctx;
    (void)block, (void)length;
    h->requests++;
    h->request_offset = offset;
}
static void on_received(void *ctx, uint32_t block, const uint8_t *bytes, size_t len) {
    struct heard *h = ctx;
    (void)block, (void)bytes;
    h->received += len;
}
static void on_note(void *ctx, const char *text) {
    (void)ctx, (void)text;
}
static const char *on_uri(void *ctx) {
    return ((struct heard *)ctx)->uri;
}
static void on_session(void *ctx, const uint8_t *id) {
    (void)ctx, (void)id;
}

static bool wait_for(struct heard *h, enum src_event_kind kind) {
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

static void open_wire(struct bench *b, const char *dialect, unsigned channels, uint64_t pages) {
    struct src_wire_owner owner = {on_event, on_request, on_received, on_note,
                                   on_uri,   on_session, &b->heard};
    memset(b, 0, sizeof *b);
    test_peer_start(&b->peer);
    test_guest_make(&b->guest, pages);
    test_options(&b->options, b->peer.uri);
    b->options.channels = channels;
    cr_assert_eq(vms_dialect_parse(vms_str(dialect), &b->options.dialect, &b->err), VMS_OK);
    (void)snprintf(b->heard.uri, sizeof b->heard.uri, "%s", b->peer.uri);
    pthread_mutex_init(&b->heard.lock, NULL);
    pthread_cond_init(&b->heard.changed, NULL);
    cr_assert_eq(src_wire_qevm(&b->options, &b->guest.guest, &owner, &b->wire, &b->err), VMS_OK,
                 "%s", b->err.message);
}

static void close_wire(struct bench *b) {
    b->wire.ops->free(b->wire.ctx);
    test_peer_stop(&b->peer);
    test_guest_free(&b->guest);
}

/* All pages of all blocks, in batches as the cursor makes them. */
static void send_all(struct bench *b) {
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

static void add_name(struct reading *r, const struct vms_record *rec) {
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

static unsigned block_of(struct vms_slice name) {
    return vms_slice_eq(name, vms_str("pc.ram")) ? 0 : 1;
}

static uint64_t be64(const uint8_t *at) {
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | at[i];
    return v;
}

static uint8_t *place(struct reading *r, const struct vms_record *rec, uint64_t at) {
    if (rec->type == VMS_R_RAM_PAGE)
        return r->image[block_of(rec->u.page.block)] + rec->u.page.offset + at;
    const struct vms_rec_multifd_packet *p = &rec->u.packet;
    return r->image[block_of(p->block)] + be64(p->offsets.ptr + at / TEST_PAGE * 8) +
           at % TEST_PAGE;
}

/* [RAM-26] The first page record of a channel, and the first behind the switch to postcopy. */
static void check_named(struct reading *r, const struct vms_record *rec) {
    if (rec->type == VMS_R_PACKAGE_END)
        r->named = false;
    if (rec->type != VMS_R_RAM_PAGE && rec->type != VMS_R_RAM_ZERO)
        return;
    r->unnamed += !r->named && rec->u.page.continued;
    r->named = true;
}

static void count(struct reading *r, const struct vms_record *rec) {
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

static void decode(struct bench *b, size_t channel, enum vms_qevm_kind kind, struct reading *r) {
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

static void new_reading(struct bench *b, struct reading *r) {
    memset(r, 0, sizeof *r);
    for (unsigned i = 0; i < 2; i++) {
        r->image[i] = malloc(b->guest.blocks[i].length);
        memset(r->image[i], 0xee, b->guest.blocks[i].length);
    }
}

static void expect_memory(struct bench *b, struct reading *r) {
    for (unsigned i = 0; i < 2; i++) {
        cr_expect(memcmp(r->image[i], b->guest.blocks[i].memory, b->guest.blocks[i].length) == 0,
                  "block %u", i);
        free(r->image[i]);
    }
}

static void send_precopy(struct bench *b) {
    DO(b, connect);
    DO(b, setup, &b->guest.guest, false);
    send_all(b);
    DO(b, sync);
    DO(b, ram_end);
    DO(b, devices, vms_slice("abc", 3), false);
    DO(b, flush);
}

/* ---- precopy ---- */

/* [SRC-1] [CMD-15] [END-7] The order of QEMU 11.1. */
Test(wire_qevm, precopy_order) {
    static struct bench b;
    static struct reading r;
    open_wire(&b, "11.1", 0, 600);
    send_precopy(&b);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_str_eq(r.names, "HEADER CONFIGURATION OPEN_RETURN_PATH PING SECTION_START "
                              "RAM_MEM_SIZE RAM_BLOCK RAM_BLOCK RAM_EOS SECTION_PART page RAM_EOS "
                              "SWITCHOVER_START SECTION_END RAM_EOS SECTION_FULL EOF "
                              "VMDESCRIPTION ");
    cr_expect_eq(r.zeros, 120u + 2);
    expect_memory(&b, &r);
    close_wire(&b);
}

/* [HDR-1] [CMD-4] The first octets, as they stand in captures of QEMU. */
Test(wire_qevm, first_bytes) {
    static struct bench b;
    static const uint8_t want[] = {'Q', 'E', 'V', 'M', 0,   0,   0,   3,   7,   0,   0,   0,
                                   14,  'p', 'c', '-', 'i', '4', '4', '0', 'f', 'x', '-', '1',
                                   '1', '.', '1', 8,   0,   1,   0,   0,   8,   0,   2,   0,
                                   4,   0,   0,   0,   1,   1,   0,   0,   0,   1,   3,   'r',
                                   'a', 'm', 0,   0,   0,   0,   0,   0,   0,   4};
    open_wire(&b, "11.1", 0, 16);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, false);
    struct test_channel *c = test_wait(&b.peer, 0, sizeof want);
    cr_expect(memcmp(c->bytes, want, sizeof want) == 0);
    close_wire(&b);
}

/* [SRC-3] Nothing of EOF leaves before commit(). */
Test(wire_qevm, nothing_is_committed_before) {
    static struct bench b;
    open_wire(&b, "11.1", 0, 16);
    send_precopy(&b);
    b.wire.ops->abort(b.wire.ctx, NULL);
    struct test_channel *c = test_wait(&b.peer, 0, SIZE_MAX);
    cr_expect_eq(c->bytes[c->len - 5], 0x7e, "the last record is not the FULL section's footer");
    close_wire(&b);
}

/* An old machine: no SWITCHOVER_START. [DLC-7] */
Test(wire_qevm, old_machine) {
    static struct bench b;
    static struct reading r;
    open_wire(&b, "qemu=7.2,machine=7.2", 0, 16);
    send_precopy(&b);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_null(strstr(r.names, "SWITCHOVER_START"));
    expect_memory(&b, &r);
    close_wire(&b);
}

/* ---- multifd ---- */

static unsigned occurrences(const char *text, const char *word) {
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        n++;
    return n;
}

static void multifd(const char *dialect, unsigned channels, bool record, bool in_packets) {
    static struct bench b;
    static struct reading r, channel[16];
    open_wire(&b, dialect, channels, 3000);
    send_precopy(&b);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    unsigned markers = occurrences(r.names, record ? "RAM_MULTIFD_FLUSH" : "RAM_EOS");
    unsigned zeros = r.zeros, pages = r.pages;
    for (unsigned i = 0; i < channels; i++) {
        memset(&channel[i], 0, sizeof channel[i]);
        memcpy(channel[i].image, r.image, sizeof r.image);
        decode(&b, 1 + i, VMS_QEVM_MULTIFD, &channel[i]);
        cr_expect_eq(channel[i].syncs, markers, "channel %u: %u SYNCs, %u markers", i,
                     channel[i].syncs, markers);
        zeros += channel[i].zeros;
        pages += channel[i].pages;
        cr_expect(in_packets || channel[i].zeros == 0);
    }
    cr_expect_eq(r.pages, 0u, "pages on the main channel");
    cr_expect_eq(r.zeros > 0, !in_packets);
    cr_expect_eq(zeros, 600u + 2);
    cr_expect_eq(pages, 2400u + 6);
    expect_memory(&b, &r);
    close_wire(&b);
}

/* [MFD-12] [MFD-17] [MFD-21] As many SYNC packets on every channel as markers on the main one. */
Test(wire_qevm, multifd_per_round) {
    multifd("11.1", 1, true, true);
    multifd("11.1", 4, true, true);
    multifd("11.1", 16, true, true);
}

Test(wire_qevm, multifd_per_section) {
    multifd("qemu=7.2,machine=7.2", 4, false, false);
}

/* [MFD-12] Pages of two passes do not overtake one another: SYNC stands between them. */
Test(wire_qevm, passes_keep_their_order) {
    static struct bench b;
    static struct reading r[4];
    open_wire(&b, "11.1", 4, 256);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, false);
    struct src_batch one = {.count = 1, .page_size = TEST_PAGE, .pages = {7}};
    for (unsigned pass = 0; pass < 20; pass++) {
        DO(&b, pages, &one);
        DO(&b, sync);
    }
    DO(&b, ram_end);
    DO(&b, devices, vms_slice("abc", 3), false);
    DO(&b, commit, 1, false);
    DO(&b, close);
    unsigned packets = 0, syncs = 0;
    for (unsigned i = 0; i < 4; i++) {
        new_reading(&b, &r[i]);
        decode(&b, 1 + i, VMS_QEVM_MULTIFD, &r[i]);
        packets += r[i].packets - r[i].syncs;
        syncs += r[i].syncs;
        free(r[i].image[0]);
        free(r[i].image[1]);
    }
    cr_expect_eq(packets, 20u);
    cr_expect_eq(syncs % 4, 0u);
    cr_expect_geq(syncs / 4, 21u);
    close_wire(&b);
}

/* ---- VFIO ---- */

/* [VFIO-1] [VFIO-3] Sections of a device; its config state comes behind every END. */
Test(wire_qevm, device_data) {
    static struct bench b;
    static struct reading r;
    static const struct src_wire_device device = {1, 1, "0000:00:02.0/vfio", 0};
    struct src_wire_owner owner = {on_event, on_request, on_received, on_note,
                                   on_uri,   on_session, &b.heard};
    open_wire(&b, "11.1", 0, 16);
    b.wire.ops->free(b.wire.ctx);
    b.options.devices = &device;
    b.options.device_count = 1;
    cr_assert_eq(src_wire_qevm(&b.options, &b.guest.guest, &owner, &b.wire, &b.err), VMS_OK);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, false);
    DO(&b, data, 1, SRC_DATA_SETUP, vms_slice(NULL, 0), true);
    DO(&b, data, 1, SRC_DATA_STATE, vms_slice("precopy", 7), false);
    send_all(&b);
    DO(&b, data, 1, SRC_DATA_INITIAL_SENT, vms_slice(NULL, 0), true);
    DO(&b, data, 1, SRC_DATA_CONFIG, vms_slice("config", 6), true);
    DO(&b, data, 1, SRC_DATA_STATE, vms_slice("stop", 4), true);
    DO(&b, ram_end);
    DO(&b, devices, vms_slice("abc", 3), false);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_not_null(
        strstr(r.names, "SECTION_START VFIO_SETUP_STATE VFIO_END_OF_STATE "
                        "SECTION_PART VFIO_DATA_STATE VFIO_END_OF_STATE SECTION_PART page RAM_EOS "
                        "SECTION_PART VFIO_INIT_DATA_SENT SWITCHOVER_START "
                        "SECTION_END VFIO_DATA_STATE VFIO_END_OF_STATE SECTION_END RAM_EOS "
                        "SECTION_FULL VFIO_CONFIG_STATE VFIO_END_OF_STATE SECTION_FULL EOF"),
        "%s", r.names);
    cr_expect_neq(b.wire.ops->data(b.wire.ctx, 9, SRC_DATA_STATE, vms_slice("x", 1), true, &b.err),
                  VMS_OK);
    expect_memory(&b, &r);
    close_wire(&b);
}

/* ---- postcopy ---- */

static void pong(struct bench *b) {
    static const uint8_t bytes[] = {0, 2, 0, 4, 0, 0, 0, 1};
    test_say(&b->peer, 0, bytes, sizeof bytes);
}

static void into_postcopy(struct bench *b) {
    uint64_t ranges[2 * 30];
    for (unsigned i = 0; i < 30; i++)
        ranges[2 * i] = 2 * i, ranges[2 * i + 1] = 1;
    DO(b, connect);
    DO(b, setup, &b->guest.guest, true);
    pong(b);
    DO(b, discard, 0, ranges, 30);
    DO(b, listen);
    DO(b, devices, vms_slice("abc", 3), true);
    DO(b, commit, 1, true);
}

/* [CMD-14] [PKG-2] [RAM-24] Into postcopy and to its end. */
Test(wire_qevm, postcopy_order) {
    static struct bench b;
    static struct reading r;
    open_wire(&b, "11.1", 0, 64);
    b.guest.blocks[0].page_size = 16 * TEST_PAGE;
    into_postcopy(&b);
    send_all(&b);
    DO(&b, end);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_str_eq(r.names,
                     "HEADER CONFIGURATION OPEN_RETURN_PATH PING POSTCOPY_ADVISE SECTION_START "
                     "RAM_MEM_SIZE RAM_BLOCK RAM_BLOCK RAM_EOS SWITCHOVER_START "
                     "POSTCOPY_RAM_DISCARD POSTCOPY_RAM_DISCARD POSTCOPY_RAM_DISCARD PING PACKAGED "
                     ".POSTCOPY_LISTEN .SECTION_FULL .PING .PING .POSTCOPY_RUN .PACKAGE_END PING "
                     "SECTION_PART page RAM_EOS SECTION_END RAM_EOS EOF ");
    expect_memory(&b, &r);
    close_wire(&b);
}

/* [PRE-1] [PRE-5] Only urgent pages go on the preempt channel, the first of them named. */
Test(wire_qevm, preempt) {
    static struct bench b;
    static struct reading r;
    struct src_wire_owner owner = {on_event, on_request, on_received, on_note,
                                   on_uri,   on_session, &b.heard};
    struct src_batch one = {.block = 1, .count = 2, .page_size = TEST_PAGE, .pages = {3, 5}};
    open_wire(&b, "11.1", 0, 64);
    b.wire.ops->free(b.wire.ctx);
    b.options.preempt = b.options.postcopy = true;
    cr_assert_eq(src_wire_qevm(&b.options, &b.guest.guest, &owner, &b.wire, &b.err), VMS_OK);
    into_postcopy(&b);
    DO(&b, urgent, &one);
    DO(&b, end);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 1, VMS_QEVM_PREEMPT, &r);
    cr_expect_str_eq(r.names, "page ");
    cr_expect(r.pages == 1 && r.zeros == 1);
    cr_expect(memcmp(r.image[1] + 3 * TEST_PAGE, b.guest.blocks[1].memory + 3 * TEST_PAGE,
                     TEST_PAGE) == 0);
    free(r.image[0]);
    free(r.image[1]);
    close_wire(&b);
}

/* ---- the return path ---- */

/* [RP-8] A request is passed on; QEVM's first shows that the guest runs there. */
Test(wire_qevm, requests) {
    static struct bench b;
    static const uint8_t request[] = {0, 3, 0,    19, 0, 0,   0,   0,   0,   0,   0x10, 0,
                                      0, 0, 0x10, 0,  6, 'p', 'c', '.', 'r', 'a', 'm'};
    open_wire(&b, "11.1", 0, 64);
    into_postcopy(&b);
    test_say(&b.peer, 0, request, sizeof request);
    cr_expect(wait_for(&b.heard, SRC_EV_RUNNING));
    b.wire.ops->abort(b.wire.ctx, NULL);
    cr_expect(wait_for(&b.heard, SRC_EV_CUT));
    cr_expect(b.heard.requests == 1 && b.heard.request_offset == 0x1000);
    close_wire(&b);
}

static void refuse(const uint8_t *bytes, size_t len, enum vms_code code) {
    static struct bench b;
    open_wire(&b, "11.1", 0, 64);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, true);
    test_say(&b.peer, 0, bytes, len);
    cr_expect(wait_for(&b.heard, SRC_EV_ABORT));
    cr_expect_eq(b.heard.why.code, code, "%s: %s", vms_code_name(b.heard.why.code),
                 b.heard.why.message);
    cr_expect_eq(b.heard.requests, UINT64_C(0));
    close_wire(&b);
}

#define REFUSE(code, ...)                                                                          \
    do {                                                                                           \
        static const uint8_t bytes[] = {__VA_ARGS__};                                              \
        refuse(bytes, sizeof bytes, code);                                                         \
    } while (0)

/* [RP-1] [RP-8] [RP-13] What a destination must not say. */
Test(wire_qevm, bad_replies) {
    REFUSE(VMS_E_RP_TYPE, 0, 0, 0, 4, 0, 0, 0, 0);
    REFUSE(VMS_E_SRC_RP_UNASKED, 0, 6, 0, 4, 0, 0, 0, 1);
    REFUSE(VMS_E_SRC_RP_UNASKED, 0, 5, 0, 7, 6, 'p', 'c', '.', 'r', 'a', 'm', 0, 0, 0, 0, 0, 0, 0,
           8);
    REFUSE(VMS_E_RAM_BLOCK_UNKNOWN, 0, 3, 0, 14, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x10, 0, 1, 'x');
    REFUSE(VMS_E_RAM_OFFSET, 0, 3, 0, 19, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x10, 0, 6, 'p', 'c', '.',
           'r', 'a', 'm');
    REFUSE(VMS_E_RAM_OFFSET, 0, 3, 0, 19, 0, 0, 0, 0, 0, 0, 0x10, 0, 0xff, 0xff, 0xf0, 0, 6, 'p',
           'c', '.', 'r', 'a', 'm');
    REFUSE(VMS_E_RP_ALIGNMENT, 0, 3, 0, 19, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0, 0x10, 0, 6, 'p', 'c',
           '.', 'r', 'a', 'm');
}

/* ---- recovery ---- */

/* [REC-1] [REC-5] [RP-4] A new connection without a header; RESUME when all bitmaps are in. */
Test(wire_qevm, recovery) {
    static struct bench b;
    static const uint8_t bitmap[] = {0, 5, 0, 7,    6,    'p',  'c',  '.',  'r',  'a',  'm', 0,
                                     0, 0, 0, 0,    0,    0,    8,    1,    2,    3,    4,   5,
                                     6, 7, 8, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t bios[] = {0, 5, 0, 8, 7,    'p',  'c',  '.',  'b',  'i',  'o',  's',
                                   0, 0, 0, 0, 0,    0,    0,    8,    0,    0,    0,    0,
                                   0, 0, 0, 0, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t ack[] = {0, 6, 0, 4, 0, 0, 0, 1};
    open_wire(&b, "11.1", 0, 64);
    into_postcopy(&b);
    test_hang_up(&b.peer, 0);
    cr_expect(wait_for(&b.heard, SRC_EV_CUT));
    DO(&b, reconnect);
    DO(&b, ask_bitmaps);
    test_say(&b.peer, 1, bios, sizeof bios);
    test_say(&b.peer, 1, bitmap, sizeof bitmap);
    cr_expect(wait_for(&b.heard, SRC_EV_BITMAPS));
    cr_expect_eq(b.heard.received, (size_t)16);
    DO(&b, resume);
    test_say(&b.peer, 1, ack, sizeof ack);
    cr_expect(wait_for(&b.heard, SRC_EV_RESUME_ACK));
    struct test_channel *c = test_wait(&b.peer, 1, 12 + 13 + 5);
    static const uint8_t want[] = {8, 0, 10, 0,   7,   6,   'p', 'c', '.', 'r', 'a', 'm', 8, 0, 10,
                                   0, 8, 7,  'p', 'c', '.', 'b', 'i', 'o', 's', 8,   0,   9, 0, 0};
    cr_expect(c->len == sizeof want && memcmp(c->bytes, want, sizeof want) == 0);
    close_wire(&b);
}

/* ---- on every channel ---- */

static void check_channel(struct bench *b, unsigned i, enum vms_qevm_kind kind) {
    static struct reading r;
    static const uint8_t multifd[4] = {0x11, 0x22, 0x33, 0x44};
    const struct test_channel *c = test_wait(&b->peer, i, SIZE_MAX);
    new_reading(b, &r);
    decode(b, i, kind, &r);
    cr_expect(memcmp(c->bytes, multifd, 4) == 0 ? kind == VMS_QEVM_MULTIFD
                                                : kind != VMS_QEVM_MULTIFD,
              "connection %u is not %s", i, vms_qevm_kind_name(kind));
    cr_expect_eq(r.headers, (unsigned)(kind == VMS_QEVM_MAIN), "connection %u", i);
    cr_expect_eq(r.unnamed, 0u, "connection %u", i);
    free(r.image[0]);
    free(r.image[1]);
}

static void every_channel(const char *dialect, unsigned channels, bool preempt) {
    static struct bench b;
    struct src_wire_owner owner = {on_event, on_request, on_received, on_note,
                                   on_uri,   on_session, &b.heard};
    struct src_batch one = {.block = 1, .count = 2, .page_size = TEST_PAGE, .pages = {3, 5}};
    open_wire(&b, dialect, channels, 64);
    b.wire.ops->free(b.wire.ctx);
    b.options.preempt = preempt;
    b.options.postcopy = true;
    cr_assert_eq(src_wire_qevm(&b.options, &b.guest.guest, &owner, &b.wire, &b.err), VMS_OK);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, true);
    pong(&b);
    send_all(&b);
    DO(&b, sync);
    DO(&b, listen);
    DO(&b, devices, vms_slice("abc", 3), true);
    DO(&b, commit, 1, true);
    if (preempt)
        DO(&b, urgent, &one);
    DO(&b, pages, &one);
    DO(&b, end);
    DO(&b, close);
    check_channel(&b, 0, VMS_QEVM_MAIN);
    for (unsigned i = 1; i <= channels; i++)
        check_channel(&b, i, VMS_QEVM_MULTIFD);
    if (preempt)
        check_channel(&b, channels + 1, VMS_QEVM_PREEMPT);
    close_wire(&b);
}

/* [HOST-11] [HDR-4] [RAM-26] Main first, multifd next, preempt last; one header; each channel names
 * its block in its first page record, and main once more behind the package. */
Test(wire_qevm, every_channel) {
    every_channel("11.1", 0, true);
    every_channel("qemu=7.2,machine=7.2", 0, true);
    every_channel("qemu=7.2,machine=7.2", 2, false);
    every_channel("11.1", 3, true);
}

/* [HDR-4] [RAM-26] [REC-1] So does the connection behind a cut, which has no header. */
Test(wire_qevm, names_after_a_recovery) {
    static struct bench b;
    static const uint8_t ack[] = {0, 6, 0, 4, 0, 0, 0, 1};
    struct src_batch one = {.block = 1, .count = 2, .page_size = TEST_PAGE, .pages = {3, 5}};
    open_wire(&b, "11.1", 0, 64);
    into_postcopy(&b);
    DO(&b, pages, &one);
    DO(&b, flush);
    test_hang_up(&b.peer, 0);
    cr_expect(wait_for(&b.heard, SRC_EV_CUT));
    DO(&b, reconnect);
    DO(&b, resume);
    test_say(&b.peer, 1, ack, sizeof ack);
    cr_expect(wait_for(&b.heard, SRC_EV_RESUME_ACK));
    DO(&b, pages, &one);
    DO(&b, end);
    DO(&b, close);
    check_channel(&b, 1, VMS_QEVM_RECOVERY);
    close_wire(&b);
}
