/* SPDX-License-Identifier: MIT */
#include "qevm.h"

/* QEMU's wire: a mapped-ram file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_qevm(VMS_QEVM_MAIN, true, data, size);
}
