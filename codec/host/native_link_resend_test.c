/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What a link sends again after a cut, octet by octet beside what it had sent: through a proxy that
 * keeps the one direction, with a suite whose frames anybody can read. */

enum {
    WAIT_MS = 20000,
    CUTS = 3,
    CONNECTIONS = 16,
    FRAMES = 60,
    BULK = 4000,
};

struct connection {
    uint8_t *bytes;
    size_t len;
};

struct proxy {
    struct sockaddr_un from, to;
    int listener;
    size_t cut_after; /* octets of each of the first CUTS connections */
    struct connection connections[CONNECTIONS];
    unsigned count;
    pthread_t thread;
};

static void keep(struct connection *c, const uint8_t *bytes, size_t n) {
    c->bytes = realloc(c->bytes, c->len + n);
    memcpy(c->bytes + c->len, bytes, n);
    c->len += n;
}

/* to -1: nowhere. False: one side has ended. */
static bool carry(int from, int to, struct connection *c) {
    uint8_t buffer[4096];
    ssize_t n = read(from, buffer, sizeof buffer);
    if (n <= 0)
        return false;
    if (c)
        keep(c, buffer, (size_t)n);
    if (to < 0)
        return true;
    return send(to, buffer, (size_t)n, MSG_NOSIGNAL) == n;
}

static void one_connection(struct proxy *p, int from) {
    struct connection *c = &p->connections[p->count];
    size_t most = p->count < CUTS ? p->cut_after : SIZE_MAX;
    int to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool up = connect(to, (struct sockaddr *)&p->to, sizeof p->to) == 0;
    p->count++;
    while (up && c->len < most) {
        struct pollfd fds[2] = {{from, POLLIN, 0}, {to, POLLIN, 0}};
        up = poll(fds, 2, WAIT_MS) > 0;
        bool lost = most != SIZE_MAX && c->len > most / 2; /* what was sent and did not arrive */
        if (up && fds[0].revents)
            up = carry(from, lost ? -1 : to, c);
        if (up && fds[1].revents)
            up = carry(to, from, NULL);
    }
    close(from);
    close(to);
}

static void *run_proxy(void *arg) {
    struct proxy *p = arg;
    for (int fd; p->count < CONNECTIONS && (fd = accept(p->listener, NULL, NULL)) >= 0;)
        one_connection(p, fd);
    return NULL;
}

static void open_proxy(struct proxy *p, const char *dir) {
    p->from.sun_family = p->to.sun_family = AF_UNIX;
    (void)snprintf(p->from.sun_path, sizeof p->from.sun_path, "%s/p", dir);
    (void)snprintf(p->to.sun_path, sizeof p->to.sun_path, "%s/s", dir);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(p->listener, (struct sockaddr *)&p->from, sizeof p->from), 0);
    cr_assert_eq(listen(p->listener, 8), 0);
    cr_assert_eq(pthread_create(&p->thread, NULL, run_proxy, p), 0);
}

/* ---- reading what passed ---- */

static uint64_t be(const uint8_t *at, unsigned n) {
    uint64_t v = 0;
    while (n--)
        v = v << 8 | *at++;
    return v;
}

struct frame {
    const uint8_t *at; /* header, body, bulk */
    size_t len;        /* without the tag */
    uint32_t epoch;
    uint64_t sequence;
};

enum {
    HEADER = 32,
    LABEL = 12,
    TAG = 4, /* CRC32C */
    HELLO_LAST = 6,
};

/* The next whole DATA or control frame of an epoch; frames of class HELLO are passed over. */
static bool next_frame(const struct connection *c, size_t *pos, struct frame *f) {
    for (;;) {
        const uint8_t *h = c->bytes + *pos;
        if (c->len - *pos < HEADER)
            return false;
        size_t len = HEADER + be(h + 24, 4) + be(h + 28, 4);
        if (c->len - *pos < len + TAG)
            return false;
        cr_assert_eq(memcmp(h, "VMSF", 4), 0);
        *pos += len + TAG;
        *f = (struct frame){h, len, (uint32_t)be(h + 12, 4), be(h + 16, 8)};
        if (f->epoch > 0)
            return true;
    }
}

/* ---- the two ends ---- */

static void *open_destination(void *arg) {
    struct vms_error err;
    (void)vms_native_link_open(arg, &err);
    return NULL;
}

/* All of them once, in their order. */
static void *receive_all(void *arg) {
    struct vms_native_link_event ev;
    struct vms_error err;
    uint64_t n = 0;
    while (vms_native_link_receive(arg, 0, &ev, &err) == VMS_OK && ev.frame)
        if (ev.frame->header.type == VMS_NATIVE_OPAQUE) {
            cr_expect_eq(ev.frame->u.opaque.offset, n * BULK);
            cr_expect_eq(ev.bulk.len, BULK - n);
            n++;
        }
    cr_expect(n == 0 || n == FRAMES, "%llu frames", (unsigned long long)n);
    return NULL;
}

