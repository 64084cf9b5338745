/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Two links in one process, over unix sockets. Every channel carries OPAQUE frames whose octets
 * follow from their place, so that one that is lost, doubled or out of order is seen.
 */
enum {
    CHANNELS = 4, /* main and three more */
    WAIT_MS = 20000,
};

static const char KEYS[] = "one:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
                           "two:ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n";
static const char OTHER_KEYS[] =
    "one:a0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

struct pair {
    char dir[64];
    struct vms_uri uri;
    struct vms_listener *listener;
    struct vms_native_link_config source, destination;
    struct vms_native_link *s, *d;
    struct vms_error s_err, d_err;
    uint64_t bytes; /* to send on each channel, and back on the main one */
    uint32_t bulk_max;
    _Atomic uint64_t got[CHANNELS + 1]; /* the last: the direction back */
    _Atomic unsigned wrong;
    atomic_bool back_done;
};

static uint8_t octet(unsigned channel, uint64_t at) {
    return (uint8_t)((at * 2654435761u >> 13) + at / 4096 + channel * 37);
}

static void make(struct pair *p, const char *keys, uint32_t suite) {
    static uint32_t suites[4];
    char text[128];
    memset(p, 0, sizeof *p);
    (void)strcpy(p->dir, "/tmp/vms-link-XXXXXX");
    cr_assert(mkdtemp(p->dir));
    (void)snprintf(text, sizeof text, "unix:%s/s", p->dir);
    struct vms_error err;
    struct vms_channel_options o = vms_channel_options_default();
    o.defer_handshake = true;
    o.open_timeout_ms = WAIT_MS;
    cr_assert_eq(vms_uri_parse(text, &p->uri, &err), VMS_OK);
    cr_assert_eq(vms_listener_open(&p->uri, &o, &p->listener, &err), VMS_OK, "%s", err.message);
    p->source = p->destination = vms_native_link_config_default();
    suites[suite] = suite;
    p->source.uri = &p->uri;
    p->source.suites = &suites[suite];
    p->source.suite_count = 1;
    p->destination.role = VMS_ROLE_DESTINATION;
    p->destination.listener = p->listener;
    p->destination.open_ms = WAIT_MS;
    p->source.psk = p->destination.psk = keys ? vms_str(keys) : vms_slice(NULL, 0);
    p->bytes = 1 << 20;
    p->bulk_max = 40000;
}

static void *open_destination(void *arg) {
    struct pair *p = arg;
    (void)vms_native_link_open(p->d, &p->d_err);
    return NULL;
}

/* Both codes are of s_err and d_err. */
static void open_pair(struct pair *p) {
    pthread_t t;
    p->s = vms_native_link_new(&p->source, &p->s_err);
    cr_assert(p->s, "%s", p->s_err.message);
    p->d = vms_native_link_new(&p->destination, &p->d_err);
    cr_assert(p->d, "%s", p->d_err.message);
    pthread_create(&t, NULL, open_destination, p);
    (void)vms_native_link_open(p->s, &p->s_err);
    pthread_join(t, NULL);
}

static void free_pair(struct pair *p) {
    vms_native_link_free(p->s);
    vms_native_link_free(p->d);
    vms_listener_close(p->listener);
    (void)rmdir(p->dir);
}

struct flow {
    struct pair *p;
    unsigned channel; /* CHANNELS: back on the main channel */
};

static struct vms_native_link *sender_of(struct flow *f) {
    return f->channel == CHANNELS ? f->p->d : f->p->s;
}

static bool send_octets(struct flow *f, uint64_t at, uint32_t n, bool last) {
    struct vms_error err;
    uint8_t *mem = malloc(n ? n : 1);
    for (uint32_t i = 0; i < n; i++)
        mem[i] = octet(f->channel, at + i);
    struct vms_slice bulk = vms_slice(mem, n);
    struct vms_native_out out = {.bulk = &bulk, .bulk_count = n ? 1 : 0};
    out.frame.header.type = VMS_NATIVE_OPAQUE;
    out.frame.u.opaque = (struct vms_native_opaque){at, last};
    uint16_t channel = (uint16_t)(f->channel % CHANNELS);
    bool ok = vms_native_link_send(sender_of(f), channel, &out, &err) == VMS_OK;
    free(mem);
    return ok;
}

