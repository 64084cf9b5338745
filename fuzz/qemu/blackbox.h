/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_BLACKBOX_H
#define VMSTREAM_FUZZ_BLACKBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A stock QEMU as a black box: it saves a small machine, the stream is changed, and a fresh QEMU of
 * the same version loads it. A process a case; a watchdog; each end gets a verdict.
 *
 *   seeds.c    streams that QEMU itself writes
 *   change.c   what a case does to one
 *   load.c     the QEMU that loads it, and what became of it
 *   tally.c    cases.jsonl, and the table made of it
 *   main.c     the command
 */

enum {
    BB_MAX = 4 << 20, /* octets of a stream */
    BB_SEEDS = 16,
    BB_VERSIONS = 4,
};

/** A machine that is saved and loaded. */
struct bb_machine {
    const char *name; /* of the seed: "pc" */
    const char *machine, *memory;
    const char *const *args;
    unsigned since; /* first version that has it, major * 100 + minor */
    bool mapped;    /* a mapped-ram file */
};
extern const struct bb_machine bb_machines[];
extern const size_t bb_machine_count;

/** A stream that a QEMU of that version wrote. */
struct bb_seed {
    const char *version;
    const struct bb_machine *machine;
    uint8_t *octets;
    size_t size;
    size_t devices;     /* offset of the first device section; size: none was found */
    size_t description; /* offset of the VMDESC behind them */
};

/**
 * Has a QEMU of that version save each machine into dir, and loads the file back to be sure.
 * Appends to seeds[*count]. 0, or -1 with why.
 */
int bb_make_seeds(const char *version, const char *dir, struct bb_seed *seeds, size_t *count,
                  char *why, size_t why_size);

/** A case: everything follows from (campaign seed, number). */
struct bb_case {
    uint64_t seed, number;
    const struct bb_seed *from;
    const char *how; /* "records", "device octets", "bit" */
    uint8_t octets[BB_MAX];
    size_t size;
};
/** Makes case `number` out of one of the seeds; false when it came out unchanged. */
bool bb_change(struct bb_case *c, uint64_t seed, uint64_t number, const struct bb_seed *seeds,
               size_t count);

enum bb_verdict {
    BB_REFUSED,  /* QEMU ended by itself with an error */
    BB_ACCEPTED, /* the migration is completed: nothing was said of the change */
    BB_CRASH,    /* a signal, while loading or in the guest's first moments */
    BB_HANG,     /* neither within the watchdog's time, twice */
    BB_TROUBLE,  /* ours: QEMU did not start */
    BB_VERDICTS,
};
const char *bb_verdict_name(enum bb_verdict verdict);

struct bb_result {
    enum bb_verdict verdict;
    bool ran;          /* the guest had been started when it crashed */
    char message[400]; /* what QEMU said last */
    char clause[32];   /* accepted: the clause of ours that the stream breaks; empty: none */
    char code[40];
};

/** Loads the file into a QEMU, running the guest for a moment when it was accepted. */
void bb_load(const char *version, const struct bb_machine *machine, const char *path,
             int watchdog_ms, struct bb_result *result);
/** What our own decoder says of an accepted stream (`vmstream inspect`). */
void bb_judge(const char *vmstream, const char *path, struct bb_result *result);

/** Appends a line to DIR/cases.jsonl. */
int bb_note(const char *dir, const struct bb_case *c, const struct bb_result *result);
/** Prints what DIR/cases.jsonl holds, as tables. 0, or -1. */
int bb_summary(const char *dir);

#endif
