/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio_loader.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A device that notes what it gets, in order. [VDEV-10] [VDEV-16] */
struct fake {
    pthread_mutex_t gate; /* held: the device does not get on */
    uint64_t bytes, sum, fail_at;
    unsigned marks, ends, loads;
    size_t config_len;
    bool config_good; /* its octets are those of load_config_of() */
    uint64_t at_mark; /* bytes when the mark came */
    uint64_t told;
    unsigned failed;
};

static enum vms_code data(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct fake *f = ctx;
    pthread_mutex_lock(&f->gate);
    for (size_t i = 0; i < len; i++)
        f->sum = f->sum * 31 + bytes[i];
    f->bytes += len;
    pthread_mutex_unlock(&f->gate);
    return f->fail_at && f->bytes >= f->fail_at ? vms_error_set(err, VMS_E_VFIO_DEVICE, "full")
                                                : VMS_OK;
}
static enum vms_code initial_sent(void *ctx, uint64_t *generation, struct vms_error *err) {
    struct fake *f = ctx;
    (void)err;
    f->at_mark = f->bytes;
    *generation = ++f->marks;
    return VMS_OK;
}
static enum vms_code end(void *ctx, struct vms_error *err) {
    (void)err;
    ((struct fake *)ctx)->ends++;
    return VMS_OK;
}
static enum vms_code config(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct fake *f = ctx;
    (void)err;
    f->config_len = len;
    f->config_good = true;
    for (size_t i = 0; i < len; i++)
        f->config_good = f->config_good && bytes[i] == (uint8_t)(i * 31 >> 3);
    return VMS_OK;
}
static enum vms_code load_config(void *ctx, struct vms_error *err) {
    (void)err;
    ((struct fake *)ctx)->loads++;
    return VMS_OK;
}
static const struct dst_device_ops ops = {.data = data,
                                          .initial_sent = initial_sent,
                                          .end = end,
                                          .config = config,
                                          .load_config = load_config};

static void marked(void *ctx, uint64_t generation) {
    ((struct fake *)ctx)->told = generation;
}
static void failed(void *ctx, const struct vms_error *err) {
    cr_expect_neq(err->code, VMS_OK);
    ((struct fake *)ctx)->failed++;
}

static struct dst_vfio_loader *loader(struct fake *f) {
    const struct dst_device device = {.ops = &ops, .ctx = f, .idstr = "fake"};
    const struct dst_vfio_loader_owner owner = {marked, failed, f};
    struct dst_vfio_loader *l;
    struct vms_error err;
    pthread_mutex_init(&f->gate, NULL);
    cr_assert_eq(dst_vfio_loader_new(&device, &owner, &l, &err), VMS_OK);
    return l;
}

/* Pieces of every size, several times around the ring. */
Test(vfio_loader, everything_comes_once_and_in_order) {
    struct fake f = {.bytes = 0};
    struct dst_vfio_loader *l = loader(&f);
    struct vms_error err;
    uint8_t *bytes = malloc(1 << 20);
    uint64_t total = 0, sum = 0, seed = 1;
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < 1 << 20; i++)
        bytes[i] = (uint8_t)(i * 7);
    while (total < 3u * DST_VFIO_LOADER_BYTES) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t len = (size_t)(seed >> 33) % ((seed & 64) ? 1 << 20 : 40) + 1;
        cr_assert_eq(dst_vfio_loader_put(l, DST_VFIO_LOAD_DATA, bytes, len, &err), VMS_OK);
        for (size_t i = 0; i < len; i++)
            sum = sum * 31 + bytes[i];
        total += len;
    }
    cr_expect_eq(dst_vfio_loader_put(l, DST_VFIO_LOAD_MARK, NULL, 0, &err), VMS_OK);
    cr_expect_eq(dst_vfio_loader_put(l, DST_VFIO_LOAD_END, NULL, 0, &err), VMS_OK);
    cr_expect_eq(dst_vfio_loader_put(l, DST_VFIO_LOAD_CONFIG, bytes, 100, &err), VMS_OK);
    cr_expect_eq(dst_vfio_loader_put(l, DST_VFIO_LOAD_CONFIG_LAST, bytes, 28, &err), VMS_OK);
    cr_expect_eq(dst_vfio_loader_flush(l, &err), VMS_OK);
    cr_expect(f.bytes == total && f.sum == sum && f.at_mark == total);
    cr_expect(f.marks == 1 && f.told == 1 && f.ends == 1 && f.loads == 1);
    cr_expect_eq(f.config_len, 128u);
    dst_vfio_loader_free(l);
    free(bytes);
}