static void *send_main(void *arg) {
    struct flow *f = arg;
    unsigned seed = 7 + f->channel;
    uint64_t at = 0;
    bool ok = true;
    while (ok && at < f->p->bytes) {
        uint32_t n = (uint32_t)rand_r(&seed) % f->p->bulk_max + 1;
        n = n < f->p->bytes - at ? n : (uint32_t)(f->p->bytes - at);
        ok = send_octets(f, at, n, false);
        at += n;
    }
    if (ok)
        (void)send_octets(f, at, 0, true);
    return NULL;
}

static void check(struct flow *f, const struct vms_native_link_event *ev) {
    uint64_t at = atomic_load(&f->p->got[f->channel]);
    bool wrong = ev->frame->header.type != VMS_NATIVE_OPAQUE || ev->frame->u.opaque.offset != at;
    for (size_t i = 0; i < ev->bulk.len; i++)
        wrong |= ev->bulk.ptr[i] != octet(f->channel, at + i);
    if (wrong)
        atomic_fetch_add(&f->p->wrong, 1);
    atomic_store(&f->p->got[f->channel], at + ev->bulk.len);
}

/* The main channel's receivers go on to the session's end. */
static void *receive_main(void *arg) {
    struct flow *f = arg;
    struct vms_native_link *l = f->channel == CHANNELS ? f->p->s : f->p->d;
    struct vms_native_link_event ev;
    struct vms_error err;
    bool main_channel = f->channel % CHANNELS == 0, last = false;
    while ((main_channel || !last) &&
           vms_native_link_receive(l, (uint16_t)(f->channel % CHANNELS), &ev, &err) == VMS_OK &&
           ev.frame) {
        check(f, &ev);
        last |= ev.frame->u.opaque.last;
        if (last && f->channel == CHANNELS)
            atomic_store(&f->p->back_done, true);
    }
    return NULL;
}

/* All bytes both ways; *status is that of END. */
static void transfer(struct pair *p) {
    pthread_t senders[CHANNELS + 1], receivers[CHANNELS + 1];
    struct flow flows[CHANNELS + 1];
    struct vms_error err;
    for (unsigned i = 0; i < CHANNELS + 1; i++)
        flows[i] = (struct flow){p, i};
    for (uint16_t i = 1; i < CHANNELS; i++)
        cr_assert_eq(vms_native_link_attach(p->s, i, 3, &err), VMS_OK, "%s", err.message);
    for (unsigned i = 0; i < CHANNELS + 1; i++) {
        pthread_create(&receivers[i], NULL, receive_main, &flows[i]);
        pthread_create(&senders[i], NULL, send_main, &flows[i]);
    }
    for (unsigned i = 0; i < CHANNELS + 1; i++)
        pthread_join(senders[i], NULL);
    cr_expect_eq(vms_native_link_end(p->s, &p->s_err), VMS_OK, "%s", p->s_err.message);
    cr_expect_eq(vms_native_link_drain(p->d, &p->d_err), VMS_OK, "%s", p->d_err.message);
    while (!atomic_load(&p->back_done) && p->s_err.code == VMS_OK)
        (void)usleep(1000);
    vms_native_link_close(p->s);
    for (unsigned i = 0; i < CHANNELS + 1; i++)
        pthread_join(receivers[i], NULL);
}

static void expect_all(struct pair *p) {
    cr_expect_eq(atomic_load(&p->wrong), 0);
    for (unsigned i = 0; i < CHANNELS + 1; i++)
        cr_expect_eq(atomic_load(&p->got[i]), p->bytes, "flow %u: %llu of %llu", i,
                     (unsigned long long)p->got[i], (unsigned long long)p->bytes);
    cr_expect_not(p->d->failed, "%s", p->d->error.message);
    cr_expect_not(p->s->failed, "%s", p->s->error.message);
}

