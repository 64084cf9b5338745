/* SPDX-License-Identifier: MIT */
#include "qevm.h"

/* QEMU's wire: a multifd channel. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_qevm(VMS_QEVM_MULTIFD, false, data, size);
}
