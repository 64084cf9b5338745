/* SPDX-License-Identifier: MIT */
#include "native.h"

/* The twin of native_frames: the octets as they are, against the checksum. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_native(false, data, size);
}
