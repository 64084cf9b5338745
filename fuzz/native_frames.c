/* SPDX-License-Identifier: MIT */
#include "native.h"

/* Frames whose checksums are put right first. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_native(true, data, size);
}
