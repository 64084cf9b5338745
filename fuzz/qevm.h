/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_QEVM_H
#define VMSTREAM_FUZZ_QEVM_H

#include "fuzz.h"
#include <vmstream/qevm.h>

/* A channel of QEMU's wire through the decoder, and what must hold for any octets. */

/* Small limits, so that one past them can be reached. */
struct vms_limits fuzz_limits(void);
/* The dialect that an octet stands for: versions, footers, machine of 2.3, page sizes. */
struct vms_dialect fuzz_dialect(uint8_t option);

/*
 * Runs the input as a channel of this kind:
 *   - what was decoded encodes to the octets that were taken, at least up to an error (QEVM, MOD-3)
 *   - too small a room is refused with the exact size (MOD)
 *   - any two ways to cut the input give the same records and the same end (MOD-4)
 *   - an end and an error stay (MOD-12)
 * Options: 1 octet dialect, 1 tail, descriptions and what was learnt of the main channel, 2 cuts.
 */
int fuzz_qevm(enum vms_qevm_kind kind, bool mapped, const uint8_t *data, size_t size);

#endif
