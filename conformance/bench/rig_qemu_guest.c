/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"
#include "conformance/guest/guest_image.h"

#include <stdio.h>

/* QEMU with our boot-sector guest, which writes whole pages at random places. */

enum {
    TIMEOUT_MS = 180000,
    TICKS = 10, /* a second */
};

static int write_guest(struct rig *r, unsigned pages_per_s, char *image, size_t size) {
    struct vms_guest_params g;
    vms_guest_defaults(&g);
    g.pages = VMS_GUEST_MAX_PAGES;
    g.prefill = g.pages;
    g.mode = VMS_GUEST_RANDOM;
    g.pages_per_tick = pages_per_s / TICKS;
    g.zero = 0;
    (void)snprintf(image, size, "%s/guest.img", r->dir);
    const char *problem = vms_guest_write_image(image, &g, VMS_GUEST_DISK_SIZE);
    return problem ? rig_fail(r, "%s: %s", image, problem) : 0;
}

struct vms_qemu *start_guest(struct rig *r, const struct qemu_guest *what, enum place p,
                             enum vms_net_side side) {
    char drive[256], backend[128], memory[32], tls[256], image[128];
    const char *args[] = {"-object", backend, "-drive", drive, "-object", tls, NULL};
    struct vms_qemu_options o = {.version = what->version,
                                 .machine = "pc,memory-backend=ram",
                                 .memory = memory,
                                 .args = args,
                                 .name = side == VMS_NET_A ? "source" : "destination",
                                 .incoming = side == VMS_NET_B,
                                 .timeout_ms = TIMEOUT_MS};
    if (write_guest(r, what->pages_per_s, image, sizeof image) != 0)
        return NULL;
    (void)snprintf(memory, sizeof memory, "%dM", QEMU_GUEST_MIB);
    (void)snprintf(drive, sizeof drive, "file=%s,format=raw,read-only=on,if=floppy", image);
    (void)snprintf(backend, sizeof backend, "memory-backend-memfd,id=ram,size=%dM%s",
                   QEMU_GUEST_MIB, what->huge ? ",hugetlb=on,hugetlbsize=2M" : "");
    tls_object(r, side, tls, sizeof tls);
    if (rig_enter(r, p, side) != 0)
        return NULL;
    struct vms_qemu *q = vms_qemu_start(&o, r->error, sizeof r->error);
    rig_leave(r, p);
    return q;
}
