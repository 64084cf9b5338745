/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

/* Engines call it once, before they count edges: what a harness makes at its first exec and keeps
 * is made here, and so belongs to no input (an input takes the same edges every time: stability).
 */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const uint8_t nothing[1];
    (void)argc;
    (void)argv;
    return LLVMFuzzerTestOneInput(nothing, 0);
}
