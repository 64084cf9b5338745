/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu/adapter.h"

#include <stdio.h>
#include <string.h>

/*
 * QEMU as an implementation to be certified: VMS_VERSION is one that conformance/peers/fetch has
 * got, or the system's own; VMS_MACHINE a machine type of it.
 */
static const char *const features[] = {
    "precopy",     "multifd",        "zlib", "zstd",   "postcopy",     "preempt",
    "recovery",    "mapped-ram",     "tls",  "vfio",   "vfio-multifd", "vdpa",
    "return-path", "switchover-ack", "main", "xbzrle", "relay",        NULL};

static enum kit_exit run(struct adapter *a) {
    struct vms_peer peer;
    enum kit_exit e = kit_open(&a->kit);
    if (e != KIT_DONE)
        return e;
    if (!vms_peer_find(a->kit.version, &peer)) {
        kit_say(&a->kit, "QEMU %s is absent: make peers fetches it", a->kit.version);
        return KIT_LOCAL;
    }
    kit_write_version(&a->kit, peer.package);
    if (kit_is(&a->kit, "version"))
        return KIT_DONE;
    e = kit_check_needs(&a->kit, features);
    if (e != KIT_DONE)
        return e;
    if (strcmp(cert_str(a->kit.body, "wire"), "native") == 0)
        return KIT_UNSUPPORTED;
    if (kit_is(&a->kit, "source"))
        return adapter_source(a);
    return kit_is(&a->kit, "destination") ? adapter_destination(a) : KIT_UNSUPPORTED;
}

int main(void) {
    struct adapter a = {.qemu = NULL};
    enum kit_exit e = run(&a);
    vms_qemu_free(a.qemu);
    json_decref(a.kit.test);
    json_decref(a.kit.end);
    return (int)e;
}
