/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_SUBJECT_H
#define VMSTREAM_CONFORMANCE_SUBJECT_H

#include "conformance/integrity/sealed.h"

/* A stream with its file, for attacks. */
struct subject {
    struct sealed_plan plan;
    struct sealed_channel channels[3];
    struct vb *made[3];
    struct text random;
    struct vms_psk psk;
    struct sealed sealed;
};

extern const char SUBJECT_KEYS[]; /* a key file with the identities vm-a and vm-b */

/*
 * Three channels with every kind of record, a few KiB, packed with zstd; a frame for each `piece`
 * octets of QEVM. Sealed freshly with vm-a.
 */
void subject_open(struct subject *s, enum vms_suite suite, size_t piece);
/* A main channel with pages that are zero, compressible or random. */
void subject_open_random(struct subject *s, enum vms_suite suite, const struct vms_psk *psk,
                         int level, uint64_t *seed);
void subject_close(struct subject *s);
struct vms_slice subject_file(const struct subject *s);

#endif
