/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "conformance/sim/sim.h"

/*
 * Whole migrations of both engines under virtual time: the input says wire, faults and every choice
 * that the simulation makes, so long as it lasts; the seed makes the rest. The simulation's own
 * rules are the oracle: at most one guest runs, memory arrives whole, every run ends. With
 * SIM_TRACE in the environment a run tells every event. Input: 1 octet of wire and scheduler, 2 of
 * faults, 8 of the seed, then choices.
 */
static void note_cells(enum fuzz_machine machine, const uint64_t *table, unsigned states) {
    for (unsigned s = 0; s < states; s++)
        for (uint64_t events = table[s]; events; events &= events - 1)
            fuzz_cells[machine][s][__builtin_ctzll(events)] = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size);
    static int trace = -1;
    struct sim_coverage coverage = {0};
    struct sim_result result;
    if (trace < 0)
        trace = getenv("SIM_TRACE") != NULL;
    uint32_t wire = fuzz_option(&in, 1);
    struct sim_config config = {.native = wire & 1,
                                .scheduler = wire & 2 ? SRC_SCHEDULER_SERIAL : SRC_SCHEDULER_DRR,
                                .faults = fuzz_option(&in, 2) & SIM_FAULT_ALL};
    config.seed = (uint64_t)fuzz_option(&in, 4) << 32;
    config.seed |= fuzz_option(&in, 4);
    config.choices = in;
    config.trace = trace;
    sim_run(&config, &result, &coverage);
    note_cells(FUZZ_M_SOURCE, coverage.src, SRC_STATE_COUNT);
    note_cells(FUZZ_M_DST_NATIVE, coverage.native, DST_N_STATE_COUNT);
    note_cells(FUZZ_M_DESTINATION, coverage.qevm, DST_STATE_COUNT);
    fuzz_saw(result.reason);
    ORACLE(result.ok, "seed %llu, faults %#x, %s: %s", (unsigned long long)config.seed,
           config.faults, config.native ? "native" : "qevm", result.why);
    return 0;
}