/* [SES-5] [SES-20] [RSM-2] [RSM-5] */
Test(native_link, every_suite, .timeout = 120) {
    for (uint32_t suite = VMS_SUITE_NONE; suite <= VMS_SUITE_CHACHA20_POLY1305; suite++) {
        struct pair p;
        make(&p, suite ? KEYS : NULL, suite);
        open_pair(&p);
        cr_assert_eq(p.s_err.code, VMS_OK, "%s", p.s_err.message);
        cr_assert_eq(p.d_err.code, VMS_OK, "%s", p.d_err.message);
        cr_expect_eq(vms_native_link_agreement(p.d)->suite, suite);
        transfer(&p);
        expect_all(&p);
        free_pair(&p);
    }
}

/* [RSM-15] The destination reads nothing before the source has filled more than one room; had one
 * been filled again, the tag would be wrong. */
Test(native_link, lent_until_acknowledged, .timeout = 120) {
    for (uint32_t suite = VMS_SUITE_NONE; suite <= VMS_SUITE_AES_256_GCM; suite += 2) {
        struct pair p;
        pthread_t sender, receiver;
        struct flow f = {&p, 1};
        make(&p, suite ? KEYS : NULL, suite);
        p.bytes = 8 << 20;
        p.bulk_max = 900000;
        open_pair(&p);
        cr_assert_eq(p.d_err.code, VMS_OK, "%s", p.d_err.message);
        cr_assert_eq(vms_native_link_attach(p.s, 1, 3, &p.s_err), VMS_OK, "%s", p.s_err.message);
        pthread_create(&sender, NULL, send_main, &f);
        while (vms_native_link_channel_bytes(p.s, 1) < LINK_ROOM + LINK_LEND_MIN)
            (void)usleep(1000);
        pthread_create(&receiver, NULL, receive_main, &f);
        pthread_join(receiver, NULL);
        pthread_join(sender, NULL);
        cr_expect_eq(atomic_load(&p.wrong), 0);
        cr_expect_eq(atomic_load(&p.got[1]), p.bytes);
        cr_expect_not(p.d->failed, "%s", p.d->error.message);
        free_pair(&p);
    }
}

struct saboteur {
    struct pair *p;
    unsigned seed, cuts;
    atomic_bool stop;
};

/* Cuts a connection of either end at any place. */
static void cut_one(struct saboteur *s) {
    struct vms_native_link *l = rand_r(&s->seed) % 2 ? s->p->s : s->p->d;
    struct vms_error ignored;
    pthread_mutex_lock(&l->mutex);
    struct link_conn *c = l->channels[(unsigned)rand_r(&s->seed) % CHANNELS].conn;
    bool safe = !l->closing && !l->over && l->session.state == VMS_SES_OPEN;
    if (c && safe) {
        (void)vms_channel_shutdown(c->io, VMS_SHUT_BOTH, &ignored);
        s->cuts++;
    }
    pthread_mutex_unlock(&l->mutex);
}

static void *sabotage(void *arg) {
    struct saboteur *s = arg;
    while (!atomic_load(&s->stop)) {
        (void)usleep((useconds_t)(rand_r(&s->seed) % 20000));
        cut_one(s);
    }
    return NULL;
}

/* [RSM-1] [RSM-6] [RSM-7] [RSM-8] [RSM-12] [SEAL-26] [RLY-9] [RLY-13]: nothing is lost or doubled,
 * wherever it is cut. */
