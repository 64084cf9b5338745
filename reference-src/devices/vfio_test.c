/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/vfio.h"

#include "host/vfio_config.h"
#include "host/vfio_test_util.h"

/* The saving half over simulated devices: what it puts on a wire, in which order. */

/* "S" setup, "d<bytes>" state, "M" mark, "E" end, "C" config; bytes of one kind in a row add up. */
struct written {
    char text[400];
    uint64_t run; /* bytes of state that are not in text yet */
};

static void flush(struct written *w) {
    size_t n = strlen(w->text);
    if (w->run)
        (void)snprintf(w->text + n, sizeof w->text - n, "d%llu ", (unsigned long long)w->run);
    w->run = 0;
}

static enum vms_code note(void *ctx, uint32_t device, enum src_data_kind kind,
                          struct vms_slice bytes, bool last, struct vms_error *err) {
    static const char *const marks[] = {"S ", "E ", "C ", "M "};
    struct written *w = ctx;
    (void)err;
    cr_expect_eq(device, 7u);
    if (kind == SRC_DATA_STATE)
        w->run += bytes.len;
    if (kind == SRC_DATA_STATE && !last)
        return VMS_OK;
    flush(w);
    if (kind == SRC_DATA_CONFIG)
        cr_expect_eq(bytes.len, 4u + 256 + 16);
    size_t n = strlen(w->text);
    (void)snprintf(w->text + n, sizeof w->text - n, "%s", marks[kind]);
    return VMS_OK;
}

static unsigned one_lane(void *ctx) {
    (void)ctx;
    return 1;
}

static const struct src_wire_ops wire_ops = {.data = note, .lanes = one_lane};

static enum vms_code cpu(void *ctx, struct vms_error *err) {
    (void)ctx, (void)err;
    return VMS_OK;
}
static const struct vms_guest_ops guest_ops = {.stop = cpu, .run = cpu};
static const struct vms_guest guest = {.ops = &guest_ops};

static struct vms_error err;
static struct written out;
static struct src_wire wire = {&wire_ops, &out};
static struct src_vfio *vfio;
static struct src_device dev;

static void begin(const char *text, enum src_vfio_ack ack) {
    const char *specs[] = {SIM_DEVICE("a", text)};
    out = (struct written){.run = 0};
    vfio_good(src_vfio_new(&guest, specs, 1, 7, ack, &vfio, &err), &err);
    dev = src_vfio_device(vfio, 0);
    vfio_good(dev.ops->setup(dev.ctx, &wire, &err), &err);
}

static struct src_pending left(void) {
    struct src_pending p;
    vfio_good(dev.ops->pending(dev.ctx, true, &p, &err), &err);
    return p;
}

static uint64_t save(uint64_t budget) {
    uint64_t sent;
    bool more;
    vfio_good(dev.ops->save(dev.ctx, &wire, budget, &sent, &more, &err), &err);
    return sent;
}

static void drain(uint64_t budget) {
    for (int i = 0; i < 10000 && left().precopy; i++)
        (void)save(budget);
    cr_expect_eq(left().precopy, 0u);
}

static void finish(const char *want) {
    const struct vms_guest *g = src_vfio_guest(vfio);
    vfio_good(g->ops->stop(g->ctx, &err), &err);
    vfio_good(dev.ops->final(dev.ctx, &wire, false, &err), &err);
    flush(&out);
    cr_expect_str_eq(out.text, want);
    dev.ops->cleanup(dev.ctx);
    cr_expect_eq(src_vfio_figures(vfio, 0).state, VMS_VFIO_STOP);
    src_vfio_free(vfio);
}

/* [VFIO-10] The mark stands right behind the last initial byte, before dirty data. */
SIM_TEST(src_vfio, the_mark_follows_the_initial_data) {
    static const uint64_t budgets[] = {1, 1000, 1 << 20, 100 << 20};
    for (size_t i = 0; i < 4; i++) {
        begin("initial 3000\ndirty 500\nstop 700", SRC_VFIO_ACK_EACH);
        cr_expect(src_vfio_has_initial(vfio, 0));
        drain(budgets[i]);
        finish("S d3000 M d1200 E C ");
    }
    vfio_clean();
}

