/* SPDX-License-Identifier: MIT */
#include "mutate.h"

#include <string.h>

/* How the inputs of the harnesses are laid out; their files say the same in words. */

#define QEVM(name, kind, mapped, options, dialect)                                                 \
    {                                                                                              \
        name, {                                                                                    \
            FUZZ_WIRE_QEVM, VMS_QEVM_##kind, mapped, options, dialect, 0                           \
        }                                                                                          \
    }
#define NATIVE(name, options)                                                                      \
    {                                                                                              \
        name, {                                                                                    \
            FUZZ_WIRE_NATIVE, VMS_QEVM_MAIN, false, options, options, 0                            \
        }                                                                                          \
    }
#define ACTIONS(name, options, action)                                                             \
    {                                                                                              \
        name, {                                                                                    \
            FUZZ_WIRE_ACTIONS, VMS_QEVM_MAIN, false, options, options, action                      \
        }                                                                                          \
    }

static const struct {
    const char *name;
    struct fuzz_shape shape;
} SHAPES[] = {
    QEVM("qevm_main", MAIN, false, 4, 0),
    QEVM("qevm_mapped", MAIN, true, 4, 0),
    QEVM("qevm_recovery", RECOVERY, false, 4, 0),
    QEVM("qevm_return", RETURN_PATH, false, 4, 0),
    QEVM("qevm_multifd", MULTIFD, false, 4, 0),
    QEVM("qevm_preempt", PREEMPT, false, 4, 0),
    QEVM("transcode", MAIN, false, 5, 1),
    QEVM("source_return", RETURN_PATH, false, 3, 3),
    NATIVE("native_frames", 2),
    NATIVE("native_sealed", 2),
    NATIVE("native_keyed", 1),
    NATIVE("from_native", 2),
    ACTIONS("source_engine", 6, 5),
    ACTIONS("destination_engine", 0, 3),
    ACTIONS("destination_native", 1, 3),
    ACTIONS("session", 2, 4),
    ACTIONS("native_forged", 1, 4),
    ACTIONS("sim", 11, 2),
    ACTIONS("seal", 0, 3),
    ACTIONS("pack_send", 1, 4),
    ACTIONS("encode", 1, 15),
    ACTIONS("frames", 0, 15),
    ACTIONS("construct", 0, 8),
};

struct fuzz_shape fuzz_shape_of(const char *harness) {
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
        if (strcmp(harness, SHAPES[i].name) == 0)
            return SHAPES[i].shape;
    return (struct fuzz_shape){.wire = FUZZ_WIRE_OCTETS};
}
