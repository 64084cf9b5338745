/* SPDX-License-Identifier: MIT */
#include "conformance/live/vfio_rig.h"

#include <criterion/criterion.h>

/*
 * Stock QEMU 11.1 with simulated VFIO devices into reference-dst, whose devices check every byte.
 * [ACK-2] [ACK-3] [ACK-8] [ACK-10] [VFIO-7] [VFIO-9] [VFIO-12] [VDEV-10] [VDEV-11] [VDEV-12]
 */
#define SMALL  "initial 1M\nstop 1M\n"
#define LEGACY "pc-i440fx-11.0"
#define ARGS   ((const char *const[]){"--quiet", NULL})
#define CASE(name, ...)                                                                            \
    Test(vfio_listener, name, .timeout = 300) {                                                    \
        const struct vfio_case what = {.reference_dst = ARGS, __VA_ARGS__};                        \
        vfio_case_run(&what);                                                                      \
    }

CASE(precopy, .src = {SMALL}, .init_data_sent = 1, .acks = 1)
CASE(no_device, .init_data_sent = 0)
CASE(capability_off, .src = {SMALL}, .src_no_ack = true, .dst_no_ack = true)
CASE(without_precopy, .src = {SMALL "precopy off"}, .dst = {"precopy off"})
CASE(three_reinits, .src = {SMALL "reinit time 200ms 1M times 3"}, .reinits = 3,
     .init_data_sent = 4, .acks = 4)
CASE(reinit_of_nothing, .src = {SMALL "reinit time 200ms 0"}, .reinits = 1, .init_data_sent = 2,
     .acks = 2)
CASE(reinit_at_the_last_look, .src = {SMALL "reinit last 1M"}, .outcome = VFIO_REFUSED,
     .init_data_sent = 1, .acks = 1)
CASE(four_devices_one_with_reinit, .src = {SMALL, SMALL, SMALL, SMALL "reinit time 200ms 1M"},
     .reinits = 1, .init_data_sent = 5, .acks = 5)
CASE(multifd, .src = {"initial 1M\nstop 9M\n", SMALL}, .multifd = 3, .init_data_sent = 2, .acks = 2)
CASE(legacy, .src_machine = LEGACY, .src = {SMALL}, .init_data_sent = 1, .acks = 1)
CASE(legacy_two_devices, .src_machine = LEGACY, .src = {SMALL, SMALL}, .init_data_sent = 2,
     .acks = 1)
CASE(legacy_without_precopy, .src_machine = LEGACY, .src = {SMALL "precopy off"},
     .dst = {"precopy off"}, .init_data_sent = 0, .acks = 1)
CASE(legacy_no_device, .src_machine = LEGACY, .init_data_sent = 0, .acks = 1)

/* ---- refused: the source's guest and devices run on ---- */

CASE(capability_off_here, .src = {SMALL}, .dst_no_ack = true, .outcome = VFIO_REFUSED,
     .init_data_sent = 1, .acks = 0, .error = "DST_UNEXPECTED")
CASE(fault_loading, .src = {SMALL}, .dst = {"fault write resuming enospc after 1500K"},
     .outcome = VFIO_REFUSED, .init_data_sent = 1, .acks = 1, .error = "VFIO_DEVICE")
/* where QEMU as the destination runs a guest without its device: E-56 */
CASE(fault_short_stream, .src = {SMALL "fault read any short"}, .outcome = VFIO_REFUSED,
     .init_data_sent = 1, .acks = 1, .error = "VFIO_DEVICE")
CASE(fault_changed_bit, .src = {SMALL "fault read any flip after 1500K"}, .outcome = VFIO_REFUSED,
     .init_data_sent = 1, .acks = 1, .error = "VFIO_DEVICE")
