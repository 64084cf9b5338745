/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio_queue.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Packets of a device's state, in any order, from several threads. */

/* A device that writes down what it is given, and can be held up or fail. */
struct taken {
    uint32_t next; /* packets carry their index */
    atomic_bool held;
    uint32_t fail_at;
    bool ended, config, loaded;
};

static enum vms_code take(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct taken *t = ctx;
    uint32_t index;
    while (atomic_load(&t->held))
        ;
    cr_assert_geq(len, sizeof index);
    memcpy(&index, bytes, sizeof index);
    cr_expect_eq(index, t->next, "%u for %u", index, t->next);
    t->next++;
    return index == t->fail_at ? vms_error_set(err, VMS_E_VFIO_DEVICE, "it fails") : VMS_OK;
}
static enum vms_code end(void *ctx, struct vms_error *err) {
    (void)err;
    ((struct taken *)ctx)->ended = true;
    return VMS_OK;
}
static enum vms_code config(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct taken *t = ctx;
    (void)err;
    t->config = t->ended && len == 3 && memcmp(bytes, "cfg", 3) == 0;
    return VMS_OK;
}
static enum vms_code load(void *ctx, struct vms_error *err) {
    (void)err;
    ((struct taken *)ctx)->loaded = true;
    return VMS_OK;
}
static const struct dst_device_ops ops = {
    .data = take, .end = end, .config = config, .load_config = load};

static struct vms_error err;

static struct dst_vfio_queue *queue_of(struct taken *t, uint64_t bytes, uint32_t ahead) {
    struct dst_device d = {.ops = &ops, .ctx = t, .idstr = "dev"};
    struct dst_vfio_queue *q;
    cr_assert_eq(dst_vfio_queue_new(&d, bytes, ahead, &q, &err), VMS_OK);
    dst_vfio_queue_start(q);
    return q;
}

static enum vms_code put(struct dst_vfio_queue *q, uint32_t index) {
    uint8_t bytes[100] = {0};
    memcpy(bytes, &index, sizeof index);
    return dst_vfio_queue_put(q, index, false, bytes, sizeof bytes, &err);
}

static enum vms_code put_config(struct dst_vfio_queue *q, uint32_t index) {
    return dst_vfio_queue_put(q, index, true, (const uint8_t *)"cfg", 3, &err);
}

/* [VFIO-7] */
enum {
    PACKETS = 4000,
    THREADS = 4,
};

struct putter {
    struct dst_vfio_queue *q;
    uint32_t number;
};

/* Each thread has every fourth packet, pairs of them exchanged. */
static void *put_some(void *arg) {
    struct putter *p = arg;
    for (uint32_t i = p->number; i < PACKETS; i += THREADS) {
        uint32_t other = i ^ THREADS;
        cr_expect_eq(put(p->q, other < PACKETS ? other : i), VMS_OK, "%s", err.message);
    }
    return NULL;
}

Test(vfio_queue, gives_packets_in_their_order, .timeout = 20) {
    struct taken t = {.fail_at = UINT32_MAX};
    struct dst_vfio_queue *q = queue_of(&t, 0, 0);
    struct putter putters[THREADS];
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){q, i};
        cr_assert_eq(pthread_create(&threads[i], NULL, put_some, &putters[i]), 0);
    }
    cr_expect_eq(put_config(q, PACKETS), VMS_OK, "%s", err.message);
    cr_expect_eq(dst_vfio_queue_finish(q, true, &err), VMS_OK, "%s", err.message);
    for (uint32_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_expect_eq(t.next, (uint32_t)PACKETS);
    cr_expect(t.config && t.loaded);
    dst_vfio_queue_free(q);
}

/* [VFIO-6] */
Test(vfio_queue, an_index_comes_once_and_before_config, .timeout = 20) {
    struct taken t = {.fail_at = UINT32_MAX};
    struct {
        uint32_t first;
        bool first_config;
        uint32_t second;
        bool second_config;
    } bad[] = {
        {3, false, 3, false}, {3, true, 4, false},           {3, true, 2, true},
        {3, false, 2, true},  {0, false, UINT32_MAX, false},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct dst_vfio_queue *q = queue_of(&t, 0, 0);
        t.next = 0;
        cr_expect_eq(bad[i].first_config ? put_config(q, bad[i].first) : put(q, bad[i].first),
                     VMS_OK);
        cr_expect_eq(bad[i].second_config ? put_config(q, bad[i].second) : put(q, bad[i].second),
                     VMS_E_VFIO_STATE_INDEX, "%zu", i);
        cr_expect_eq(dst_vfio_queue_finish(q, true, &err), VMS_E_VFIO_STATE_INDEX);
        dst_vfio_queue_free(q);
    }
}

