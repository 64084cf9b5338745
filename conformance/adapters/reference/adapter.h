/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_ADAPTER_REFERENCE_H
#define CONFORMANCE_ADAPTER_REFERENCE_H

#include "conformance/adapters/kit/kit.h"

/**
 * reference-src and reference-dst as an implementation, as processes of their own.
 *
 * Which guest: with a QEMU at the other end one that a QEMU of that version has run and whose
 * stream was recorded (recording.c); between two references the guest of the VM file, which both
 * ends run.
 */
enum {
    REF_WORDS = 80,
    REF_DEVICES = 4,
};

struct reference {
    struct kit kit;
    char words[REF_WORDS][CERT_PATH];
    const char *argv[REF_WORDS + 1];
    size_t count;
    pid_t pid;
    char report[CERT_PATH], output[CERT_PATH];
    unsigned vfio;
};

/* command.c */
void ref_word(struct reference *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Starts it; its output goes to reference.log. 0, or -1. */
int ref_start(struct reference *r);
/** Waits until the log has that text; false: it has ended, or is late. */
bool ref_wait_log(struct reference *r, const char *text);
/** Waits for its end; exit status, 128 + signal, -1: late. */
int ref_wait(struct reference *r);
/** end.json out of its report, and the exit status that goes with it. */
enum kit_exit ref_end(struct reference *r, int status);
/** Both ends' options: wire, keys, TLS, dialect, devices, the VM. */
void ref_common(struct reference *r);
bool ref_is_native(const struct reference *r);
bool ref_peer_is_reference(const struct reference *r);
/** Both ends run the guest of the VM file; else it is a recorded one. */
bool ref_runs_vm(const struct reference *r);

/** A dialogue says by itself what a reference is started with, beyond the very least. */
bool ref_is_dialogue(const struct reference *r);
void ref_dialogue(struct reference *r);

enum kit_exit ref_source(struct reference *r);
enum kit_exit ref_destination(struct reference *r);

/* recording.c */
/**
 * A guest of the peer's version and machine as a recorded stream, its memory in the folder ram and
 * its serial output in serial. Made once and kept in VMS_CACHE. 0, or -1 with `error` (4096
 * octets).
 */
int ref_recording(struct reference *r, char stream[CERT_PATH], char *error);

#endif
