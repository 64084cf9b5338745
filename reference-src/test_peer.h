/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_TEST_PEER_H
#define REFERENCE_SRC_TEST_PEER_H

#include "host/listener.h"
#include "reference-src/options.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A destination for tests: takes every connection, keeps what comes, and says what it is told to.
 */

enum {
    PEER_CHANNELS = 20,
    TEST_PAGE = 4096,
};

struct test_channel {
    struct test_peer *peer;
    struct vms_channel *io;
    pthread_t thread;
    uint8_t *bytes;
    size_t len, room;
    bool ended;
};

struct test_peer {
    char dir[64], uri[128];
    struct vms_listener *listener;
    pthread_t acceptor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct test_channel channels[PEER_CHANNELS];
    size_t count;
    bool deaf; /* takes connections, reads nothing */
};

static inline void *test_read(void *ctx) {
    struct test_channel *c = ctx;
    struct test_peer *p = c->peer;
    uint8_t buffer[65536];
    struct vms_error err;
    size_t n;
    while (!p->deaf &&
           vms_channel_read(c->io, (struct vms_room){buffer, sizeof buffer}, &n, &err) == VMS_OK &&
           n) {
        pthread_mutex_lock(&p->lock);
        if (c->len + n > c->room)
            c->bytes = realloc(c->bytes, c->room = 2 * (c->len + n));
        memcpy(c->bytes + c->len, buffer, n);
        c->len += n;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_lock(&p->lock);
    c->ended = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static inline void *test_accept(void *ctx) {
    struct test_peer *p = ctx;
    struct vms_channel *io;
    struct vms_error err;
    while (vms_listener_accept(p->listener, -1, &io, &err) == VMS_OK) {
        pthread_mutex_lock(&p->lock);
        struct test_channel *c = &p->channels[p->count++];
        c->peer = p;
        c->io = io;
        pthread_create(&c->thread, NULL, test_read, c);
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

static inline void test_peer_start(struct test_peer *p) {
    struct vms_uri uri;
    struct vms_error err;
    bool deaf = p->deaf;
    memset(p, 0, sizeof *p);
    p->deaf = deaf;
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/vms-src-XXXXXX");
    cr_assert_not_null(mkdtemp(p->dir));
    (void)snprintf(p->uri, sizeof p->uri, "unix:%s/s", p->dir);
    cr_assert_eq(vms_uri_parse(p->uri, &uri, &err), VMS_OK);
    cr_assert_eq(vms_listener_open(&uri, NULL, &p->listener, &err), VMS_OK, "%s", err.message);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    pthread_create(&p->acceptor, NULL, test_accept, p);
}

/* Waits until a channel has so many bytes (SIZE_MAX: has ended). */
static inline struct test_channel *test_wait(struct test_peer *p, size_t channel, size_t bytes) {
    struct test_channel *c = &p->channels[channel];
    pthread_mutex_lock(&p->lock);
    while (p->count <= channel || (c->len < bytes && !c->ended))
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return c;
}

static inline void test_say(struct test_peer *p, size_t channel, const void *bytes, size_t len) {
    struct vms_error err;
    struct test_channel *c = test_wait(p, channel, 0);
    (void)vms_channel_write_all(c->io, vms_slice(bytes, len), &err);
}

static inline void test_hang_up(struct test_peer *p, size_t channel) {
    struct vms_error err;
    (void)vms_channel_shutdown(test_wait(p, channel, 0)->io, VMS_SHUT_BOTH, &err);
}

static inline void test_peer_stop(struct test_peer *p) {
    char command[128];
    vms_listener_shutdown(p->listener);
    pthread_join(p->acceptor, NULL);
    for (size_t i = 0; i < p->count; i++) {
        test_hang_up(p, i);
        pthread_join(p->channels[i].thread, NULL);
        (void)vms_channel_close(p->channels[i].io, NULL);
        free(p->channels[i].bytes);
    }
    vms_listener_close(p->listener);
    (void)snprintf(command, sizeof command, "%s", p->dir);
    (void)rmdir(command);
}

/* A guest whose every page is different, some of them zero; it counts what is done to it. */
struct test_guest {
    struct vms_guest guest;
    struct vms_guest_block blocks[2];
    unsigned runs, stops;
    bool running;
    bool no_locks; /* once given up, they are somebody else's */
};

static inline enum vms_code test_stop(void *ctx, struct vms_error *err) {
    struct test_guest *g = ctx;
    (void)err;
    g->running = false;
    g->stops++;
    return VMS_OK;
}
static inline enum vms_code test_run(void *ctx, struct vms_error *err) {
    struct test_guest *g = ctx;
    (void)err;
    g->running = true;
    g->runs++;
    return VMS_OK;
}
static inline void test_throttle(void *ctx, unsigned percent) {
    (void)ctx, (void)percent;
}
static inline enum vms_code test_locks(void *ctx, bool take, struct vms_error *err) {
    const struct test_guest *g = ctx;
    return take && g->no_locks ? vms_error_set(err, VMS_E_VM_LOCK, NULL) : VMS_OK;
}
static inline void test_announce(void *ctx) {
    (void)ctx;
}
static inline enum vms_code test_save(void *ctx, const uint8_t **bytes, size_t *len,
                                      struct vms_error *err) {
    (void)ctx, (void)err;
    *bytes = (const uint8_t *)"state of the guest";
    *len = 18;
    return VMS_OK;
}
static inline enum vms_code test_load(void *ctx, const uint8_t *bytes, size_t len,
                                      struct vms_error *err) {
    (void)ctx, (void)bytes, (void)len, (void)err;
    return VMS_OK;
}

static inline bool test_page_is_zero(uint64_t page) {
    return page % 5 == 0;
}

static inline void test_guest_make(struct test_guest *g, uint64_t pages) {
    static const struct vms_guest_ops ops = {test_stop,     test_run,  test_throttle, test_locks,
                                             test_announce, test_save, test_load};
    static const char *const names[2] = {"pc.ram", "pc.bios"};
    memset(g, 0, sizeof *g);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t n = i ? 8 : pages;
        uint8_t *memory =
            mmap(NULL, n * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(memory, MAP_FAILED);
        for (uint64_t p = 0; p < n; p++)
            if (!test_page_is_zero(p))
                memset(memory + p * TEST_PAGE, (int)(1 + p % 250), TEST_PAGE);
        g->blocks[i] =
            (struct vms_guest_block){names[i], memory, n * TEST_PAGE, TEST_PAGE, false, -1};
    }
    g->guest = (struct vms_guest){&ops, g, g->blocks, 2};
    g->running = true;
}

static inline void test_guest_free(struct test_guest *g) {
    for (unsigned i = 0; i < 2; i++)
        (void)munmap(g->blocks[i].memory, g->blocks[i].length);
}

static inline void test_options(struct src_options *o, const char *uri) {
    src_options_default(o);
    o->connect = uri;
    o->native = false;
    o->machine = "pc-i440fx-11.1";
    o->quiet = true;
    o->timeout_ms = 20000;
}

#endif
