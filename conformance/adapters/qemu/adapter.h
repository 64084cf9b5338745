/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_ADAPTER_QEMU_H
#define CONFORMANCE_ADAPTER_QEMU_H

#include "conformance/adapters/kit/kit.h"
#include "conformance/adapters/qemu.h"

/** QEMU as an implementation: one process of the version, driven over QMP. */
enum {
    ADAPTER_DEVICES = 4,
    ADAPTER_BEATS = 3, /* that a guest lives on for: it checks pages in each */
};

struct adapter {
    struct kit kit;
    struct vms_qemu *qemu;
    unsigned vfio, vdpa;              /* devices */
    int fds[2 * ADAPTER_DEVICES + 2]; /* theirs */
    size_t fd_count;
};

/* start.c */
/** Starts QEMU as the case has it, with capabilities and parameters set. KIT_UNSUPPORTED: which it
 * does not know. */
enum kit_exit adapter_start(struct adapter *a, bool incoming, bool paused);
/** The cell's URI as QEMU has it: TLS is a parameter of it, not a kind of address. */
const char *adapter_uri(const struct adapter *a);
/** source.c, destination.c: the whole role. */
enum kit_exit adapter_source(struct adapter *a);
enum kit_exit adapter_destination(struct adapter *a);

/* after.c */
/** RAM blocks of the stopped VM into the folder ram. */
int adapter_dump(struct adapter *a);
/** Lets the guest print further heartbeats, stops it, and saves its memory. -1: it does not. */
int adapter_watch(struct adapter *a);
/** "running" of end.json, and the file "serial". */
void adapter_note(struct adapter *a);
/** A QEMU that ended by a signal: so do we, for the rig to see it. */
void adapter_die_like_it(struct adapter *a);

#endif
