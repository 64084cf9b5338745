/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <string.h>
#include <vmstream/vmdesc.h>

/*
 * VM descriptions: what was loaded is consistent, and asking twice gives the same (TAIL-1). Only
 * descriptions within the limit reach the parser.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct vms_vmdesc *vmdesc;
    if (!vmdesc)
        vmdesc = vms_vmdesc_new();
    if (!vmdesc)
        abort();
    struct vms_vmdesc_ops ops = vms_vmdesc_ops(vmdesc);
    if (!ops.load(ops.ctx, vms_slice(data, size)))
        return 0;
    size_t count = vms_vmdesc_count(vmdesc);
    for (int pass = 0; pass < 2; pass++) {
        ops.rewind(ops.ctx);
        for (size_t i = 0; i < count; i++) {
            struct vms_vmdesc_section s = vms_vmdesc_section(vmdesc, i);
            uint64_t length = 0;
            struct vms_slice name = vms_slice(s.name, strlen(s.name));
            ORACLE(ops.next_length(ops.ctx, name, s.instance, &length), "section %zu is lost", i);
            ORACLE(length == s.length, "section %zu: %llu, then %llu octets", i,
                   (unsigned long long)s.length, (unsigned long long)length);
        }
    }
    ops.load(ops.ctx, vms_slice(NULL, 0)); /* nothing is left for the next exec to clear */
    return 0;
}
