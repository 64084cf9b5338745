/* SPDX-License-Identifier: MIT */
#include "host/vfio_guest.h"
#include "host/vfio_test_util.h"

#include <sys/mman.h>

/* The devices of a guest together, over simulated devices. */
enum {
    PAGES = 100,
};

static struct vms_error err;

static void make_blocks(struct vms_guest_block *blocks, size_t count) {
    for (size_t i = 0; i < count; i++) {
        blocks[i] = (struct vms_guest_block){
            .name = "ram", .length = PAGES * 4096, .page_size = 4096, .fd = -1};
        blocks[i].memory =
            mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(blocks[i].memory, MAP_FAILED);
    }
}

static struct vms_guest_block blocks[2];
static struct vms_guest guest = {.blocks = blocks, .block_count = 2};

static struct vms_vfio_guest *devices_of(const char *const *names, size_t count) {
    struct vms_vfio_guest *g = NULL;
    if (!blocks[0].memory)
        make_blocks(blocks, 2);
    vfio_good(vms_vfio_guest_new(&guest, names, count, &g, &err), &err);
    return g;
}

/* One log for both: "device STATE" in the order of events. */
static size_t states_of(char out[][64], size_t max) {
    char path[128], line[512];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/log", vfio_folder());
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    while (n < max && fgets(line, sizeof line, file)) {
        const char *device = strstr(line, "\"device\":\""), *state = strstr(line, "\"state\":\"");
        if (!strstr(line, "\"event\":\"state\"") || !device || !state)
            continue;
        (void)snprintf(out[n++], 64, "%.1s %.*s", device + 10, (int)strcspn(state + 9, "\""),
                       state + 9);
    }
    (void)fclose(file);
    return n;
}

static const char *device_text(const char *name, const char *more) {
    return vfio_file(name, "vfio-sim device\nname %s\nlog %s/log\n%s\n", name, vfio_folder(), more);
}

