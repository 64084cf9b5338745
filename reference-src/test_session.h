/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_TEST_SESSION_H
#define REFERENCE_SRC_TEST_SESSION_H

#include "reference-src/session_impl.h"
#include "reference-src/test_peer.h"

/*
 * A whole source for tests, QEVM, against the destination of test_peer.h: prepare(), change what is
 * to be changed, begin(), say and hear, finish().
 */

struct run {
    struct test_peer peer;
    struct test_guest guest;
    struct src_options options;
    struct src_session *session;
    struct src_outcome out;
    pthread_t thread;
};

static const uint8_t PONG[] = {0, 2, 0, 4, 0, 0, 0, 1};
static const uint8_t SHUT_0[] = {0, 1, 0, 4, 0, 0, 0, 0};
static const uint8_t SHUT_1[] = {0, 1, 0, 4, 0, 0, 0, 1};

static inline void *run_thread(void *ctx) {
    struct run *r = ctx;
    src_session_run(r->session, &r->out);
    return NULL;
}

static inline void prepare(struct run *r) {
    bool deaf = r->peer.deaf;
    memset(r, 0, sizeof *r);
    r->peer.deaf = deaf;
    test_peer_start(&r->peer);
    test_guest_make(&r->guest, 4096);
    test_options(&r->options, r->peer.uri);
}

static inline void begin(struct run *r) {
    struct src_session_host host = {.guest = &r->guest.guest};
    struct vms_error err = {0};
    r->session = src_session_new(&r->options, &host, &err);
    cr_assert_not_null(r->session, "%s", err.message);
    cr_assert_eq(pthread_create(&r->thread, NULL, run_thread, r), 0);
}

static inline void finish(struct run *r, enum src_state state, enum src_owner owner) {
    pthread_join(r->thread, NULL);
    src_session_free(r->session);
    cr_expect_eq(r->out.state, state, "%s: %s", src_state_name(r->out.state), r->out.error.message);
    cr_expect_eq(r->out.owner, owner, "%s", src_owner_name(r->out.owner));
    cr_expect_eq(r->guest.running, owner == SRC_OWNER_OURS, "[SRC-2] runs exactly when ours");
    cr_expect_eq(r->out.error.code != VMS_OK, state != SRC_COMPLETED);
    test_peer_stop(&r->peer);
    test_guest_free(&r->guest);
}

static inline json_t *order(struct run *r, const char *text) {
    json_t *o = json_loads(text, 0, NULL);
    cr_assert_not_null(o, "%s", text);
    json_t *answer = src_session_order(r->session, o);
    json_decref(o);
    return answer;
}

static inline bool order_ok(struct run *r, const char *text) {
    json_t *answer = order(r, text);
    bool ok = json_is_true(json_object_get(answer, "ok"));
    json_decref(answer);
    return ok;
}

static inline bool is_in(struct run *r, const char *state) {
    json_t *answer = order(r, "{\"order\": \"status\"}");
    bool is = strcmp(json_string_value(json_object_get(answer, "state")), state) == 0;
    json_decref(answer);
    return is;
}

/* EOF and the description end the stream: the source waits for the answer. */
static inline void wait_for_end(struct run *r) {
    struct test_peer *p = &r->peer;
    struct test_channel *c = test_wait(p, 0, 1);
    pthread_mutex_lock(&p->lock);
    while (!c->ended && (c->len < 2 || memcmp(c->bytes + c->len - 2, "]}", 2) != 0))
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

#endif
