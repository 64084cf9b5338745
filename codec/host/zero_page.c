/* SPDX-License-Identifier: MIT */
#include "host/zero_page.h"

#include <stdatomic.h>

/* Asking the CPU traps in a guest, so the answer is kept. Threads that ask at the same time get the
 * same one. */
bool vms_page_is_zero(const uint8_t *page, size_t len) {
    static _Atomic(const struct vms_page_ops *) kept;
    const struct vms_page_ops *ops = atomic_load_explicit(&kept, memory_order_relaxed);
    if (!ops) {
        ops = vms_page_ops();
        atomic_store_explicit(&kept, ops, memory_order_relaxed);
    }
    return ops->is_zero(page, len);
}