Test(native_link, cut_anywhere, .timeout = 300) {
    unsigned cuts = 0;
    for (unsigned round = 0; round < 6; round++) {
        struct pair p;
        pthread_t t;
        struct saboteur s = {.p = &p, .seed = 11 + round};
        make(&p, round % 4 ? KEYS : NULL, round % 4);
        p.bytes = 8 << 20;
        p.source.limits.native_replay_bytes = p.destination.limits.native_replay_bytes = 1 << 20;
        p.source.limits.seal_key_frames = p.destination.limits.seal_key_frames = 50;
        open_pair(&p);
        cr_assert_eq(p.d_err.code, VMS_OK, "%s", p.d_err.message);
        pthread_create(&t, NULL, sabotage, &s);
        transfer(&p);
        atomic_store(&s.stop, true);
        pthread_join(t, NULL);
        expect_all(&p);
        cuts += s.cuts;
        fprintf(stderr, "round %u: %u cuts, %u resumes, %llu of %llu frames again, %u rekeys\n",
                round, s.cuts, p.s->stats.resumes, (unsigned long long)p.s->stats.resends,
                (unsigned long long)p.s->stats.frames_out, p.s->stats.rekeys);
        free_pair(&p);
    }
    cr_expect_gt(cuts, 3);
}

/* [RSM-4] [RLY-12] Who gets no ACK stops, and holds no more than was agreed. */
Test(native_link, bound_of_replay, .timeout = 60) {
    struct pair p;
    pthread_t t;
    make(&p, KEYS, VMS_SUITE_AES_256_GCM);
    p.source.limits.native_replay_bytes = 256 << 10;
    open_pair(&p);
    struct flow f = {&p, 0};
    pthread_create(&t, NULL, send_main, &f); /* nobody receives at the destination */
    for (int i = 0; i < 1000 && vms_native_link_stats(p.s).stalls == 0; i++)
        (void)usleep(10000);
    struct vms_native_link_stats stats = vms_native_link_stats(p.s);
    cr_expect_gt(stats.stalls, 0);
    cr_expect_leq(stats.kept_max, 300u << 10);
    vms_native_link_abort(p.d, &(struct vms_error){.code = VMS_E_LIMIT, .clause = "LIM-1"});
    struct vms_native_link_event ev;
    cr_expect_eq(vms_native_link_receive(p.s, 0, &ev, &p.s_err), VMS_E_SESSION_ABORTED, "%s",
                 p.s_err.message);
    pthread_join(t, NULL);
    free_pair(&p);
}

/* [SES-23] The peer gave up: who finds another connection gone lets the reason be read. */
Test(native_link, the_reason_waits_on_main, .timeout = 300) {
    struct pair p;
    pthread_t t;
    struct vms_native_link_event ev;
    struct vms_error err;
    make(&p, KEYS, VMS_SUITE_AES_256_GCM);
    open_pair(&p);
    struct flow f = {&p, 1};
    cr_assert_eq(vms_native_link_attach(p.s, 1, 0, &err), VMS_OK);
    cr_assert(send_octets(&f, 0, 1000, false));
    cr_assert_eq(vms_native_link_receive(p.d, 1, &ev, &err), VMS_OK);
    vms_native_link_abort(p.d, &(struct vms_error){.code = VMS_E_LIMIT, .clause = "LIM-1"});
    vms_listener_shutdown(p.listener); /* as if it was gone */
    pthread_create(&t, NULL, send_main, &f);
    for (int i = 0; i < 20; i++) { /* the sender finds it first */
        pthread_mutex_lock(&p.s->mutex);
        bool cut = !p.s->channels[1].conn;
        pthread_mutex_unlock(&p.s->mutex);
        if (cut)
            break;
        (void)usleep(1000);
    }
    cr_expect_eq(vms_native_link_receive(p.s, 0, &ev, &p.s_err), VMS_E_SESSION_ABORTED, "%s",
                 p.s_err.message);
    cr_expect(strstr(p.s_err.message, "LIMIT"), "%s", p.s_err.message);
    pthread_join(t, NULL);
    free_pair(&p);
}