/* held: some leave with the next, as a worker sends them that has another job. */
static void send_one(struct vms_native_link *l, unsigned n, bool held) {
    static uint8_t octets[FRAMES][BULK]; /* read again when they are sent again */
    struct vms_error err;
    for (unsigned i = 0; i < BULK; i++)
        octets[n][i] = (uint8_t)(n * 7 + i / 3);
    struct vms_slice bulk = vms_slice(octets[n], BULK - n);
    struct vms_native_out out = {.bulk = &bulk, .bulk_count = 1};
    out.frame.header.type = VMS_NATIVE_OPAQUE;
    out.frame.u.opaque = (struct vms_native_opaque){n * BULK, n + 1 == FRAMES};
    enum vms_code code = held ? vms_native_link_send_pages(l, 0, &out, n % 5 != 0, &err)
                              : vms_native_link_send(l, 0, &out, &err);
    cr_assert_eq(code, VMS_OK, "%s", err.message);
}

struct ends {
    struct vms_native_link *s, *d;
    struct vms_listener *listener;
    struct vms_native_link_config source, destination;
    char dir[64];
};

/* The source connects to DIR/through, the destination listens at DIR/s. */
static void configure(struct ends *e, const char *through, struct vms_uri *to) {
    static uint32_t suites[1] = {VMS_SUITE_NONE};
    struct vms_channel_options o = vms_channel_options_default();
    struct vms_uri listen_on;
    struct vms_error err;
    char text[128];
    (void)strcpy(e->dir, "/tmp/vms-resend-XXXXXX");
    cr_assert(mkdtemp(e->dir));
    (void)snprintf(text, sizeof text, "unix:%s/s", e->dir);
    cr_assert_eq(vms_uri_parse(text, &listen_on, &err), VMS_OK);
    (void)snprintf(text, sizeof text, "unix:%s/%s", e->dir, through);
    cr_assert_eq(vms_uri_parse(text, to, &err), VMS_OK);
    o.defer_handshake = true;
    cr_assert_eq(vms_listener_open(&listen_on, &o, &e->listener, &err), VMS_OK);
    e->source = e->destination = vms_native_link_config_default();
    e->source.uri = to;
    e->source.suites = suites;
    e->source.suite_count = 1;
    e->destination.role = VMS_ROLE_DESTINATION;
    e->destination.listener = e->listener;
    e->destination.open_ms = e->source.open_ms = WAIT_MS;
}

static void open_ends(struct ends *e) {
    struct vms_error err;
    pthread_t opener;
    e->s = vms_native_link_new(&e->source, &err);
    e->d = vms_native_link_new(&e->destination, &err);
    pthread_create(&opener, NULL, open_destination, e->d);
    cr_assert_eq(vms_native_link_open(e->s, &err), VMS_OK, "%s", err.message);
    pthread_join(opener, NULL);
}

static void close_ends(struct ends *e) {
    vms_native_link_free(e->s);
    vms_native_link_free(e->d);
    vms_listener_close(e->listener);
    (void)rmdir(e->dir);
}

static void migrate(struct proxy *p) {
    struct ends e;
    struct vms_uri to;
    struct vms_error err;
    pthread_t receivers[2]; /* the source's: acknowledgements */
    configure(&e, "p", &to);
    open_proxy(p, e.dir);
    open_ends(&e);
    pthread_create(&receivers[0], NULL, receive_all, e.s);
    pthread_create(&receivers[1], NULL, receive_all, e.d);
    for (unsigned i = 0; i < FRAMES; i++)
        send_one(e.s, i, false);
    cr_assert_eq(vms_native_link_end(e.s, &err), VMS_OK, "%s", err.message);
    cr_expect_eq(vms_native_link_drain(e.d, &err), VMS_OK, "%s", err.message);
    vms_native_link_close(e.s);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(receivers[i], NULL);
    shutdown(p->listener, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listener);
    (void)unlink(p->from.sun_path);
    close_ends(&e);
}

/* [RSM-10] */
Test(native_link_resend, the_same_but_for_the_epoch, .timeout = 60) {
    struct frame seen[4 * FRAMES] = {{0}}, f;
    struct proxy p = {.cut_after = 50000};
    unsigned again = 0;
    migrate(&p);
    for (unsigned i = 0; i < p.count; i++)
        for (size_t pos = LABEL; next_frame(&p.connections[i], &pos, &f);) {
            cr_assert_lt(f.sequence, sizeof seen / sizeof *seen);
            struct frame *before = &seen[f.sequence];
            if (before->at) {
                again++;
                cr_expect_gt(f.epoch, before->epoch);
                cr_expect(f.len == before->len && memcmp(f.at, before->at, 12) == 0 &&
                              memcmp(f.at + 16, before->at + 16, f.len - 16) == 0,
                          "frame %llu", (unsigned long long)f.sequence);
            }
            *before = f;
        }
    cr_expect_gt(p.count, (unsigned)CUTS);
    cr_expect_gt(again, 0u);
    for (unsigned i = 0; i < p.count; i++)
        free(p.connections[i].bytes);
}

