/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"
#include "mtty.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

/*
 * reference-src and reference-dst move a guest with devices of a real kernel: what was in the
 * registers of one serial card is in those of another. [VDEV-2] [VDEV-6] [VDEV-11]
 */
enum {
    MIB = 8,
    WAIT = 30000,
    SEED = 21,
    OTHER = 77
};

static struct mtty cards[MTTY_CARDS];
static struct native_rig rig;

static void set_up(void) {
    mtty_cards(cards);
    for (unsigned i = 0; i < MTTY_CARDS; i++)
        mtty_prepare(&cards[i], i < 2 ? SEED + i : OTHER);
    cr_assert_eq(native_rig_open(&rig, MIB, "unix", false), 0, "%s", rig.error);
}

#define VM_TEST(name) Test(vfio_migrate, name, .init = set_up, .fini = tear_down, .timeout = 120)
static void tear_down(void) {
    native_rig_close(&rig);
}

static void expect_state(const struct mtty *card, enum vms_vfio_state state) {
    struct vms_vfio *device = mtty_open(card);
    cr_expect_eq(vms_vfio_state(device), state, "%s is in %s", card->path,
                 vms_vfio_state_name(vms_vfio_state(device)));
    mtty_close(device);
}

static void expect_in_log(const char *which, const char *needle) {
    char *log = native_log(&rig, which);
    cr_expect(log && strstr(log, needle), "no \"%s\" in what %s said: %s", needle, which, log);
    free(log);
}

/* Every look finds all memory dirty [VDEV-3], and a machine without KVM is slow: whatever its
 * speed, the guest is handed over. */
static void run(void) {
    native_src_args(&rig, "--switchover-bandwidth", "1G", "--downtime-ms", "10000", NULL);
    cr_assert_eq(native_start_dst(&rig), 0, "%s", rig.error);
    cr_assert_eq(native_start_src(&rig), 0, "%s", rig.error);
    native_finish(&rig, WAIT);
}

static void say_why(void) {
    for (int i = 0; i < 2 && (rig.src_status || rig.dst_status); i++) {
        char *log = native_log(&rig, i ? "dst" : "src");
        cr_log_error("%s: %s", i ? "dst" : "src", log);
        free(log);
    }
}

/* ---- it goes well ---- */

static void migrate(const char *wire, const char *src_ack, const char *dst_ack) {
    native_src_args(&rig, "--wire", wire, "--vfio", cards[0].path, src_ack, NULL);
    native_dst_args(&rig, "--vfio", cards[1].path, dst_ack ? "--switchover-ack" : NULL, dst_ack,
                    NULL);
    run();
    say_why();
    cr_assert_eq(rig.src_status, 0);
    cr_assert_eq(rig.dst_status, 0);
    mtty_verify(&cards[1], SEED);
    expect_state(&cards[1], VMS_VFIO_RUNNING);
    expect_state(&cards[0], VMS_VFIO_STOP);
}

VM_TEST(native) {
    migrate("native", "--switchover-ack", "on");
}
VM_TEST(native_without_acknowledgement) {
    migrate("native", NULL, NULL);
}
VM_TEST(qevm) {
    migrate("qevm", "--switchover-ack", "on");
}
VM_TEST(qevm_without_acknowledgement) {
    migrate("qevm", NULL, NULL);
}

static void two_cards(const struct mtty *second) {
    native_src_args(&rig, "--vfio", cards[0].path, "--vfio", cards[1].path, "--switchover-ack",
                    NULL);
    native_dst_args(&rig, "--vfio", cards[2].path, "--vfio", second->path, NULL);
    run();
}

VM_TEST(two_cards_that_fall_silent_together) {
    two_cards(&cards[3]);
    say_why();
    cr_assert_eq(rig.src_status, 0);
    cr_assert_eq(rig.dst_status, 0);
    mtty_verify(&cards[2], SEED);
    mtty_verify(&cards[3], SEED + 1);
}

/* The second is refused, and with it the first, which had taken its own. */
VM_TEST(two_cards_one_of_which_cannot_take_it) {
    two_cards(&cards[MTTY_SMALL]);
    cr_expect_neq(rig.src_status, 0);
    for (unsigned i = 0; i < MTTY_CARDS; i++)
        expect_state(&cards[i], VMS_VFIO_RUNNING);
    mtty_verify(&cards[0], SEED);
    mtty_verify(&cards[1], SEED + 1);
}

/* ---- it fails: the guest and its card stay where they were ---- */

static void refused(const char *wire) {
    native_src_args(&rig, "--wire", wire, "--vfio", cards[0].path, "--ready-s", "10", NULL);
    native_dst_args(&rig, "--vfio", cards[MTTY_SMALL].path, NULL);
    run();
    cr_expect_neq(rig.src_status, 0);
    cr_expect_neq(rig.dst_status, 0);
    expect_in_log("dst", "VFIO_DEVICE");
    expect_in_log("dst", "loading its state");
    expect_state(&cards[0], VMS_VFIO_RUNNING);
    expect_state(&cards[MTTY_SMALL], VMS_VFIO_RUNNING);
    mtty_verify(&cards[0], SEED);
    mtty_verify(&cards[MTTY_SMALL], OTHER);
}