static enum vms_code refused(const char *source_keys, const char *destination_keys,
                             uint32_t source_suite, uint32_t destination_suite,
                             enum vms_code *at_source) {
    struct pair p;
    static uint32_t lists[2];
    make(&p, source_keys, source_suite);
    lists[0] = source_suite;
    lists[1] = destination_suite;
    p.source.suites = &lists[0];
    p.destination.suites = &lists[1];
    p.destination.suite_count = 1;
    p.destination.psk = destination_keys ? vms_str(destination_keys) : vms_slice(NULL, 0);
    p.destination.open_ms = 1000;
    open_pair(&p);
    *at_source = p.s_err.code;
    enum vms_code code = vms_native_link_refused(p.d).code;
    cr_expect_neq(p.d_err.code, VMS_OK);
    free_pair(&p);
    return code;
}

/* [SEAL-8] [SEAL-16] [SEAL-17] [SEAL-18] [SES-24] */
Test(native_link, refusals, .timeout = 60) {
    enum vms_code s;
    const uint32_t gcm = VMS_SUITE_AES_256_GCM;
    cr_expect_eq(refused(KEYS, OTHER_KEYS, gcm, gcm, &s), VMS_E_SEAL_TAG);
    cr_expect_eq(s, VMS_E_SEAL_TAG);
    cr_expect_eq(refused(NULL, KEYS, VMS_SUITE_NONE, gcm, &s), VMS_E_SEAL_UNSEALED);
    cr_expect_eq(s, VMS_E_SESSION_ABORTED);
    cr_expect_eq(refused(KEYS, NULL, gcm, VMS_SUITE_NONE, &s), VMS_E_SEAL_NO_KEY);
    cr_expect_eq(s, VMS_E_SEAL_UNSEALED);
    cr_expect_eq(refused(KEYS, KEYS, gcm, VMS_SUITE_CHACHA20_POLY1305, &s), VMS_E_SEAL_NO_SUITE);
    cr_expect_eq(s, VMS_E_SESSION_ABORTED);
}

static void *receive_one(void *arg) {
    struct pair *p = arg;
    struct vms_native_link_event ev;
    (void)vms_native_link_receive(p->d, 0, &ev, &p->d_err);
    return NULL;
}

/* A frame that was changed on the way, sealed: the session ends, and both ends say why. */
Test(native_link, damage, .timeout = 60) {
    struct pair p;
    pthread_t t; /* both ends listen: an ABORT that nobody reads may be lost with the connection */
    struct vms_native_link_event ev;
    make(&p, KEYS, VMS_SUITE_AES_256_GMAC);
    open_pair(&p);
    struct flow f = {&p, 0};
    pthread_mutex_lock(&p.s->mutex);
    p.s->channels[0].conn->sealer.link.iv[3] ^= 1; /* as if the octets were others */
    pthread_mutex_unlock(&p.s->mutex);
    pthread_create(&t, NULL, receive_one, &p);
    (void)send_octets(&f, 0, 1000, false);
    cr_expect_eq(vms_native_link_receive(p.s, 0, &ev, &p.s_err), VMS_E_SESSION_ABORTED, "%s",
                 p.s_err.message);
    pthread_join(t, NULL);
    cr_expect_eq(p.d_err.code, VMS_E_SEAL_TAG, "%s", p.d_err.message);
    cr_expect(strstr(p.s_err.message, "SEAL_TAG"), "%s", p.s_err.message);
    free_pair(&p);
}

/* The reason with which the destination refuses a RESUME of this epoch on a new connection. */
static enum vms_code old_resume(struct pair *p, uint32_t epoch) {
    struct vms_native_position at = {0, 0};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_RESUME};
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    struct link_conn *c = NULL;
    struct vms_error err = {.clause = ""};
    cr_assert_eq(link_connect(p->s, 0, &c, &err), VMS_OK, "%s", err.message);
    vms_channel_set_timeouts(c->io, 5000, 5000);
    cr_assert_eq(link_begin_hello(c, random, &err), VMS_OK);
    f.u.resume = (struct vms_native_resume){link_who(p->s, random), epoch, 1, &at};
    cr_assert_eq(link_send_hello(c, &f, &err), VMS_OK, "%s", err.message);
    (void)link_read_hello(c, &err); /* the ABORT */
    link_conn_put(p->s, c);
    return vms_native_link_refused(p->d).code;
}