SIM_TEST(src_vfio, budgets_are_kept) {
    begin("initial 5M\nstop 1M", SRC_VFIO_ACK_EACH);
    cr_expect_eq(save(100), 100u);
    cr_expect_eq(save(1500000), 1500000u);
    cr_expect_eq(left().initial, (5u << 20) - 1500100);
    drain(1 << 20);
    finish("S d5242880 M d1048576 E C ");
    vfio_clean();
}

/* [VDEV-7] What is pending has the generation before its mark is sent. */
SIM_TEST(src_vfio, a_reinit_shows_before_its_mark) {
    begin("initial 1000\nstop 700\nreinit time 0 2000", SRC_VFIO_ACK_EACH);
    cr_expect_eq(left().generation, 2u); /* setup has looked, and then it came */
    drain(100);
    finish("S d3000 M M d700 E C ");
    begin("initial 1000\nstop 700\nreinit drain 0", SRC_VFIO_ACK_EACH);
    cr_expect_eq(left().generation, 1u);
    while (save(100))
        continue; /* the REINIT is seen while the mark is being sent, and is not told yet */
    cr_expect_eq(src_vfio_figures(vfio, 0).sent, 1u);
    cr_expect_eq(left().generation, 2u);
    drain(100);
    cr_expect_eq(src_vfio_figures(vfio, 0).sent, 2u);
    finish("S d1000 M M d700 E C ");
    begin("initial 1000\nstop 700\nreinit drain 2000 sticky", SRC_VFIO_ACK_EACH);
    (void)save(1000);
    for (int i = 0; i < 3; i++) /* E-57: the flag stays until data is read */
        cr_expect_eq(left().generation, 2u);
    drain(100);
    finish("S d3000 M M d700 E C ");
    vfio_clean();
}

/* [ACK-8] [VFIO-9] What the destination would refuse is not sent. */
SIM_TEST(src_vfio, marks_are_what_the_destination_takes) {
    begin("initial 1000\nstop 700\nreinit drain 2000", SRC_VFIO_ACK_LEGACY);
    drain(1 << 20);
    cr_expect_eq(left().generation, 1u);
    finish("S d3000 M d700 E C ");
    begin("initial 1000\nstop 700\nreinit drain 2000", SRC_VFIO_ACK_NONE);
    cr_expect_not(src_vfio_has_initial(vfio, 0));
    drain(1 << 20);
    cr_expect_eq(left().generation, 0u);
    finish("S d3700 E C ");
    begin("precopy off\ninitial 1000\nstop 700", SRC_VFIO_ACK_EACH);
    cr_expect_not(src_vfio_has_initial(vfio, 0));
    cr_expect_eq(left().precopy, 0u);
    cr_expect_eq(left().stop, 1700u);
    cr_expect_eq(save(1000), 0u);
    finish("S d1700 E C ");
    vfio_clean();
}

/* A stream that was ended by stopping cannot go on: said, not sent. */
SIM_TEST(src_vfio, after_it_was_stopped_and_ran_again_it_is_over) {
    struct src_pending p;
    uint64_t sent;
    bool more;
    begin("initial 1000\nstop 700", SRC_VFIO_ACK_EACH);
    const struct vms_guest *g = src_vfio_guest(vfio);
    vfio_good(g->ops->stop(g->ctx, &err), &err);
    cr_expect_eq(src_vfio_figures(vfio, 0).state, VMS_VFIO_STOP_COPY);
    vfio_good(g->ops->run(g->ctx, &err), &err);
    cr_expect_eq(src_vfio_figures(vfio, 0).state, VMS_VFIO_RUNNING);
    cr_expect_eq(dev.ops->pending(dev.ctx, true, &p, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(dev.ops->save(dev.ctx, &wire, 1, &sent, &more, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(dev.ops->final(dev.ctx, &wire, false, &err), VMS_E_VFIO_DEVICE);
    dev.ops->cleanup(dev.ctx);
    cr_expect_eq(src_vfio_figures(vfio, 0).state, VMS_VFIO_RUNNING);
    src_vfio_free(vfio);
    vfio_clean();
}

SIM_TEST(src_vfio, what_is_no_device_is_refused) {
    const char *const bad[] = {"", ",id=x", "/nowhere"};
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(src_vfio_new(&guest, &bad[i], 1, 1, SRC_VFIO_ACK_EACH, &vfio, &err),
                     VMS_E_VFIO_DEVICE);
    vfio_clean();
}