Test(vfio_loader, an_error_is_told_once_and_stays) {
    struct fake f = {.fail_at = 5000};
    struct dst_vfio_loader *l = loader(&f);
    struct vms_error err = {.code = VMS_OK};
    uint8_t bytes[1000] = {0};
    for (int i = 0; i < 9; i++)
        (void)dst_vfio_loader_put(l, DST_VFIO_LOAD_DATA, bytes, sizeof bytes, &err);
    cr_expect_eq(dst_vfio_loader_flush(l, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(dst_vfio_loader_put(l, DST_VFIO_LOAD_MARK, NULL, 0, &err), VMS_E_VFIO_DEVICE);
    dst_vfio_loader_free(l);
    cr_expect(f.failed == 1 && f.bytes == 5000 && f.marks == 0);
}

/* A device that gets nowhere holds up who puts for it, within the bound; and can be given up. */
static void *fill(void *l) {
    static uint8_t bytes[1 << 20];
    struct vms_error err;
    for (unsigned i = 0; i < 20; i++)
        (void)dst_vfio_loader_put(l, DST_VFIO_LOAD_DATA, bytes, sizeof bytes, &err);
    return NULL;
}

Test(vfio_loader, a_slow_device_is_left_behind) {
    struct fake slow = {.bytes = 0}, quick = {.bytes = 0};
    struct dst_vfio_loader *a = loader(&slow), *b = loader(&quick);
    struct vms_error err;
    pthread_mutex_lock(&slow.gate);
    (void)fill(a); /* 20 MiB: there is room */
    (void)fill(b);
    cr_expect_eq(dst_vfio_loader_flush(b, &err), VMS_OK);
    cr_expect_eq(quick.bytes, 20u << 20);
    cr_expect_eq(slow.bytes, 0u);
    pthread_mutex_unlock(&slow.gate);
    dst_vfio_loader_free(a);
    dst_vfio_loader_free(b);
}

/* [MIG-34] In pieces, however large they are: up to the limit, and one octet past it. */
static enum vms_code load_config_of(struct fake *f, size_t total, size_t piece) {
    struct dst_vfio_loader *l = loader(f);
    struct vms_error err = {.code = VMS_OK};
    uint8_t *bytes = malloc(piece);
    cr_assert_not_null(bytes);
    for (size_t at = 0; at < total; at += piece) {
        size_t n = total - at < piece ? total - at : piece;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)((at + i) * 31 >> 3);
        enum dst_vfio_load what =
            at + n == total ? DST_VFIO_LOAD_CONFIG_LAST : DST_VFIO_LOAD_CONFIG;
        if (dst_vfio_loader_put(l, what, bytes, n, &err) != VMS_OK)
            break; /* it was refused meanwhile */
    }
    enum vms_code code = dst_vfio_loader_flush(l, &err);
    free(bytes);
    dst_vfio_loader_free(l);
    return code;
}

Test(vfio_loader, a_config_of_several_mib_comes_whole) {
    static const size_t sizes[] = {1 << 20, (1 << 20) + 1, (5 << 20) + 12345,
                                   DST_VFIO_LOADER_CONFIG};
    for (size_t i = 0; i < 4; i++) {
        struct fake f = {.bytes = 0};
        cr_expect_eq(load_config_of(&f, sizes[i], 1 << 20), VMS_OK);
        cr_expect(f.config_len == sizes[i] && f.config_good && f.loads == 1);
    }
}

Test(vfio_loader, a_config_too_large_is_refused) {
    struct fake f = {.bytes = 0};
    cr_expect_eq(load_config_of(&f, (size_t)DST_VFIO_LOADER_CONFIG + 1, 1 << 20), VMS_E_LIMIT);
    cr_expect_eq(f.loads, 0u);
}
