/* SPDX-License-Identifier: MIT */
#include "conformance/live/vfio_rig.h"
#include "host/pump.h"
#include "host/vfio_test_util.h"
#include "reference-dst/devices/vfio_records.h"

#include <fcntl.h>

/*
 * What a real QEMU sends of its VFIO devices, into the loading half: recorded on the wire in a
 * migration from QEMU 11.1 to QEMU 11.1, then given to simulated devices of ours, which check every
 * byte and the config state. [VFIO-7] [VFIO-12] [VDEV-10] [VDEV-11] [VDEV-13]
 */
struct load {
    struct dst_vfio *vfio;
    struct dst_vfio_records *records;
    struct dst_vfio_packet packet;
    bool ours, packet_ours;
    unsigned acks;
};

static enum vms_code on_record(void *ctx, const struct vms_record *r, struct vms_answer *answer,
                               struct vms_error *err) {
    struct load *l = ctx;
    unsigned acks = 0;
    l->packet_ours = r->type == VMS_R_MULTIFD_DEVICE_STATE;
    enum vms_code code = l->packet_ours ? dst_vfio_packet(l->records, r, &l->packet, err)
                                        : dst_vfio_record(l->records, r, &l->ours, &acks, err);
    l->acks += acks;
    answer->want = l->ours || l->packet_ours ? VMS_WANT_PIECES : VMS_WANT_DISCARD;
    return code;
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct load *l = ctx;
    if (l->packet_ours)
        return dst_vfio_packet_bulk(&l->packet, event->bulk, err);
    return l->ours ? dst_vfio_bulk(l->records, event->bulk, err) : VMS_OK;
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    struct load *l = ctx;
    if (l->packet_ours)
        return dst_vfio_packet_done(l->records, &l->packet, err);
    return l->ours ? dst_vfio_done(l->records, err) : VMS_OK;
}

static const struct vms_pump_sink_ops sink_ops = {on_record, on_bulk, vms_pump_no_direct, on_done};

static void pump_file(struct load *l, const char *path, enum vms_qevm_kind kind) {
    struct vms_fd_source state;
    struct vms_error err = {.message = ""};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s", path);
    struct vms_pump_config config = {.qevm = vms_qevm_config_default(),
                                     .source = vms_source_from_fd(&state, fd),
                                     .sink = {&sink_ops, l}};
    config.qevm.kind = kind;
    struct vms_pump *pump = vms_pump_new(&config, &err);
    cr_assert_not_null(pump);
    cr_assert_eq(vms_pump_run(pump, &err), VMS_PUMP_END, "%s: %s", path, err.message);
    vms_pump_free(pump);
    (void)close(fd);
}

/* The streams of the recording: main, and multifd channels before it or after it. */
static void load_recording(const char *dir, size_t devices, unsigned channels, unsigned want_acks) {
    const struct vms_guest no_memory = {.block_count = 0};
    char names[4][300], path[256];
    const char *specs[4];
    struct load l = {.acks = 0};
    struct vms_error err;
    for (size_t i = 0; i < devices; i++) {
        char file[16];
        (void)snprintf(file, sizeof file, "ours%zu", i);
        (void)snprintf(names[i], sizeof names[i], "%s,id=0000:00:%02zx.0/vfio",
                       vfio_file(file, "vfio-sim device\nname vf%zu\n", i), 2 + i);
        specs[i] = names[i];
    }
    vfio_good(dst_vfio_new(&no_memory, specs, devices, &l.vfio, &err), &err);
    vfio_good(dst_vfio_records_new(l.vfio, DST_VFIO_ACK_EACH, channels > 0, &l.records, &err),
              &err);
    (void)snprintf(path, sizeof path, "%s/wire.0.fwd", dir);
    pump_file(&l, path, VMS_QEVM_MAIN);
    for (unsigned i = 0; i < channels; i++) {
        (void)snprintf(path, sizeof path, "%s/wire.%u.fwd", dir, channels - i);
        pump_file(&l, path, VMS_QEVM_MULTIFD);
    }
    vfio_good(dst_vfio_complete(l.records, &err), &err);
    vfio_good(dst_vfio_run(l.vfio, &err), &err);
    cr_expect_eq(l.acks, want_acks);
    for (size_t i = 0; i < devices; i++)
        cr_expect_eq(dst_vfio_figures(l.vfio, i).state, VMS_VFIO_RUNNING);
    dst_vfio_packet_free(&l.packet);
    dst_vfio_records_free(l.records);
    dst_vfio_free(l.vfio);
    vfio_clean();
}

/* Runs a migration of two QEMUs, then this test again with the simulator and its recording. */
static void record_and_load(const struct vfio_case *what, const char *again, size_t devices) {
    const char *dir = getenv("VFIO_RECORDING");
    if (vfio_is_simulated()) {
        load_recording(dir, devices, what->multifd, what->acks);
        return;
    }
    char kept[64] = "";
    vfio_case_keep(what, kept, sizeof kept);
    cr_assert_eq(setenv("VFIO_RECORDING", kept, 1), 0);
    vfio_again(again);
    vfio_case_forget(kept);
}

#define SMALL "initial 1M\nstop 1M\n"
#define LOADED(name, devices, ...)                                                                 \
    Test(vfio_loaded, name, .timeout = 60) {                                                       \
        static const struct vfio_case what = {__VA_ARGS__};                                        \
        record_and_load(&what, "vfio_loaded/" #name, devices);                                     \
    }

LOADED(one_device, 1, .src = {SMALL}, .init_data_sent = 1, .acks = 1)
LOADED(without_precopy, 1, .src = {SMALL "precopy off"}, .dst = {"precopy off"})
LOADED(two_devices_one_with_reinit, 2, .src = {SMALL, SMALL "reinit time 200ms 1M"}, .reinits = 1,
       .init_data_sent = 3, .acks = 3)
LOADED(device_state_on_multifd, 1, .src = {"initial 1M\nstop 9M\n"}, .multifd = 3,
       .init_data_sent = 1, .acks = 1)
