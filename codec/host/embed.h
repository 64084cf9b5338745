/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_EMBED_H
#define VMSTREAM_HOST_EMBED_H

#include <stddef.h>

/** A file that is part of the program, as it is. Static. */
struct vms_asset {
    const char *text; /* len bytes, NUL behind them */
    size_t len;
};

/** Defines `struct vms_asset name(void)`. path is from the folder where the compiler runs: the top
 * of the tree. The program must be built anew when the file changes. */
#define VMS_EMBED(name, path)                                                                      \
    __asm__(".section .rodata\n"                                                                   \
            ".global asset_" #name "\n"                                                            \
            ".global asset_" #name "_end\n"                                                        \
            "asset_" #name ":\n"                                                                   \
            ".incbin \"" path "\"\n"                                                               \
            "asset_" #name "_end:\n"                                                               \
            ".byte 0\n"                                                                            \
            ".text\n");                                                                            \
    extern const char asset_##name[], asset_##name##_end[];                                        \
    struct vms_asset name(void) {                                                                  \
        return (struct vms_asset){.text = asset_##name,                                            \
                                  .len = (size_t)(asset_##name##_end - asset_##name)};             \
    }

#endif
