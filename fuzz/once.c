/* SPDX-License-Identifier: MIT */
#include <vmstream/crypto.h>
#include <vmstream/pack.h>

/*
 * The library keeps no state, so it asks the processor what it can do whenever an object is made:
 * once a migration. An exec makes dozens of objects, and in a virtual machine each question is an
 * exit to the host: several times the rest of it. Linked with --wrap, the harnesses ask once.
 */
#if defined(__x86_64__)
#define ONCE(type, name)                                                                           \
    type __real_##name(void);                                                                      \
    type __wrap_##name(void);                                                                      \
    static type kept_##name;                                                                       \
    type __wrap_##name(void) {                                                                     \
        return kept_##name;                                                                        \
    }                                                                                              \
    __attribute__((constructor)) static void ask_##name(void) {                                    \
        kept_##name = __real_##name();                                                             \
    }

typedef const struct vms_page_ops *page_ops;
typedef vms_crc32c_fn *crc32c_fn;
ONCE(page_ops, vms_page_ops_avx2)
ONCE(crc32c_fn, vms_crc32c_x86)
#else
typedef int fuzz_no_x86; /* ISO C wants a declaration */
#endif
