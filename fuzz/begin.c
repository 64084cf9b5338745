/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

/* What an exec gives back stays with the process: large rooms are not mapped and faulted in anew.
 */
static void keep_memory(void) {
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 28);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 28);
#endif
}

/* ASan keeps what was freed from use, in fresh memory for each exec, up to 256 MiB: 16 hold
 * hundreds of execs. The environment's options come behind these. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "quarantine_size_mb=16";
}

/* Engines call it once, before they count edges: what a harness makes at its first exec and keeps
 * is made here, and so belongs to no input (an input takes the same edges every time: stability).
 */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const uint8_t nothing[1];
    (void)argc;
    (void)argv;
    keep_memory();
    return LLVMFuzzerTestOneInput(nothing, 0);
}
