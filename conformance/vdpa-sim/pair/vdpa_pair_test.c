/* SPDX-License-Identifier: MIT */
#include "host/vdpa_rig.h"
#include "reference-dst/devices/vdpa.h"
#include "reference-src/devices/vdpa.h"

/*
 * Both halves of the reference endpoints' vDPA devices, face to face: what one device was for the
 * guest the other one is, and the guest's driver goes on without noticing. [VDPA-11] [VDPA-15]
 */
static struct vms_error err;
static struct dst_vdpa *to;

static enum vms_code pass(void *ctx, uint32_t device, enum src_data_kind kind,
                          struct vms_slice bytes, bool last, struct vms_error *e) {
    (void)ctx, (void)device;
    return kind == SRC_DATA_SETUP ? dst_vdpa_profile(to, 0, bytes.ptr, bytes.len, e)
                                  : dst_vdpa_state(to, 0, bytes.ptr, bytes.len, last, e);
}
static const struct src_wire_ops wire_ops = {.data = pass};
static struct src_wire wire = {&wire_ops, NULL};

static void on_layout(void *ctx, size_t index, uint64_t generation) {
    (void)ctx, (void)index, (void)generation;
}
static void on_failed(void *ctx, size_t index, const struct vms_error *why) {
    (void)ctx, (void)index;
    cr_assert(false, "%s", why->message);
}
static void on_progress(void *ctx, size_t index, const struct vms_vdpa_progress *p) {
    (void)ctx, (void)index, (void)p;
}
static const struct dst_vdpa_owner owner = {on_layout, on_layout, on_failed, on_progress, NULL};

static int describe(const char *text, char *spec, size_t size) {
    int fd = vdpa_describe(text);
    (void)snprintf(spec, size, "fd:%d", fd);
    return fd;
}

static void say_something(struct vms_vdpa_card *card, unsigned seed) {
    for (int i = 0; i < 30; i++) {
        uint8_t data[6] = {
            (uint8_t)(rand_r(&seed) & 0xfe), (uint8_t)(rand_r(&seed) % 16), 3, 4, 5, 6};
        static const uint8_t kinds[][3] = {{0, 0, 1}, {0, 1, 1}, {1, 1, 6}, {2, 0, 2}, {2, 1, 2}};
        const uint8_t *k = kinds[rand_r(&seed) % 5];
        bool ok;
        vfio_good(vms_vdpa_card_control(card, k[0], k[1], data, k[2], &ok, &err), &err);
        cr_assert(ok);
    }
}

static void migrate(const char *src_text, const char *dst_text, unsigned seed) {
    char spec[2][32];
    const char *specs[2][1] = {{spec[0]}, {spec[1]}};
    struct vdpa_rig rig, there;
    struct src_vdpa *from;
    rig_set_up(&rig);
    rig_set_up(&there);
    int a = describe(src_text, spec[0], sizeof spec[0]);
    int b = describe(dst_text, spec[1], sizeof spec[1]);
    vfio_good(src_vdpa_new(&rig.guest, specs[0], 1, 1, &from, &err), &err);
    vfio_good(src_vdpa_start(from, 0, &rig.state, rig.events, &err), &err);
    vfio_good(
        dst_vdpa_new(specs[1], 1, &(struct dst_vdpa_options){.chunk = 1 << 20}, &owner, &to, &err),
        &err);
    vfio_good(dst_vdpa_layout(to, &there.guest, &err), &err);
    struct src_device dev = src_vdpa_device(from, 0);
    const struct vms_guest *g = src_vdpa_guest(from);
    vfio_good(dev.ops->setup(dev.ctx, &wire, &err), &err);
    say_something(src_vdpa_card(from, 0), seed);
    for (unsigned i = 0; i < seed % 40; i++)
        rig_transmit(&rig);
    struct vds_query x = vdpa_ask(a, NULL, 0); /* stopping may be a reset */
    vfio_good(g->ops->stop(g->ctx, &err), &err);
    for (size_t i = 0; i < 2; i++) /* RAM, by other means */
        memcpy(there.blocks[i].memory, rig.blocks[i].memory, RIG_BLOCK);
    vfio_good(dev.ops->final(dev.ctx, &wire, false, &err), &err);
    vfio_good(dst_vdpa_verify(to, &err), &err);
    vfio_good(dst_vdpa_run(to, &err), &err);
    struct vds_query y = vdpa_ask(b, NULL, 0);
    cr_assert_arr_eq(x.net.mac, y.net.mac, 6);
    cr_assert_arr_eq(x.net.rx, y.net.rx, sizeof x.net.rx);
    cr_assert_arr_eq(x.net.vlans, y.net.vlans, sizeof x.net.vlans);
    cr_assert_eq(y.net.refused, 0u);
    cr_assert_eq(y.figures.stray + x.figures.stray, 0u);
    dev.ops->cleanup(dev.ctx);
    cr_assert_eq(vdpa_ask(a, NULL, 0).figures.maps, 0u);
    src_vdpa_free(from);
    dst_vdpa_free(to);
    for (size_t i = 0; i < 2; i++) {
        (void)munmap(rig.blocks[i].memory, RIG_BLOCK);
        (void)munmap(there.blocks[i].memory, RIG_BLOCK);
    }
}

SIM_TEST(vdpa_pair, from_any_device_to_any_other) {
    static const char *const texts[] = {"", "backend -batch -resume", "backend -suspend -resume",
                                        "backend -asid\ngroups 1\nspaces 1"};
    for (unsigned seed = 0; seed < 16; seed++)
        migrate(texts[seed % 4], texts[seed / 4], seed + 1);
    vfio_clean();
}