/* [RSM-8] [SES-4] An authentic RESUME that is old is refused, and disturbs nothing. */
Test(native_link, old_resume, .timeout = 60) {
    struct pair p;
    make(&p, KEYS, VMS_SUITE_AES_256_GCM);
    p.bytes = 1 << 20;
    open_pair(&p);
    pthread_mutex_lock(&p.d->mutex);
    p.d->session.peer_epoch = 6; /* as if the source had come so far */
    pthread_mutex_unlock(&p.d->mutex);
    for (uint32_t epoch = 2; epoch <= 6; epoch++)
        cr_expect_eq(old_resume(&p, epoch), VMS_E_RESUME_STALE);
    transfer(&p);
    expect_all(&p);
    cr_expect_eq(vms_native_link_stats(p.s).resumes, 0);
    cr_expect_eq(vms_native_link_stats(p.d).resumes, 0);
    free_pair(&p);
}

/* [RSM-8] [SES-6] Cut before any frame has passed. */
Test(native_link, cut_at_once, .timeout = 60) {
    struct pair p;
    struct vms_error ignored;
    make(&p, KEYS, VMS_SUITE_AES_256_GCM);
    p.bytes = 1 << 20;
    open_pair(&p);
    pthread_mutex_lock(&p.s->mutex);
    /* as if no frame had told of an epoch */
    p.s->session.epoch = p.s->accounts[0].out_epoch = p.s->accounts[0].in_epoch = 0;
    if (p.s->channels[0].conn)
        (void)vms_channel_shutdown(p.s->channels[0].conn->io, VMS_SHUT_BOTH, &ignored);
    pthread_mutex_unlock(&p.s->mutex);
    transfer(&p);
    expect_all(&p);
    cr_expect_eq(vms_native_link_stats(p.s).resumes, 1);
    free_pair(&p);
}

/* [SES-25] [RSM-11] A peer that says nothing is taken for gone; in the end it is given up. */
Test(native_link, silence, .timeout = 60) {
    struct pair p;
    struct vms_native_link_event ev;
    make(&p, KEYS, VMS_SUITE_AES_256_GCM);
    p.destination.keepalive_ms = 300;
    p.source.resume_ms = p.destination.resume_ms = 1500;
    open_pair(&p);
    pthread_mutex_lock(&p.d->channels[0].write); /* its ticker cannot send */
    int64_t begin = link_now_ms();
    vms_listener_shutdown(p.listener);
    cr_expect_eq(vms_native_link_receive(p.s, 0, &ev, &p.s_err), VMS_E_TIMEOUT, "%s",
                 p.s_err.message);
    int64_t took = link_now_ms() - begin;
    cr_expect(took >= 1500 && took < 8000, "%lld ms", (long long)took);
    pthread_mutex_unlock(&p.d->channels[0].write);
    cr_expect_eq(vms_native_link_receive(p.d, 0, &ev, &p.d_err), VMS_E_TIMEOUT, "%s",
                 p.d_err.message);
    free_pair(&p);
}

/* [SES-3] Without RESUME a cut is the end. */
Test(native_link, no_resume, .timeout = 60) {
    struct pair p;
    struct vms_native_link_event ev;
    struct vms_error ignored;
    make(&p, NULL, VMS_SUITE_NONE);
    p.destination.resume_ms = 0;
    open_pair(&p);
    pthread_mutex_lock(&p.s->mutex);
    (void)vms_channel_shutdown(p.s->channels[0].conn->io, VMS_SHUT_BOTH, &ignored);
    pthread_mutex_unlock(&p.s->mutex);
    cr_expect_neq(vms_native_link_receive(p.s, 0, &ev, &p.s_err), VMS_OK);
    cr_expect_neq(vms_native_link_receive(p.d, 0, &ev, &p.d_err), VMS_OK);
    free_pair(&p);
}