VM_TEST(a_card_that_cannot_take_it_native) {
    refused("native");
}
VM_TEST(a_card_that_cannot_take_it_qevm) {
    refused("qevm");
}

/* Nothing of it is slow but the link: killed while both cards are in the middle. */
VM_TEST(a_destination_that_is_killed) {
    const struct timespec moment = {.tv_nsec = 10000000};
    native_src_args(&rig, "--vfio", cards[0].path, "--bandwidth", "1M", "--reconnect", "1", NULL);
    native_dst_args(&rig, "--vfio", cards[1].path, NULL);
    cr_assert_eq(native_start_dst(&rig), 0, "%s", rig.error);
    cr_assert_eq(native_start_src(&rig), 0, "%s", rig.error);
    /* the kernel itself says when the card is held: its group is open */
    struct vms_error err = {.message = ""};
    struct vms_vfio_iommu *iommu;
    struct vms_vfio *device;
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(vms_vfio_iommu_new(&iommu, &err), VMS_OK);
        bool held = vms_vfio_open(iommu, cards[0].path, &device, &err) != VMS_OK;
        if (!held)
            vms_vfio_close(device);
        vms_vfio_iommu_free(iommu);
        if (held)
            break;
        (void)nanosleep(&moment, NULL);
    }
    (void)kill(rig.dst, SIGKILL);
    native_finish(&rig, WAIT);
    cr_expect_neq(rig.src_status, 0);
    expect_state(&cards[0], VMS_VFIO_RUNNING);
    mtty_verify(&cards[0], SEED);
}

/* ---- a stream that is bad: QEMU's wire in a file, one octet of the device's data is other ---- */

static uint8_t *record(size_t *len, char path[160]) {
    uint8_t *bytes = malloc(64 << 20);
    char uri[168], src[160];
    (void)snprintf(path, 160, "%s/stream", rig.dir);
    (void)snprintf(uri, sizeof uri, "file:%s", path);
    (void)snprintf(src, sizeof src, "%s/reference-src", getenv("VMSTREAM_BUILD"));
    const char *const argv[] = {src,
                                "--connect",
                                uri,
                                "--wire",
                                "qevm",
                                "--vm",
                                rig.vm,
                                "--no-return-path",
                                "--downtime-ms",
                                "10000",
                                "--vfio",
                                cards[0].path,
                                NULL};
    cr_assert_not_null(bytes);
    int status = live_wait(live_spawn(argv, "/tmp/record.log", NULL), WAIT);
    if (status != 0)
        (void)!system("cat /tmp/record.log");
    cr_assert_eq(status, 0);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    *len = fread(bytes, 1, 64 << 20, file);
    (void)fclose(file);
    return bytes;
}

static int load(const char *path, const uint8_t *bytes, size_t len, const struct mtty *card) {
    char uri[168], dst[160];
    FILE *file = fopen(path, "we");
    cr_assert(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
    (void)snprintf(uri, sizeof uri, "file:%s", path);
    (void)snprintf(dst, sizeof dst, "%s/reference-dst", getenv("VMSTREAM_BUILD"));
    const char *const argv[] = {dst, "--listen", uri, "--vm", rig.vm, "--vfio", card->path, NULL};
    char log[128];
    (void)snprintf(log, sizeof log, "%s/dst.log", rig.dir);
    return live_wait(live_spawn(argv, log, NULL), WAIT);
}

VM_TEST(a_stream_that_was_damaged) {
    static const uint8_t magic[8] = {0x4e, 0x2c, 0x3e, 0x8c, 0x89, 0x09, 0x9d, 0x7e};
    static const size_t at[] = {0, 8, 12, 16, 20};
    char path[160];
    size_t len;
    uint8_t *bytes = record(&len, path), *data = memmem(bytes, len, magic, sizeof magic);
    cr_assert_not_null(data, "the stream has no data of the device");
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        data[at[i]] ^= 0x80;
        cr_expect_neq(load(path, bytes, len, &cards[1]), 0);
        data[at[i]] ^= 0x80;
        expect_in_log("dst", "VFIO_DEVICE");
        expect_state(&cards[1], VMS_VFIO_RUNNING);
        mtty_verify(&cards[1], SEED + 1);
        mtty_prepare(&cards[1], SEED + 1);
    }
    cr_expect_neq(load(path, bytes, (size_t)(data - bytes) + 10, &cards[1]), 0);
    expect_state(&cards[1], VMS_VFIO_RUNNING);
    cr_expect_eq(load(path, bytes, len, &cards[1]), 0);
    mtty_verify(&cards[1], SEED);
    free(bytes);
}