/* What can be waited for is waited for; what cannot is refused: no memory without end, no lock. */
Test(vfio_queue, is_bounded, .timeout = 20) {
    struct taken t = {.fail_at = UINT32_MAX};
    struct dst_vfio_queue *q = queue_of(&t, 1000, 16);
    for (uint32_t i = 1; i <= 10; i++)
        cr_expect_eq(put(q, i), VMS_OK, "%s", err.message);
    cr_expect_eq(put(q, 11), VMS_E_LIMIT, "%s", err.message);
    dst_vfio_queue_free(q);
    q = queue_of(&t, 1 << 20, 16);
    cr_expect_eq(put(q, 15), VMS_OK);
    cr_expect_eq(put(q, 16), VMS_E_LIMIT);
    cr_expect_eq(put(q, 0), VMS_E_LIMIT, "the first error stays");
    dst_vfio_queue_free(q);
    t.next = 0;
    q = queue_of(&t, 250, 16); /* two packets */
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(put(q, i), VMS_OK, "%s", err.message);
    cr_expect_eq(put_config(q, 1000), VMS_OK);
    cr_expect_eq(dst_vfio_queue_finish(q, false, &err), VMS_OK);
    cr_expect_eq(t.next, 1000u);
    cr_expect_not(t.loaded);
    dst_vfio_queue_free(q);
}

Test(vfio_queue, a_device_that_fails_ends_it_for_all, .timeout = 20) {
    struct taken t = {.fail_at = 5};
    struct dst_vfio_queue *q = queue_of(&t, 250, 16);
    enum vms_code code = VMS_OK;
    for (uint32_t i = 0; i < 100 && code == VMS_OK; i++)
        code = put(q, i);
    cr_expect_eq(code, VMS_E_VFIO_DEVICE);
    cr_expect_eq(dst_vfio_queue_finish(q, true, &err), VMS_E_VFIO_DEVICE);
    cr_expect_not(t.loaded);
    dst_vfio_queue_free(q);
}

static void *put_and_wait(void *arg) {
    struct vms_error e;
    uint8_t bytes[200] = {3};
    return (void *)(uintptr_t)dst_vfio_queue_put(arg, 3, false, bytes, sizeof bytes, &e);
}

Test(vfio_queue, abort_wakes_everybody, .timeout = 20) {
    struct taken t = {.fail_at = UINT32_MAX, .held = true};
    struct dst_vfio_queue *q = queue_of(&t, 250, 16);
    pthread_t thread;
    void *result;
    for (uint32_t i = 0; i < 2; i++) /* the device has the first, and is held up */
        cr_assert_eq(put(q, i), VMS_OK);
    cr_assert_eq(pthread_create(&thread, NULL, put_and_wait, q), 0);
    dst_vfio_queue_abort(q);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_expect_eq((uintptr_t)result, (uintptr_t)VMS_E_VFIO_UNEXPECTED);
    cr_expect_eq(dst_vfio_queue_finish(q, true, &err), VMS_E_VFIO_UNEXPECTED);
    atomic_store(&t.held, false);
    dst_vfio_queue_free(q);
}

/* Data of the main channel comes first, whichever channel is faster. */
Test(vfio_queue, nothing_is_given_before_the_start, .timeout = 20) {
    struct taken t = {.fail_at = UINT32_MAX};
    struct dst_device d = {.ops = &ops, .ctx = &t, .idstr = "dev"};
    struct dst_vfio_queue *q;
    cr_assert_eq(dst_vfio_queue_new(&d, 0, 0, &q, &err), VMS_OK);
    for (uint32_t i = 0; i < 5; i++)
        cr_expect_eq(put(q, i), VMS_OK);
    cr_expect_eq(put_config(q, 5), VMS_OK);
    cr_expect_eq(t.next, 0u);
    dst_vfio_queue_start(q);
    cr_expect_eq(dst_vfio_queue_finish(q, true, &err), VMS_OK);
    cr_expect_eq(t.next, 5u);
    dst_vfio_queue_free(q);
}
