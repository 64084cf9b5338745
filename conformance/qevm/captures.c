/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/captures.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct capture CAPTURES[] = {
    {"qemu-rp11.0.fwd", VMS_QEVM_MAIN, NULL},
    {"qemu-rp11.0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"qemu-pc72.bin", VMS_QEVM_MAIN, NULL},
    {"qemu-mappednone11.bin", VMS_QEVM_MAIN, NULL},
    {"qemu-bg11.bin", VMS_QEVM_MAIN, NULL},
    {"qemu-xbz11.0.fwd", VMS_QEVM_MAIN, NULL},
    {"qemu-mfd11.0.fwd", VMS_QEVM_MAIN, NULL},
    {"qemu-mfd11.1.fwd", VMS_QEVM_MULTIFD, "qemu-mfd11.0.fwd"},
    {"qemu-mfd11.2.fwd", VMS_QEVM_MULTIFD, "qemu-mfd11.0.fwd"},
    {"qemu-pc2_11.0.fwd", VMS_QEVM_MAIN, NULL},
    {"qemu-pc2_11.0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"qemu-pc2_pre72.0.fwd", VMS_QEVM_MAIN, NULL},
    {"qemu-pc2_pre72.0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"qemu-pc2_pre72.1.fwd", VMS_QEVM_PREEMPT, "qemu-pc2_pre72.0.fwd"},
    {"vfio-a2_new_ack_v2_quiet/conn0.fwd", VMS_QEVM_MAIN, NULL},
    {"vfio-a2_new_ack_v2_quiet/conn0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"vfio-b2_reinit_after_ack/conn0.fwd", VMS_QEVM_MAIN, NULL},
    {"vfio-b2_reinit_after_ack/conn0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"vfio-c1_legacy_ack/conn0.fwd", VMS_QEVM_MAIN, NULL},
    {"vfio-c1_legacy_ack/conn0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"vfio-c5_legacy_two_devices/conn0.fwd", VMS_QEVM_MAIN, NULL},
    {"vfio-c5_legacy_two_devices/conn0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"vfio-f1_multifd/conn0.fwd", VMS_QEVM_MAIN, NULL},
    {"vfio-f1_multifd/conn0.rev", VMS_QEVM_RETURN_PATH, NULL},
    {"vfio-f1_multifd/conn1.fwd", VMS_QEVM_MULTIFD, "vfio-f1_multifd/conn0.fwd"},
    {"vfio-f1_multifd/conn2.fwd", VMS_QEVM_MULTIFD, "vfio-f1_multifd/conn0.fwd"},
    {"vfio-f1_multifd/conn3.fwd", VMS_QEVM_MULTIFD, "vfio-f1_multifd/conn0.fwd"},
    {"vfio-f1_multifd/conn4.fwd", VMS_QEVM_MULTIFD, "vfio-f1_multifd/conn0.fwd"},
};
const size_t CAPTURE_COUNT = sizeof CAPTURES / sizeof *CAPTURES;

const char *captures_folder(void) {
    const char *set = getenv("VMS_CAPTURES"), *path = set ? set : "../shared/captures";
    return access(path, R_OK) == 0 ? path : NULL;
}

struct text capture_read(const char *file) {
    struct text t = {0};
    char command[512], buffer[65536];
    (void)snprintf(command, sizeof command, "xz -dc '%s/%s.xz'", captures_folder(), file);
    FILE *f = popen(command, "r");
    for (size_t n; f && (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
        text_add(&t, buffer, n);
    if (!f || pclose(f) != 0)
        text_free(&t);
    return t;
}
