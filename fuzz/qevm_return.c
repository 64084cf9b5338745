/* SPDX-License-Identifier: MIT */
#include "qevm.h"

/* QEMU's wire: the return path. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_qevm(VMS_QEVM_RETURN_PATH, false, data, size);
}
