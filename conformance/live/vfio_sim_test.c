/* SPDX-License-Identifier: MIT */
#include "conformance/live/vfio_rig.h"

#include <criterion/criterion.h>

/*
 * What stock QEMU 11.1 does with VFIO devices, old and new switchover acknowledgement, as the
 * specification tells it: how many INIT_DATA_SENT and SWITCHOVER_ACK are on the wire, and what
 * comes of the migration. The devices are simulated; every byte that they save is checked where
 * it is loaded. [ACK-1] [ACK-2] [ACK-3] [ACK-4] [ACK-7] [ACK-8] [VFIO-10] [VFIO-11] [VFIO-12]
 */
#define SMALL  "initial 1M\nstop 1M\n"
#define LEGACY "pc-i440fx-11.0"
#define CASE(name, ...)                                                                            \
    Test(vfio_sim, name, .timeout = 300) {                                                         \
        static const struct vfio_case what = {__VA_ARGS__};                                        \
        vfio_case_run(&what);                                                                      \
    }

/* ---- the new mechanism ---- */

CASE(precopy_without_reinit, .src = {SMALL}, .init_data_sent = 1, .acks = 1)
CASE(no_device, .init_data_sent = 0, .acks = 0)
CASE(device_without_precopy, .src = {SMALL "precopy off"}, .dst = {"precopy off"},
     .init_data_sent = 0, .acks = 0)
CASE(capability_off, .src = {SMALL}, .src_no_ack = true, .dst_no_ack = true, .init_data_sent = 0,
     .acks = 0)
CASE(two_devices, .src = {SMALL, SMALL}, .init_data_sent = 2, .acks = 2)
CASE(without_p2p, .src = {SMALL "p2p off"}, .init_data_sent = 1, .acks = 1)

/* ---- REINIT ---- */

CASE(reinit_when_drained, .src = {SMALL "reinit drain 1M"}, .dst = {"load-cost initial 200ms"},
     .reinits = 1, .init_data_sent = 2, .acks = 2)
CASE(reinit_after_the_ack, .src = {SMALL "reinit time 500ms 1M"}, .reinits = 1, .init_data_sent = 2,
     .acks = 2)
CASE(three_reinits, .src = {SMALL "reinit time 200ms 1M times 3"}, .reinits = 3,
     .init_data_sent = 4, .acks = 4)
CASE(reinit_with_sticky_flag, .src = {SMALL "reinit time 200ms 1M sticky"}, .reinits = 1,
     .init_data_sent = 2, .acks = 2)
CASE(reinit_of_nothing, .src = {SMALL "reinit time 200ms 0"}, .reinits = 1, .init_data_sent = 2,
     .acks = 2)
CASE(reinit_entering_p2p, .src = {SMALL "reinit p2p 1M"}, .init_data_sent = 1, .acks = 1)
CASE(reinit_at_the_last_look, .src = {SMALL "reinit last 1M"}, .outcome = VFIO_REFUSED,
     .init_data_sent = 1, .acks = 1, .error = "Switchover ACK was requested by 1 devices")
CASE(two_devices_one_with_reinit, .src = {SMALL, SMALL "reinit time 200ms 1M"}, .reinits = 1,
     .init_data_sent = 3, .acks = 3)

CASE(four_devices_one_with_reinit, .src = {SMALL, SMALL, SMALL, SMALL "reinit time 200ms 1M"},
     .reinits = 1, .init_data_sent = 5, .acks = 5)

/* ---- the legacy mechanism ---- */

CASE(legacy, .src_machine = LEGACY, .dst_machine = LEGACY, .src = {SMALL}, .init_data_sent = 1,
     .acks = 1)
CASE(legacy_reinit, .src_machine = LEGACY, .dst_machine = LEGACY,
     .src = {SMALL "reinit time 200ms 1M"}, .reinits = 1, .init_data_sent = 1, .acks = 1)
CASE(legacy_two_devices, .src_machine = LEGACY, .dst_machine = LEGACY, .src = {SMALL, SMALL},
     .init_data_sent = 2, .acks = 1)
CASE(legacy_without_precopy, .src_machine = LEGACY, .dst_machine = LEGACY,
     .src = {SMALL "precopy off"}, .dst = {"precopy off"}, .init_data_sent = 0, .acks = 1)
CASE(legacy_no_device, .src_machine = LEGACY, .dst_machine = LEGACY, .init_data_sent = 0, .acks = 1)

/* ---- multifd ---- */

CASE(multifd, .src = {SMALL}, .multifd = 2, .init_data_sent = 1, .acks = 1)

/* ---- ends that are not set alike: E-47 ---- */

#define OLD "migration.switchover-ack-legacy=on"
CASE(source_new_destination_legacy, .dst_global = OLD, .src = {SMALL "trace on", SMALL},
     .outcome = VFIO_STUCK, .init_data_sent = 2, .acks = 1)
CASE(source_legacy_destination_new, .src_global = OLD, .src = {SMALL, SMALL},
     .dst = {NULL, "load-cost initial 400ms"}, .outcome = VFIO_BOTH_RUN, .init_data_sent = 2,
     .acks = 2)
CASE(source_with_reinit_destination_legacy, .dst_global = OLD,
     .src = {SMALL "reinit time 200ms 1M"}, .reinits = 1, .outcome = VFIO_REFUSED,
     .init_data_sent = 2, .acks = 1)
CASE(destination_without_capability, .dst_no_ack = true, .src = {SMALL}, .outcome = VFIO_REFUSED,
     .init_data_sent = 1, .acks = 0)

/* ---- devices that fail: the source's guest and devices run on ---- */

#define FAULT(name, fault, sent)                                                                   \
    CASE(name, .src = {SMALL "fault " fault}, .outcome = VFIO_REFUSED, .init_data_sent = (sent),   \
         .acks = (sent))
FAULT(fault_entering_precopy, "set pre-copy eio", 0)
FAULT(fault_reading_in_precopy, "read pre-copy eio after 500K\ninitial 2M", 0)
FAULT(fault_entering_p2p, "set pre-copy-p2p error", 1)
FAULT(fault_entering_stop_copy, "set stop-copy enospc", 1)
FAULT(fault_reading_in_stop_copy, "read stop-copy eio after 1500K", 1)
CASE(fault_loading, .src = {SMALL}, .dst = {"fault write resuming enospc after 1500K"},
     .outcome = VFIO_REFUSED, .init_data_sent = 1, .acks = 1)

/* E-56: what our endpoints must not do. */
CASE(fault_short_stream, .src = {SMALL "fault read any short"}, .outcome = VFIO_LOST,
     .init_data_sent = 1, .acks = 1)
CASE(fault_changed_bit, .src = {SMALL "fault read any flip after 1500K"}, .outcome = VFIO_LOST,
     .init_data_sent = 1, .acks = 1)
