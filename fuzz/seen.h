/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_SEEN_H
#define VMSTREAM_FUZZ_SEEN_H

#include <stdbool.h>
#include <stdio.h>
#include <vmstream/error.h>

/*
 * What a harness has met: error codes, and cells of state tables. The list of what a corpus does
 * not reach (fuzz/unreached) is made from it.
 */
enum fuzz_machine {
    FUZZ_M_SOURCE,      /* src_state, src_event_kind */
    FUZZ_M_DESTINATION, /* dst_state, dst_event */
    FUZZ_M_DST_NATIVE,  /* dst_native_state, dst_native_event_kind */
    FUZZ_M_COUNT,
};

enum {
    FUZZ_CELLS = 64, /* states and events of a machine, at most */
};

extern bool fuzz_codes[VMS_CODE_COUNT];
extern bool fuzz_cells[FUZZ_M_COUNT][FUZZ_CELLS][FUZZ_CELLS];

static inline void fuzz_saw(enum vms_code code) {
    if ((unsigned)code < VMS_CODE_COUNT)
        fuzz_codes[code] = true;
}

static inline void fuzz_cell(enum fuzz_machine machine, unsigned state, unsigned event) {
    if (state < FUZZ_CELLS && event < FUZZ_CELLS)
        fuzz_cells[machine][state][event] = true;
}

/* Lines "code NAME" and "cell MACHINE STATE EVENT", numbers for the last two. */
void fuzz_seen_print(FILE *out);

#endif
