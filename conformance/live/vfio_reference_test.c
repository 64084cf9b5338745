/* SPDX-License-Identifier: MIT */
#include "conformance/live/vfio_rig.h"

#include <criterion/criterion.h>

/*
 * reference-src with simulated VFIO devices into stock QEMU 11.1, which loads them into devices of
 * its own that check every byte. [ACK-4] [ACK-5] [VFIO-10] [VFIO-11] [VDEV-2] [VDEV-7] [VDEV-8]
 */
#define SMALL  "initial 1M\nstop 1M\n"
#define LEGACY "pc-i440fx-11.0"
#define ARGS   ((const char *const[]){"--switchover-bandwidth", "1G", NULL})
#define CASE(name, machine, ...)                                                                   \
    Test(vfio_reference, name, .timeout = 300) {                                                   \
        const struct vfio_case what = {                                                            \
            .src_machine = machine, .dst_machine = machine, .reference = ARGS, __VA_ARGS__};       \
        vfio_case_run(&what);                                                                      \
    }
#define NEW(name, ...) CASE(name, "pc-i440fx-11.1", __VA_ARGS__)
#define OLD(name, ...) CASE(name, LEGACY, __VA_ARGS__)

NEW(precopy, .src = {SMALL}, .init_data_sent = 1, .acks = 1)
NEW(capability_off, .src = {SMALL}, .src_no_ack = true, .dst_no_ack = true)
NEW(without_precopy, .src = {SMALL "precopy off"}, .dst = {"precopy off"})
NEW(reinit_when_drained, .src = {SMALL "reinit drain 1M"}, .init_data_sent = 2, .acks = 2)
NEW(three_reinits, .src = {SMALL "reinit drain 1M times 3"}, .init_data_sent = 4, .acks = 4)
NEW(reinit_of_nothing, .src = {SMALL "reinit drain 0"}, .init_data_sent = 2, .acks = 2)
NEW(reinit_entering_p2p, .src = {SMALL "reinit p2p 1M"}, .init_data_sent = 1, .acks = 1)
NEW(reinit_at_the_last_look, .src = {SMALL "reinit last 1M"}, .outcome = VFIO_REFUSED,
    .init_data_sent = 1, .acks = 1)
NEW(four_devices_one_with_reinit, .src = {SMALL, SMALL, SMALL, SMALL "reinit drain 1M"},
    .init_data_sent = 5, .acks = 5)
OLD(legacy, .src = {SMALL}, .init_data_sent = 1, .acks = 1)
OLD(legacy_reinit, .src = {SMALL "reinit drain 1M"}, .init_data_sent = 1, .acks = 1)
OLD(legacy_two_devices, .src = {SMALL, SMALL}, .init_data_sent = 2, .acks = 1)

/* [VFIO-6] [VFIO-7] [MFD-23] What a stopped device has, in packets on every channel. */
#define MULTIFD                                                                                    \
    ((const char *const[]){"--switchover-bandwidth", "1G", "--multifd", "3", "--vfio-multifd",     \
                           NULL})
Test(vfio_reference, multifd, .timeout = 300) {
    const struct vfio_case what = {.src_machine = "pc-i440fx-11.1",
                                   .dst_machine = "pc-i440fx-11.1",
                                   .reference = MULTIFD,
                                   .multifd = 3,
                                   .src = {"initial 1M\nstop 9M\n", SMALL},
                                   .init_data_sent = 2,
                                   .acks = 2};
    vfio_case_run(&what);
}

/* ---- devices that fail: the guest and the devices are here, as before ---- */

#define FAULT(name, fault, sent)                                                                   \
    NEW(name, .src = {SMALL "fault " fault}, .outcome = VFIO_REFUSED, .error = "VFIO_DEVICE",      \
        .init_data_sent = (sent), .acks = (sent))
FAULT(fault_entering_precopy, "set pre-copy eio", 0)
FAULT(fault_reading_in_precopy, "read pre-copy eio", 0)
FAULT(fault_entering_p2p, "set pre-copy-p2p error", 1)
FAULT(fault_entering_stop_copy, "set stop-copy enospc", 1)
FAULT(fault_reading_in_stop_copy, "read stop-copy eio after 1500K", 1)
