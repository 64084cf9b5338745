/* SPDX-License-Identifier: MIT */
#include "qevm.h"

/* QEMU's wire: the main channel after a postcopy recovery. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_qevm(VMS_QEVM_RECOVERY, false, data, size);
}