static int by_text(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Steps one after another; what belongs to one step, sorted by text, has no order. */
static void expect_steps(const char *const want[][5]) {
    char got[32][64];
    size_t n = states_of(got, 32), at = 0, step = 0;
    for (; want[step][0]; step++) {
        size_t count = 0;
        while (want[step][count])
            count++;
        cr_assert_leq(at + count, n, "%zu changes of state", n);
        qsort(got[at], count, sizeof got[0], by_text);
        for (size_t i = 0; i < count; i++)
            cr_expect_str_eq(got[at + i], want[step][i], "step %zu: %s", step, got[at + i]);
        at += count;
    }
    cr_expect_eq(at, n, "%zu changes of state", n);
}

/* [VDEV-6] No device is stopped while another may still talk to it. */
SIM_TEST(vfio_guest, all_are_silent_before_one_is_stopped) {
    const char *names[] = {device_text("a", ""), device_text("b", "precopy off")};
    struct vms_vfio_guest *g = devices_of(names, 2);
    cr_expect_eq(vms_vfio_guest_count(g), 2u);
    vfio_good(vms_vfio_set_state(vms_vfio_guest_device(g, 0), VMS_VFIO_PRE_COPY, &err), &err);
    vfio_good(vms_vfio_guest_stop(g, &err), &err);
    vfio_good(vms_vfio_guest_stop(g, &err), &err); /* again: nothing */
    static const char *const want[][5] = {{"a PRE_COPY"},
                                          {"a PRE_COPY_P2P", "b RUNNING_P2P"},
                                          {"a STOP_COPY", "b STOP", "b STOP_COPY"},
                                          {NULL}};
    expect_steps(want);
    vfio_good(vms_vfio_guest_recover(g, &err), &err);
    vms_vfio_guest_free(g);
    vfio_clean();
}

SIM_TEST(vfio_guest, all_are_there_before_one_runs) {
    const char *names[] = {device_text("a", ""), device_text("b", "")};
    struct vms_vfio_guest *g = devices_of(names, 2);
    for (size_t i = 0; i < 2; i++)
        vfio_good(vms_vfio_set_state(vms_vfio_guest_device(g, i), VMS_VFIO_STOP, &err), &err);
    vfio_good(vms_vfio_guest_run(g, &err), &err);
    static const char *const want[][5] = {{"a RUNNING_P2P", "a STOP"},
                                          {"b RUNNING_P2P", "b STOP"},
                                          {"a RUNNING_P2P", "b RUNNING_P2P"},
                                          {"a RUNNING", "b RUNNING"},
                                          {NULL}};
    expect_steps(want);
    vms_vfio_guest_free(g);
    vfio_clean();
}

static uint64_t time_of(const char *event) {
    char path[128], line[512];
    uint64_t at = 0;
    (void)snprintf(path, sizeof path, "%s/log", vfio_folder());
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    while (!at && fgets(line, sizeof line, file))
        if (strstr(line, event))
            at = strtoull(strchr(line, ':') + 1, NULL, 10);
    (void)fclose(file);
    cr_assert_neq(at, 0u, "%s", event);
    return at;
}

/* [VDEV-21] The second begins before the first, which takes 5 s, can be through. */
SIM_TEST(vfio_guest, devices_change_side_by_side) {
    const char *names[] = {device_text("a", "state-cost running-p2p 5s"),
                           device_text("b", "state-cost running-p2p 5s")};
    struct vms_vfio_guest *g = devices_of(names, 2);
    vfio_good(vms_vfio_guest_stop(g, &err), &err);
    uint64_t a = time_of("\"device\":\"a\",\"event\":\"state\",\"state\":\"RUNNING_P2P\"");
    uint64_t b = time_of("\"device\":\"b\",\"event\":\"state\",\"state\":\"RUNNING_P2P\"");
    cr_expect_lt(a < b ? b - a : a - b, 5000000000u);
    vms_vfio_guest_free(g);
    vfio_clean();
}

/* [VDEV-5] */
SIM_TEST(vfio_guest, two_devices_need_p2p) {
    const char *names[] = {device_text("a", ""), device_text("b", "p2p off")};
    struct vms_vfio_guest *g;
    make_blocks(blocks, 2);
    cr_expect_eq(vms_vfio_guest_new(&guest, names, 2, &g, &err), VMS_E_VFIO_P2P);
    cr_expect_null(g);
    g = devices_of(names + 1, 1);
    vfio_good(vms_vfio_guest_stop(g, &err), &err);
    vfio_good(vms_vfio_guest_recover(g, &err), &err);
    vms_vfio_guest_free(g);
    vfio_clean();
}

/* [VDEV-2] One that cannot be brought back does not keep the others from it. */
SIM_TEST(vfio_guest, recovery_tries_all) {
    const char *names[] = {device_text("a", "fault set stop-copy stuck"), device_text("b", "")};
    struct vms_vfio_guest *g = devices_of(names, 2);
    vfio_good(vms_vfio_set_state(vms_vfio_guest_device(g, 1), VMS_VFIO_STOP_COPY, &err), &err);
    cr_expect_eq(vms_vfio_guest_stop(g, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_guest_recover(g, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_state(vms_vfio_guest_device(g, 1)), VMS_VFIO_RUNNING);
    vms_vfio_guest_free(g);
    vfio_clean();
}

/* ---- what is dirty ---- */

static enum vms_code inner_start(void *ctx, struct vms_error *e) {
    (void)ctx, (void)e;
    return VMS_OK;
}
static enum vms_code inner_collect(void *ctx, size_t block, uint64_t first, uint64_t count,
                                   uint64_t *bitmap, uint64_t *found, struct vms_error *e) {
    (void)ctx, (void)first, (void)count, (void)found, (void)e;
    bitmap[1] |= block == 0; /* page 64, the CPU's */
    return VMS_OK;
}
static void inner_stop(void *ctx) {
    (void)ctx;
}
static const struct vms_dirty_ops inner_ops = {inner_start, inner_collect, inner_stop, inner_stop};

static struct vms_dirty dirty_of(struct vms_vfio_guest *g) {
    struct vms_dirty inner = {.ops = &inner_ops, .name = "test"}, out;
    vfio_good(vms_vfio_guest_dirty(g, inner, &out, &err), &err);
    vfio_good(out.ops->start(out.ctx, &err), &err);
    return out;
}

SIM_TEST(vfio_guest, what_devices_write_is_dirty_too) {
    char text[64];
    (void)snprintf(text, sizeof text, "dma 100000 %llu 3", (1ull << 30) + 70 * 4096);
    const char *names[] = {device_text("a", text)};
    struct vms_vfio_guest *g = devices_of(names, 1);
    struct vms_dirty dirty = dirty_of(g);
    uint64_t bits[2] = {0}, other[2] = {0}, found = 0;
    cr_expect_eq(vms_vfio_guest_iova(g, 1), 1ull << 30);
    while (bits[1] != 7u << 6) /* not in block 0's, nor before page 66 */
        vfio_good(dirty.ops->collect(dirty.ctx, 1, 66, PAGES - 66, bits, &found, &err), &err);
    cr_expect_eq(bits[0], 0u);
    cr_expect_eq(found, 3u);
    vfio_good(dirty.ops->collect(dirty.ctx, 0, 0, PAGES, other, &found, &err), &err);
    cr_expect_eq(other[0], 0u);
    cr_expect_eq(other[1], 1u);
    cr_expect_neq(blocks[1].memory[70 * 4096], 0);
    dirty.ops->stop(dirty.ctx);
    dirty.ops->free(dirty.ctx);
    vms_vfio_guest_free(g);
    vfio_clean();
}

/* [VDEV-23] The container tells of all of a block at once; what is not asked for yet stays. */
SIM_TEST(vfio_guest, a_legacy_container_logs_for_its_devices) {
    static const char *const texts[] = {"", "fault report any eio"};
    for (size_t i = 0; i < 2; i++) {
        char name[200], text[128];
        (void)snprintf(text, sizeof text, "dma-log off\niommu-log on\ndma 100000 %llu 3\n%s",
                       (1ull << 30) + 70 * 4096, texts[i]);
        (void)snprintf(name, sizeof name, "%s:dev0",
                       vfio_file("7", "vfio-sim group\ndev0 %s\n", device_text("a", text)));
        const char *names[] = {name};
        struct vms_vfio_guest *g = devices_of(names, 1);
        cr_expect_not(vms_vfio_features(vms_vfio_guest_device(g, 0))->dma_logging);
        struct vms_dirty dirty = dirty_of(g);
        uint64_t before[2] = {0}, bits[2] = {0}, found = 0;
        if (i == 1) { /* [VDEV-3] */
            vfio_good(dirty.ops->collect(dirty.ctx, 1, 10, 80, bits, &found, &err), &err);
            cr_expect(found == 80 && bits[0] == ~0x3ffull && bits[1] == (1ull << 26) - 1);
        }
        for (; i == 0 && bits[1] != 7u << 6; found = 0) { /* another part of the block first */
            vfio_good(dirty.ops->collect(dirty.ctx, 1, 0, 66, before, &found, &err), &err);
            vfio_good(dirty.ops->collect(dirty.ctx, 1, 66, PAGES - 66, bits, &found, &err), &err);
            cr_expect(before[0] == 0 && before[1] == 0);
        }
        dirty.ops->stop(dirty.ctx);
        dirty.ops->free(dirty.ctx);
        vms_vfio_guest_free(g);
    }
    vfio_clean();
}

/* [VDEV-3] */
SIM_TEST(vfio_guest, without_a_log_all_is_dirty) {
    static const char *const texts[] = {"dma-log off", "fault report any eio"};
    for (size_t i = 0; i < 2; i++) {
        const char *names[] = {device_text("a", texts[i])};
        struct vms_vfio_guest *g = devices_of(names, 1);
        struct vms_dirty dirty = dirty_of(g);
        uint64_t bits[2] = {0}, found = 0;
        vfio_good(dirty.ops->collect(dirty.ctx, 1, 10, 80, bits, &found, &err), &err);
        cr_expect_eq(found, 80u);
        cr_expect_eq(bits[0], ~0x3ffull);
        cr_expect_eq(bits[1], (1ull << 26) - 1);
        dirty.ops->free(dirty.ctx);
        vms_vfio_guest_free(g);
    }
    vfio_clean();
}
