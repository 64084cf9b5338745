/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

/* Nothing but the input's octets: what an engine does at most on this machine, beside which the
 * speed of the harnesses is read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t hash = fuzz_hash(FUZZ_HASH_BEGIN, data, size < 64 ? size : 64);
    ORACLE(hash != 1, "not one input in 2^64");
    return 0;
}