static void cut(struct vms_native_link *l) {
    struct vms_error ignored;
    uint32_t before = vms_native_link_resumes(l);
    pthread_mutex_lock(&l->mutex);
    if (l->channels[0].conn)
        (void)vms_channel_shutdown(l->channels[0].conn->io, VMS_SHUT_BOTH, &ignored);
    pthread_mutex_unlock(&l->mutex);
    while (vms_native_link_resumes(l) == before)
        sched_yield();
}

/* [RSM-10] What was sealed for a connection, and waited there for more when it was cut, comes again
 * on the next one, once. */
Test(native_link_resend, held_back_and_cut, .timeout = 60) {
    struct ends e;
    struct vms_uri to;
    struct vms_error err;
    pthread_t receivers[2];
    configure(&e, "s", &to);
    open_ends(&e);
    pthread_create(&receivers[0], NULL, receive_all, e.s);
    pthread_create(&receivers[1], NULL, receive_all, e.d);
    for (unsigned i = 0; i < FRAMES; i++) {
        send_one(e.s, i, true);
        if (i % 20 == 7)
            cut(e.s);
    }
    cr_assert_eq(vms_native_link_end(e.s, &err), VMS_OK, "%s", err.message);
    vms_native_link_close(e.s);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(receivers[i], NULL);
    close_ends(&e);
}

/* The end of a frame that waits for more leaves when it is told to, and not before. */
Test(native_link_resend, held_back_until_flushed, .timeout = 60) {
    struct ends e;
    struct vms_uri to;
    struct vms_error err;
    struct vms_native_link_event ev;
    configure(&e, "s", &to);
    open_ends(&e);
    uint64_t before = vms_native_link_channel_bytes(e.s, 0);
    send_one(e.s, 1, true);
    cr_expect_eq(vms_native_link_channel_bytes(e.s, 0), before);
    vms_native_link_flush(e.s, 0);
    cr_expect_gt(vms_native_link_channel_bytes(e.s, 0), before + BULK);
    cr_assert_eq(vms_native_link_receive(e.d, 0, &ev, &err), VMS_OK, "%s", err.message);
    cr_assert(ev.frame && ev.bulk.len == BULK - 1);
    close_ends(&e);
}

/* ---- news ---- */

static char news[16];

static void on_changed(void *ctx, bool up, const struct vms_error *why) {
    (void)ctx;
    cr_expect_eq(up, why == NULL);
    (void)strcat(news, up ? "u" : "d");
}

/* [HND-1] Two cuts that their finders had no time to tell of are told in their order, each with its
 * resumption, by whoever comes first; and then nothing is left to tell. */
Test(native_link_resend, every_cut_is_told_once, .timeout = 60) {
    struct ends e;
    struct vms_uri to;
    configure(&e, "s", &to);
    e.source.changed = e.destination.changed = on_changed;
    open_ends(&e);
    struct vms_native_link *const links[] = {e.s, e.d};
    for (int i = 0; i < 2; i++) {
        news[0] = 0;
        pthread_mutex_lock(&links[i]->mutex);
        links[i]->cuts += 2;
        pthread_mutex_unlock(&links[i]->mutex);
        link_tell(links[i]);
        link_tell(links[i]);
        cr_expect_str_eq(news, "dudu");
    }
    close_ends(&e);
}

/* ---- kinds ---- */

static _Atomic uint32_t kinds[8]; /* by channel, as the destination was told */

static void on_attached(void *ctx, uint16_t channel, uint32_t kind) {
    (void)ctx;
    kinds[channel] = kind + 1;
}

/* [NAT-67] What a channel of QEMU's is, the destination learns from ATTACH; the numbers are those
 * of the clause. */
Test(native_link_resend, attach_tells_the_kind, .timeout = 60) {
    static const enum vms_qevm_kind qevm[] = {VMS_QEVM_MAIN, VMS_QEVM_RECOVERY, VMS_QEVM_MULTIFD,
                                              VMS_QEVM_PREEMPT, VMS_QEVM_RETURN_PATH};
    struct ends e;
    struct vms_uri to;
    struct vms_error err;
    configure(&e, "s", &to);
    e.destination.attached = on_attached;
    open_ends(&e);
    for (uint16_t kind = 0; kind <= 5; kind++) {
        cr_assert_eq(vms_native_link_attach(e.s, kind + 1, kind, &err), VMS_OK, "%s", err.message);
        while (!kinds[kind + 1])
            sched_yield();
        cr_expect_eq(kinds[kind + 1], kind + 1u);
        cr_expect(kind == 0 || (unsigned)qevm[kind - 1] + 1 == kind, "the relay sends it so");
    }
    close_ends(&e);
}
