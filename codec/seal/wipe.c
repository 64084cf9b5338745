/* SPDX-License-Identifier: MIT */
#include <vmstream/crypto.h>

/* [SEAL-21] The barrier tells the compiler that somebody reads the zeros. */
void vms_wipe(void *ptr, size_t len) {
    if (len)
        memset(ptr, 0, len);
    __asm__ __volatile__("" : : "r"(ptr) : "memory");
}
