// SPDX-License-Identifier: MIT
// Streams that QEMU itself writes, of machines small enough that devices are most of them.
#include "blackbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/adapters/qemu.h"

enum {
    BOOT_MS = 1500, // for the firmware to set devices up
};

static const char *const no_args[] = {NULL};
// One of each kind of device that Debian's QEMU has in its default build.
static const char *const pc_args[] = {
    "-device",   "virtio-net-pci,romfile=",
    "-device",   "virtio-rng-pci",
    "-device",   "virtio-serial-pci",
    "-device",   "virtio-balloon-pci",
    "-device",   "e1000,romfile=",
    "-device",   "usb-ehci",
    "-device",   "usb-tablet",
    "-device",   "intel-hda",
    "-audiodev", "none,id=silent",
    "-device",   "hda-duplex,audiodev=silent",
    "-device",   "ich9-ahci",
    NULL,
};
static const char *const q35_args[] = {
    "-device", "nec-usb-xhci",   "-device", "virtio-scsi-pci",  "-device", "virtio-mouse-pci",
    "-device", "pcie-root-port", "-device", "rtl8139,romfile=", "-device", "i6300esb",
    NULL,
};

const struct bb_machine bb_machines[] = {
    {"none", "none", "64K", no_args, 702, false},
    {"pc", "pc", "1M", pc_args, 702, false},
    {"q35", "q35", "1M", q35_args, 702, false},
    {"mapped", "none", "64K", no_args, 900, true},
};
const size_t bb_machine_count = sizeof bb_machines / sizeof *bb_machines;

static int fail(char *why, size_t size, const char *text) {
    snprintf(why, size, "%s", text);
    return -1;
}

static int save(struct vms_qemu *qemu, const struct bb_machine *machine, const char *path) {
    static const char *const completed[] = {"completed", NULL};
    static const char *const mapped[] = {"mapped-ram", NULL};
    char uri[700];

    if (machine->mapped && vms_qemu_set_capabilities(qemu, mapped) != 0) {
        return -1;
    }
    // Nothing runs on a machine without a processor. Elsewhere the firmware sets devices up.
    vms_qemu_wait_event(qemu, "STOP", strcmp(machine->machine, "none") == 0 ? 1 : BOOT_MS, NULL);
    snprintf(uri, sizeof uri, machine->mapped ? "file:%s" : "exec:cat >%s", path);
    return vms_qemu_stop(qemu) != 0 || vms_qemu_migrate(qemu, uri) != 0 ||
                   vms_qemu_wait_migration(qemu, completed, 0, NULL) != 0
               ? -1
               : 0;
}

static int read_seed(struct bb_seed *seed, const char *path) {
    FILE *file = fopen(path, "rbe");
    size_t size = 0;

    seed->octets = malloc(BB_MAX);
    if (file != NULL && seed->octets != NULL) {
        size = fread(seed->octets, 1, BB_MAX, file);
    }
    if (file != NULL) {
        fclose(file);
    }
    seed->size = size;
    return size > 0 && size < BB_MAX ? 0 : -1;
}

// The first device of a machine is a "timer" or "cpu_common"; its section has the name's length
// in front of the name, and kind and id before that.
static size_t find_devices(const struct bb_seed *seed) {
    static const char *const first[] = {"\x05timer",
                                        "\x0a"
                                        "cpu_common",
                                        "\x09globalstate"};
    size_t best = seed->size;

    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        const uint8_t *at = memmem(seed->octets, seed->size, first[i], strlen(first[i]));

        if (at != NULL && (size_t)(at - seed->octets) < best) {
            best = (size_t)(at - seed->octets);
        }
    }
    return best;
}

// The description of the devices stands behind them, and a loader passes over it: what is changed
// there shows nothing. It is a type octet, a length and JSON.
static size_t find_description(const struct bb_seed *seed) {
    static const char word[] = "\"page_size\"";
    const uint8_t *at = memmem(seed->octets, seed->size, word, sizeof word - 1);
    size_t from = at != NULL ? (size_t)(at - seed->octets) : 0;

    for (; from > seed->devices + 5; from--) {
        const uint8_t *p = seed->octets + from;

        if (p[0] == '{' && p[-5] == 6 && p[-4] == 0) {
            return from - 5;
        }
    }
    return seed->size;
}

static int make_seed(const char *version, const struct bb_machine *machine, const char *path,
                     struct bb_seed *seed, char *why, size_t size) {
    struct vms_qemu_options options = {.version = version,
                                       .machine = machine->machine,
                                       .memory = machine->memory,
                                       .args = machine->args,
                                       .name = "saver"};
    struct vms_qemu *qemu = vms_qemu_start(&options, why, size);
    struct bb_result result;

    if (qemu == NULL) {
        return -1;
    }
    if (save(qemu, machine, path) != 0) {
        snprintf(why, size, "%s", vms_qemu_error(qemu));
        vms_qemu_free(qemu);
        return -1;
    }
    vms_qemu_free(qemu);
    bb_load(version, machine, path, 30000, &result);
    if (result.verdict != BB_ACCEPTED) {
        snprintf(why, size, "%s of QEMU %s is not loaded unchanged: %s", machine->name, version,
                 result.message);
        return -1;
    }
    seed->version = version;
    seed->machine = machine;
    if (read_seed(seed, path) != 0) {
        return fail(why, size, "a seed is too large, or cannot be read");
    }
    seed->devices = find_devices(seed);
    seed->description = find_description(seed);
    return 0;
}

int bb_make_seeds(const char *version, const char *dir, struct bb_seed *seeds, size_t *count,
                  char *why, size_t why_size) {
    struct vms_peer peer;

    if (!vms_peer_find(version, &peer)) {
        return fail(why, why_size, "that QEMU is absent (make peers)");
    }
    for (size_t i = 0; i < bb_machine_count && *count < BB_SEEDS; i++) {
        char path[600];

        if (peer.major * 100 + peer.minor < bb_machines[i].since) {
            continue;
        }
        snprintf(path, sizeof path, "%s/seed-%s-%s", dir, version, bb_machines[i].name);
        if (make_seed(version, &bb_machines[i], path, &seeds[*count], why, why_size) != 0) {
            return -1;
        }
        (*count)++;
    }
    return 0;
}
