/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_NATIVE_H
#define VMSTREAM_FUZZ_NATIVE_H

#include "fuzz.h"
#include <vmstream/native.h>

/*
 * Frames of the native wire under suite NONE, as a file with all channels:
 *   - a frame that was decoded encodes to the octets that were taken, body by body (NAT-30): the
 *     encoding is deterministic, so there is only one
 *   - any two ways to cut the input give the same frames and the same end (MOD-4)
 *   - memory is what the constructor got (MOD-10): nothing else is touched under ASan
 * mend: writes the right tags and sequences into the input first, so that the fuzzer gets past the
 * checksum; its twin leaves the octets alone. Options: 2 octets of cuts.
 */
int fuzz_native(bool mend, const uint8_t *data, size_t size);

/*
 * Puts right tag and, of each channel, sequence and epoch, as far as the frames' lengths lead.
 * tag: 4 octets, CRC-32C; 16: of a keyed suite, left as they are, and hellos are marked as sealed.
 */
void fuzz_mend(struct vms_room stream, unsigned tag);

#endif
