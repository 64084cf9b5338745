/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_DIALECT_H
#define VMSTREAM_DIALECT_H

#include <vmstream/error.h>
#include <vmstream/slice.h>

/** A QEMU version or machine version as 0xMMmm: 7.2 is 0x0702, 11.1 is 0x0b01; 0 is unknown. */
typedef uint16_t vms_qemu_version;

/** What a dialect says where the wire does not (DLC-1). AUTO is the best guess from the stream. */
enum vms_tristate {
    VMS_AUTO,
    VMS_OFF,
    VMS_ON,
};

/**
 * The local properties of the QEMU that made a stream, none of which the wire announces (DLC-1).
 * A zeroed value is the default dialect: every version's features are accepted and what the stream
 * announces is followed.
 */
struct vms_dialect {
    vms_qemu_version qemu;           /* of the binary; 0: any */
    vms_qemu_version machine;        /* of the machine type; 0: from CONFIGURATION, if it tells */
    uint8_t page_bits;               /* target page bits; 0: from CONFIGURATION, else 12 */
    enum vms_tristate configuration; /* a CONFIGURATION record (machine types from 2.4) */
    enum vms_tristate footers;       /* section footers (machine types from 2.4) */
    enum vms_tristate vmdesc;        /* a VM description at the end; AUTO: may be there */
    enum vms_tristate postcopy;      /* postcopy-ram; AUTO: from POSTCOPY_ADVISE */
    enum vms_tristate ignore_shared; /* x-ignore-shared; AUTO: from CONFIGURATION */
    enum vms_tristate mapped_ram;    /* mapped-ram; AUTO: from CONFIGURATION */
    enum vms_tristate multifd_flush; /* RAM_MULTIFD_FLUSH records, not EOS, mark a sync (MFD-12) */
    enum vms_tristate ack_legacy;    /* switchover-ack as before 11.1 (ACK-1) */
};

/**
 * Reads "7.2" or "qemu=11.1,machine=7.2,page-bits=12,footers=off,…" (DLC-2). Keys are the field
 * names with '-'; tristates are on, off or auto. Returns VMS_OK or VMS_E_MISUSE with the place in
 * *err's message. *out is written only on success.
 */
enum vms_code vms_dialect_parse(struct vms_slice text, struct vms_dialect *out,
                                struct vms_error *err);

/** The version in a machine type's name ("pc-q35-11.1" gives 0x0b01), 0 when it has none (DLC-3).
 */
vms_qemu_version vms_machine_version(struct vms_slice name);

/** Fills every field still unknown from the machine type's version, as hw_compat does (DLC-4). */
void vms_dialect_learn_machine(struct vms_dialect *dialect, struct vms_slice name);

/** True unless the dialect names a QEMU version that is older than first or (last != 0) newer. */
bool vms_dialect_has(const struct vms_dialect *dialect, vms_qemu_version first,
                     vms_qemu_version last);

#endif