/* Everything was said, the answer was heard, and the source goes with these last octets. */
static enum vms_code go_with(const char *octets) {
    struct pair p;
    struct vms_native_link_event ev;
    struct vms_error err;
    struct vms_native_out out = {.frame.header.type = VMS_NATIVE_NOT_STARTED};
    make(&p, NULL, VMS_SUITE_NONE);
    p.destination.resume_ms = 0;
    p.source.handover = p.destination.handover = true;
    open_pair(&p);
    cr_assert_eq(vms_native_link_send_end(p.s, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(vms_native_link_receive(p.d, 0, &ev, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(vms_native_link_send(p.d, 0, &out, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(vms_native_link_receive(p.s, 0, &ev, &err), VMS_OK, "%s", err.message);
    struct vms_channel *io = p.s->channels[0].conn->io;
    cr_assert_eq(vms_channel_write_all(io, vms_str(octets), &err), VMS_OK);
    (void)vms_channel_shutdown(io, VMS_SHUT_BOTH, &err);
    enum vms_code code = vms_native_link_receive(p.d, 0, &ev, &err);
    free_pair(&p);
    return code;
}

/* [SES-3] [HND-14] Nobody says goodbye in the middle of a frame: who was cut off there may ask. */
Test(native_link, torn_behind_the_end, .timeout = 60) {
    cr_expect_eq(go_with(""), VMS_OK);
    cr_expect_eq(go_with("VMS"), VMS_E_PEER_CLOSED);
}

/* ---- behind END: [SES-29] ---- */

/* Two frames on channel 1; END lists `listed` of them, and is there before they are read. */
static void end_early(struct pair *p, uint64_t listed) {
    struct vms_native_link_event ev;
    struct vms_error err;
    struct flow f = {p, 1};
    make(p, NULL, VMS_SUITE_NONE);
    p->source.handover = p->destination.handover = true;
    open_pair(p);
    cr_assert_eq(vms_native_link_attach(p->s, 1, 3, &err), VMS_OK, "%s", err.message);
    cr_assert(send_octets(&f, 0, 100, false) && send_octets(&f, 100, 100, true));
    uint64_t sent = p->s->accounts[1].out_next;
    p->s->accounts[1].out_next = listed;
    cr_assert_eq(vms_native_link_send_end(p->s, &err), VMS_OK, "%s", err.message);
    p->s->accounts[1].out_next = sent;
    cr_assert_eq(vms_native_link_receive(p->d, 0, &ev, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(ev.frame->header.type, VMS_NATIVE_END);
}

/* What was listed, and then the end, though the source's connection stands. */
Test(native_link, read_out_behind_end, .timeout = 60) {
    struct vms_native_link_event ev;
    struct vms_error err;
    struct pair p;
    end_early(&p, 2);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(vms_native_link_receive(p.d, 1, &ev, &err), VMS_OK, "%s", err.message);
        cr_assert(ev.frame && ev.frame->u.opaque.offset == i * 100);
    }
    cr_expect_eq(vms_native_link_receive(p.d, 1, &ev, &err), VMS_OK, "%s", err.message);
    cr_expect_null(ev.frame);
    cr_expect_not(p.d->failed);
    free_pair(&p);
}

/* A frame that had come and is not listed; and one that was only begun. */
Test(native_link, more_than_end_lists, .timeout = 60) {
    struct vms_native_link_event ev;
    struct vms_error err;
    struct pair p;
    end_early(&p, 1);
    cr_assert_eq(vms_native_link_receive(p.d, 1, &ev, &err), VMS_OK, "%s", err.message);
    cr_expect_eq(vms_native_link_receive(p.d, 1, &ev, &err), VMS_E_SESSION_END);
    free_pair(&p);

    end_early(&p, 2);
    cr_assert_eq(vms_channel_write_all(p.s->channels[1].conn->io, vms_str("VMSF"), &err), VMS_OK);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(vms_native_link_receive(p.d, 1, &ev, &err), VMS_OK, "%s", err.message);
    cr_expect_eq(vms_native_link_receive(p.d, 1, &ev, &err), VMS_E_SESSION_END);
    free_pair(&p);
}
