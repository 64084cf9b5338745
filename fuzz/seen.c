/* SPDX-License-Identifier: MIT */
#include "seen.h"

/* libFuzzer takes what is in this section for coverage, and clears it before each input: so an
 * input that meets a new code or cell is kept. */
#define COVERAGE __attribute__((section("__libfuzzer_extra_counters")))

COVERAGE bool fuzz_codes[VMS_CODE_COUNT];
COVERAGE bool fuzz_cells[FUZZ_M_COUNT][FUZZ_CELLS][FUZZ_CELLS];

void fuzz_seen_print(FILE *out) {
    static const char *const names[FUZZ_M_COUNT] = {"source", "destination", "dst-native"};
    for (unsigned c = 1; c < VMS_CODE_COUNT; c++)
        if (fuzz_codes[c])
            fprintf(out, "code %s\n", vms_code_name((enum vms_code)c));
    for (unsigned m = 0; m < FUZZ_M_COUNT; m++)
        for (unsigned s = 0; s < FUZZ_CELLS; s++)
            for (unsigned e = 0; e < FUZZ_CELLS; e++)
                if (fuzz_cells[m][s][e])
                    fprintf(out, "cell %s %u %u\n", names[m], s, e);
}
